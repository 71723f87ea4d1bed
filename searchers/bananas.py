"""BANANAS (White, Neiswanger and Savani, 2021, arXiv:1910.11858): an ensemble, path encoding, Thompson sampling.

Ten random cells; then the model scores 100 mutants of the best cells by independent Thompson sampling, a draw from
N(mean, std) each, and the ten with the highest draws are evaluated before it is fitted again.
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
class Bananas:
    """Asynchronous: whatever is told counts at once, and what is pending is not proposed again."""

    space: CellSpace
    initial: int = field(default=10, metadata={"help": "random cells before the first model"})
    batch: int = field(default=10, metadata={"help": "cells told between two fits of the model"})
    model: Model = field(default=Model.MLP, metadata={"help": "mlp (published) or trees"})
    members: int = field(default=5, metadata={"help": "models in the ensemble"})
    candidates: int = field(default=100, metadata={"help": "mutants scored by each model"})
    parents: int = field(default=10, metadata={"help": "best cells that are mutated"})

    def __post_init__(self) -> None:
        self._learned = Learned(lambda: Ensemble(self.model, self.members), self.initial, self.batch)
        self._candidates = Candidates(self.space, self._learned, self.candidates, self.parents)

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        return self._candidates.propose(
            pending, rng, lambda predicted: predicted.mean + predicted.std * rng.standard_normal(len(predicted))
        )

    def tell(self, trial: Trial) -> None:
        self._learned.tell(trial)
