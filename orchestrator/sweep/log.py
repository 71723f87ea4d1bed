"""What tracking is told of a sweep: the arms that are done, as they end, and at the end how the searchers compare."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from math import isnan
from pathlib import Path
from typing import Any

from orchestrator.records.metrics import TrackedLines
from orchestrator.sweep.arm import Outcome
from orchestrator.sweep.plan import Arm
from orchestrator.sweep.report import GroupReport, Report


class SweepLog:
    """An observer that writes the file that `orchestrator.tracking.follow` follows.

    run: what tracking should call the sweep. done: folders of the arms that are.
    """

    def __init__(self, folder: Path, run: dict[str, Any], arms: Sequence[Arm], done: Collection[str]) -> None:
        self._described = {
            arm.folder: {
                "folder": arm.folder,
                "label": arm.group.label,
                "seed": arm.config.seed,
                "settings": arm.group.settings,
            }
            for arm in arms
        }
        self._lines = TrackedLines(folder, run)
        for arm in self._described:
            if arm in done:
                self._lines.write({"arm": self._described[arm]})

    def __call__(self, arm: str, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.failure is None:
            self._lines.write({"arm": self._described[arm]})

    def finished(self, report: Report | None, artifacts: Sequence[Path]) -> None:
        """The sweep is over: the mean of every searcher's arms, and these files, belong to it."""
        for group in () if report is None else report.groups:
            self._lines.write({"arm": _mean(group)})
        self._lines.end("FAILED" if report is None else "FINISHED", artifacts, {})

    def killed(self) -> None:
        """The sweep was interrupted."""
        self._lines.end("KILLED", (), {})


def _mean(group: GroupReport) -> dict[str, Any]:
    """A searcher's arms together, as `orchestrator.tracking.arms.child` reads it."""
    metrics = {
        "seeds": float(group.seeds),
        "trials": float(group.trials),
        "objective": group.objective,
        "duplicate_rate": group.duplicates,
        "utilisation": group.utilisation,
        "clock_seconds": group.clock,
    }
    curve = zip(group.by_queries.at.tolist(), group.by_queries.mean.tolist(), strict=True)
    return {
        "folder": f"{group.group.slug}, {group.seeds} seeds",
        "label": f"{group.group.label}, mean of {group.seeds}",
        "settings": group.group.settings,
        "metrics": {name: value for name, value in metrics.items() if not isnan(value)},
        "curve": [(int(step), loss) for step, loss in curve if not isnan(loss)],
        "time": int(time.time() * 1_000),
    }
