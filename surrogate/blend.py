"""The weighted mean of rankers of different kinds, which err differently; see docs/surrogate.md for what each adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nas.features import Cells
from surrogate.boosted import Boosted
from surrogate.calibrated import Calibrated
from surrogate.process import Process
from surrogate.ranker import Doubles, Ranker


@dataclass
class Mixture:
    """A `Ranker`."""

    parts: list[tuple[Ranker, float]]

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        for ranker, _ in self.parts:
            ranker.learn(cells, scores, seed)

    def score(self, cells: Cells) -> Doubles:
        total = sum(weight for _, weight in self.parts)
        return np.asarray(sum(weight * ranker.score(cells) for ranker, weight in self.parts) / total)


def flow() -> Calibrated:
    """A Gaussian process and boosted trees: a second from few labels."""
    return Calibrated(lambda fold: Mixture([(Process(), 1.0), (Boosted(), 1.0)]))


def blend() -> Calibrated:
    """And graph networks, one instead of three where only the calibration needs them."""
    from surrogate.gnn import Network  # torch takes seconds to import

    return Calibrated(lambda fold: Mixture([(Process(), 0.5), (Boosted(), 0.5), (Network(1 if fold else 3), 1.0)]))
