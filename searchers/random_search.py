"""Random search, the baseline that every other searcher has to beat (Bergstra and Bengio, 2012)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from numpy.random import Generator

from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial


class Sampling(StrEnum):
    """uniform: over unique cells. edges: the published notebook's, each edge with probability 1/2."""

    UNIFORM = "uniform"
    EDGES = "edges"


@dataclass
class RandomSearch:
    """Draws every cell independently."""

    space: CellSpace
    sampling: Sampling = field(default=Sampling.UNIFORM, metadata={"help": "uniform over unique cells, or by edges"})

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        if self.sampling is Sampling.UNIFORM:
            return Proposal(self.space.sample(rng))
        return Proposal(self.space.sample_by_edges(rng))

    def tell(self, trial: Trial) -> None:
        """Random search learns nothing."""
