"""Boosted trees on how signals flow through a cell, and on its short paths."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor

from nas.nasbench101.features import Cells
from surrogate.ranker import Doubles, features


@dataclass
class Boosted:
    """A `Ranker`: the mean of differently seeded `members`."""

    members: int = 2
    _fitted: list[GradientBoostingRegressor] = field(default_factory=list, repr=False)

    def apart(self) -> Boosted:
        return Boosted(self.members)

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        known = features(cells)
        self._fitted = [
            GradientBoostingRegressor(
                n_estimators=300,
                learning_rate=0.04,
                max_depth=4,
                subsample=0.7,
                max_features=0.2,
                min_samples_leaf=3,
                random_state=(seed * self.members + member) % (1 << 32),
            ).fit(known, scores)
            for member in range(self.members)
        ]

    def score(self, cells: Cells) -> Doubles:
        asked = features(cells)
        return np.asarray(np.mean([member.predict(asked) for member in self._fitted], 0), np.float64)
