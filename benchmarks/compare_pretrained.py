"""Whether searchers rank on the predictions that come with archsweep as they rank on the real table.

    python benchmarks/compare_pretrained.py [--arm NAME ...] [--seeds 200]

The protocol of compare_searchers.py, once on the predictions of all cells (runs that are in the file of results are not
done again), and the runs on the real table that compare_searchers.py left in its file. The end is a Markdown table of
the arms that both have, and after how many queries the two orders agree how well.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from pathlib import Path

import numpy as np
from compare_searchers import ARMS, MARKS, MEAN, search
from resumable import RESULTS, Runs, row
from scipy.stats import kendalltau, spearmanr

from surrogate.pretrained.predicted import Predicted

CHEAP = [label for label, (_, _, queries) in ARMS.items() if queries == MARKS[-1] and not label.endswith(MEAN)]


def both(real: Runs, predicted: Runs, seeds: int) -> dict[str, tuple[np.ndarray, np.ndarray, int]]:
    """Of every arm with runs in both: mean test error (%) at the marks on the real table, on the predictions, runs."""
    found = {}
    for label in ARMS:
        runs = [[one["mean"] for one in some.of(label, seeds)] for some in (real, predicted)]
        if all(runs):
            found[label] = (np.mean(runs[0], 0), np.mean(runs[1], 0), min(map(len, runs)))
    return found


def markdown(found: dict[str, tuple[np.ndarray, np.ndarray, int]]) -> str:
    lines = [row("searcher", "seeds", *(f"{mark:,}" for mark in MARKS)), "| --- |" + " ---: |" * (len(MARKS) + 1)]
    for label, (real, predicted, seeds) in found.items():
        lines.append(row(label, seeds, *(f"{a:.2f} / {b:.2f}" for a, b in zip(real, predicted, strict=True))))
    taus, rhos = [], []
    for index in range(len(MARKS)):
        there = [(real[index], predicted[index]) for real, predicted, _ in found.values() if len(real) > index]
        taus.append(kendalltau(*zip(*there, strict=True)).statistic)
        rhos.append(spearmanr(*zip(*there, strict=True)).statistic)
    lines.append(row("Kendall tau of the two orders", "", *(f"{tau:.2f}" for tau in taus)))
    lines.append(row("Spearman", "", *(f"{rho:.2f}" for rho in rhos)))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=RESULTS / "predicted.arrow", help="written if not there")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--arm", action="append", choices=ARMS, help="only these; those that fit no models by default")
    parser.add_argument("--real", type=Path, default=RESULTS / "searchers.jsonl", help="runs on the real table")
    parser.add_argument("--results", type=Path, default=RESULTS / "predicted.jsonl", help="file of the runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if not options.table.exists():
        Predicted().write(options.table)
    runs = Runs(options.results)
    runs.fill(options.arm or CHEAP, options.seeds, partial(search, options.table), options.jobs)
    print(markdown(both(Runs(options.real), runs, options.seeds)))


if __name__ == "__main__":
    main()
