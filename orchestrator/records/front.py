"""What a search of several goals found: the cells that no other beats in all of them. A fold of the finished trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.nasbench101.cell import Cell
from nas.trial import Trial
from orchestrator.records.state import State
from searchers.goals import Goal, reached

WORST: Mapping[Goal, float] = {Goal.ACCURACY: 0.0, Goal.PARAMETERS: 49_979_274, Goal.MACS: 7_335_187_456}
"""No cell of NAS-Bench-101 is as bad in anything: the largest ones, of all
`nas.nasbench101.network.catalogue_costs`."""


@dataclass(frozen=True, slots=True)
class Best:
    """A trial that no other beats. values: how far it gets with each goal, all to be maximised, see `reached`."""

    trial: int
    cell: Cell
    values: tuple[float, ...]


class Front:
    """An observer that keeps the non-dominated trials; of equals the first. Its cost a trial grows with their number.

    epochs: of a full training; shorter ones do not count. longest: the training seconds that no cell exceeds, None if
    nobody knows.
    """

    def __init__(self, goals: tuple[Goal, ...], epochs: int, longest: float | None) -> None:
        self.goals, self._epochs = goals, epochs
        worst = {**WORST, Goal.SECONDS: longest}
        self._worst = [worst[goal] for goal in goals]
        self._known: float | None = 0.0
        self.points: list[Best] = []

    def __call__(self, trial: Trial, state: State) -> None:
        values = reached(trial, self.goals)
        if values is None or trial.proposal.epochs not in (None, self._epochs):
            return
        if any(_as_good(best.values, values) for best in self.points):
            return
        kept = [best for best in self.points if not _as_good(values, best.values)]
        self.points = [*kept, Best(trial.number, trial.proposal.cell, values)]
        self._known = None

    @property
    def hypervolume(self) -> float | None:
        """The share of the space of goals that the front dominates, from 0 to 1; None if a goal's worst is unknown.

        An accuracy counts from 0, a cost as the share that it saves of the worst there is.
        """
        if None in self._worst:
            return None
        if self._known is None:
            import moocore

            values, worst = np.array([best.values for best in self.points]), np.array(self._worst, np.float64)
            costs = np.array(self.goals) != Goal.ACCURACY
            shares = np.where(costs, np.maximum(0, 1 + values / np.where(costs, worst, 1)), values)
            self._known = float(moocore.hypervolume(shares, ref=[0.0] * len(self.goals), maximise=True))
        return self._known

    def to_json(self) -> list[dict[str, Any]]:
        """The front, the most accurate first where that is a goal: trial, hash, and every goal as it is."""
        return [
            {"trial": best.trial, "hash": best.cell.module_hash}
            | {goal.value: abs(value) for goal, value in zip(self.goals, best.values, strict=True)}
            for best in sorted(self.points, key=lambda best: best.values, reverse=True)
        ]


def _as_good(some: tuple[float, ...], others: tuple[float, ...]) -> bool:
    """Whether a point is at least as good in every goal."""
    return all(one >= other for one, other in zip(some, others, strict=True))
