"""A Gaussian process and boosted trees, averaged: the surrogate that ranks best for its cost, see docs/surrogate.md.

Both learn normal scores, an accuracy's rank through the normal quantile, from how signals flow through the cell. What
they say together is turned into accuracies by a monotone fit to what they say of cells that they were not fitted on
(isotonic regression), and how far off they are there is how wide the interval is (split conformal prediction, by folds:
Vovk, 2015, arXiv:1208.0651). So it is the interval of one training of a cell, noise included.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import norm, rankdata
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.isotonic import IsotonicRegression

from nas.catalogue import CELLS
from nas.features import Cells, graph_features, path_encoding
from nas.flow import flow_features, path_moments
from surrogate.base import COVERAGE, Prediction

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Array = TypeVar("Array", Floats, Doubles)

SHORT_PATHS = 40
FARTHEST = 4.0
"""Standard deviations at which a feature is cut, so that a rare one makes no cell unlike all others."""
REFERENCE = 4_096
"""Cells, drawn from the catalogue once and for all, that features are standardised by."""
PART = 16_384
"""Cells that are predicted at a time."""
FOLDS, TREES = 5, 2
LENGTH, NOISE = 15.0, 0.15
"""Of the kernel where labels are too many to choose by likelihood, and where the search for the best begins."""
MOST_CHOSEN, LOOKS = 1_000, 60


@dataclass
class Blend:
    """A `Predictor`."""

    _process: Process | None = None
    _trees: list[GradientBoostingRegressor] = field(default_factory=list)
    _accuracy: IsotonicRegression | None = None
    _below: float = 0.0
    _above: float = 0.0

    def fit(self, cells: Cells, accuracies: Doubles, seed: int) -> None:
        cells = np.asarray(cells)
        scores = norm.ppf((rankdata(accuracies) - 0.5) / len(accuracies))
        self._learn(cells, scores, seed)
        assert self._process is not None
        unseen = np.empty(len(cells))
        fold = np.random.default_rng(seed).permutation(len(cells)) % min(FOLDS, len(cells))
        for number in range(fold.max() + 1):
            known, left = fold != number, fold == number
            apart = Blend()
            apart._learn(cells[known], scores[known], seed, self._process.shape)
            unseen[left] = apart._scored(cells[left])
        self._accuracy = _monotone().fit(unseen, accuracies)
        errors = np.empty(len(cells))
        for number in range(fold.max() + 1):  # of a monotone fit that has not seen them either
            known, left = fold != number, fold == number
            errors[left] = accuracies[left] - _monotone().fit(unseen[known], accuracies[known]).predict(unseen[left])
        errors.sort()
        self._below = min(0.0, _quantile(errors, (1 - COVERAGE) / 2))
        self._above = max(0.0, _quantile(errors, (1 + COVERAGE) / 2))

    def predict(self, cells: Cells) -> Prediction:
        assert self._accuracy is not None, "fit comes first"
        score = self._scored(np.asarray(cells))
        mean = self._accuracy.predict(score).astype(np.float64)
        return Prediction(mean, mean + self._below, mean + self._above, score)

    def _learn(self, cells: Cells, scores: Doubles, seed: int, shape: tuple[float, float] | None = None) -> None:
        """Fits both models. shape: of the kernel; chosen if None."""
        standard, plain = _features(cells)
        self._process = Process.fitted(standard.astype(np.float64), scores, shape)
        self._trees = [_boosted(seed * TREES + tree).fit(plain, scores) for tree in range(TREES)]

    def _scored(self, cells: Cells) -> Doubles:
        assert self._process is not None, "fit comes first"
        scores = np.empty(len(cells))
        for first in range(0, len(cells), PART):
            part = slice(first, first + PART)
            standard, plain = _features(cells[part])
            boosted = np.mean([tree.predict(plain) for tree in self._trees], 0)
            scores[part] = (self._process.mean(standard) + boosted) / 2
        return scores


@dataclass(frozen=True)
class Process:
    """A Gaussian process with a Matern-3/2 kernel. shape: its length and the noise's variance relative to its own."""

    shape: tuple[float, float]
    features: Floats
    weights: Floats

    @classmethod
    def fitted(cls, features: Doubles, targets: Doubles, shape: tuple[float, float] | None) -> Process:
        """shape None: the likeliest, or a fixed one where labels are many."""
        distances = np.sqrt(_squared_distances(features, features))
        if shape is None:
            shape = (LENGTH, NOISE) if len(targets) > MOST_CHOSEN else _likeliest(distances, targets)
        factor = cho_factor(_kernel(distances, shape[0]) + shape[1] * np.eye(len(targets)), lower=True)
        return cls(shape, features.astype(np.float32), cho_solve(factor, targets).astype(np.float32))

    def mean(self, features: Floats) -> Doubles:
        near = _kernel(np.sqrt(_squared_distances(features, self.features)), self.shape[0])
        return np.asarray(near @ self.weights, np.float64)


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


def _monotone() -> IsotonicRegression:
    """From a score to an accuracy."""
    return IsotonicRegression(out_of_bounds="clip")


def _boosted(seed: int) -> GradientBoostingRegressor:
    return GradientBoostingRegressor(
        n_estimators=300,
        learning_rate=0.04,
        max_depth=4,
        subsample=0.7,
        max_features=0.2,
        min_samples_leaf=3,
        random_state=seed,
    )


def _quantile(ascending: Doubles, share: float) -> float:
    """Of n errors such that one more lies below it with this probability; the outermost where n is too small."""
    place = share * (len(ascending) + 1) - 1
    return float(np.interp(place, np.arange(len(ascending)), ascending))


def _features(cells: Cells) -> tuple[Floats, Floats]:
    """Standardised for distances, (cells, 127), and plain with short paths for trees, (cells, 167)."""
    plain = _whole()[cells] if len(cells) == PART else _described(cells)
    mean, std = _moments()
    standard = (plain[:, :-SHORT_PATHS] - mean) / std
    return np.clip(standard, -FARTHEST, FARTHEST), plain


def _described(cells: Cells) -> Floats:
    return np.concatenate(
        [graph_features(cells), flow_features(cells), path_moments(cells), path_encoding(cells, SHORT_PATHS)], 1
    )


@lru_cache(maxsize=1)
def _whole() -> Floats:
    """Of the whole catalogue, 283 MB, once someone scores many."""
    return np.concatenate([_described(part) for part in np.array_split(np.arange(CELLS), 32)])


@lru_cache(maxsize=1)
def _moments() -> tuple[Floats, Floats]:
    plain = _described(np.random.default_rng(0).choice(CELLS, REFERENCE, replace=False))[:, :-SHORT_PATHS]
    std = plain.std(0)
    return plain.mean(0), np.where(std > 0, std, 1).astype(np.float32)
