"""Small models of scikit-learn, several of them differently seeded: their mean, and how far they disagree."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import Cells, graph_features, path_encoding
from surrogate.base import Prediction, normal

SCALE, CLIP = 0.02, 6.0
"""Accuracies are learnt as (accuracy - median) / SCALE, cut at CLIP: how bad a bad cell is does not matter."""
SHORT_PATHS = 40


class Model(StrEnum):
    """trees: gradient boosting on graph features and short paths. mlp: BANANAS's networks on the path encoding."""

    TREES = "trees"
    MLP = "mlp"


@dataclass
class Ensemble:
    """A `Predictor`."""

    model: Model = Model.TREES
    members: int = 5
    _fitted: list[Any] = field(default_factory=list, repr=False)
    _median: float = 0.0

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        self._median = float(np.median(accuracies))
        targets = np.clip((accuracies - self._median) / SCALE, -CLIP, CLIP)
        features = self._features(cells)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is the published one
            self._fitted = [
                _made(self.model, (seed * self.members + member) % (1 << 32), len(cells)).fit(features, targets)
                for member in range(self.members)
            ]

    def predict(self, cells: Cells) -> Prediction:
        """The interval is of what the members think possible, not of what is true: it is no conformal one."""
        features = self._features(cells)
        predictions = np.stack([member.predict(features) for member in self._fitted]) * SCALE
        return normal(predictions.mean(0) + self._median, predictions.std(0))

    def _features(self, cells: Cells) -> NDArray[np.float32]:
        if self.model is Model.MLP:
            return path_encoding(cells)
        if len(cells) == CELLS:
            return _features_of_all()[cells]
        return described(cells)


def described(cells: Cells) -> NDArray[np.float32]:
    """Graph features and short paths, float32 (cells, 72)."""
    return np.concatenate([graph_features(cells), path_encoding(cells, SHORT_PATHS)], 1)


@lru_cache(maxsize=1)
def _features_of_all() -> NDArray[np.float32]:
    """Of the whole catalogue, 122 MB, for those who rank the whole space again and again."""
    return np.concatenate([described(part) for part in np.array_split(np.arange(CELLS), 16)])


def _made(model: Model, seed: int, cells: int) -> Any:
    if model is Model.MLP:
        # BANANAS: ten layers of 20, Adam at 0.01, 150 epochs in batches of 32
        return MLPRegressor(
            hidden_layer_sizes=(20,) * 10,
            learning_rate_init=0.01,
            max_iter=150,
            batch_size=min(32, cells),
            random_state=seed,
        )
    return GradientBoostingRegressor(
        n_estimators=150, learning_rate=0.05, max_depth=3, subsample=0.7, max_features=0.3, random_state=seed
    )
