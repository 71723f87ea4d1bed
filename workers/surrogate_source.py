"""Evaluates by what a surrogate predicts that was fitted on a few cells of a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError, EvaluationError
from nas.nasbench101.cell import Cell
from nas.table.table import Table
from nas.trial import Proposal, Result
from surrogate.base import Predictor
from surrogate.named import learnt_from, make_surrogate, refuse_learnt
from workers.source import Source
from workers.table import Objective, TableEvaluator, open_evaluator, table_source

SOURCE = "surrogate"


@dataclass(frozen=True)
class SurrogateSpec:
    """labels: cells of the table at ``table``, drawn uniformly with ``seed``, that the surrogate is fitted on."""

    table: Path
    objective: Objective
    surrogate: str
    labels: int
    seed: int


class SurrogateEvaluator:
    """Says what the surrogate predicts; of the table it has the labels, the training times, and, for the report, truth.

    Raises `DataError` if the table cannot serve the labels.
    """

    def __init__(self, spec: SurrogateSpec) -> None:
        self._table = TableEvaluator(Table(spec.table), spec.objective)
        self._model = fitted(self._table, spec)

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        """The prediction for the objective's epochs. Raises `EvaluationError` for others."""
        if proposal.epochs not in (None, self._table.epochs):
            raise EvaluationError(f"the surrogate predicts {self._table.epochs} epochs; got {proposal.epochs}")
        known = self._table(proposal, seed)
        mean = float(self._model.predict(np.array([proposal.cell.key])).mean[0])
        return Result(mean, known.training_seconds, parameters=known.parameters, reported=known.reported, source=SOURCE)


def fitted(table: TableEvaluator, spec: SurrogateSpec) -> Predictor:
    """The surrogate, fitted on labels as the table's objective gives them."""
    cells = table.table.cells
    if spec.labels > len(cells):
        raise DataError(f"{spec.table} has {len(cells)} cells; got {spec.labels} labels")
    model = make_surrogate(spec.surrogate)
    chosen, seeds = drawn(cells, spec.labels, spec.seed)
    values = [
        table(Proposal(Cell.numbered(int(key))), int(seed)).objective for key, seed in zip(chosen, seeds, strict=True)
    ]
    model.fit(chosen, np.array(values), spec.seed)
    return model


def drawn(cells: NDArray[np.int32], count: int, seed: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Cells, uniformly and none twice, and the seed of each one's training."""
    rng = np.random.default_rng(seed)
    return rng.choice(cells, count, replace=False), rng.integers(1 << 32, size=count)


def surrogate_source(spec: SurrogateSpec) -> Source:
    """What a search has to know of a surrogate of a table: its budget is one. Raises `ArchsweepError`."""
    table = table_source(spec.table, spec.objective)
    make = partial(SurrogateEvaluator, spec)
    make_surrogate(spec.surrogate)
    refuse_learnt(spec.surrogate, open_evaluator(str(spec.table), spec.objective).table)
    identity = {f"evaluator.{key}": value for key, value in asdict(spec).items() if key not in ("table", "objective")}
    return replace(
        table,
        here=make,
        elsewhere=make,
        identity={**table.identity, "evaluator.kind": SOURCE, **identity, **learnt_from(spec.surrogate)},
        tags={**table.tags, "archsweep.surrogate": spec.surrogate},
        budgets=table.budgets[-1:],
    )
