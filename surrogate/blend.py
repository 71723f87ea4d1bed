"""Rankers of different kinds, which err differently, together; see docs/surrogate.md for what each adds.

Graph networks alone need many labels. So what a Gaussian process and trees say of cells without labels teaches them
first, and the labels teach them what the others got wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import Cells
from surrogate.boosted import Boosted
from surrogate.gnn import Network
from surrogate.process import Process
from surrogate.ranker import Doubles, Ranker

UNLABELLED, FEWER = 16_000, 4_000
"""Cells that teach the networks, and those that only the calibration needs."""
NETWORKS = 2
"""A third gains nothing beside the others; one costs a little."""
PROCESS = 0.6
"""What the Gaussian process counts beside the trees."""


@dataclass
class Flow:
    """A `Ranker`: a Gaussian process and boosted trees on how signals flow through a cell."""

    process: Process = field(default_factory=Process)
    trees: Boosted = field(default_factory=Boosted)

    def apart(self) -> Flow:
        return Flow(self.process.apart(), self.trees.apart())

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        self.process.learn(cells, scores, seed)
        self.trees.learn(cells, scores, seed)

    def score(self, cells: Cells) -> Doubles:
        return PROCESS * self.process.score(cells) + (1 - PROCESS) * self.trees.score(cells)


@dataclass
class Taught:
    """A `Ranker`: another, and graph networks that it teaches, half and half."""

    teacher: Ranker = field(default_factory=Flow)
    network: Network = field(default_factory=lambda: Network(NETWORKS))
    unlabelled: int = UNLABELLED

    def apart(self) -> Taught:
        return Taught(self.teacher.apart(), self.network.apart(), FEWER)

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        self.teacher.learn(cells, scores, seed)
        unlabelled = _unlabelled()[: self.unlabelled]
        self.network.learn(cells, scores, seed, (unlabelled, self.teacher.score(unlabelled)))

    def score(self, cells: Cells) -> Doubles:
        return (self.teacher.score(cells) + self.network.score(cells)) / 2


@lru_cache(maxsize=1)
def _unlabelled() -> Cells:
    return np.random.default_rng(0).choice(CELLS, UNLABELLED, replace=False)
