"""NPENAS (Wei et al., 2022, arXiv:2003.12857): an evolution whose many mutants a predictor thins out.

Ten random cells; then the model ranks 100 mutants of the best ten, and the ten that it predicts best are evaluated
before it is fitted again. The published predictor (NP) is a graph network; here it is one of `surrogate`'s.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from numpy.random import Generator

from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial
from searchers.learned import Candidates, Learned
from surrogate.ensemble import Ensemble, Model


@dataclass
class Npenas:
    """Asynchronous: whatever is told counts at once, and what is pending is not proposed again."""

    space: CellSpace
    initial: int = field(default=10, metadata={"help": "random cells before the first model"})
    batch: int = field(default=10, metadata={"help": "cells told between two fits of the model"})
    model: Model = field(default=Model.TREES, metadata={"help": "trees or mlp"})
    members: int = field(default=5, metadata={"help": "models in the ensemble, whose mean ranks"})
    candidates: int = field(default=100, metadata={"help": "mutants ranked by each model"})
    parents: int = field(default=10, metadata={"help": "best cells that are mutated"})

    def __post_init__(self) -> None:
        self._learned = Learned(lambda: Ensemble(self.model, self.members), self.initial, self.batch)
        self._candidates = Candidates(self.space, self._learned, self.candidates, self.parents)

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        return self._candidates.propose(pending, rng, lambda predicted: predicted.score)

    def tell(self, trial: Trial) -> None:
        self._learned.tell(trial)
