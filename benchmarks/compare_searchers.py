"""How good every searcher is on NAS-Bench-101: mean test error of what it takes for the best, after so many queries.

    python benchmarks/compare_searchers.py [--arm NAME ...] [--seeds 200]

A searcher observes test accuracy of one run (repeat 0), the role that validation accuracy plays in the published file.
Reported is, of the cell with the best observed accuracy, the mean over its three repeats, and repeat 1 alone, which the
selection never saw, unless the arm observes the mean. One trial at a time. Runs that are in the file of results already
are not done again; the end is a Markdown table on standard output, and the picture.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from resumable import RESULTS, Found, Runs, mean_and_error, row

from nas.nasbench101.space import CellSpace
from nas.table.importing import import_table
from nas.table.table import Table
from nas.trial import Result, Trial
from orchestrator.search.loop import Streams
from searchers.registry import make_searcher

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))
MARKS = (50, 100, 150, 300, 1_000)
CHEAP, COSTLY = 1_000, 300
"""Queries of searchers that fit no models, and of those that do."""

ARMS: dict[str, tuple[str, dict[str, Any], int]] = {
    "random": ("random", {}, CHEAP),
    "random, by edges": ("random", {"sampling": "edges"}, CHEAP),
    "evolution": ("evolution", {}, CHEAP),
    "evolution, paper": ("evolution", {"variant": "paper"}, CHEAP),
    "local search": ("local", {}, CHEAP),
    "local search, best": ("local", {"step": "best"}, CHEAP),
    "reinforce": ("reinforce", {}, CHEAP),
    "controller": ("controller", {}, COSTLY),
    "nsga2": ("nsga2", {}, CHEAP),
    "bananas": ("bananas", {}, COSTLY),
    "bananas, trees": ("bananas", {"model": "trees"}, COSTLY),
    "npenas": ("npenas", {}, COSTLY),
    "weaknas": ("weaknas", {}, COSTLY),
    "optuna tpe, A": ("optuna", {"sampler": "tpe"}, COSTLY),
    "optuna tpe, B": ("optuna", {"sampler": "tpe", "encoding": "B"}, COSTLY),
    "optuna tpe, C": ("optuna", {"sampler": "tpe", "encoding": "C"}, COSTLY),
    "optuna cmaes, C": ("optuna", {"sampler": "cmaes", "encoding": "C"}, COSTLY),
    "optuna nsgaii, A": ("optuna", {"sampler": "nsgaii"}, COSTLY),
    "optuna qmc, C": ("optuna", {"sampler": "qmc", "encoding": "C"}, COSTLY),
    "optuna random, A": ("optuna", {"sampler": "random"}, COSTLY),
}
"""What is compared: label -> (searcher, parameters, queries)."""
MEAN = ", mean of three"
ARMS |= {f"{label}{MEAN}": ARMS[label] for label in ("evolution", "npenas", "bananas")}
"""Of a label that ends so, the searcher observes the mean of the three runs, as NPENAS's code shows it by default."""


@cache
def truth(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By catalogue number: accuracy observed, its mean over repeats, and repeat 1."""
    table = Table(path)
    values = np.full((len(CellSpace()), table.repeats), np.nan)
    values[table.cells] = table.metric("final_test_accuracy")[:, -1]
    return values[:, 0].copy(), values.mean(1), values[:, 1].copy()


def observations(path: Path, label: str, seed: int) -> Iterator[int]:
    """The catalogue numbers of the cells that a search asks for, in turn."""
    name, parameters, queries = ARMS[label]
    observed, mean, _ = truth(path)
    shown = mean if label.endswith(MEAN) else observed
    searcher, streams = make_searcher(name, CellSpace(), parameters), Streams(seed)
    for number in range(queries):
        proposal = searcher.ask([], streams(number))
        trial = Trial(number, proposal, seed, 0, float(number))
        result = Result(float(shown[proposal.cell.key]), 1.0)
        searcher.tell(trial.succeeded(result, float(number), number + 1.0))
        yield proposal.cell.key


def search(path: Path, label: str, seed: int) -> Found:
    """At every mark: test errors (%) of the incumbent, mean of repeats and repeat 1; share of duplicates."""
    observed, mean, unseen = truth(path)
    shown = mean if label.endswith(MEAN) else observed
    best, incumbent, seen = -1.0, 0, set()
    found: Found = {"mean": [], "unseen": [], "duplicates": []}
    for number, key in enumerate(observations(path, label, seed), 1):
        seen.add(key)
        if shown[key] > best:
            best, incumbent = shown[key], key
        if number in MARKS:
            found["mean"].append(round(100 * (1 - float(mean[incumbent])), 4))
            found["unseen"].append(round(100 * (1 - float(unseen[incumbent])), 4))
            found["duplicates"].append(round(1 - len(seen) / number, 4))
    return found


def results(runs: Runs, seeds: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of every arm that was run: the numbers of `search`, (seeds, marks)."""
    for label in ARMS:
        if found := runs.of(label, seeds):
            yield label, {key: np.array([one[key] for one in found]) for key in found[0]}


def markdown(runs: Runs, seeds: int) -> str:
    """The table: mean over seeds ± its standard error of the mean test error, then repeat 1 and duplicates at 300."""
    lines = [
        "| searcher | seeds | "
        + " | ".join(f"{mark:,}" for mark in MARKS)
        + " | repeat 1 at 300 | duplicates at 300 |",
        "| --- | ---: | " + "---: | " * (len(MARKS) + 2),
    ]
    for label, found in results(runs, seeds):
        mean, count = found["mean"], len(found["mean"])
        cells = mean_and_error(mean)
        cells += ["" for _ in MARKS[len(cells) :]]
        at = MARKS.index(COSTLY)
        extra = f"{found['unseen'][:, at].mean():.2f} | {found['duplicates'][:, at].mean():.0%}"
        lines.append(row(label, count, *cells, extra))
    return "\n".join(lines)


def picture(runs: Runs, seeds: int, path: Path) -> None:
    """Mean test error against queries, a line an arm."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(11, 6), layout="constrained")
    styles = ["-", "--", ":"]
    for index, (label, found) in enumerate(results(runs, seeds)):
        mean = found["mean"].mean(0)
        axes.plot(MARKS[: len(mean)], mean, styles[index // 10], marker=".", label=label, color=f"C{index % 10}")
    axes.axhline(100 * (1 - 0.943175752957662), color="grey", linewidth=0.8)
    axes.annotate("best cell of the table", (MARKS[0], 5.69), color="grey")
    axes.set(xscale="log", xlabel="queries", ylabel="mean test error of the incumbent (%)", xticks=MARKS)
    axes.set_xticklabels([f"{mark:,}" for mark in MARKS])
    axes.minorticks_off()
    figure.legend(fontsize=8, loc="outside right center")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=RESULTS / "test108.arrow", help="table, imported if not there")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--arm", action="append", choices=ARMS, help="only these; all by default")
    parser.add_argument("--results", type=Path, default=RESULTS / "searchers.jsonl", help="file of the runs")
    parser.add_argument("--picture", type=Path, default=Path(__file__).parents[1] / "docs" / "searchers.png")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if not options.table.exists():
        import_table(DATA / "test108.parquet", options.table)
    runs = Runs(options.results)
    runs.fill(options.arm or list(ARMS), options.seeds, partial(search, options.table), options.jobs)
    print(markdown(runs, options.seeds))
    picture(runs, options.seeds, options.picture)


if __name__ == "__main__":
    main()
