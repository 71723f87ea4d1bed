"""WeakNAS (Wu et al., 2021, arXiv:2102.10490): weak predictors, fitted again and again, close in on the best region.

100 random cells; then every model ranks the whole space, and ten cells drawn uniformly from its top 100 are evaluated
before the next one is fitted; from the next 100 where models live longer than those last (see `Learned`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from searchers.learned import SPARE, Learned, unseen_sample
from surrogate.ensemble import Ensemble, Model


@dataclass
class WeakNas:
    """Asynchronous: whatever is told counts at once, and what is pending is not proposed again."""

    space: CellSpace
    initial: int = field(default=100, metadata={"help": "random cells before the first model"})
    batch: int = field(default=10, metadata={"help": "cells told between two fits of the model"})
    model: Model = field(default=Model.TREES, metadata={"help": "trees or mlp"})
    members: int = field(default=1, metadata={"help": "models whose mean ranks"})
    top: int = field(default=100, metadata={"help": "predicted best cells that are drawn from"})

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}")
        self._learned = Learned(lambda: Ensemble(self.model, self.members), self.initial, self.batch)
        self._ranked = 0
        self._best: NDArray[np.integer] = np.zeros(0, np.int64)

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        taken, ranked = self._learned.taken(pending), self._ranking()
        for first in range(0, len(ranked), self.top):
            chosen = [key for key in ranked[first : first + self.top].tolist() if key not in taken]
            if chosen:
                return Proposal(Cell.numbered(chosen[int(rng.random() * len(chosen))]), provenance={"by": "model"})
        return Proposal(unseen_sample(self.space, taken, rng), provenance={"by": "random"})

    def tell(self, trial: Trial) -> None:
        self._learned.tell(trial)

    def _ranking(self) -> NDArray[np.integer]:
        """The best of the cells that were not told when the model was fitted, more of them than will be asked of it."""
        model = self._learned.model()
        if model is not None and self._ranked != self._learned.fitted:
            self._ranked = self._learned.fitted
            score = model.predict(self.space.numbers).score.copy()
            told = np.array([cell.key for cell in self._learned.cells[: self._ranked]])
            score[np.searchsorted(self.space.numbers, told)] = -np.inf
            self._best = self.space.numbers[np.argsort(-score, kind="stable")[: self.top + SPARE + len(told)]]
        return self._best
