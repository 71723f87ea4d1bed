"""How the incumbent got better: a fold of the finished trials."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.nasbench101.cell import Cell
from nas.trial import Trial
from orchestrator.records.state import State


@dataclass(frozen=True, slots=True)
class Point:
    """The incumbent after ``finished`` trials.

    trial: the number of the incumbent's trial. test_accuracy: its mean over repeats where the table knows it, else the
    one observed. regret: the best test accuracy that can be had, minus that. clock, spent: seconds on the pool's clock,
    training seconds paid. source: who says so, see `Result`.
    """

    finished: int
    trial: int
    cell: Cell
    objective: float
    test_accuracy: float | None
    regret: float | None
    clock: float
    spent: float
    source: str


class Trajectory:
    """An observer that keeps a point for every new incumbent; memory grows with their number, not with the trials.

    The incumbent is the best observed at the most epochs: accuracies after different trainings do not compare.
    best: the highest test accuracy that can be had, or None if nobody knows.
    """

    def __init__(self, best: float | None) -> None:
        self._best = best
        self._reached = (0.0, -math.inf)
        self.points: list[Point] = []

    @property
    def incumbent(self) -> Point | None:
        return self.points[-1] if self.points else None

    def __call__(self, trial: Trial, state: State) -> None:
        result = trial.result
        if result is None:
            return
        epochs = trial.proposal.epochs
        reached = (math.inf if epochs is None else epochs, result.objective)
        if reached <= self._reached:
            return
        self._reached = reached
        test = result.test_accuracy if result.reported is None else result.reported
        regret = None if self._best is None or test is None else self._best - test
        self.points.append(
            Point(
                state.finished,
                trial.number,
                trial.proposal.cell,
                result.objective,
                test,
                regret,
                state.clock,
                state.spent,
                result.source,
            )
        )
