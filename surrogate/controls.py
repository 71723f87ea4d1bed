"""Predictors to compare with, not to search with: what a filter is worth that knows nothing, little, or everything."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import Cells
from nas.nasbench101.network import catalogue_costs
from surrogate.base import Prediction, normal

DEGREE = 2
ORACLE = "oracle"


@dataclass
class Blind:
    """Knows the mean of what it was shown, and ranks at random."""

    _mean: float = 0.0
    _std: float = 0.0
    _seed: int = 0

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        self._mean, self._std, self._seed = float(accuracies.mean()), float(accuracies.std()), seed

    def predict(self, cells: Cells) -> Prediction:
        rank = np.random.default_rng(self._seed).standard_normal(CELLS)[cells]
        return normal(self._mean + self._std * rank, np.full(len(cells), self._std))


@dataclass
class ParametersOnly:
    """A parabola through accuracy against the logarithm of a network's parameters."""

    _coefficients: NDArray[np.float64] = field(default_factory=lambda: np.zeros(DEGREE + 1))
    _std: float = 0.0

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        powers = np.vander(_size(cells), DEGREE + 1, increasing=True)
        least = np.linalg.lstsq(powers, accuracies)[0]  # also where labels are too few
        self._coefficients = np.asarray(least, np.float64)
        self._std = float((accuracies - self.predict(cells).mean).std())

    def predict(self, cells: Cells) -> Prediction:
        mean = np.vander(_size(cells), DEGREE + 1, increasing=True) @ self._coefficients
        return normal(mean, np.full(len(cells), self._std))


@dataclass
class Oracle:
    """The truth: float64 (cells of the catalogue,), the accuracy of each; NaN, of which nothing is known, is worst."""

    truth: NDArray[np.float64]

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        """Learns nothing; it knows."""

    def predict(self, cells: Cells) -> Prediction:
        known = np.nan_to_num(self.truth[cells])
        return normal(known, np.zeros(len(cells)))


def _size(cells: Cells) -> NDArray[np.float64]:
    """The logarithm of the parameters in tens of millions, about -4 to 2, so that powers of it stay small."""
    size: NDArray[np.float64] = np.log(catalogue_costs()[cells, 0] / 1e7)
    return size
