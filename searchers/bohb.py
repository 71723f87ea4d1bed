"""BOHB (Falkner, Klein and Hutter, 2018, arXiv:1807.01774): Hyperband whose cells a density model proposes.

At the largest budget with enough results, one density is estimated of the best 15 % of the cells and one of the rest,
and the candidate with the highest ratio of the two is taken. A third of the cells stays random. Densities are products
of Aitchison and Aitken's kernels over 21 edges and five operations, as in HpBandSter.
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
MOST_POINTS = 500
MIN_BANDWIDTH = 1e-3
TRIES = 20


@dataclass
class Bohb:
    """Asynchronous as Hyperband is here. A model is fitted on the latest 500 results of a budget at most."""

    space: CellSpace
    budgets: tuple[int, ...] = field(default=NASBENCH101_BUDGETS, metadata={"help": "epochs, by default the table's"})
    eta: float = field(default=3.0, metadata={"help": "one in so many cells goes up"})
    random_share: float = field(default=1 / 3, metadata={"help": "share of cells drawn uniformly"})
    good_share: float = field(default=0.15, metadata={"help": "share of results that count as good"})
    samples: int = field(default=64, metadata={"help": "candidates compared by the ratio of densities"})
    bandwidth_factor: float = field(
        default=3.0, metadata={"help": "by how much candidates spread wider than the model"}
    )

    def __post_init__(self) -> None:
        checked(self.budgets, self.eta)
        if not 0 <= self.random_share <= 1 or not 0 < self.good_share < 1 or self.samples < 1:
            raise ValueError("random_share must be in [0, 1], good_share in (0, 1), samples at least 1")
        self._brackets = Brackets(self.budgets, hyperband_shapes(len(self.budgets), self.eta))
        self._told: dict[int, list[tuple[float, NDArray[np.int64]]]] = {epochs: [] for epochs in self.budgets}

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        slot = self._brackets.next(pending)
        if slot.promoted is not None:
            return Proposal(slot.promoted, slot.epochs, slot.provenance("promotion"))
        cell = self._modelled(rng) if rng.random() >= self.random_share else None
        if cell is None:
            return Proposal(self.space.sample(rng), slot.epochs, slot.provenance("random"))
        return Proposal(cell, slot.epochs, slot.provenance("model"))

    def tell(self, trial: Trial) -> None:
        self._brackets.tell(trial)
        if trial.result is not None and trial.proposal.epochs in self._told:
            vector = self.space.encode(trial.proposal.cell, Encoding.A).astype(int)
            told = self._told[trial.proposal.epochs]
            told.append((trial.result.objective, vector))
            del told[:-MOST_POINTS]

    def _modelled(self, rng: Generator) -> Cell | None:
        """A cell that the model finds promising; None without a model, or if it proposes none of the space."""
        least = len(CHOICES) + 1
        told = next((t for e in reversed(self.budgets) if len(t := self._told[e]) >= least + 2), None)
        if told is None:
            return None
        order = np.argsort([-objective for objective, _ in told], kind="stable")
        vectors = np.array([vector for _, vector in told])[order]
        good_count = max(least, int(self.good_share * len(told)))
        good, bad = vectors[:good_count], vectors[-max(least, len(told) - good_count) :]
        good_width, bad_width = bandwidths(good), bandwidths(bad)
        for _ in range(TRIES):
            centres = good[(rng.random(self.samples) * len(good)).astype(int)]
            moved = rng.random(centres.shape) < np.minimum(1, good_width * self.bandwidth_factor)
            sampled = np.where(moved, (rng.random(centres.shape) * CHOICES).astype(int), centres)
            ratio = log_density(sampled, good, good_width) - log_density(sampled, bad, bad_width)
            for index in np.argsort(-ratio, kind="stable"):
                try:
                    return self.space.decode(sampled[index], Encoding.A)
                except InvalidCellError:
                    continue
        return None


def bandwidths(points: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scott's rule for each of the variables of (points, variables), within what the kernel allows."""
    width = 1.06 * points.std(0) * len(points) ** (-1 / (4 + points.shape[1]))
    clipped: NDArray[np.float64] = np.clip(width, MIN_BANDWIDTH, (CHOICES - 1) / CHOICES)
    return clipped


def log_density(at: NDArray[np.int64], points: NDArray[np.int64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of each row of ``at``: the mean over points of the product over variables of 1 - h if equal, else h / (c - 1)."""
    same, other = np.log(1 - width), np.log(width / (CHOICES - 1))
    logs = np.stack([((row == points) * (same - other)).sum(1) for row in at]) + other.sum()
    highest = logs.max(1, keepdims=True)
    density: NDArray[np.float64] = highest[:, 0] + np.log(np.exp(logs - highest).mean(1))
    return density
