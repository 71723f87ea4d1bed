"""What a part of a blend owes it: to learn scores, and to say them of other cells."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.features import Cells, graph_features, path_encoding
from nas.nasbench101.flow import flow_features, path_moments
from surrogate.threads import one_thread, side_by_side

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

FEATURES, SHORT_PATHS = 127, 40
FARTHEST = 4.0
"""Standard deviations at which a feature is cut, so that a rare one makes no cell unlike all others."""
REFERENCE = 4_096
"""Cells, drawn from the catalogue once and for all, that features are standardised by."""
PART = 16_384
"""Cells that are scored at a time; who asks for so many gets their features from the whole catalogue's."""


class Ranker(Protocol):
    """Ranks cells it has not seen, on the scale of the scores that it learnt."""

    def learn(self, cells: Cells, scores: Doubles, seed: int) -> None:
        """Fits, all anew. The outcome is a function of the arguments, in any process."""
        ...

    def score(self, cells: Cells) -> Doubles: ...

    def apart(self) -> Self:
        """A new one for labels that this one has not seen: with what it chose, without what it learnt, and cheaper."""
        ...


def normal_scores(accuracies: Doubles) -> Doubles:
    """The rank of every accuracy, through the normal quantile: how bad a bad cell is does not matter."""
    return np.asarray(norm.ppf((rankdata(accuracies) - 0.5) / len(accuracies)), np.float64)


def in_parts(said: Callable[[Cells], Doubles], cells: Cells) -> Doubles:
    """What is said of cells, (..., cells), many of them on all cores."""
    first, *others = np.split(np.asarray(cells), range(PART, len(cells), PART))
    with one_thread():
        begun = said(first)  # before the others: it may encode the whole catalogue, once
        return np.concatenate([begun, *side_by_side(said, others)], -1)


def features(cells: Cells) -> Floats:
    """How the cell is built and how signals flow through it, then short paths, (cells, 167)."""
    return _whole()[cells] if len(cells) == PART else _described(cells)


def standardised(cells: Cells) -> Floats:
    """The same without the paths, made comparable to each other, (cells, 127)."""
    mean, std = _moments()
    standard: Floats = np.clip((features(cells)[:, :-SHORT_PATHS] - mean) / std, -FARTHEST, FARTHEST)
    return standard


def _described(cells: Cells) -> Floats:
    return np.concatenate(
        [graph_features(cells), flow_features(cells), path_moments(cells), path_encoding(cells, SHORT_PATHS)], 1
    )


@lru_cache(maxsize=1)
def _whole() -> Floats:
    """Of the whole catalogue, 283 MB, once someone scores many."""
    parts = np.array_split(np.arange(CELLS), 32)
    first = _described(parts[0])  # before the others: it makes what all look up
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy leaves Python's lock alone
        return np.concatenate([first, *pool.map(_described, parts[1:])])


@lru_cache(maxsize=1)
def _moments() -> tuple[Floats, Floats]:
    plain = _described(np.random.default_rng(0).choice(CELLS, REFERENCE, replace=False))[:, :-SHORT_PATHS]
    std = plain.std(0)
    return plain.mean(0), np.where(std > 0, std, 1).astype(np.float32)
