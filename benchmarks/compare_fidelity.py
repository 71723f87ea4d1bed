"""Multi-fidelity searchers against those that train every cell in full: regret against time, at equal cost.

    python benchmarks/compare_fidelity.py [--seeds 50]

The space is the 20,001 cells that curves20k.parquet has at 4, 12, 36 and 108 epochs. A searcher observes validation
accuracy; regret is of the mean test accuracy after 108 epochs of the incumbent, the best observed at the largest number
of epochs that any trial has had. Eight workers on the simulated clock, a million training seconds, about 520 trainings
of 108 epochs; every trial is paid, as published, also one that repeats an earlier one. Runs that the file of
results has already are not done again.
"""

from __future__ import annotations

import argparse
import os
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from resumable import RESULTS, Found, Runs, mean_and_error, row

from nas.nasbench101.space import CellSpace
from nas.table.importing import import_table
from nas.table.table import Table
from nas.trial import Trial
from orchestrator.records.state import Budget, State
from orchestrator.records.trajectory import Trajectory
from orchestrator.search.loop import Streams, run
from searchers.registry import make_searcher
from workers.cluster import steady
from workers.simulated import SimulatedPool
from workers.table import Objective, TableEvaluator

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))
WORKERS, SECONDS = 8, 1_000_000
MARKS = (10_000, 30_000, 100_000, 300_000, 1_000_000)

ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "evolution": ("evolution", {}),
    "ASHA": ("halving", {}),
    "ASHA, 36 and 108 epochs": ("halving", {"budgets": [36, 108]}),
    "successive halving, synchronous": ("halving", {"promotion": "synchronous"}),
    "Hyperband": ("hyperband", {}),
    "Hyperband, 36 and 108 epochs": ("hyperband", {"budgets": [36, 108]}),
    "BOHB": ("bohb", {}),
    "BOHB, 36 and 108 epochs": ("bohb", {"budgets": [36, 108]}),
    "DEHB": ("dehb", {}),
    "DEHB, 36 and 108 epochs": ("dehb", {"budgets": [36, 108]}),
}


class NoJournal:
    """Nobody resumes one of these searches."""

    def append(self, trial: Trial) -> None: ...

    def commit(self) -> None: ...


@cache
def evaluator(table: Path) -> TableEvaluator:
    return TableEvaluator(Table(table), Objective(repeat=0))


def search(table: Path, arm: str, seed: int) -> Found:
    """Every new incumbent: (clock, training seconds spent, regret in points), and how often was trained how long."""
    name, parameters = ARMS[arm]
    evaluate = evaluator(table)
    trajectory, state, trained = Trajectory(evaluate.best), State(), dict.fromkeys(evaluate.budgets, 0)

    def count(trial: Trial, _: State) -> None:
        trained[trial.proposal.epochs or evaluate.epochs] += 1

    run(
        make_searcher(name, CellSpace(evaluate.table.cells), parameters, evaluate.budgets),
        SimulatedPool(evaluate, steady([1.0] * WORKERS)),
        NoJournal(),
        Budget(seconds=SECONDS),
        state,
        Streams(seed),
        [trajectory, count],
    )
    steps = [(round(p.clock), round(p.spent), round(100 * (p.regret or 0), 3)) for p in trajectory.points]
    return {"steps": steps, "trained": list(trained.values()), "clock": round(state.clock)}


def at(steps: list[list[float]], column: int, moments: np.ndarray) -> np.ndarray:
    """Regret at each moment on the clock (column 0) or of training seconds (1); NaN before the first incumbent."""
    times, regret = np.array(steps)[:, column], np.array(steps)[:, 2]
    index = np.searchsorted(times, moments, side="right") - 1
    return np.where(index >= 0, regret[index], np.nan)


def markdown(runs: Runs, seeds: int) -> str:
    """Mean regret ± standard error at equal training seconds, and the median number of trainings of each length."""
    lines = [
        row("searcher", "seeds", *(f"{mark:,} s" for mark in MARKS), "trainings of 4 / 12 / 36 / 108 epochs"),
        row("---", "---:", *["---:"] * len(MARKS), "---:"),
    ]
    for arm in ARMS:
        if found := runs.of(arm, seeds):
            regret = np.array([at(one["steps"], 1, np.array(MARKS)) for one in found])
            trained = np.median([one["trained"] for one in found], 0).astype(int)
            lines.append(row(arm, len(found), *mean_and_error(regret), " / ".join(f"{n:,}" for n in trained)))
    return "\n".join(lines)


def picture(runs: Runs, seeds: int, path: Path) -> None:
    """Mean regret against the simulated clock, from where nine in ten seeds have an incumbent."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    moments = np.geomspace(500, SECONDS / WORKERS, 200)
    families = list(dict.fromkeys(arm.split(",")[0] for arm in ARMS))
    for arm in ARMS:
        if found := runs.of(arm, seeds):
            regret = np.array([at(one["steps"], 0, moments) for one in found])
            shown = np.isnan(regret).mean(0) <= 0.1
            family = arm.split(",")[0]
            style = "--" if "36 and" in arm else "-"
            axes.plot(
                moments[shown],
                np.nanmean(regret[:, shown], 0),
                style,
                color=f"C{families.index(family)}",
                label=arm,
            )
    axes.set(xscale="log", yscale="log", xlabel=f"seconds on the clock of {WORKERS} workers")
    axes.set_ylabel("mean test regret of the incumbent (points)")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--results", type=Path, default=RESULTS / "fidelity.jsonl", help="file of the runs")
    parser.add_argument("--table", type=Path, default=RESULTS / "curves20k.arrow", help="table, imported if not there")
    parser.add_argument("--picture", type=Path, default=Path(__file__).parents[1] / "docs" / "fidelity.png")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if not options.table.exists():
        import_table(DATA / "curves20k.parquet", options.table)
    runs = Runs(options.results)
    runs.fill(ARMS, options.seeds, partial(search, options.table), options.jobs)
    print(markdown(runs, options.seeds))
    picture(runs, options.seeds, options.picture)


if __name__ == "__main__":
    main()
