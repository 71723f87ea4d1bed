"""NSGA-II (Deb et al., 2002): evolution towards a front, here of accuracy against what a network costs.

Every generation, the best half of parents and children survives: by non-dominated front, within a front by crowding
distance. A binary tournament on the same order picks parents, which are crossed and mutated.
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
from searchers.goals import Goal, reached


@dataclass
class Nsga2:
    """Asynchronous: a generation ends whenever ``population`` children were told, whoever is still in flight."""

    space: CellSpace
    goals: tuple[Goal, ...] = field(
        default=(Goal.ACCURACY, Goal.PARAMETERS, Goal.SECONDS), metadata={"help": "accuracy, parameters, macs, seconds"}
    )
    population: int = field(default=50, metadata={"help": "cells that survive a generation"})
    crossover: float = field(default=0.9, metadata={"help": "probability that a child has two parents"})
    mutation_rate: float = field(default=1.0, metadata={"help": "expected changed edges, and operations"})

    def __post_init__(self) -> None:
        if self.population < 2 or not self.goals:
            raise ValueError(f"population must be at least 2 and goals not empty, got {self.population}, {self.goals}")
        if not 0 < self.mutation_rate <= 5:
            raise ValueError(f"mutation_rate must be above 0 and at most 5, got {self.mutation_rate}")
        self._parents: list[tuple[Cell, tuple[float, ...]]] = []  # best first
        self._children: list[tuple[Cell, tuple[float, ...]]] = []

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        if not self._parents:
            return Proposal(self.space.sample(rng), provenance={"by": "random"})
        mother, father = self._parent(rng), self._parent(rng)
        child = self.space.crossover(mother, father, rng) if rng.random() < self.crossover else mother
        return Proposal(self.space.mutate(child, rng, self.mutation_rate), provenance={"by": "variation"})

    def tell(self, trial: Trial) -> None:
        values = reached(trial, self.goals)
        if values is None:
            return
        self._children.append((trial.proposal.cell, values))
        if len(self._children) == self.population:
            # A cell counts once, or copies of one would crowd the others out.
            together = list({cell.key: (cell, values) for cell, values in self._parents + self._children}.values())
            order = ranked(np.array([values for _, values in together]))[: self.population]
            self._parents, self._children = [together[i] for i in order], []

    def _parent(self, rng: Generator) -> Cell:
        """The better of two: the parents are sorted."""
        return self._parents[int(rng.random(2).min() * len(self._parents))][0]


def ranked(values: NDArray[np.float64]) -> list[int]:
    """Indices of (points, goals), all maximised, best first: by front, then by crowding distance, then as given."""
    order: list[int] = []
    for front in fronts(values):
        distance = crowding(values[front])
        order += [front[i] for i in np.argsort(-distance, kind="stable")]
    return order


def fronts(values: NDArray[np.float64]) -> list[list[int]]:
    """Indices of each front: the points that only points of earlier fronts dominate. (points, goals), maximised."""
    at_least: NDArray[np.bool_] = np.all(values[:, None] >= values[None], axis=2)
    dominates = at_least & ~at_least.T
    dominated_by = dominates.sum(0)
    left, found = np.ones(len(values), bool), []
    while left.any():
        front = np.flatnonzero(left & (dominated_by == 0))
        found.append(front.tolist())
        left[front] = False
        dominated_by = dominated_by - dominates[front].sum(0)
    return found


def crowding(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Half the perimeter of the box between a point's neighbours in the front, goal by goal; infinite at the ends."""
    distance = np.zeros(len(values))
    for column in values.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
    return distance
