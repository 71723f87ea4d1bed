"""The metrics of a search over time, thinned, in a file of its own: what tracking follows.

``metrics.jsonl`` holds a line that describes the run, a line a measured step, and at the end a line that says so. It is
a function of the journal but for the wall-clock times, and written anew when a search is resumed. Because the file is
the queue between the search and its tracker, neither waits for the other, and a tracking server that was away can be
brought up to date later.

The step is the number of finished trials. Measured are every new incumbent, each of the first hundred trials, then one
in fifty on a logarithmic scale, and the end: a few hundred steps for a run of any length. Of live trainings there is
also a line an epoch, ``{"curve": "trial_7", "step": epoch, ...}``, as it comes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from nas.errors import ArchsweepError
from nas.files import no_room
from nas.trial import Trial
from orchestrator.records.folder import METRICS_FILE
from orchestrator.records.front import Front
from orchestrator.records.state import State
from orchestrator.records.trajectory import Point, Trajectory
from orchestrator.records.usage import Usage

DENSE, GROWTH = 100, 1.02


class TrackedLines:
    """The file, written anew: a line that describes the run, those that are written, and one that says "end"."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self._path = path = folder / METRICS_FILE
        try:
            path.unlink(missing_ok=True)  # who still follows the old file must not see it shrink
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise ArchsweepError(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from None
        self.write({"run": run})

    def write(self, line: Mapping[str, Any]) -> None:
        """Adds a line; whoever follows the file sees it whole or not yet."""
        try:
            self._file.write(orjson.dumps(line) + b"\n")
        except OSError as error:
            raise no_room(self._path, error) from None

    def end(self, status: str, artifacts: Sequence[Path], tags: Mapping[str, str]) -> None:
        """Closes the file: the run is FINISHED or KILLED, and these files and tags belong to it."""
        self.write({"end": status, "artifacts": [str(path.absolute()) for path in artifacts], "tags": tags})
        self._file.close()


class MetricsFile:
    """An observer that writes the file; `trajectory`, `usage` and `front` must observe before it.

    front: None if the search has one goal.
    run: what tracking should call the run: name, experiment, params, tags.
    """

    def __init__(
        self, run_dir: Path, trajectory: Trajectory, usage: Usage, run: Mapping[str, Any], front: Front | None = None
    ) -> None:
        self._trajectory, self._usage, self._front = trajectory, usage, front
        self._due = 1
        self._measured: Point | None = None
        self._written = 0
        self._last: State | None = None
        self._lines = TrackedLines(run_dir, run)

    def __call__(self, trial: Trial, state: State) -> None:
        self._last = state
        incumbent = self._trajectory.incumbent
        if state.finished < self._due and incumbent is self._measured:
            return
        self._measured = incumbent
        self._due = max(state.finished + 1, int(state.finished * GROWTH) if state.finished > DENSE else 0)
        self._measure(state)

    def curve(self, name: str, epoch: Mapping[str, float]) -> None:
        """Adds an epoch of a training; safe beside another thread, for a line is one write."""
        self._lines.write(
            {"curve": name, "step": int(epoch["epoch"]), "time": int(time.time() * 1_000), "metrics": epoch}
        )

    def end(self, status: str, artifacts: Sequence[Path] = (), tags: Mapping[str, str] | None = None) -> None:
        """Closes the file: the run is FINISHED or KILLED, and these files and tags belong to it."""
        if status == "FINISHED" and self._last is not None and self._last.finished > self._written:
            self._measure(self._last)
        self._lines.end(status, artifacts, tags or {})

    def _measure(self, state: State) -> None:
        self._written = state.finished
        values = measured(self._trajectory.incumbent, state, self._usage, self._front)
        self._lines.write({"step": state.finished, "time": int(time.time() * 1_000), "metrics": values})


def measured(incumbent: Point | None, state: State, usage: Usage, front: Front | None) -> dict[str, float]:
    """The metrics of a moment. Accuracies are fractions; what is unknown is left out."""
    values: dict[str, float | None] = {
        "finished": state.finished,
        "failed": state.failed,
        "duplicate_rate": state.duplicate_rate,
        "clock_seconds": state.clock,
        "training_seconds": state.spent,
        "utilisation": usage.utilisation(state.clock),
        "cost": usage.cost(state.clock),
    }
    if incumbent is not None:
        values |= {
            "objective": incumbent.objective,
            "test_accuracy": incumbent.test_accuracy,
            "regret": incumbent.regret,
        }
    if front is not None:
        values |= {"hypervolume": front.hypervolume, "front_size": len(front.points)}
    return {name: float(value) for name, value in values.items() if value is not None}
