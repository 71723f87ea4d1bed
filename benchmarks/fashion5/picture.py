"""Draws what the sweep on the measured table found.

archsweep sweep benchmarks/fashion5/sweep.toml --out runs/fashion5
python benchmarks/fashion5/picture.py runs/fashion5 docs/images/fashion5.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from matplotlib.figure import Figure

from orchestrator.plots import COLOURS
from orchestrator.report import report

FIRST = 5
"""Trials; before, a searcher has hardly begun."""


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    found, _ = report(folder)
    figure = Figure(figsize=(7.2, 4), layout="constrained")
    axes = figure.subplots()
    searchers = sorted({group.group.settings["searcher"] for group in found.groups})
    for group in sorted(found.groups, key=lambda group: group.group.label):
        curve, filtered = group.by_queries, group.group.settings["filter"] == "filtered"
        colour, name = COLOURS[searchers.index(group.group.settings["searcher"])], group.group.settings["searcher"]
        kept = curve.at >= FIRST
        at, mean, half = curve.at[kept], 100 * curve.mean[kept], 100 * curve.half[kept]
        axes.plot(at, mean, "-" if filtered else "--", color=colour, label=f"{name}, filtered" if filtered else name)
        axes.fill_between(at, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
    axes.set(xscale="log", xlabel="finished trials", ylabel="test regret of the incumbent (points)", ylim=(0, None))
    axes.set_xticks([5, 10, 20, 50, 100, 200], labels=["5", "10", "20", "50", "100", "200"])
    axes.minorticks_off()
    axes.set_title(f"{len(found.groups)} x {found.groups[0].seeds} searches of the table in the box")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(out, dpi=130)


if __name__ == "__main__":
    main()
