"""A prior: how good every cell was elsewhere, and which features told; and a ranker that starts from it.

The file is safetensors with JSON in its header: ``trend``, float16 (cells,), and ``relevance``, float32 (features,).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from nas.errors import DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import Cells
from surrogate.arrays import save_arrays
from surrogate.process import Process
from surrogate.ranker import FEATURES, Doubles, Floats, Ranker

BUNDLED = Path(__file__).with_name("fashion5.safetensors")
VERSION = "archsweep-prior-1"
WEIGHT, TRUST = 0.4, 0.5
"""Of the trend: standard deviations of what is learnt, one of the trend. Of the relevance: its share."""


@dataclass(frozen=True)
class Prior:
    """trend: how good each cell was, float32 (cells,) by catalogue number, mean 0, standard deviation 1. relevance: the
    logarithm of every feature's inverse length there, relative to that of all, float64 (features,). about: JSON values,
    what they were learnt from."""

    trend: Floats
    relevance: Doubles
    about: Mapping[str, Any]

    def process(self) -> Process:
        """One whose lengths begin where they ended there, half way."""
        return Process(relevance=TRUST * self.relevance)


@dataclass
class Informed:
    """A `Ranker` around one that learns what the trend does not say."""

    inner: Ranker
    prior: Prior
    _weight: float = 0.0

    def apart(self) -> Informed:
        return Informed(self.inner.apart(), self.prior)

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        self._weight = WEIGHT * float(scores.std())
        self.inner.learn(cells, scores - self._known(cells), seed)

    def score(self, cells: Cells) -> Doubles:
        return self.inner.score(cells) + self._known(cells)

    def score_and_deviation(self, cells: Cells) -> Doubles:
        """Where what is inside is a process: see `Process.score_and_deviation`."""
        assert isinstance(self.inner, Process)
        score, deviation = self.inner.score_and_deviation(cells)
        return np.stack([score + self._known(cells), deviation])

    def _known(self, cells: Cells) -> Doubles:
        return self._weight * self.prior.trend[cells].astype(np.float64)


def save(prior: Prior, path: Path) -> None:
    """Writes it, whole or not at all. Raises `DataError`."""
    save_arrays(
        {"trend": prior.trend.astype(np.float16), "relevance": prior.relevance.astype(np.float32)},
        {"version": VERSION, **prior.about},
        path,
    )


def load(path: Path) -> Prior:
    """Raises `DataError` on a file that holds none."""
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            if about.pop("version") != VERSION:
                raise DataError(f"{path} holds no prior that this archsweep reads")
            prior = Prior(
                file.get_tensor("trend").astype(np.float32), file.get_tensor("relevance").astype(np.float64), about
            )
        if prior.trend.shape != (CELLS,) or prior.relevance.shape != (FEATURES,):
            raise ValueError(f"shapes {prior.trend.shape}, {prior.relevance.shape}")
        if not (np.isfinite(prior.trend).all() and np.isfinite(prior.relevance).all()):
            raise ValueError("values that are no numbers")
        return prior
    except (OSError, SafetensorError, AttributeError, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} holds no prior: {' '.join(str(error).split())[:100]}") from None


@lru_cache(maxsize=1)
def bundled() -> Prior:
    """The one that comes with archsweep."""
    return load(BUNDLED)


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Of its file, 32 hexadecimal digits."""
    return blake2b(BUNDLED.read_bytes(), digest_size=16).hexdigest()
