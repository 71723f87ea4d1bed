"""The cluster of docker/compose.yaml without Docker, from its own commands.

A Ray head, two workers, MLflow on PostgreSQL, and a sweep on them; run by `make topology`.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

ROOT = Path(__file__).parents[1]
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # MLflow's and SQLAlchemy's own


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def command(service: str, places: dict[str, str]) -> list[str]:
    """A service's command, with what is called otherwise on this machine."""
    words = [*SERVICES[service].get("entrypoint", ["archsweep"]), *SERVICES[service]["command"]]
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    return [str(BIN / words[0]) if (BIN / words[0]).exists() else words[0], *words[1:]]


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory, until: Until) -> Iterator[str]:
    """The address of a new PostgreSQL server, as ``user@host:port/database``."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    program = found[-1] if found else None
    if program is None:
        pytest.skip("no PostgreSQL; `apt-get install postgresql`, as .ci/run does")
    folder, port = tmp_path_factory.mktemp("postgres"), free_port()
    other: list[str] = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        other = ["runuser", "--user", "postgres", "--"]
        for path in (folder, *folder.parents):
            if path == Path("/tmp"):
                break
            path.chmod(0o755)
        shutil.chown(folder, "postgres")
    data = folder / "data"
    subprocess.run(
        [*other, program, "--pgdata", data, "--username", "mlflow", "--auth", "trust"],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    server = subprocess.Popen(
        [*other, program.with_name("postgres"), "-D", data, "-p", str(port), "-k", folder, "-h", "127.0.0.1"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: listens(port))
    yield f"mlflow@127.0.0.1:{port}/postgres"
    server.terminate()
    server.wait()


def listens(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
        return bool(response.status == 200)
    return False


@pytest.fixture
def mlflow(postgres: str, start: Start, until: Until, tmp_path: Path) -> str:
    """The address of the MLflow server of the compose file, on that database."""
    port = free_port()
    password = tmp_path / "password"
    password.write_text("secret")
    places = {
        "/run/secrets/postgres": str(password),
        "@postgres/mlflow": f"@{postgres.partition('@')[2]}",
        "$$": "$",
        "0.0.0.0": "127.0.0.1",
        "--port 5000": f"--port {port}",
        "/artifacts": str(tmp_path / "artifacts"),
        "exec mlflow": f"exec {BIN / 'mlflow'}",
    }
    (tmp_path / "artifacts").mkdir()
    program = command("mlflow", places)
    start(program=program, env={"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}, cwd=tmp_path, log=tmp_path / "out")
    until(lambda: answers(f"http://127.0.0.1:{port}/health"))
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def token(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment that lets a process talk to the cluster."""
    path = tmp_path / "token"
    path.write_text(secrets.token_hex(32))
    told: dict[str, str] = SERVICES["head"]["environment"]
    found = {key: value.replace("/run/secrets/ray", str(path)) for key, value in told.items() if key.startswith("RAY_")}
    with TemporaryDirectory(
        prefix="ray-", ignore_cleanup_errors=True
    ) as folder:  # of its own, and short: sockets have their names in it
        yield {**found, "RAY_TMPDIR": folder}


@pytest.fixture
def cluster(start: Start, until: Until, token: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of a Ray head with two workers, each of two cores."""
    port, dashboard = free_port(), free_port()
    places = {"6379": str(port), "head:": "127.0.0.1:", "0.0.0.0": "127.0.0.1"}
    log = tmp_path / "ray.log"
    memory = "--object-store-memory=100000000"
    nodes: list[subprocess.Popen[str]] = []

    def node(*words: str) -> subprocess.Popen[str]:
        return start(program=[*words, memory], env=token, log=log)

    def up() -> bool:
        if nodes[-1].poll() is not None:  # on a busy machine Ray gives up on a node; compose starts it again
            nodes[-1] = node(*nodes[-1].args[:-1])
        return log.read_text().count("Ray runtime started") == len(nodes)

    nodes.append(node(*command("head", places), f"--dashboard-port={dashboard}"))
    until(up)
    for _ in range(2):
        nodes.append(node(*command("worker", places), "--num-cpus=2"))
        until(up)
    yield f"127.0.0.1:{port}"
    for node in reversed(nodes):
        node.send_signal(signal.SIGTERM)
    for node in nodes:
        with suppress(subprocess.TimeoutExpired):
            node.wait(30)


def test_a_sweep_runs_on_the_cluster_and_is_tracked_in_postgresql(
    archsweep: Run, cluster: str, token: dict[str, str], mlflow: str, small_table: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "runs"
    places = {"/sweep.toml": str(ROOT / "examples" / "sweep.toml"), "/data/nb101.arrow": str(small_table),
              "/runs": str(shared), "head:6379": cluster}  # fmt: skip
    words = command("sweep", places)[1:]
    done = archsweep(*words, "--seeds", 4, "--set", "trials=40", env={**token, "MLFLOW_TRACKING_URI": mlflow})
    assert done.returncode == 0, done.stderr
    assert "8 of 8 arms done" in done.stdout
    assert "not tracked" not in done.stderr
    assert (shared / "sweep" / "report.html").is_file()
    client = MlflowClient(mlflow)
    experiment = client.get_experiment_by_name("archsweep")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    kinds = sorted(run.data.tags["archsweep.kind"] for run in runs)
    assert kinds == ["arm"] * 8 + ["mean"] * 2 + ["sweep"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run.data.tags["archsweep.kind"] == "sweep"]
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} >= {"report.html"}
