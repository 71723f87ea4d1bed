"""What a filter decides on: the labels with their model, and how well the model ranks what it did not choose."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from nas.nasbench101.features import Cells
from nas.nasbench101.space import CellSpace
from nas.trial import Trial
from searchers.learned import SPARE, Learned
from surrogate.base import Prediction, Predictor

HELD_OUT, LEAST_HELD_OUT = 50, 8
"""How many of the latest trials that passed unseen tell how well the surrogate ranks, and how few say nothing."""
RECENT = 200
"""Candidates from whose predictions the quantile policy takes its threshold."""
UNSEEN = ("closed", "unseen")
"""The decisions that let a proposal pass whatever is predicted of it."""


@dataclass
class Evidence:
    """What was told at one budget: the labels with their model, predictions that nothing was chosen by, candidates.

    held_out: (predicted mean, objective) of the latest that passed unseen. recent: keys of the latest candidates.
    """

    learned: Learned
    held_out: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=HELD_OUT))
    recent: deque[int] = field(default_factory=lambda: deque(maxlen=RECENT))

    def tell(self, trial: Trial, rejected: Sequence[int]) -> None:
        noted = trial.proposal.provenance.get("filter", {})
        self.learned.tell(trial)
        self.recent.extend([*rejected, trial.proposal.cell.key])
        if noted.get("by") in UNSEEN and trial.result is not None:
            self.held_out.append((noted["mean"], trial.result.objective))

    def suffices(self, labels: int, tau: float) -> bool:
        """Whether there are so many labels, and the model ranked what passed unseen at least this well.

        A tau of -1 asks for labels only.
        """
        if len(self.learned.cells) < labels or tau <= -1:
            return len(self.learned.cells) >= labels
        if len(self.held_out) < LEAST_HELD_OUT:
            return False
        predicted, came = zip(*self.held_out, strict=True)
        reached = float(kendalltau(predicted, came).statistic)
        return reached >= tau  # and not NaN, of which all were predicted alike


@dataclass
class Ranked:
    """A `Predictor` that ranks the whole space as soon as it is fitted, and so in the same thread."""

    model: Predictor
    space: CellSpace
    optimism: float
    _order: list[int] = field(default_factory=list)

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        self.model.fit(cells, accuracies, seed)
        scores = hopeful(self.model.predict(self.space.numbers), self.optimism).score
        self._order = self.space.numbers[np.argsort(-scores, kind="stable")[: SPARE + len(cells)]].tolist()

    def predict(self, cells: Cells) -> Prediction:
        return self.model.predict(cells)

    def best(self, count: int, taken: Container[int]) -> list[int]:
        """The predicted best cells that are not taken; fewer where not so many are left."""
        return list(islice((key for key in self._order if key not in taken), count))


def hopeful(predicted: Prediction, optimism: float) -> Prediction:
    """Ranked by mean + optimism * std (an upper confidence bound; Auer, 2002), or as the model ranks if that is 0."""
    return replace(predicted, score=predicted.mean + optimism * predicted.std) if optimism else predicted
