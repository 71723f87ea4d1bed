"""Logs a search to MLflow, in a thread of its own so that the search does not wait for the server.

One run a search. Metrics have the number of finished trials as their step and are thinned: every new incumbent, every
one of the first hundred trials, then one in fifty on a logarithmic scale, so a run of any length stays a few hundred
points. The whole trajectory is an artifact. A resumed search goes on with the run that it began.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from filelock import FileLock

from nas.files import replacing
from nas.trial import Trial
from orchestrator.config import TrackingConfig
from orchestrator.state import State
from orchestrator.trajectory import Point, Trajectory

DENSE, GROWTH = 100, 1.02
BATCH = 1_000  # the most entities that MLflow takes in one log_batch
RUN_ID_FILE = "mlflow_run_id"

Measured = tuple[int, int, dict[str, float]]
"""(step, milliseconds since the epoch, metrics)."""


def default_uri(folder: Path) -> str:
    """The tracking store of the runs in a folder: MLFLOW_TRACKING_URI if it is set, else SQLite in that folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.db'}"


class Tracker:
    """An observer that logs to MLflow. ``error`` is the first thing that went wrong; the search goes on without it.

    trajectory must observe before it. params and tags describe the run.
    """

    def __init__(
        self,
        config: TrackingConfig,
        run_dir: Path,
        trajectory: Trajectory,
        name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        self._config, self._run_dir, self._name = config, run_dir, name
        self._trajectory = trajectory
        self._params, self._tags = params, tags
        self._due = 1
        self._logged: Point | None = None
        self._queue: SimpleQueue[Measured | None] = SimpleQueue()
        self._artifacts: Sequence[Path] = ()
        self._status = "KILLED"
        self.run_id: str | None = None
        self.error: str | None = None
        self._thread = Thread(target=self._run, name="mlflow", daemon=True)
        self._thread.start()

    def __call__(self, trial: Trial, state: State) -> None:
        incumbent = self._trajectory.incumbent
        if state.finished < self._due and incumbent is self._logged:
            return
        self._logged = incumbent
        self._due = max(state.finished + 1, int(state.finished * GROWTH) if state.finished > DENSE else 0)
        self._queue.put((state.finished, int(time.time() * 1_000), measured(incumbent, state)))

    def finish(self, artifacts: Sequence[Path], complete: bool) -> None:
        """Logs what is left, uploads artifacts and ends the run, as FINISHED or KILLED. Blocks until that is done."""
        self._artifacts, self._status = artifacts, "FINISHED" if complete else "KILLED"
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._log()
        except Exception as error:  # whatever tracking meets, the search must not die of it
            self.error = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"

    def _log(self) -> None:
        client = _client(self._config.uri or default_uri(self._run_dir.parent))
        self.run_id, last = self._begin(client)
        over = False
        while not over:
            points, over = self._take()
            self._log_points(client, [point for point in points if point[0] > last])
        for path in self._artifacts:
            client.log_artifact(self.run_id, str(path))
        client.set_terminated(self.run_id, self._status)

    def _take(self) -> tuple[list[Measured], bool]:
        """Everything queued, after waiting for the first; and whether that was the end."""
        points = []
        item = self._queue.get()
        try:
            while item is not None:
                points.append(item)
                item = self._queue.get_nowait()
        except Empty:
            return points, False
        return points, True

    def _log_points(self, client: Any, points: Sequence[Measured]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, when, step) for step, when, values in points for name, value in values.items()]
        for first in range(0, len(metrics), BATCH):
            client.log_batch(self.run_id, metrics=metrics[first : first + BATCH])

    def _begin(self, client: Any) -> tuple[str, int]:
        """The run of this folder, made if need be, and the last step that it has."""
        from mlflow.entities import Param, RunTag
        from mlflow.exceptions import MlflowException

        file = self._run_dir / RUN_ID_FILE
        if file.exists():
            try:
                run = client.get_run(file.read_text().strip())
            except MlflowException:
                pass  # another store, or the run was deleted: begin anew
            else:
                client.update_run(run.info.run_id, status="RUNNING")
                return run.info.run_id, int(run.data.metrics.get("finished", 0))
        experiment = self._experiment(client)
        run_id: str = client.create_run(experiment, run_name=self._name).info.run_id
        client.log_batch(
            run_id,
            params=[Param(key, str(value)) for key, value in self._params.items()],
            tags=[RunTag(key, value) for key, value in self._tags.items()],
        )
        with replacing(file) as temporary:
            temporary.write_text(run_id)
        return run_id, 0

    def _experiment(self, client: Any) -> str:
        name = self._config.experiment
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = client.tracking_uri.startswith("sqlite:")
        artifacts = (self._run_dir.parent.absolute() / "mlartifacts").as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=artifacts))


def measured(incumbent: Point | None, state: State) -> dict[str, float]:
    """The metrics of a moment. Accuracies are fractions; what is unknown is left out."""
    values: dict[str, float | None] = {
        "finished": state.finished,
        "failed": state.failed,
        "duplicate_rate": state.duplicate_rate,
        "clock_seconds": state.clock,
        "training_seconds": state.spent,
    }
    if incumbent is not None:
        values |= {
            "objective": incumbent.objective,
            "test_accuracy": incumbent.test_accuracy,
            "regret": incumbent.regret,
        }
    return {name: float(value) for name, value in values.items() if value is not None}


def _client(uri: str) -> Any:
    """A client whose store is ready. Searches that start together on a new SQLite file create its schema in turn."""
    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):  # after the import, which sets its own level
        logging.getLogger(noisy).setLevel(logging.ERROR)

    turn: AbstractContextManager[Any] = nullcontext()
    if uri.startswith("sqlite:///"):
        turn = FileLock(uri.removeprefix("sqlite:///") + ".lock")
    with turn:
        client = MlflowClient(tracking_uri=uri)
        client.search_experiments(max_results=1)
    return client
