"""Plots as SVG that stands in a page: no background, lines of text and axes in the page's own colour.

Series are told apart by colour (Okabe and Ito, 2008) and by line style, so that neither is needed alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from nas.nasbench101.cell import Cell
from orchestrator.pictures.cell import draw_cell

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#010203"
"""Stands for the page's own colour of text."""
STYLE: Any = {
    "svg.hashsalt": "archsweep",
    "svg.fonttype": "none",
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": INK,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
SIZE = (5.2, 3.7)
PALE = 0.18


@dataclass(frozen=True)
class Series:
    """A line of a plot. half: of the band around it; None draws none."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    half: NDArray[np.float64] | None = None


def lines(series: Sequence[Series], x: str, y: str, log: bool = True) -> str:
    """Series on logarithmic axes, or on plain ones, bands pale, the legend below."""
    figure, axes = _begun(x, y, log, log)
    with mpl.rc_context(STYLE):
        for place, one in enumerate(series):
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(one.x, one.y, DASHES[place % len(DASHES)], color=colour, label=one.label, linewidth=1.8)
            if one.half is not None and np.isfinite(one.half).any():
                low = np.maximum(one.y - one.half, one.y / 20) if log else one.y - one.half
                axes.fill_between(one.x, low, one.y + one.half, color=colour, alpha=PALE, linewidth=0)
        return _finished(figure, len(series))


def against(x: NDArray[np.float64], y: NDArray[np.float64], x_label: str, y_label: str) -> str:
    """How many points lie where, darker for more, and the diagonal; the lowest hundredth of either is left out."""
    figure, axes = _begun(x_label, y_label, False, False)
    with mpl.rc_context(STYLE):
        low = min(np.quantile(x, 0.01), np.quantile(y, 0.01))
        shown = (x >= low) & (y >= low)
        high = max(x.max(), y.max())
        axes.hexbin(x[shown], y[shown], gridsize=40, bins="log", mincnt=1, cmap="Blues", linewidths=0)
        axes.axline((high, high), slope=1, color=INK, linestyle=":", linewidth=1)
        return _svg(figure)


def fronts(series: Sequence[Series], x: str, y: str) -> str:
    """Pareto fronts as steps with markers."""
    figure, axes = _begun(x, y, True, False)
    with mpl.rc_context(STYLE):
        for place, one in enumerate(series):
            colour = COLOURS[place % len(COLOURS)]
            line = f"{MARKERS[place % len(MARKERS)]}{DASHES[place % len(DASHES)]}"
            axes.step(one.x, one.y, line, where="post", color=colour, label=one.label, markersize=4, linewidth=1.2)
        accuracies = np.concatenate([one.y for one in series])
        best = accuracies.max()
        axes.set_ylim(bottom=min(best - 3 * (best - np.median(accuracies)), best - 0.01))  # the worst cells say little
        return _finished(figure, len(series))


def heat(values: NDArray[np.float64], rows: Sequence[str], columns: Sequence[str], x: str, y: str, form: str) -> str:
    """A matrix, every place with its value; NaN is left blank."""
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(SIZE[0], 1.0 + 0.38 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.imshow(values, cmap="cividis", aspect="auto")
        middle = (np.nanmin(values) + np.nanmax(values)) / 2
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "white" if value < middle else "black"
                axes.text(column, row, format(value, form), ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.set(xlabel=x, ylabel=y)
        return _svg(figure)


def cell(drawn: Cell) -> str:
    """A cell as a graph."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.5, 2.3), layout="constrained")
        draw_cell(figure.subplots(), drawn)
        return _svg(figure)


def _begun(x: str, y: str, log_x: bool, log_y: bool) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        if log_x:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        if log_y:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel=x, ylabel=y)
        return figure, axes


def _finished(figure: Figure, count: int) -> str:
    rows = -(-count // 2)
    figure.set_size_inches(SIZE[0], SIZE[1] + 0.2 * rows)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, handlelength=3.2)
    return _svg(figure)


def _svg(figure: Figure) -> str:
    """The ``svg`` element alone, as wide as its place; equal figures give equal bytes."""
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    head, rest = text.split(">", 1)
    return re.sub(r' (width|height)="[^"]*"', "", head) + f' role="img">{rest}'
