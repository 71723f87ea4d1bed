"""A Gaussian process on how signals flow through a cell: a mean and a standard deviation, which searches need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from nas.nasbench101.features import Cells
from surrogate.base import Prediction, normal
from surrogate.process import Process
from surrogate.ranker import Doubles, in_parts
from surrogate.threads import one_thread

SCALE, LOW, HIGH = 0.01, -3.0, 4.0
"""Accuracies are learnt as (accuracy - median) / SCALE, cut: how bad a bad cell is does not matter."""


class Uncertain(Protocol):
    """What learns scores, and says how far off it may be."""

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        """See `surrogate.ranker.Ranker`."""
        ...

    def score_and_deviation(self, cells: Cells) -> Doubles:
        """Scores, and the standard deviation of each, (2, cells)."""
        ...


@dataclass
class GaussianProcess:
    """A `Predictor`. made: for every fit, the process that learns."""

    made: Callable[[], Uncertain] = Process
    _process: Uncertain = field(default_factory=Process)
    _zero: float = 0.0

    def fit(self, cells: Cells, accuracies: Doubles, seed: int) -> None:
        median = float(np.median(accuracies))
        targets = np.clip((accuracies - median) / SCALE, LOW, HIGH)
        self._zero, self._process = median + SCALE * float(targets.mean()), self.made()
        with one_thread():
            self._process.learn(np.asarray(cells), targets - targets.mean(), seed)

    def predict(self, cells: Cells) -> Prediction:
        """The interval is that of the mean over trainings, without what one training differs from it."""
        mean, std = in_parts(self._process.score_and_deviation, cells)
        return normal(self._zero + SCALE * mean, SCALE * std)
