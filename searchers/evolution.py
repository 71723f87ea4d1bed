"""Regularized evolution (Real et al., 2019, arXiv:1802.01548): a tournament picks the parent, the oldest dies.

Two published variants. ``notebook``: NASBench.ipynb of google-research/nasbench, population 50, tournament without
replacement, every edge and operation mutated with a small probability. ``paper``: Real et al., population 100,
tournament with replacement, exactly one change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

from numpy.random import Generator

from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Trial


class Variant(StrEnum):
    """Which of the two published algorithms."""

    NOTEBOOK = "notebook"
    PAPER = "paper"


POPULATION = {Variant.NOTEBOOK: 50, Variant.PAPER: 100}


@dataclass(frozen=True, slots=True)
class Member:
    """One of the population: the number of its trial, its cell as proposed, and its objective."""

    trial: int
    cell: Cell
    objective: float


@dataclass
class Evolution:
    """Asynchronous: the population is the last ``population`` trials told, in the order in which they were told."""

    space: CellSpace
    variant: Variant = field(default=Variant.NOTEBOOK, metadata={"help": "notebook or paper, see above"})
    population: int | None = field(
        default=None, metadata={"help": "members alive; by default 50 (notebook) or 100 (paper)"}
    )
    tournament: int = field(default=10, metadata={"help": "members compared to pick a parent"})
    mutation_rate: float = field(default=1.0, metadata={"help": "expected changed edges, and operations (notebook)"})

    def __post_init__(self) -> None:
        self.size = POPULATION[self.variant] if self.population is None else self.population
        if self.size < 1:
            raise ValueError(f"population must be at least 1, got {self.size}")
        if not 1 <= self.tournament <= self.size:
            raise ValueError(f"tournament must be 1 to population ({self.size}), got {self.tournament}")
        if not 0 < self.mutation_rate <= 5:
            raise ValueError(f"mutation_rate must be above 0 and at most 5, got {self.mutation_rate}")
        self._alive: deque[Member] = deque(maxlen=self.size)

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        if len(self._alive) + len(pending) < self.size or not self._alive:
            draw = self.space.sample_by_edges if self.variant is Variant.NOTEBOOK else self.space.sample
            return Proposal(draw(rng), provenance={"by": "random"})
        parent = self._winner(rng)
        if self.variant is Variant.NOTEBOOK:
            child = self.space.mutate(parent.cell, rng, self.mutation_rate)
        else:
            child = self.space.mutate_once(parent.cell, rng)
        return Proposal(child, provenance={"by": "mutation", "parent": parent.trial})

    def tell(self, trial: Trial) -> None:
        if trial.result is not None:
            self._alive.append(Member(trial.number, trial.proposal.cell, trial.result.objective))

    def _winner(self, rng: Generator) -> Member:
        """The best of a random tournament; of equals the one drawn first."""
        alive = len(self._alive)
        if self.variant is Variant.NOTEBOOK:
            drawn = rng.permutation(alive)[: self.tournament].tolist()
        else:
            drawn = [int(u * alive) for u in rng.random(self.tournament).tolist()]
        return max((self._alive[i] for i in drawn), key=lambda member: member.objective)
