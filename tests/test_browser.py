"""What a person sees: MLflow's UI and the report, opened in a real browser."""

from __future__ import annotations

import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from playwright.sync_api import Browser, Page, sync_playwright

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

EXAMPLE = Path(__file__).parents[1] / "examples" / "sweep.toml"
NOT_OURS = ("/mlflow/users/current", "ResizeObserver loop")
"""Errors of MLflow's own page: it asks for a user where there are none, and its tables resize while they are drawn."""
PATIENCE = 120_000

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium; `apt-get install chromium`, as .ci/run does")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])  # root in a container
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def sweep(archsweep: Run, small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, a little smaller, tracked beside its folder."""
    folder = tmp_path_factory.mktemp("runs") / "s"
    done = archsweep("sweep", EXAMPLE, "--table", small_table, "--set", "trials=40", "--seeds", 6, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def watched(page: Page) -> list[str]:
    """A list that the page's errors are added to as they come."""
    errors: list[str] = []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(f"{said.text} {said.location}") if said.type == "error" else None)
    return errors


def ours(errors: list[str]) -> list[str]:
    return [error for error in errors if not any(known in error for known in NOT_OURS)]


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1_200, "light")], ids=["phone, dark", "desktop, light"])
def test_the_report_reads_well(width: int, scheme: str, browser: Browser, sweep: Path) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    errors = watched(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((sweep / "report.html").as_uri())
    assert page.get_by_role("cell", name="evolution").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    for figure in page.locator("figure svg").all():
        box = figure.bounding_box()
        assert box is not None
        assert box["width"] <= width
        assert box["height"] > 60
    light = [int(part) for part in page.evaluate("getComputedStyle(document.body).backgroundColor")[4:-1].split(",")]
    assert (max(light) < 60) == (scheme == "dark")
    assert all(url.startswith(("file:", "data:")) for url in asked)
    assert not errors
    page.close()


def test_mlflow_lists_the_arms_draws_their_curves_and_shows_the_report(
    browser: Browser, sweep: Path, start: Start, until: Until
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    start("ui", sweep.parent, "--port", port)
    until(lambda: answers(f"http://127.0.0.1:{port}/health"))
    client = MlflowClient(f"sqlite:///{sweep.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("archsweep")
    assert experiment is not None
    address = f"http://127.0.0.1:{port}/#/experiments/{experiment.experiment_id}/runs"
    page = browser.new_page(viewport={"width": 1_400, "height": 900})
    errors = watched(page)

    page.goto(address)
    page.get_by_role("link", name="s", exact=True).wait_for()
    page.locator(".ag-row button").first.click()  # opens the sweep's children
    for name in ("evolution, mean of 6", "random, seed 5"):
        page.get_by_text(name).first.wait_for()

    page.goto(f"{address}?compareRunsMode=CHART")
    page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for(state="attached")
    assert page.locator(".js-plotly-plot").count() > 0

    run_id = (sweep / "mlflow_run_id").read_text()
    page.goto(f"{address}/{run_id}/artifacts")
    page.get_by_text("report.html").first.click()
    page.frame_locator("iframe").get_by_role("heading", name="Ranking").wait_for()
    assert not ours(errors)
    page.close()


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)
    return False
