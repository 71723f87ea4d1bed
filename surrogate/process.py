"""A Gaussian process with a Matern-3/2 kernel on how signals flow through a cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from nas.features import Cells
from surrogate.ranker import Doubles, Floats, standardised

Array = TypeVar("Array", Floats, Doubles)
LENGTH, NOISE = 15.0, 0.15
"""Of the kernel where labels are too many to choose by likelihood, and where the search for the best begins."""
MOST_CHOSEN, LOOKS = 1_000, 60


@dataclass
class Process:
    """A `Ranker`. length: of the kernel, noise: variance relative to the kernel's; after `learn` the likeliest."""

    length: float = LENGTH
    noise: float = NOISE
    _features: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32), repr=False)
    _weights: Floats = field(default_factory=lambda: np.zeros(0, np.float32), repr=False)

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        self._features = standardised(cells)
        precise = self._features.astype(np.float64)
        distances = np.sqrt(_squared_distances(precise, precise))
        if len(cells) <= MOST_CHOSEN:
            self.length, self.noise = _likeliest(distances, scores)
        factor = cho_factor(_kernel(distances, self.length) + self.noise * np.eye(len(cells)), lower=True)
        self._weights = cho_solve(factor, scores).astype(np.float32)

    def score(self, cells: Cells) -> Doubles:
        near = _kernel(np.sqrt(_squared_distances(standardised(cells), self._features)), self.length)
        return np.asarray(near @ self._weights, np.float64)


def _likeliest(distances: Doubles, targets: Doubles) -> tuple[float, float]:
    """The kernel's length and noise of highest marginal likelihood, its variance at its best."""

    def loss(logarithms: Doubles) -> float:
        length, noise = np.exp(np.clip(logarithms, np.log(1e-2), np.log(1e3)))
        factor, lower = cho_factor(_kernel(distances, length) + noise * np.eye(len(targets)), lower=True)
        fit = targets @ cho_solve((factor, lower), targets) / len(targets) + 1e-12  # labels may be all alike
        return float(len(targets) * np.log(fit) / 2 + np.log(np.diag(factor)).sum())

    found = minimize(loss, np.log([LENGTH, NOISE]), method="Nelder-Mead", options={"maxfev": LOOKS})
    length, noise = np.exp(np.clip(found.x, np.log(1e-2), np.log(1e3)))
    return float(length), float(noise)


def _kernel(distances: Array, length: float) -> Array:
    scaled = distances * distances.dtype.type(3**0.5 / length)
    return np.asarray((1 + scaled) * np.exp(-scaled), distances.dtype)


def _squared_distances(some: Array, others: Array) -> Array:
    squares = np.square(some).sum(1)[:, None] + np.square(others).sum(1) - 2 * some @ others.T
    return np.asarray(np.maximum(squares, 0), some.dtype)
