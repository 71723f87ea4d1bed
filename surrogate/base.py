"""What a model of cells owes its users."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nas.features import Cells


class Predictor(Protocol):
    """Predicts the accuracy of cells it has not seen."""

    def fit(self, cells: Cells, accuracies: NDArray[np.float64], seed: int) -> None:
        """Learns from trained cells, all anew. The outcome is a function of the arguments, in any process."""
        ...

    def predict(self, cells: Cells) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Expected accuracy of each cell, and its standard deviation over what the model thinks possible."""
        ...
