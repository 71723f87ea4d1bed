"""A Gaussian process on graph and path features: a mean and an honest doubt, which searches of the whole space need.

Matern-3/2 kernel of fixed length on standardised features, so that the kernel between any two cells never changes and
that of the whole catalogue with a cell is computed once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from nas.catalogue import CELLS
from nas.features import Cells
from surrogate.base import Prediction, normal
from surrogate.ensemble import described

SCALE, LOW, HIGH = 0.01, -3.0, 4.0
"""Accuracies are learnt as (accuracy - median) / SCALE, cut: how bad a bad cell is does not matter."""
FARTHEST = 4.0
"""Standard deviations at which a feature is cut, so that a rare one makes no cell unlike all others."""
REFERENCE = 4_096
"""Cells, drawn from the catalogue once and for all, that features are standardised by."""
PARTS = 32
COLUMNS = 256
"""Kernel columns of the whole catalogue that are kept, of 1.7 MB each."""


@dataclass
class GaussianProcess:
    """A `Predictor`. length: of the kernel, in standard deviations of features; noise: variance relative to labels'."""

    length: float = 12.0
    noise: float = 0.3
    _cells: Cells = field(default_factory=lambda: np.zeros(0, np.int64))
    _weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    _root: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))
    _zero: float = 0.0
    _unit: float = 1.0

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        median = float(np.median(accuracies))
        targets = np.clip((accuracies - median) / SCALE, LOW, HIGH)
        spread = float(targets.std()) or 1.0
        self._zero, self._unit = median + SCALE * float(targets.mean()), SCALE * spread
        self._cells = np.asarray(cells)
        near = _kernel(_standardised(cells), _standardised(cells), self.length).astype(np.float64)
        self._root = cholesky(near + self.noise * np.eye(len(cells)), lower=True)
        centred = (targets - targets.mean()) / spread
        self._weights = solve_triangular(self._root, centred, lower=True)

    def predict(self, cells: Cells) -> Prediction:
        """The interval is that of the mean over trainings, without what one training differs from it."""
        whole = len(cells) == CELLS and bool(np.array_equal(cells, np.arange(CELLS)))
        inverse = np.linalg.inv(self._root).astype(np.float32)
        weights = self._weights.astype(np.float32)
        mean, variance = np.empty(len(cells)), np.empty(len(cells))
        labelled = _standardised(self._cells)
        columns = [_column(int(cell), self.length) for cell in self._cells] if whole else []
        for part in np.array_split(np.arange(len(cells)), PARTS if whole else 1):
            if whole:
                near = np.stack([column[part[0] : part[-1] + 1] for column in columns])
            else:
                near = _kernel(labelled, _standardised(cells[part]), self.length)
            projected = inverse @ near
            mean[part] = weights @ projected
            variance[part] = 1 - np.square(projected).sum(0)
        return normal(self._zero + self._unit * mean, self._unit * np.sqrt(np.maximum(variance, 1e-6)))


def _kernel(some: NDArray[np.float32], others: NDArray[np.float32], length: float) -> NDArray[np.float32]:
    """Matern-3/2, (some, others)."""
    return _near(_squares(some)[:, None] + _squares(others) - 2 * some @ others.T, length)


def _near(squared: NDArray[np.float32], length: float) -> NDArray[np.float32]:
    """Of squared distances."""
    distance = np.sqrt(np.maximum(squared, 0)) * np.float32(3**0.5 / length)
    return np.asarray((1 + distance) * np.exp(-distance), np.float32)


def _squares(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squared length of each row."""
    return np.asarray(np.einsum("cf,cf->c", features, features), np.float32)


@lru_cache(maxsize=COLUMNS)
def _column(cell: int, length: float) -> NDArray[np.float32]:
    """The kernel of one cell with the whole catalogue, float32 (cells,)."""
    everyone, squares = _whole()
    return _near(squares + squares[cell] - 2 * (everyone @ everyone[cell]), length)


@lru_cache(maxsize=1)
def _whole() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Standardised features of the whole catalogue, 122 MB, and their squared lengths."""
    everyone = np.concatenate([_standardised(part) for part in np.array_split(np.arange(CELLS), PARTS)])
    return everyone, _squares(everyone)


def _standardised(cells: Cells) -> NDArray[np.float32]:
    mean, std = _moments()
    standard: NDArray[np.float32] = np.clip((described(cells) - mean) / std, -FARTHEST, FARTHEST)
    return standard


@lru_cache(maxsize=1)
def _moments() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    features = described(np.random.default_rng(0).choice(CELLS, REFERENCE, replace=False))
    std = features.std(0)
    return features.mean(0), np.where(std > 0, std, 1).astype(np.float32)
