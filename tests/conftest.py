"""What tests share: the real data, and tables made of it once per session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import ray

from nas.table.importing import import_table

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))


def pytest_configure() -> None:
    """Ctrl-C reaches what tests start, also where a shell started pytest in the background and so ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real NAS-Bench-101 files; tests that need it are skipped where it is missing."""
    if not DATA.is_dir():
        pytest.skip(f"no NAS-Bench-101 data at {DATA}; set NB101_DATA")
    return DATA


@pytest.fixture(scope="session")
def small_table(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 91 cells of up to four vertices, four budgets, three repeats, all metrics (EC-NAS-Bench)."""
    path = tmp_path_factory.mktemp("tables") / "small.arrow"
    import_table(data / "ecnas_4v9e.tfrecord", path)
    return path


@pytest.fixture(scope="session")
def curves_table(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20,001 cells at four budgets, one repeat, validation accuracy and training time."""
    path = tmp_path_factory.mktemp("tables") / "curves.arrow"
    import_table(data / "curves20k.parquet", path)
    return path


@pytest.fixture
def ray_cluster() -> None:
    """A real Ray on this machine, started when a test first needs it, shared by the session."""
    if not ray.is_initialized():
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)


@pytest.fixture
def ray_down() -> None:
    """No Ray in this process."""
    ray.shutdown()


Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]


def command(arguments: tuple[object, ...]) -> list[str]:
    """The installed command line."""
    return [str(Path(sys.executable).with_name("archsweep")), *map(str, arguments)]


def environment(changes: dict[str, str] | None) -> dict[str, str]:
    """This process's, without what points at a tracking server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")} | (changes or {})


@pytest.fixture(scope="session")
def archsweep() -> Run:
    """Runs the command to its end."""

    def run(
        *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        line = command(arguments)
        try:
            return subprocess.run(
                line, env=environment(env), cwd=cwd, capture_output=True, text=True, timeout=200, check=False
            )
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{line} hangs; it had said {error.stdout!r} and {error.stderr!r}")

    return run


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the command, or another one, in a session of its own; what is left of it goes when the test ends."""
    started: list[subprocess.Popen[str]] = []

    def begin(
        *arguments: object,
        env: dict[str, str] | None = None,
        program: list[str] | None = None,
        cwd: Path | None = None,
        log: Path | None = None,
    ) -> subprocess.Popen[str]:
        """Whoever says more than a pipe holds, 64 kB, before anyone reads it needs a log, or waits for ever."""
        output = subprocess.PIPE if log is None else log.open("a")
        process = subprocess.Popen(
            [*program, *map(str, arguments)] if program else command(arguments),
            env=environment(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], object]], None]:
    """Waits for a condition to come true."""

    def wait(condition: Callable[[], object]) -> None:
        end = time.monotonic() + 100
        while not condition():
            assert time.monotonic() < end, "it did not come true"
            time.sleep(0.02)

    return wait
