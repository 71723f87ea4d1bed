"""What a benchmark table says of its search space: the studies of the NAS-Bench-101 paper, on any table.

Ying et al., 2019 (arXiv:1902.09635), sections 3 and 4. Accuracies are means over repeats at the largest budget, of the
validation set where the table has it, else of the test set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.graph import INTERIOR, OPERATIONS
from nas.table.table import Table
from orchestrator.statistics import mean_known, spearman
from orchestrator.tables.landscape import autocorrelation, distances, replaced, shapes, walk

Floats = NDArray[np.float64]
WALKERS, STEPS, FURTHEST = 500, 200, 12
SOURCES, REACH, CLOSE = 100, 6, 0.005
"""Of `by_distance`: cells from which distances are counted, how far, and what counts as close to the best."""
TOP = 0.1
SHORT = dict(zip(OPERATIONS, ("conv 3x3", "conv 1x1", "max-pool"), strict=True))
PAPER: Mapping[tuple[str, str], tuple[float, float]] = {
    ("conv 3x3", "conv 1x1"): (-1.16, -14.11),
    ("conv 3x3", "max-pool"): (-1.99, -9.84),
    ("conv 1x1", "max-pool"): (-0.81, 5.04),
}
"""(old, new) -> points of validation accuracy, per cent of training time, as the paper has them for NAS-Bench-101."""
PAPER_VANISHES = 6
"""Edits beyond which the paper finds no autocorrelation."""


@dataclass(frozen=True)
class Replacement:
    """Replacing one operation by another in every cell and place: the mean change. seconds: per cent, NaN if unknown.

    paper: the published (accuracy, seconds) where the table is NAS-Bench-101.
    """

    old: str
    new: str
    pairs: int
    accuracy: float
    seconds: float
    paper: tuple[float, float] | None


class Analysis:
    """A table's studies, each computed when it is asked for. Raises `DataError` if the table has no accuracies."""

    def __init__(self, table: Table, seed: int = 0) -> None:
        self.table, self._seed = table, seed
        self.column = next((c for c in ("validation", "test") if f"final_{c}_accuracy" in table.names), None)
        if self.column is None:
            raise DataError(f"{table.path} has neither validation nor test accuracies; there is nothing to analyse")
        self.published = len(table) == CELLS and table.budgets[-1] == 108
        self.accuracy = self._by_cell(f"final_{self.column}_accuracy", -1)
        self.seconds = self._by_cell("final_training_time", -1)

    def _by_cell(self, metric: str, budget: int) -> Floats:
        """The mean over repeats by catalogue number, NaN where the table has none."""
        values = self.table.metric(metric)[:, budget]
        there = ~np.isnan(values)
        means = np.where(there, values, 0).sum(1) / np.where(there.any(1), there.sum(1), np.nan)
        found = np.full(CELLS, np.nan)
        found[self.table.cells] = means
        return found

    @cached_property
    def replacements(self) -> list[Replacement]:
        """The effect of replacing each operation by each other."""
        return [self._replacement(old, new) for old, new in permutations(range(len(OPERATIONS)), 2)]

    def _replacement(self, old: int, new: int) -> Replacement:
        cells = self.table.cells
        gains, factors = [], []
        for vertex in range(INTERIOR):
            other = replaced(cells, vertex, old, new)
            has = other >= 0
            gains.append(self.accuracy[other[has]] - self.accuracy[cells[has]])
            factors.append(self.seconds[other[has]] / self.seconds[cells[has]] - 1)
        gain, factor = np.concatenate(gains), np.concatenate(factors)
        names = SHORT[OPERATIONS[old]], SHORT[OPERATIONS[new]]
        paper = PAPER.get(names) if self.published else None
        known = int((~np.isnan(gain)).sum())
        return Replacement(*names, known, 100 * mean_known(gain), 100 * mean_known(factor), paper)

    @cached_property
    def shape_means(self) -> dict[str, Floats]:
        """Mean accuracy and training seconds by (depth, width), both from 1 on; NaN where there is no cell."""
        depth, width = shapes()
        size = int(depth.max()) + 1, int(width.max()) + 1
        flat = depth * size[1] + width
        means = {}
        for name, values in (("accuracy", self.accuracy), ("seconds", self.seconds)):
            known = ~np.isnan(values)
            count = np.bincount(flat[known], minlength=size[0] * size[1])
            total = np.bincount(flat[known], values[known], size[0] * size[1])
            means[name] = (total / np.where(count, count, np.nan)).reshape(size)[1:, 1:]
        return means

    @cached_property
    def seconds_by_width(self) -> list[float]:
        """Mean training seconds of the cells of each width, from 1 on."""
        _, width = shapes()
        return [mean_known(self.seconds[width == w]) for w in range(1, int(width.max()) + 1)]

    @cached_property
    def random_walks(self) -> Floats:
        """Autocorrelation of the accuracy along random walks, at 0 to `FURTHEST` edits."""
        paths = walk(self.accuracy, WALKERS, STEPS, np.random.default_rng(self._seed))
        return autocorrelation(paths, FURTHEST)

    @cached_property
    def by_distance(self) -> Floats:
        """Correlation of the accuracies of two cells so many edits apart, for 0 to `REACH` edits."""
        rng = np.random.default_rng(self._seed)
        centred = self.accuracy - np.nanmean(self.accuracy)
        sources = rng.choice(self.table.cells[~np.isnan(self.accuracy[self.table.cells])], SOURCES)
        products = np.full((SOURCES, REACH + 1), np.nan)
        for row, source in zip(products, sources, strict=True):
            far = distances(int(source), REACH)
            row[:] = [mean_known(centred[source] * centred[far == d]) for d in range(REACH + 1)]
        means = [mean_known(column) for column in products.T]
        return np.array(means, np.float64) / mean_known(centred[sources] ** 2)

    @cached_property
    def around_best(self) -> list[float]:
        """The share of the cells exactly so many edits from the best one that are nearly as good, for 1 to `REACH`."""
        far = distances(int(np.nanargmax(self.accuracy)), REACH)
        good = self.accuracy > np.nanmax(self.accuracy) - CLOSE
        known = ~np.isnan(self.accuracy)
        return [mean_known(good[(far == d) & known].astype(float)) for d in range(1, REACH + 1)]

    @cached_property
    def correlations(self) -> dict[str, float]:
        """Spearman's rank correlation of parameters, training time and accuracy."""
        parameters = np.full(CELLS, np.nan)
        parameters[self.table.cells] = self.table.parameters
        return {
            "parameters, accuracy": spearman(parameters, self.accuracy),
            "training time, accuracy": spearman(self.seconds, self.accuracy),
            "parameters, training time": spearman(parameters, self.seconds),
        }

    @cached_property
    def budgets(self) -> dict[int, tuple[float, float]]:
        """Epochs -> Spearman's correlation with the accuracy at the largest budget: of all cells, of the best tenth."""
        best = self.accuracy > np.nanquantile(self.accuracy, 1 - TOP)
        found = {}
        for place, epochs in enumerate(self.table.budgets[:-1]):
            early = self._by_cell(f"final_{self.column}_accuracy", place)
            found[epochs] = spearman(early, self.accuracy), spearman(early[best], self.accuracy[best])
        return found

    @cached_property
    def noise(self) -> dict[int, tuple[float, float]]:
        """Epochs -> of the repeats: standard deviation in points, median over cells; Spearman's correlation of two."""
        found = {}
        for place, epochs in enumerate(self.table.budgets):
            values = self.table.metric(f"final_{self.column}_accuracy")[:, place]
            if self.table.repeats > 1:
                whole = values[~np.isnan(values).any(1)]
                spread = float(np.median(whole.std(1, ddof=1))) * 100 if len(whole) else float("nan")
                found[epochs] = spread, spearman(values[:, 0], values[:, 1])
        return found

    def to_json(self) -> dict[str, Any]:
        """Every study as JSON values; what is unknown is null."""
        found = {
            "table": {"cells": len(self.table), "fingerprint": self.table.fingerprint, "column": self.column},
            "replacements": [vars(one) for one in self.replacements],
            "by_depth_and_width": {name: values.tolist() for name, values in self.shape_means.items()},
            "seconds_by_width": self.seconds_by_width,
            "random_walk_autocorrelation": self.random_walks.tolist(),
            "correlation_by_distance": self.by_distance.tolist(),
            "close_to_best_by_distance": self.around_best,
            "rank_correlations": self.correlations,
            "rank_correlation_of_budgets": {
                str(epochs): {"all": every, "best_tenth": best} for epochs, (every, best) in self.budgets.items()
            },
            "noise": {str(epochs): {"points": s, "rank_correlation": r} for epochs, (s, r) in self.noise.items()},
        }
        plain: dict[str, Any] = _without_nan(found)
        return plain


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and np.isnan(value) else value
