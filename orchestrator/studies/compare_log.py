"""What a comparison of surrogates leaves beside its runs: plots, and what tracking is told."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from nas.files import replacing
from orchestrator.pictures import plots
from orchestrator.pictures.plots import Series
from orchestrator.records.metrics import TrackedLines
from orchestrator.studies.compare import Arm, Measured, Truth
from orchestrator.tracking.store import default_uri
from orchestrator.tracking.tracker import Tracker
from surrogate.base import Prediction

EXPERIMENT = "archsweep"
INTERRUPTED_PATIENCE = 10.0


@dataclass
class CompareLog:
    """An observer of `compare`. error: why tracking failed, if it did."""

    folder: Path
    lines: TrackedLines | None
    error: str | None = None
    _runs: list[Measured] = field(default_factory=list)

    def __call__(self, run: Measured, predicted: Prediction | None, truth: Truth) -> None:
        self._runs.append(run)
        if predicted is not None and run.seed == 0:
            drawn = plots.against(predicted.mean, truth.mean, "predicted accuracy", "true accuracy")
            _save(self.folder / f"{_name(run.arm)}.svg", drawn)
        if self.lines is None:
            return
        values = {f"{_name(run.arm)}/{name}": value for name, value in run.metrics.items() if not isnan(value)}
        step = len(self._runs)
        self.lines.write({"step": step, "time": int(time.time() * 1_000), "metrics": {"finished": step, **values}})

    def artifacts(self) -> list[Path]:
        """Draws how reliable what is predicted was, and returns all plots."""
        arms = list(dict.fromkeys(run.arm for run in self._runs))
        found = [path for arm in arms if (path := self.folder / f"{_name(arm)}.svg").exists()]
        for labels in dict.fromkeys(arm.labels for arm in arms):
            series = [self._series(arm) for arm in arms if arm.labels == labels]
            path = self.folder / f"reliability-{labels}.svg"
            _save(path, plots.lines(series, "predicted accuracy", "true accuracy", log=False))
            found.append(path)
        return found

    def _series(self, arm: Arm) -> Series:
        bins = np.mean([run.reliability for run in self._runs if run.arm == arm], 0)
        return Series(arm.surrogate, bins[:, 0], bins[:, 1])


@contextmanager
def logged(folder: Path, track: bool, params: dict[str, Any], arms: Sequence[Arm]) -> Iterator[CompareLog]:
    """Plots, and tracks if it should, what is compared inside."""
    folder.mkdir(parents=True, exist_ok=True)
    if not track:
        log = CompareLog(folder, None)
        yield log
        log.artifacts()
        return
    described = {
        "name": folder.name,
        "experiment": EXPERIMENT,
        "params": {**params, "arms": " ".join(_name(arm) for arm in arms)},
        "tags": {
            "archsweep.kind": "compare",
            "archsweep.run_dir": str(folder),
            "archsweep.version": version("archsweep"),
        },
    }
    lines = TrackedLines(folder, described)
    log = CompareLog(folder, lines)
    tracker = Tracker(folder, default_uri(folder.absolute().parent))
    try:
        yield log
        artifacts = log.artifacts()
    except BaseException:
        lines.end("KILLED", (), {})
        tracker.join(INTERRUPTED_PATIENCE)
        raise
    lines.end("FINISHED", artifacts, {})
    log.error = tracker.join()


def _name(arm: Arm) -> str:
    return f"{arm.surrogate}-{arm.labels}"


def _save(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
