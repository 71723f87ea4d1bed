"""Turns what a `Ranker` says into accuracies and intervals, by what it says of cells that it was not fitted on.

A monotone fit (isotonic regression) makes accuracies of scores. How far off they are is how wide the interval is: split
conformal prediction, by folds (Vovk, 2015, arXiv:1208.0651). So it is the interval of one training, noise included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.isotonic import IsotonicRegression

from nas.nasbench101.features import Cells
from surrogate.base import COVERAGE, Prediction
from surrogate.ranker import Doubles, Ranker, in_parts, normal_scores
from surrogate.threads import one_thread, side_by_side

FOLDS = 5
Left = np.ndarray[tuple[int], np.dtype[np.bool_]]
"""Which cells a fold leaves out, (cells,)."""


@dataclass
class Calibrated:
    """A `Predictor` around a ranker, which is made anew for every fit."""

    made: Callable[[], Ranker]
    _ranker: Ranker | None = None
    _accuracy: IsotonicRegression | None = None
    _below: float = 0.0
    _above: float = 0.0

    def fit(self, cells: Cells, accuracies: Doubles, seed: int) -> None:
        cells, scores = np.asarray(cells), normal_scores(accuracies)
        self._ranker = self.made()
        unseen = np.empty(len(cells))
        folds = _folds(len(cells), seed)

        def said(left: Left) -> Doubles:
            assert self._ranker is not None
            apart = self._ranker.apart()
            apart.learn(cells[~left], scores[~left], seed)
            return apart.score(cells[left])

        with one_thread():
            self._ranker.learn(cells, scores, seed)
            for left, scored in zip(folds, side_by_side(said, folds), strict=True):
                unseen[left] = scored
        self._accuracy = _monotone().fit(unseen, accuracies)
        errors = np.empty(len(cells))
        for left in folds:  # of a monotone fit that has not seen them either
            errors[left] = accuracies[left] - _monotone().fit(unseen[~left], accuracies[~left]).predict(unseen[left])
        errors.sort()
        self._below = min(0.0, _quantile(errors, (1 - COVERAGE) / 2))
        self._above = max(0.0, _quantile(errors, (1 + COVERAGE) / 2))

    def predict(self, cells: Cells) -> Prediction:
        assert self._ranker is not None, "fit comes first"
        assert self._accuracy is not None
        score = in_parts(self._ranker.score, cells)
        mean = self._accuracy.predict(score).astype(np.float64)
        return Prediction(mean, mean + self._below, mean + self._above, score)


def _folds(count: int, seed: int) -> list[Left]:
    """What each fold leaves out."""
    number = np.random.default_rng(seed).permutation(count) % min(FOLDS, count)
    return [number == fold for fold in range(number.max() + 1)]


def _monotone() -> IsotonicRegression:
    """From a score to an accuracy."""
    return IsotonicRegression(out_of_bounds="clip")


def _quantile(ascending: Doubles, share: float) -> float:
    """Of n errors such that one more lies below it with this probability; the outermost where n is too small."""
    place = share * (len(ascending) + 1) - 1
    return float(np.interp(place, np.arange(len(ascending)), ascending))
