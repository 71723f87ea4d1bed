"""Tracking with the real thing: MLflow's SQLite store and its server, also when that is away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from orchestrator.tracking.follow import track

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's and SQLAlchemy's own, in the client that looks

STEP = 1_000
"""Trials enough for some hundred steps."""


@pytest.fixture
def flags(small_table: Path, tmp_path: Path) -> tuple[object, ...]:
    return ("search", "--table", small_table, "--trials", STEP, "--out", tmp_path / "runs" / "a")


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "a"


@pytest.fixture
def store(tmp_path: Path) -> Callable[[], MlflowClient]:
    """Opens the SQLite store beside the runs; to open it is to make it, so not before the search."""
    return lambda: MlflowClient(f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


class Server:
    """An MLflow server that can be killed and started again on the same store."""

    def __init__(self, folder: Path, until: Until) -> None:
        self.port = free_port()
        self.client_uri = f"http://127.0.0.1:{self.port}"
        self.environment = {"MLFLOW_TRACKING_URI": f"http://user:secret@127.0.0.1:{self.port}/"}
        self._folder, self._until = folder, until
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)),
                *("--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"),
                *("--artifacts-destination", str(self._folder / "artifacts")),
            ],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._until(lambda: answers(f"{self.client_uri}/health"))

    def kill(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, until: Until) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"), until)
    yield running
    running.kill()


def connects(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def answers(url: str) -> bool:
    with suppress(OSError):
        return bool(urllib.request.urlopen(url, timeout=5).status == 200)
    return False


def lines(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def expected(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """The history of every metric that the metrics file asks for."""
    history: dict[str, list[tuple[int, float]]] = {}
    for line in lines(run_dir):
        for name, value in line.get("metrics", {}).items():
            history.setdefault(name, []).append((line["step"], value))
    return history


def only_run(client: MlflowClient, run_dir: Path) -> Any:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (run,) = client.search_runs(experiments, f"tags.`archsweep.run_dir` = '{run_dir}'")
    return run


def logged(client: MlflowClient, run: Any) -> dict[str, list[tuple[int, float]]]:
    return {
        name: [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def followers(run_dir: Path) -> list[str]:
    """The processes that follow a run."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            command = file.read_text().split("\0")
            if "orchestrator.tracking.follow" in command and str(run_dir) in command:
                found.append(file.parent.name)
    return found


def test_everything_about_a_search_is_in_its_mlflow_run(
    archsweep: Run, flags: tuple[object, ...], run_dir: Path, store: Callable[[], MlflowClient], tmp_path: Path
) -> None:
    done = archsweep(*flags, "-p", "variant=paper", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    client = store()
    run = only_run(client, run_dir)
    assert (run.info.run_id, run.info.status) == (result["mlflow_run_id"], "FINISHED")
    assert run.info.run_name == "evolution seed 0"
    wanted = {"searcher.name": "evolution", "searcher.variant": "paper", "trials": str(STEP), "pool.workers": "8"}
    assert wanted.items() <= run.data.params.items()
    assert run.data.tags["archsweep.run_dir"] == str(run_dir)
    assert run.data.tags["archsweep.searcher"] == "evolution"
    assert run.data.tags["archsweep.table"] == "small.arrow"
    assert logged(client, run) == expected(run_dir)
    assert run.data.metrics["finished"] == result["trials"]
    assert run.data.metrics["objective"] == result["best_objective"]
    assert run.data.metrics["regret"] == result["regret"]
    assert run.data.metrics["utilisation"] == result["utilisation"]
    assert run.data.tags["archsweep.binds"] == (result["binds"] or "unknown")
    assert {f"archsweep.seconds.{part}" for part in result["spans"]} <= run.data.tags.keys()
    names = {"config.toml", "trajectory.parquet", "regret.png", "best_cell.svg"}
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} == names
    for name in names:
        fetched = Path(client.download_artifacts(run.info.run_id, name, str(tmp_path)))
        assert fetched.read_bytes() == (run_dir / name).read_bytes()


