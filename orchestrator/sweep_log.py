"""What tracking is told of a sweep: the arms that are done, as they end, and at the end how the searchers compare."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.arm import Outcome
from orchestrator.metrics import TrackedLines
from orchestrator.report import Report
from orchestrator.sweep_config import Arm


class SweepLog:
    """An observer that writes the file that `orchestrator.tracking` follows.

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
        """The sweep is over: its run gets the mean curve of every searcher, and the files."""
        if report is not None:
            for group in report.groups:
                name = f"regret/{metric_name(group.group.label)}"
                for step, loss in zip(group.by_queries.at.tolist(), group.by_queries.mean.tolist(), strict=True):
                    if not np.isnan(loss):
                        line = {"step": int(step), "time": int(time.time() * 1_000), "metrics": {name: loss}}
                        self._lines.write(line)
        self._lines.end("FAILED" if report is None else "FINISHED", artifacts, {})

    def killed(self) -> None:
        """The sweep was interrupted."""
        self._lines.end("KILLED", (), {})


def metric_name(label: str) -> str:
    """A label with what MLflow takes in the name of a metric."""
    return re.sub(r"[^\w\-. ]+", "", label)
