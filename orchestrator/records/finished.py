"""What a finished search left, read back for reports and tracking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray

from nas.errors import DataError
from orchestrator.records.folder import RESULT, TRIALS

Floats = NDArray[np.float64]
COLUMNS = (
    "cell",
    "epochs",
    "finished",
    "objective",
    "test_accuracy",
    "reported",
    "training_seconds",
    "parameters",
    "source",
)


@dataclass(frozen=True)
class Incumbents:
    """Every new incumbent: after how many finished trials, at which second of the clock, which trial's row, its
    objective, and its regret (NaN where unknown).
    """

    queries: NDArray[np.int64]
    clock: Floats
    row: NDArray[np.int64]
    objective: Floats
    regret: Floats


class Record:
    """A search's summary and its finished trials, in the order in which they finished. Raises `DataError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.summary: Mapping[str, Any] = json.loads((folder / RESULT).read_bytes())
            self._trials = pyarrow.parquet.ParquetFile(folder / TRIALS).read(list(COLUMNS), use_threads=False)
        except (OSError, ValueError) as error:
            raise DataError(f"{folder} holds no finished search ({error})") from None

    def __len__(self) -> int:
        return int(self._trials.num_rows)

    def floats(self, name: str) -> Floats:
        """A column, NaN where a trial has no value."""
        values: Floats = self._trials.column(name).to_numpy().astype(np.float64)
        return values

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """Catalogue numbers."""
        numbers: NDArray[np.int64] = self._trials.column("cell").to_numpy().astype(np.int64)
        return numbers

    @cached_property
    def sources(self) -> list[str | None]:
        """Who evaluated each trial; None where it failed."""
        found: list[str | None] = self._trials.column("source").to_pylist()
        return found

    @cached_property
    def accuracy(self) -> Floats:
        """The best known test accuracy of each trial's cell: the table's mean over repeats, else the one observed."""
        reported = self.floats("reported")
        return np.where(np.isnan(reported), self.floats("test_accuracy"), reported)

    @cached_property
    def epochs(self) -> Floats:
        """What every trial was trained for; infinity where it does not say, which is as long as any."""
        epochs = self.floats("epochs")
        return np.where(np.isnan(epochs), np.inf, epochs)

    @cached_property
    def best(self) -> float:
        """The highest mean test accuracy that could be had; NaN if nobody knows."""
        regret, accuracy = self.summary["regret"], self.summary["best_test_accuracy"]
        return float("nan") if regret is None or accuracy is None else float(regret + accuracy)

    @cached_property
    def incumbents(self) -> Incumbents:
        """How the search got better, as `orchestrator.records.trajectory.Trajectory` has it."""
        objective = self.floats("objective")
        reached = np.stack([self.epochs, objective], 1)
        rank = np.unique(reached, axis=0, return_inverse=True)[1].reshape(-1)
        rank = np.where(np.isnan(objective), -1, rank)
        row = np.flatnonzero(rank > np.concatenate([[-1], np.maximum.accumulate(rank)[:-1]]))
        clock = np.maximum.accumulate(self.floats("finished"))
        return Incumbents(row + 1, clock[row], row, objective[row], (self.best - self.accuracy)[row])
