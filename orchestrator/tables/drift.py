"""`archsweep drift`: does this pipeline reproduce a table?

Some of the table's cells are trained again. If nothing has drifted, a cell's new trainings and the table's repeats of
it are draws from one distribution, so which of them are called new does not matter. A permutation test asks that of two
statistics, each at half of the level (Bonferroni):

- *shift*: the mean over the cells of (mean of the new trainings - mean of the table's repeats), two-sided, which sees
  that all accuracies moved;
- *scatter*: the mean over the cells of the absolute values of the same differences, which sees that cells moved apart.

Under the hypothesis every split of a cell's pooled trainings is equally likely (Fisher, 1935; Good, Permutation Tests,
2000, chapter 3), so the level holds whatever the distribution. A training that diverged counts as accuracy 0. Of a
table that `archsweep table build` made, any cell may be drawn. Of another, nobody knows whether a training that is not
there diverged, so cells that lack one are left out; where many diverge, the level does not hold then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import ArchsweepError
from nas.nasbench101.network import cost
from nas.table.table import METRICS, Table
from orchestrator.tables.build import Plan, trainings
from workers.recipe import Setting

DRAWS = 20_000
AT_ONCE = 10_000_000
"""Accuracies that are permuted at a time."""
ACCURACY = "final_validation_accuracy"


@dataclass(frozen=True)
class Drift:
    """What came of it. Accuracies are fractions.

    cells: a mapping each, of its module_hash, the table's accuracies and the new ones. shift, scatter: the statistics.
    p_shift, p_scatter: how likely at least so much is if nothing drifted. detectable: the shift from which on the test
    says so, a measure of its power. slower: new training seconds over the table's, which no test judges.
    """

    cells: list[dict[str, Any]]
    epochs: int
    level: float
    shift: float
    scatter: float
    p_shift: float
    p_scatter: float
    detectable: float
    slower: float | None

    @property
    def reproduced(self) -> bool:
        return min(self.p_shift, self.p_scatter) > self.level / 2

    def to_json(self) -> dict[str, Any]:
        return {"reproduced": self.reproduced, **asdict(self)}


def drift(
    table: Table,
    setting: Setting | None,
    epochs: int | None,
    cells: int,
    level: float,
    seed: int,
    workers: int,
    folder: Path | None = None,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Drift:
    """Trains so many cells again, as often as the table did, with other seeds. Raises `ArchsweepError`.

    setting: None means the one that the table records. epochs: None means the table's largest budget.
    """
    plan = _plan(table, setting, table.budgets[-1] if epochs is None else epochs, seed)
    if cells < (fewest := fewest_cells(table.repeats, level)):
        raise ArchsweepError(
            f"{cells} cells with {table.repeats} repeats could show no drift at level {level:g}; need --cells {fewest}"
        )
    rows = _rows(table, plan, cells, np.random.default_rng(seed))
    budget = table.budget_index(plan.budgets[0])
    todo = [(int(table.cells[row]), plan.budgets[0]) for row in rows]
    found = {}
    report(0, len(todo))
    for (cell, _), metrics in trainings(plan, todo, workers, folder):
        found[cell] = np.array(metrics, np.float64)
        report(len(found), len(todo))
    ours = np.stack([found[cell] for cell, _ in todo])
    accuracies = np.nan_to_num(ours[..., METRICS.index(ACCURACY)])
    theirs = np.nan_to_num(table.metric(ACCURACY)[rows, budget])
    judged = judge(theirs, accuracies, np.random.default_rng(seed))
    return Drift(
        [
            {"module_hash": table.module_hash(row), "table": old.tolist(), "new": new.tolist()}
            for row, old, new in zip(rows, theirs, accuracies, strict=True)
        ],
        plan.budgets[0],
        level,
        *judged.statistics,
        *judged.p,
        float(np.quantile(judged.shifts, 1 - level / 2)),
        _slower(ours[..., METRICS.index("final_training_time")], table.metric("final_training_time")[rows, budget]),
    )


def fewest_cells(repeats: int, level: float) -> int:
    """How many cells it takes for a shift of any size to show.

    The largest shift has p = 2 / comb(2 repeats, repeats)^cells. That must be a quarter of what alarms, level / 2, or
    less, as p is estimated from draws.
    """
    return max(2, math.ceil(math.log(16 / level) / math.log(math.comb(2 * repeats, repeats))))


@dataclass(frozen=True)
class Judged:
    """Shift and scatter, their p-values, and the absolute shifts of the permutations, float64 (draws,)."""

    statistics: tuple[float, float]
    p: tuple[float, float]
    shifts: NDArray[np.float64]


def judge(theirs: NDArray[np.float64], ours: NDArray[np.float64], rng: np.random.Generator) -> Judged:
    """The permutation test on accuracies (cells, repeats of the table), (cells, new trainings)."""
    pooled = np.hstack([ours, theirs])

    def differences(values: NDArray[np.float64]) -> NDArray[np.float64]:
        means: NDArray[np.float64] = values[..., : ours.shape[1]].mean(-1) - values[..., ours.shape[1] :].mean(-1)
        return means

    observed = differences(pooled)
    shifts, scatters = np.empty((2, DRAWS))
    for part in np.array_split(np.arange(DRAWS), -(-DRAWS * pooled.size // AT_ONCE)):
        drawn = differences(rng.permuted(np.broadcast_to(pooled, (len(part), *pooled.shape)), axis=2))
        shifts[part], scatters[part] = np.abs(drawn.mean(1)), np.abs(drawn).mean(1)
    shift, scatter = float(observed.mean()), float(np.abs(observed).mean())
    tiny = 1e-12  # equal sums in another order are equal
    p_shift = float((1 + (shifts >= abs(shift) - tiny).sum()) / (1 + DRAWS))
    p_scatter = float((1 + (scatters >= scatter - tiny).sum()) / (1 + DRAWS))
    return Judged((shift, scatter), (p_shift, p_scatter), shifts)


def _plan(table: Table, setting: Setting | None, epochs: int, seed: int) -> Plan:
    """How to train again: with the table's own plan, but for the seed."""
    table.budget_index(epochs)
    if table.repeats < 2:
        raise ArchsweepError(f"{table.path} has one training a cell, so nobody knows its spread; give one with repeats")
    try:
        theirs = Plan.from_json(table.made["plan"]) if "plan" in table.made else None
    except ValueError:
        theirs = None
    if setting is None:
        if theirs is None:
            raise ArchsweepError(f"{table.path} does not record how it was trained; name a recipe with --preset")
        setting = theirs.setting
    before = -1 if theirs is None else theirs.seed
    return Plan(7, setting, (epochs,), table.repeats, before + 1 + seed)


def _rows(table: Table, plan: Plan, cells: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of random cells of which the table has all repeats, or knows that those that lack diverged."""
    accuracies = table.metric(ACCURACY)[:, table.budget_index(plan.budgets[0])]
    whole = np.flatnonzero(np.isfinite(accuracies).all(1) | ("plan" in table.made))
    if cells > len(whole):
        raise ArchsweepError(
            f"{table.path} has {len(whole):,} cells with {table.repeats} validation accuracies at {plan.budgets[0]} "
            f"epochs; got --cells {cells}"
        )
    rows = rng.choice(whole, cells, replace=False)
    for row in rows:
        counted = cost(table.cell(row), plan.setting.skeleton).parameters
        if counted != table.parameters[row]:
            raise ArchsweepError(
                f"{table.path}: cell {table.module_hash(row)} has {table.parameters[row]:,} parameters there and "
                f"{counted:,} in this setting; name the table's with --preset and --dataset"
            )
    return rows


def _slower(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> float | None:
    ratio = float(np.nansum(ours) / np.nansum(theirs)) if np.nansum(theirs) else math.nan
    return ratio if math.isfinite(ratio) else None
