"""Evaluates a proposal by looking it up in a benchmark, a table of trainings or predictions of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from math import isnan
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError, EvaluationError
from nas.nasbench101.catalogue import CELLS
from nas.table.table import PREDICTED, Benchmark, Table
from nas.trial import Proposal, Result
from workers.source import Seconds, Source

Column = Literal["validation", "test"]


@dataclass(frozen=True)
class Objective:
    """What a searcher maximises.

    column: accuracy on the validation or the test set. repeat: ``sample`` draws one of the repeats for every trial, as
    the published benchmark does; ``mean`` averages them; a number takes that one. epochs: the budget; None means the
    table's largest.
    """

    column: Column = "validation"
    repeat: Literal["sample", "mean"] | int = "sample"
    epochs: int | None = None

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    @property
    def metric(self) -> str:
        return f"final_{self.column}_accuracy"


class TableEvaluator:
    """Looks trials up. Raises `DataError` if the benchmark cannot serve the objective at all.

    Results of a benchmark that was ``made`` by prediction say so, see `Result.source`.

    best: the highest mean test accuracy in the table at its largest budget, what regret is counted from; None if the
    table has no test accuracy. budgets: epochs at which a trial can be trained, up to the objective's.
    """

    def __init__(self, table: Benchmark, objective: Objective) -> None:
        self.table, self.objective = table, objective
        self._source = PREDICTED if PREDICTED in table.made else "table"
        self.epochs = table.budgets[-1] if objective.epochs is None else objective.epochs
        budget = table.budget_index(self.epochs)
        self.budgets = table.budgets[: budget + 1]
        if isinstance(objective.repeat, int) and not 0 <= objective.repeat < table.repeats:
            raise DataError(f"{table.path} has repeats 0 to {table.repeats - 1}; got repeat {objective.repeat}")
        if np.isnan(table.metric(objective.metric)[:, budget]).all():
            others = [
                c for c in ("validation", "test") if f"final_{c}_accuracy" in table.names and c != objective.column
            ]
            advice = (
                f'; choose --objective {others[0]}, or in a file objective.column = "{others[0]}"' if others else ""
            )
            raise DataError(f"{table.path} has no {objective.column} accuracy at {self.epochs} epochs{advice}")
        reported = _mean_over_repeats(table.metric("final_test_accuracy")[:, -1])
        self._reported = reported.data
        self.best = None if np.isnan(reported).all() else float(np.nanmax(reported))
        self._parameters = table.parameters.data

    def longest(self) -> float | None:
        """The most training seconds of any cell; None if the table has none."""
        if READ[0] not in self.table.names:
            return None
        seconds = self.table.metric(READ[0])[:, : len(self.budgets)]
        return None if np.isnan(seconds).all() else float(np.nanmax(seconds))

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        table = self.table
        row = table.row(proposal.cell.key)
        if row < 0:
            raise EvaluationError("the table does not hold this cell")
        epochs = proposal.epochs or self.epochs
        if epochs not in table.budgets:
            raise EvaluationError(f"the table has no budget of {epochs} epochs")
        budget = table.budgets.index(epochs)
        repeat = self._repeat(row, budget, seed)
        seconds, train, validation, test = (self._value(name, row, budget, repeat) for name in READ)
        objective = validation if self.objective.column == "validation" else test
        if objective is None:
            raise EvaluationError(f"the table has no {self.objective.column} accuracy of this cell at {epochs} epochs")
        reported = self._reported[row]
        known = None if isnan(reported) else reported
        return Result(objective, seconds, train, validation, test, self._parameters[row], known, self._source)

    def _repeat(self, row: int, budget: int, seed: int) -> int | None:
        """Which repeat this trial sees; None for the mean of all. Draws among those that the table has."""
        chosen = self.objective.repeat
        if chosen == "mean":
            return None
        if isinstance(chosen, int):
            return chosen
        drawn = seed % self.table.repeats
        if not isnan(self.table.value(self.objective.metric, row, budget, drawn)):
            return drawn
        there = np.flatnonzero(~np.isnan(self.table.metric(self.objective.metric)[row, budget]))
        return int(there[seed % len(there)]) if len(there) else drawn

    def _value(self, name: str, row: int, budget: int, repeat: int | None) -> float | None:
        """One metric, None where it is missing."""
        if repeat is None:
            value = float(_mean_over_repeats(self.table.metric(name)[row, budget]))
        else:
            value = self.table.value(name, row, budget, repeat)
        return None if isnan(value) else value


READ = ("final_training_time", "final_train_accuracy", "final_validation_accuracy", "final_test_accuracy")


def _mean_over_repeats(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(-1)
    total = np.where(there, values, 0).sum(-1)
    return np.asarray(np.where(count, total, np.nan) / np.maximum(count, 1))


@lru_cache(maxsize=1)
def true_accuracies(table: Benchmark, column: Column = "test", epochs: int | None = None) -> NDArray[np.float64]:
    """Mean accuracy of every cell of the catalogue, float64 (cells,), NaN where unknown. epochs: None for the most."""
    truth = np.full(CELLS, np.nan)
    budget = -1 if epochs is None else table.budget_index(epochs)
    truth[table.cells] = _mean_over_repeats(table.metric(f"final_{column}_accuracy")[:, budget])
    return truth


def open_evaluator(path: str, objective: Objective) -> TableEvaluator:
    """The evaluator of a table file, also for pools that make it in another process; opened once a process."""
    try:
        about = Path(path).stat()
    except OSError:
        return TableEvaluator(Table(path), objective)  # which says what is wrong
    return _evaluator(path, objective, (about.st_ino, about.st_size, about.st_mtime_ns))


@lru_cache(maxsize=4)
def _evaluator(path: str, objective: Objective, version: tuple[int, ...]) -> TableEvaluator:
    """The arms of a sweep share it. version: a file that was replaced is opened anew."""
    return TableEvaluator(Table(path), objective)


def table_source(path: Path, objective: Objective) -> Source:
    """What a search has to know of a table. Raises `DataError`."""
    evaluator = open_evaluator(str(path), objective)
    identity, tags = {"table": evaluator.table.fingerprint}, {"archsweep.table": path.name}
    return described(evaluator, partial(open_evaluator, str(path), objective), identity, tags)


def described(
    evaluator: TableEvaluator,
    elsewhere: Callable[[], TableEvaluator],
    identity: Mapping[str, str],
    tags: Mapping[str, str],
) -> Source:
    """A benchmark, as a search knows it."""
    table = evaluator.table
    return Source(
        here=lambda: evaluator,
        elsewhere=elsewhere,
        identity=identity,
        tags={**tags, "archsweep.source": PREDICTED} if PREDICTED in table.made else tags,
        budgets=evaluator.budgets,
        cells=None if len(table) == CELLS else table.cells,
        best=evaluator.best,
        longest=evaluator.longest,
        seconds=Seconds.RECORDED if "final_training_time" in table.names else Seconds.UNKNOWN,
    )
