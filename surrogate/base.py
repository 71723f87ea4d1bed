"""What a model of cells owes its users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.nasbench101.features import Cells

COVERAGE = 0.9
"""The share of cells whose accuracy lies within the interval that is predicted of them."""
DEVIATIONS = 1.6448536269514722
"""A normal distribution has `COVERAGE` of its mass within so many standard deviations of its mean."""


@dataclass(frozen=True)
class Prediction:
    """What is predicted of cells; float64 (cells,) each.

    mean: the expected accuracy. low, high: the interval that holds the accuracy with probability `COVERAGE`. score:
    what cells are ranked by, of no unit, higher is better; its order may be finer than the mean's.
    """

    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    score: NDArray[np.float64]

    @property
    def std(self) -> NDArray[np.float64]:
        """The standard deviation of the normal distribution whose interval is as wide."""
        return (self.high - self.low) / (2 * DEVIATIONS)

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, chosen: NDArray[np.integer] | NDArray[np.bool_] | list[int]) -> Prediction:
        return Prediction(self.mean[chosen], self.low[chosen], self.high[chosen], self.score[chosen])


class Predictor(Protocol):
    """Predicts the accuracy of cells it has not seen."""

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        """Learns from trained cells, all anew. The outcome is a function of the arguments, in any process."""
        ...

    def predict(self, cells: Cells) -> Prediction: ...


def normal(mean: NDArray[np.float64], std: NDArray[np.float64]) -> Prediction:
    """The prediction of a model that says how far it may be off, and ranks by its mean."""
    return Prediction(mean, mean - DEVIATIONS * std, mean + DEVIATIONS * std, mean)
