"""Whether searchers differ: paired over seeds, corrected for how often one looks.

Everything here takes ``losses``, float64 (seeds, groups), lower is better, NaN where an arm has no result. A pair of
groups is compared on the seeds that both have.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Losses = NDArray[np.float64]
FEWEST = 3
"""Seeds below which nothing is claimed."""
MANY = 50
"""Seeds from which the normal approximation of the signed-rank test is as good as the exact one."""
MANY_TIED = 15
"""The same of seeds whose differences tie, which the exact one's tables do not cover."""


@dataclass(frozen=True)
class Comparison:
    """Groups a and b. difference: mean of a's losses less b's. p: two-sided Wilcoxon signed-rank test, by Holm's method
    made to hold for all pairs together; 1 where there are too few seeds.
    """

    a: int
    b: int
    seeds: int
    difference: float
    p: float


def compared(losses: Losses) -> list[Comparison]:
    """Every pair of groups."""
    found = [(a, b, difference, _wilcoxon(difference)) for a, b, difference in _pairs(losses)]
    corrected = holm([p for *_, p in found])
    return [
        Comparison(a, b, len(difference), float(difference.mean()) if len(difference) else float("nan"), p)
        for (a, b, difference, _), p in zip(found, corrected, strict=True)
    ]


def holm(p: list[float]) -> list[float]:
    """Adjusted p-values: rejecting those below alpha keeps the chance of any false rejection below alpha.

    Holm, 1979: the k-th smallest of m is multiplied by m - k + 1, and never smaller than the one before.
    """
    order = np.argsort(p, kind="stable")
    scaled = np.asarray(p, float)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1) if len(p) else scaled
    return [float(value) for value in adjusted]


def looks(first: int, seeds: int) -> list[int]:
    """After how many seeds a sweep is looked at: ``first``, then twice as many, and so on, below ``seeds``."""
    found = []
    while first < seeds:
        found.append(first)
        first *= 2
    return found


def decided(losses: Losses, alpha: float, margin: float) -> bool:
    """Whether every pair of groups is told apart, or cannot differ by more than ``margin``; not without a pair.

    Each pair's t interval of the mean difference holds with probability 1 - ``alpha`` / pairs, so all hold together
    with 1 - ``alpha`` (Bonferroni): a pair is told apart if its interval leaves out 0, and the same for practical
    purposes if it lies within the margin on both sides.
    """
    pairs = list(_pairs(losses))
    return bool(pairs) and all(_settled(difference, alpha / len(pairs), margin) for *_, difference in pairs)


def interval(values: NDArray[np.float64], confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and half the width of Student's interval over the first axis; NaN are left out, and half of one is NaN."""
    there = ~np.isnan(values)
    count = there.sum(0)
    mean = np.where(there, values, 0).sum(0) / np.where(count, count, np.nan)
    squares = np.where(there, (values - mean) ** 2, 0).sum(0)
    free = np.where(count > 1, count - 1, np.nan)
    return mean, stats.t.ppf((1 + confidence) / 2, free) * np.sqrt(squares / free / count.clip(1))


def _pairs(losses: Losses) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    for a, b in combinations(range(losses.shape[1]), 2):
        difference = losses[:, a] - losses[:, b]
        yield a, b, difference[~np.isnan(difference)]


def _settled(difference: NDArray[np.float64], alpha: float, margin: float) -> bool:
    if len(difference) < FEWEST:
        return False
    mean, half = interval(difference, 1 - alpha)
    return bool(abs(mean) > half or abs(mean) + half < margin)


def _wilcoxon(difference: NDArray[np.float64]) -> float:
    """Exact where there are few seeds, with ties by counting sign patterns; else by the normal approximation, but never
    less than the best sign pattern of so many seeds gives. Differences of 0 are left out."""
    told = difference[difference != 0]
    if len(difference) < FEWEST or not len(told):
        return 1.0
    if len(np.unique(np.abs(told))) == len(told) <= MANY:
        return float(stats.wilcoxon(told, method="exact").pvalue)
    if len(told) <= MANY_TIED:
        ranks = np.sign(told) * stats.rankdata(np.abs(told))
        every = 1 << MANY_TIED
        return float(stats.permutation_test((ranks,), np.sum, permutation_type="samples", n_resamples=every).pvalue)
    return max(float(stats.wilcoxon(told, method="approx").pvalue), least_p(len(told), 1))


def least_p(seeds: int, pairs: int) -> float:
    """The smallest corrected p-value that so many seeds can give: the best sign pattern of 2^seeds, times the pairs."""
    return min(1.0, pairs * 2.0 ** (1 - seeds))


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Rank correlation of the places where both have a value; NaN where there are too few."""
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < FEWEST or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(np.corrcoef(stats.rankdata(a[both]), stats.rankdata(b[both]))[0, 1])


def mean_known(values: ArrayLike) -> float:
    """The mean of all that are not NaN; NaN if all are."""
    numbers = np.asarray(values, np.float64)
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if known.size else float("nan")
