"""The records that travel through a search: what is proposed, what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from nas.nasbench101.cell import Cell

LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a searcher asks for.

    epochs: the budget to train with; None means the search's own (the largest of the table by default).
    provenance: how the searcher came to it, JSON values only; journalled, shown, never read back by the loop.
    """

    cell: Cell
    epochs: int | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What an evaluation says. Accuracies are fractions in [0, 1]; None means that the source does not have it.

    objective: the number that the searcher maximises, chosen by the search's `Objective`.
    training_seconds: what the training takes; of a result that is repeated, what it took, see `paid`.
    reported: mean test accuracy over all repeats, where a table knows it; for the report only, searchers must not read.
    source: who said so, e.g. "table"; `LEDGER` for a result repeated from an earlier isomorphic trial.
    """

    objective: float
    training_seconds: float | None
    train_accuracy: float | None = None
    validation_accuracy: float | None = None
    test_accuracy: float | None = None
    parameters: int | None = None
    reported: float | None = None
    source: str = "table"

    @property
    def paid(self) -> float:
        """Training seconds that this evaluation cost: none if it repeats another, or if nobody knows."""
        return 0.0 if self.source == LEDGER else self.training_seconds or 0.0


class Status(StrEnum):
    """Where a trial stands."""

    PENDING = "pending"
    TOLD = "told"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal on its way. Times are seconds on the pool's clock, counted from the start of the search.

    seed: what the evaluation may draw from, e.g. which repeat of the table it sees.
    worker: the slot that was free when the trial was asked.
    result, failure: at most one of them, once the trial is finished.
    """

    number: int
    proposal: Proposal
    seed: int
    worker: int
    asked: float
    started: float | None = None
    finished: float | None = None
    result: Result | None = None
    failure: str | None = None

    @property
    def status(self) -> Status:
        if self.finished is None:
            return Status.PENDING
        return Status.TOLD if self.result is not None else Status.FAILED

    def succeeded(self, result: Result, started: float, finished: float) -> Trial:
        return self._finished(result, None, started, finished)

    def failed(self, reason: str, started: float, finished: float) -> Trial:
        return self._finished(None, reason, started, finished)

    def _finished(self, result: Result | None, failure: str | None, started: float, finished: float) -> Trial:
        # Spelled out because `dataclasses.replace` takes five times as long, at every trial.
        return Trial(self.number, self.proposal, self.seed, self.worker, self.asked, started, finished, result, failure)