@pytest.mark.parametrize("end", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_resumed_search_goes_on_in_its_mlflow_run(
    end: signal.Signals,
    archsweep: Run,
    start: Start,
    until: Until,
    curves_table: Path,
    run_dir: Path,
    store: Callable[[], MlflowClient],
) -> None:
    flags = ("search", "--table", curves_table, "--trials", 10_000, "--out", run_dir)
    first = start(*flags)
    until((run_dir / "metrics.jsonl").exists)
    first.send_signal(signal.SIGSTOP)
    until((run_dir / "mlflow_run_id").exists)
    first.send_signal(end)
    first.send_signal(signal.SIGCONT)
    assert first.wait() in (130, -signal.SIGKILL)
    until(lambda: not followers(run_dir))  # a killed search's tracker logs what is there, and ends
    client = store()
    run = only_run(client, run_dir)
    assert run.info.status == "KILLED"
    done = archsweep(*flags)
    assert (done.returncode, done.stderr) == (0, "")
    again = only_run(client, run_dir)
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert logged(client, again) == expected(run_dir)


def test_a_run_whose_id_got_lost_is_found_by_its_key(
    archsweep: Run, flags: tuple[object, ...], run_dir: Path, store: Callable[[], MlflowClient]
) -> None:
    assert archsweep(*flags).returncode == 0
    client = store()
    before = only_run(client, run_dir).info.run_id
    (run_dir / "mlflow_run_id").unlink()  # as if the server had died between making the run and saying so
    assert track(run_dir, client.tracking_uri) == before
    assert logged(client, only_run(client, run_dir)) == expected(run_dir)
    client.delete_run(before)
    after = track(run_dir, client.tracking_uri)
    assert after != before
    assert only_run(client, run_dir).info.run_id == after
    assert logged(client, only_run(client, run_dir)) == expected(run_dir)


def test_three_searches_that_start_together_on_a_new_store_are_all_tracked(
    start: Start, small_table: Path, tmp_path: Path, store: Callable[[], MlflowClient]
) -> None:
    runs = [tmp_path / "runs" / name for name in "abc"]
    processes = [start("search", "--table", small_table, "--trials", 200, "--out", run) for run in runs]
    for process in processes:
        _, complaint = process.communicate(timeout=200)
        assert (process.returncode, complaint) == (0, "")
    client = store()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    tracked = client.search_runs(experiments)
    assert sorted(run.info.run_id for run in tracked) == sorted((run / "mlflow_run_id").read_text() for run in runs)
    for run in tracked:
        assert logged(client, run) == expected(Path(run.data.tags["archsweep.run_dir"]))


def test_a_server_that_is_away_harms_no_search_and_is_caught_up_with_later(
    archsweep: Run, server: Server, flags: tuple[object, ...], run_dir: Path, tmp_path: Path
) -> None:
    away = {"MLFLOW_TRACKING_URI": f"http://user:secret@127.0.0.1:{free_port()}/"}
    done = archsweep(*flags, "--json", env=away)
    assert done.returncode == 0
    assert json.loads(done.stdout)["mlflow_run_id"] is None
    (complaint,) = done.stderr.splitlines()
    assert complaint.startswith("archsweep: not tracked: ")
    assert complaint.endswith(f"`archsweep track {run_dir}` catches up")
    still = archsweep("track", run_dir, env=away)
    assert still.returncode == 2
    assert len(still.stderr.splitlines()) == 1
    caught_up = archsweep("track", run_dir, env=server.environment)
    assert (caught_up.returncode, caught_up.stderr) == (0, "")
    client = MlflowClient(server.client_uri)
    run = only_run(client, run_dir)
    assert run.info.run_id == caught_up.stdout.strip()
    assert run.info.status == "FINISHED"
    assert logged(client, run) == expected(run_dir)
    assert len(client.list_artifacts(run.info.run_id)) == 4
    assert "secret" not in "".join(process.stdout + process.stderr for process in (done, still, caught_up))
    assert not [path for path in files_of(tmp_path / "runs") if b"secret" in path.read_bytes()]
    assert not (tmp_path / "runs" / "mlflow.db").exists()


def test_a_server_that_is_killed_and_restarted_has_the_whole_history(
    start: Start, until: Until, server: Server, curves_table: Path, run_dir: Path, tmp_path: Path
) -> None:
    search = start("search", "--table", curves_table, "--trials", 10_000, "--out", run_dir, env=server.environment)
    until((run_dir / "metrics.jsonl").exists)
    search.send_signal(signal.SIGSTOP)
    until((run_dir / "mlflow_run_id").exists)
    server.kill()
    search.send_signal(signal.SIGCONT)
    until((run_dir / "tracking.log").exists)
    search.send_signal(signal.SIGSTOP)
    server.start()
    search.send_signal(signal.SIGCONT)
    out, complaint = search.communicate(timeout=200)
    assert (search.returncode, complaint) == (0, "")
    client = MlflowClient(server.client_uri)
    run = only_run(client, run_dir)
    assert run.info.status == "FINISHED"
    assert logged(client, run) == expected(run_dir)
    assert len(client.list_artifacts(run.info.run_id)) == 4
    assert not (run_dir / "tracking.log").exists()
    assert "secret" not in out
    assert not [path for path in files_of(tmp_path / "runs") if b"secret" in path.read_bytes()]


@pytest.mark.slow
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("kills", [3, 50])
def test_kills_of_the_driver_on_ray_and_of_the_server_leave_the_whole_history(
    kills: int,
    archsweep: Run,
    start: Start,
    until: Until,
    server: Server,
    curves_table: Path,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="r") as folder:  # sockets have short names
        head = ("start", "--head", "--block", "--num-cpus", 2, "--port", port, "--include-dashboard", "false")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # or it asks for a token where one lies in the home folder
        start(*head, "--temp-dir", folder, program=[str(Path(sys.executable).with_name("ray"))])
        until(lambda: connects(port))
        flags = ("search", "--table", curves_table, "--trials", 12_000, "--searcher", "random", "--out", run_dir)
        flags += ("--pool", "ray", "--address", f"127.0.0.1:{port}", "--workers", 1)
        journal, rng = run_dir / "journal.jsonl", np.random.default_rng(5)
        for kill in range(kills):
            if kill % 10 == 1:
                server.kill()
            if kill % 10 == 4:
                server.start()
            driver = start(*flags, env=server.environment)
            target = size(journal) + int(rng.uniform(2e3, 4e4))
            until(lambda target=target, driver=driver: size(journal) > target or driver.poll() is not None)
            assert driver.poll() is None, driver.communicate()
            time.sleep(float(rng.uniform(0, 0.2)))
            driver.kill()
            driver.wait()
        if not answers(f"{server.client_uri}/health"):
            server.start()
        last = archsweep(*flags, "--json", env=server.environment)
        assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["trials"] == 12_000
    assert archsweep("track", run_dir, env=server.environment).returncode == 0  # had it not caught up in a minute
    proof = archsweep("verify", run_dir, "--mlflow", "--json", env=server.environment)
    assert proof.returncode == 0, proof.stderr
    assert json.loads(proof.stdout)["agree"][-1] == "MLflow"
    client = MlflowClient(server.client_uri)
    assert logged(client, only_run(client, run_dir)) == expected(run_dir)


def test_the_ui_shows_what_is_tracked(
    archsweep: Run, start: Start, until: Until, flags: tuple[object, ...], run_dir: Path
) -> None:
    port = free_port()
    nothing = archsweep("ui", run_dir.parent)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith(f"archsweep: nothing is tracked in {run_dir.parent}; ")
    assert archsweep(*flags).returncode == 0
    start("ui", run_dir.parent, "--port", port)
    until(lambda: answers(f"http://127.0.0.1:{port}/"))
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/get?run_id={(run_dir / 'mlflow_run_id').read_text()}"
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert json.load(answer)["run"]["info"]["status"] == "FINISHED"
    taken = archsweep("ui", run_dir.parent, "--port", port)
    assert taken.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in taken.stderr
    elsewhere = archsweep("ui", env={"MLFLOW_TRACKING_URI": "https://user:secret@mlflow.example"})
    assert (elsewhere.returncode, elsewhere.stdout) == (
        0,
        "searches are tracked at https://mlflow.example, which has the UI\n",
    )
