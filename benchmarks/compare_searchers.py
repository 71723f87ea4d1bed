"""How good every searcher is on NAS-Bench-101: mean test error of what it takes for the best, after so many queries.

    python benchmarks/compare_searchers.py --out runs/compare --seeds 20

A searcher observes test accuracy of one run (repeat 0), the role that validation accuracy plays in the published file.
Reported is, of the cell with the best observed accuracy, the mean over its three repeats, and repeat 1 alone, which the
selection never saw. One trial at a time. Every (arm, seed) is a file in --out, so that the command goes on where it
was; it ends with a Markdown table on standard output and a picture in --out.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from nas.files import replacing
from nas.importing import import_table
from nas.space import CellSpace
from nas.table import Table
from nas.trial import Result, Trial
from orchestrator.loop import Streams
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
    "nsga2": ("nsga2", {}, CHEAP),
    "bananas": ("bananas", {}, COSTLY),
    "bananas, trees": ("bananas", {"model": "trees"}, COSTLY),
    "npenas": ("npenas", {}, COSTLY),
    "weaknas": ("weaknas", {}, COSTLY),
    "optuna tpe, A": ("optuna", {"sampler": "tpe"}, COSTLY),
    "optuna tpe, B": ("optuna", {"sampler": "tpe", "encoding": "B"}, COSTLY),
    "optuna tpe, C": ("optuna", {"sampler": "tpe", "encoding": "C"}, COSTLY),
    "optuna tpe, A, pruned": ("optuna", {"sampler": "tpe", "invalid": "pruned"}, COSTLY),
    "optuna cmaes, C": ("optuna", {"sampler": "cmaes", "encoding": "C"}, COSTLY),
    "optuna nsgaii, A": ("optuna", {"sampler": "nsgaii"}, COSTLY),
    "optuna qmc, C": ("optuna", {"sampler": "qmc", "encoding": "C"}, COSTLY),
    "optuna random, A": ("optuna", {"sampler": "random"}, COSTLY),
}
"""What is compared: label -> (searcher, parameters, queries)."""


@cache
def truth(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By catalogue number: accuracy observed, its mean over repeats, and repeat 1."""
    table = Table(path)
    values = np.full((len(CellSpace()), table.repeats), np.nan)
    values[table.cells] = table.metric("final_test_accuracy")[:, -1]
    return values[:, 0].copy(), values.mean(1), values[:, 1].copy()


def search(path: Path, label: str, seed: int) -> dict[str, list[float]]:
    """At every mark: test errors (%) of the incumbent, mean of repeats and repeat 1; share of duplicates."""
    name, parameters, queries = ARMS[label]
    observed, mean, unseen = truth(path)
    searcher, streams = make_searcher(name, CellSpace(), parameters), Streams(seed)
    best, incumbent, seen = -1.0, 0, set()
    found: dict[str, list[float]] = {"mean": [], "unseen": [], "duplicates": []}
    for number in range(queries):
        proposal = searcher.ask([], streams(number))
        key = proposal.cell.key
        seen.add(key)
        value = float(observed[key])
        trial = Trial(number, proposal, seed, 0, float(number))
        searcher.tell(trial.succeeded(Result(value, 1.0), float(number), number + 1.0))
        if value > best:
            best, incumbent = value, key
        if number + 1 in MARKS:
            found["mean"].append(100 * (1 - float(mean[incumbent])))
            found["unseen"].append(100 * (1 - float(unseen[incumbent])))
            found["duplicates"].append(1 - len(seen) / (number + 1))
    return found


def run(path: Path, out: Path, label: str, seed: int) -> None:
    """One search into its file."""
    found = search(path, label, seed)
    with replacing(out / label / f"{seed}.json") as temporary:
        temporary.write_text(json.dumps(found))


def results(out: Path, labels: list[str], seeds: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Of every arm: the numbers of `search`, (seeds, marks)."""
    for label in labels:
        files = [file for seed in range(seeds) if (file := out / label / f"{seed}.json").exists()]
        read = [json.loads(file.read_text()) for file in files]
        if read:
            yield label, {key: np.array([one[key] for one in read]) for key in read[0]}


def markdown(out: Path, labels: list[str], seeds: int) -> str:
    """The table: mean over seeds ± its standard error of the mean test error, then repeat 1 and duplicates at 300."""
    lines = [
        "| searcher | seeds | "
        + " | ".join(f"{mark:,}" for mark in MARKS)
        + " | repeat 1 at 300 | duplicates at 300 |",
        "| --- | ---: | " + "---: | " * (len(MARKS) + 2),
    ]
    for label, found in results(out, labels, seeds):
        mean, count = found["mean"], len(found["mean"])
        error = mean.std(0, ddof=1) / count**0.5 if count > 1 else np.full(mean.shape[1], np.nan)
        cells = [f"{m:.2f} ± {e:.2f}" for m, e in zip(mean.mean(0), error, strict=True)]
        cells += ["" for _ in MARKS[len(cells) :]]
        at = MARKS.index(COSTLY)
        extra = f"{found['unseen'][:, at].mean():.2f} | {found['duplicates'][:, at].mean():.0%}"
        lines.append(f"| {label} | {count} | " + " | ".join(cells) + f" | {extra} |")
    return "\n".join(lines)


def picture(out: Path, labels: list[str], seeds: int) -> Path:
    """Mean test error against queries, a line an arm."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    styles = ["-", "--", ":"]
    for index, (label, found) in enumerate(results(out, labels, seeds)):
        mean = found["mean"].mean(0)
        axes.plot(MARKS[: len(mean)], mean, styles[index // 10], marker=".", label=label, color=f"C{index % 10}")
    axes.axhline(100 * (1 - 0.943175752957662), color="grey", linewidth=0.8)
    axes.annotate("best cell of the table", (MARKS[0], 5.69), color="grey")
    axes.set(xscale="log", xlabel="queries", ylabel="mean test error of the incumbent (%)", xticks=MARKS)
    axes.set_xticklabels([f"{mark:,}" for mark in MARKS])
    axes.minorticks_off()
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(out / "searchers.png", dpi=110)
    return out / "searchers.png"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--table", type=Path, help="table file; by default test108.parquet of NB101_DATA, imported")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--arm", action="append", choices=ARMS, help="only these; all by default")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--report", action="store_true", help="only print what is there")
    options = parser.parse_args()
    labels = options.arm or list(ARMS)
    for label in labels:
        (options.out / label).mkdir(parents=True, exist_ok=True)
    table = options.table or options.out / "test108.arrow"
    if not table.exists():
        import_table(DATA / "test108.parquet", table)
    jobs = [(label, seed) for seed in range(options.seeds) for label in labels]
    jobs = [] if options.report else [j for j in jobs if not (options.out / j[0] / f"{j[1]}.json").exists()]
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"  # the processes fill the cores
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for done in as_completed([pool.submit(run, table, options.out, *job) for job in jobs]):
            done.result()
    print(markdown(options.out, labels, options.seeds))
    print(f"\npicture: {picture(options.out, labels, options.seeds)}")


if __name__ == "__main__":
    main()
