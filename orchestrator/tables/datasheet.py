"""What a user must know of a benchmark table before trusting it: how it was made, and how reliable it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from nas.errors import DataError
from nas.table.table import Table
from orchestrator.pictures.words import duration
from orchestrator.settings.values import flat

VALIDATION, TEST, SECONDS = "final_validation_accuracy", "final_test_accuracy", "final_training_time"


@dataclass(frozen=True)
class Reliability:
    """How far one budget's trainings can be trusted. Accuracies are fractions, in validation; rho is Spearman's.

    rho_repeats: between repeats, the mean over pairs of them. lowest, mean, highest, deviation: over the cells, of
    their means. repeat_deviation: the median over the cells of the standard deviation of the repeats. rho_test: between
    validation and test. seconds: of training in all. diverged: trainings without a result.
    """

    epochs: int
    rho_repeats: float
    lowest: float
    mean: float
    highest: float
    deviation: float
    repeat_deviation: float
    rho_test: float
    seconds: float
    diverged: int

    @property
    def resolution(self) -> float:
        """The spread of the cells, highest to lowest, in repeat deviations."""
        return (self.highest - self.lowest) / self.repeat_deviation if self.repeat_deviation else np.inf


def reliability(table: Table) -> list[Reliability]:
    """Of every budget. Raises `DataError` if the table has no repeats or no validation accuracy."""
    if table.repeats < 2 or VALIDATION not in table.names:
        raise DataError(f"{table.path} has no repeats of validation accuracy, so its reliability is unknown")
    return [_reliability(table, budget, epochs) for budget, epochs in enumerate(table.budgets)]


def _reliability(table: Table, budget: int, epochs: int) -> Reliability:
    values = table.metric(VALIDATION)[:, budget]
    means = mean(values)
    return Reliability(
        epochs=epochs,
        rho_repeats=float(
            np.mean([spearman(values[:, a], values[:, b]) for a, b in combinations(range(table.repeats), 2)])
        ),
        lowest=float(np.nanmin(means)),
        mean=float(np.nanmean(means)),
        highest=float(np.nanmax(means)),
        deviation=float(np.nanstd(means)),
        repeat_deviation=float(np.nanmedian(deviation(values))),
        rho_test=spearman(means, mean(table.metric(TEST)[:, budget])),
        seconds=float(np.nansum(table.metric(SECONDS)[:, budget])),
        diverged=int(np.isnan(values).sum()),
    )


def between_budgets(table: Table) -> dict[str, float]:
    """Spearman's rho of mean validation accuracy for every two budgets."""
    means = [mean(table.metric(VALIDATION)[:, budget]) for budget in range(len(table.budgets))]
    return {
        f"{table.budgets[a]} and {table.budgets[b]} epochs": spearman(means[a], means[b])
        for a, b in combinations(range(len(means)), 2)
    }


def against(table: Table, other: Table) -> dict[str, float]:
    """Spearman's rho of every budget's mean test accuracy with another table's of the same cells at its largest."""
    rows = other.rows(table.cells)
    shared = rows >= 0
    if shared.sum() < 3 or TEST not in other.names:
        raise DataError(f"{other.path} has no test accuracy of the cells of {table.path}")
    theirs = mean(other.metric(TEST)[rows[shared], -1])
    return {
        f"{epochs} epochs": spearman(mean(table.metric(TEST)[shared, budget]), theirs)
        for budget, epochs in enumerate(table.budgets)
    }


def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Over the last axis, of what is there; NaN where nothing is."""
    there = ~np.isnan(values)
    count = there.sum(-1)
    return np.where(count, np.where(there, values, 0.0).sum(-1) / np.maximum(count, 1), np.nan)


def deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the repeats of every cell that has at least two, in a sample's way."""
    enough = values[(~np.isnan(values)).sum(-1) >= 2]
    found: NDArray[np.float64] = np.nanstd(enough, -1, ddof=1)
    return found


def spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's rho of what both have; NaN where nobody can say."""
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(spearmanr(a[both], b[both])[0])


def datasheet(table: Table, name: str, other: Table | None = None) -> str:
    """The datasheet as Markdown. other: a table of the same cells to compare with."""
    found = reliability(table)
    budgets = ", ".join(map(str, table.budgets))
    parts = [
        f"# {name}\n\n{len(table):,} cells, budgets of {budgets} epochs, each a training of its own, {table.repeats} "
        f"repeats.\nSource: {table.source}. Fingerprint: `{table.fingerprint}`.",
        "## Reliability\n\nAccuracies are validation accuracies in percent, over the cells' means; the deviation of "
        "repeats is the\nmedian over the cells; rho is Spearman's.\n\n" + _rows(found),
        _listed("Rank correlation between budgets", between_budgets(table)),
    ]
    if other is not None:
        parts.append(_listed(f"Rank correlation of test accuracy with {other.source}", against(table, other)))
    seconds = sum(budget.seconds for budget in found)
    if np.isfinite(seconds) and seconds:
        parts.append(f"## Time\n\n{duration(seconds)} of training seconds in all.")
    for title, part in (("Recipe", table.made.get("plan")), ("Machine that finished it", table.made.get("machine"))):
        if isinstance(part, Mapping):
            lines = "\n".join(f"| {key} | {value} |" for key, value in flat(part).items())
            parts.append(f"## {title}\n\n| what | value |\n| --- | --- |\n{lines}")
    return "\n\n".join(parts) + "\n"


def to_json(table: Table, other: Table | None = None) -> dict[str, Any]:
    """What the datasheet says in numbers, as JSON values."""
    return {
        "budgets": [{**asdict(budget), "resolution": budget.resolution} for budget in reliability(table)],
        "rho_between_budgets": between_budgets(table),
        "rho_with_other": None if other is None else against(table, other),
        "made": dict(table.made),
    }


def _rows(found: list[Reliability]) -> str:
    head = (
        "| epochs | rho of repeats | lowest | mean | highest | deviation | of repeats | spread / of repeats | "
        "rho with test | training | diverged |\n|" + " --- |" * 11 + "\n"
    )
    return head + "\n".join(
        f"| {b.epochs} | {b.rho_repeats:.3f} | {b.lowest:.2%} | {b.mean:.2%} | {b.highest:.2%} | {b.deviation:.2%} | "
        f"{b.repeat_deviation:.2%} | {b.resolution:.0f} | {b.rho_test:.3f} | {duration(b.seconds)} | {b.diverged} |"
        for b in found
    )


def _listed(title: str, values: Mapping[str, float]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {key}: {value:.3f}" for key, value in values.items())
