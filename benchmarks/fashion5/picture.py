"""Draws what the sweep on the measured table found, and prints it as a table.

archsweep sweep benchmarks/fashion5/sweep.toml --out runs/fashion5
python benchmarks/fashion5/picture.py runs/fashion5 docs/images/fashion5.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from nas.table.packaged import packaged_table
from nas.table.table import Table
from orchestrator.pictures.plots import COLOURS
from orchestrator.sweep.report import report

FIRST = 10
"""Trials; before, a searcher has hardly begun."""
SHOWN = (20, 50, 100, 200)


def of_one_run(table: Table, draws: int = 5_000) -> float:
    """The mean test regret, in points, of who trains every cell once and takes the best validation accuracy."""
    observed = table.metric("final_validation_accuracy")[:, -1]
    truth = table.metric("final_test_accuracy")[:, -1].mean(1)
    rng, rows = np.random.default_rng(0), np.arange(len(table))
    chosen = [observed[rows, rng.integers(0, table.repeats, len(table))].argmax() for _ in range(draws)]
    return 100 * float(truth.max() - truth[chosen].mean())


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    found, _ = report(folder)
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    axes = figure.subplots()
    searchers = sorted({group.group.settings["searcher"] for group in found.groups})
    bound = of_one_run(Table(packaged_table()))
    print("| searcher | " + " | ".join(map(str, SHOWN)) + " | duplicates |\n| --- |" + " ---: |" * (len(SHOWN) + 1))
    for group in sorted(found.groups, key=lambda group: group.group.label):
        curve, filtered = group.by_queries, group.group.settings["filter"] == "filtered"
        name = group.group.settings["searcher"]
        label = f"{name}, filtered" if filtered else name
        kept = curve.at >= FIRST
        at, mean, half = curve.at[kept], 100 * curve.mean[kept], 100 * curve.half[kept]
        colour = COLOURS[searchers.index(name)]
        axes.plot(at, mean, "-" if filtered else "--", color=colour, label=label)
        axes.fill_between(at, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)
        shown = [f"{np.interp(trials, at, mean):.2f} ± {np.interp(trials, at, half) / 1.96:.2f}" for trials in SHOWN]
        print(f"| {label} | " + " | ".join(shown) + f" | {group.duplicates:.0%} |")
    print(f"Who trains every cell once: {bound:.2f}")
    axes.axhline(bound, color="#555555", linestyle=":", linewidth=1, label="best of all cells by one training each")
    axes.set(
        xlabel="finished trials", ylabel="test regret of the incumbent (points)", xlim=(FIRST, None), ylim=(0, None)
    )
    axes.set_title(f"{len(found.groups)} x {found.groups[0].seeds} searches of the table in the box, mean and 95 %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
