"""DEHB (Awad, Mallik and Hutter, 2021, arXiv:2105.09821): Hyperband whose cells come of differential evolution.

Every budget has a population of vectors in [0, 1]^26, as large as the largest rung that trains with it. The first
bracket is successive halving on random vectors. Afterwards every place of a rung is a member's: a mutant
a + F (b - c) of the best of the next smaller budget's population (of its own on the lowest rung), crossed with the
member, is trained, and takes its place if it does at least as well (rand/1/bin, F = Cr = 0.5).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nas.errors import InvalidCellError
from nas.nasbench101.catalogue import LABELS
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import EDGE_SPOTS, INTERIOR
from nas.nasbench101.space import CellSpace, Encoding
from nas.trial import Proposal, Trial
from searchers.brackets import NASBENCH101_BUDGETS, Brackets, checked, hyperband_shapes

CHOICES = np.array([2] * EDGE_SPOTS + [LABELS] * INTERIOR)
ATTEMPTS = 100
Vector = NDArray[np.float64]


@dataclass
class Dehb:
    """Asynchronous: a mutant is made of the populations as they are when it is asked for."""

    space: CellSpace
    budgets: tuple[int, ...] = field(default=NASBENCH101_BUDGETS, metadata={"help": "epochs, by default the table's"})
    eta: float = field(default=3.0, metadata={"help": "one in so many cells goes up"})
    mutation_factor: float = field(default=0.5, metadata={"help": "F, the weight of a difference"})
    crossover: float = field(default=0.5, metadata={"help": "Cr, the probability of a mutant's component"})

    def __post_init__(self) -> None:
        checked(self.budgets, self.eta)
        shapes = hyperband_shapes(len(self.budgets), self.eta)
        self._brackets = Brackets(self.budgets, shapes)
        self._sizes = {
            epochs: max(sizes[level - first] for first, sizes in shapes if level >= first)
            for level, epochs in enumerate(self.budgets)
        }
        self._populations: dict[int, list[tuple[float, Vector]]] = {epochs: [] for epochs in self.budgets}

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        slot = self._brackets.next(pending)
        if slot.bracket == 0 and slot.promoted is not None:
            return Proposal(slot.promoted, slot.epochs, slot.provenance("promotion"))
        population = self._populations[slot.epochs]
        pool = self._pool(slot.epochs, lower=slot.promoted is not None)
        if slot.bracket == 0 or len(pool) < 3 or len(population) < self._sizes[slot.epochs]:
            return Proposal(slot.promoted or self.space.sample(rng), slot.epochs, slot.provenance("random"))
        target = slot.place % len(population)
        found = self._evolved(population[target][1], pool, rng)
        if found is None:
            return Proposal(self.space.sample(rng), slot.epochs, slot.provenance("random"))
        cell, vector = found
        noted = {"target": target, "vector": [round(float(x), 6) for x in vector]}
        return Proposal(cell, slot.epochs, slot.provenance("evolution") | noted)

    def tell(self, trial: Trial) -> None:
        self._brackets.tell(trial)
        epochs, noted = trial.proposal.epochs, trial.proposal.provenance
        if trial.result is None or epochs not in self._populations:
            return
        population, objective = self._populations[epochs], trial.result.objective
        member = objective, self._vector(trial.proposal)
        if len(population) < self._sizes[epochs]:
            population.append(member)
            return
        worst = min(range(len(population)), key=lambda i: population[i][0])
        place = noted.get("target", worst)
        if objective >= population[place][0]:
            population[place] = member

    def _pool(self, epochs: int, lower: bool) -> list[Vector]:
        """Who mutants are made of: of the smaller budget's members the best, as many as the rung has places."""
        level = self.budgets.index(epochs)
        population = self._populations[self.budgets[level - 1] if lower else epochs]
        best = sorted(population, key=lambda member: -member[0])[: max(3, self._sizes[epochs])]
        return [vector for _, vector in (best if lower else population)]

    def _evolved(self, target: Vector, pool: list[Vector], rng: Generator) -> tuple[Cell, Vector] | None:
        for _ in range(ATTEMPTS):
            a, b, c = (pool[i] for i in rng.permutation(len(pool))[:3])
            mutant = a + self.mutation_factor * (b - c)
            outside = (mutant < 0) | (mutant > 1)
            mutant = np.where(outside, rng.random(len(mutant)), mutant)
            taken = rng.random(len(mutant)) < self.crossover
            taken[int(rng.random() * len(mutant))] = True
            vector = np.where(taken, mutant, target)
            try:
                return self.space.decode(np.minimum(vector * CHOICES, CHOICES - 1).astype(int), Encoding.A), vector
            except InvalidCellError:
                continue
        return None

    def _vector(self, proposal: Proposal) -> Vector:
        """As proposed, or the middle of each of the cell's choices."""
        noted = proposal.provenance.get("vector")
        return np.array(noted) if noted else (self.space.encode(proposal.cell, Encoding.A) + 0.5) / CHOICES
