"""How a filter chooses among scored candidates: one small function a policy.

Each takes what is predicted of the candidates, in the order in which the searcher proposed them, and returns which one
passes, with what it takes to judge that afterwards.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr

from surrogate.base import Prediction

THOMPSON_DRAWS = 64
LEAST_STD = 1e-3
"""Of an accuracy, a fraction: a model that claims to be surer than that does not know its error."""


@dataclass(frozen=True)
class Choice:
    """chosen: an index of the candidates. looked: how many of them were compared, from the first on.

    scores: float64 (candidates,), by which they were compared. threshold: what the chosen one had to reach.
    probabilities: float64 (candidates,), how likely each was to be chosen.
    """

    chosen: int
    looked: int
    scores: NDArray[np.float64]
    threshold: float
    probabilities: NDArray[np.float64]


def top(predicted: Prediction, k: int, rng: Generator) -> Choice:
    """One of the k predicted best, drawn uniformly (k of n: NPENAS; Wei et al., 2022)."""
    return _among_best(predicted.score, predicted, k, rng)


def expected_improvement(predicted: Prediction, best: float, k: int, rng: Generator) -> Choice:
    """One of the k with the highest E[max(accuracy - best, 0)] (Mockus et al., 1978); best: the highest one told."""
    std = np.maximum(predicted.std, LEAST_STD)
    z = (predicted.mean - best) / std
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return _among_best(std * (z * ndtr(z) + density), predicted, k, rng)


def thompson(predicted: Prediction, rng: Generator) -> Choice:
    """The highest of independent draws from what is thought possible of each (BANANAS; White et al., 2021).

    How likely a candidate was to be chosen is counted in further such draws, this one included.
    """
    draws = predicted.mean + predicted.std * rng.standard_normal((THOMPSON_DRAWS, len(predicted)))
    winners = np.lexsort((np.broadcast_to(predicted.score, draws.shape), draws))[:, -1]
    return Choice(
        int(winners[0]),
        len(predicted),
        draws[0],
        float(draws[0].max()),
        np.bincount(winners, minlength=len(predicted)) / THOMPSON_DRAWS,
    )


def quantile(predicted: Prediction, threshold: float) -> Choice:
    """The first that reaches the threshold, so that the searcher's own order counts; the best one if none does."""
    passing = np.flatnonzero(predicted.score >= threshold)
    chosen = int(passing[0] if len(passing) else np.argmax(predicted.score))
    certain = (np.arange(len(predicted)) == chosen).astype(float)
    return Choice(chosen, chosen + 1 if len(passing) else len(predicted), predicted.score, threshold, certain)


def _among_best(scores: NDArray[np.float64], predicted: Prediction, k: int, rng: Generator) -> Choice:
    """One of the k highest, drawn uniformly; of equals those with the higher rank score, then those drawn first."""
    best = np.lexsort((np.arange(len(scores)), -predicted.score, -scores))[:k]
    probabilities = np.zeros(len(scores))
    probabilities[best] = 1 / len(best)
    return Choice(int(best[int(rng.random() * len(best))]), len(scores), scores, float(scores[best[-1]]), probabilities)
