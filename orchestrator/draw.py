"""Pictures: a cell as a graph, and how regret fell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from nas.cell import Cell
from nas.files import replacing
from nas.table import PREDICTED
from orchestrator.front import Front
from orchestrator.trajectory import Point
from searchers.goals import Goal

# Colours of Okabe and Ito (2008), told apart by colour-blind people too.
COLOURS = {
    "input": "#999999",
    "output": "#999999",
    "conv3x3-bn-relu": "#E69F00",
    "conv1x1-bn-relu": "#56B4E9",
    "maxpool3x3": "#009E73",
}
SHORT = {"conv3x3-bn-relu": "conv 3x3", "conv1x1-bn-relu": "conv 1x1", "maxpool3x3": "max-pool\n3x3"}
UNITS = {
    Goal.ACCURACY: "objective (accuracy)",
    Goal.PARAMETERS: "parameters",
    Goal.MACS: "multiply-accumulates",
    Goal.SECONDS: "training seconds",
}
STYLE: Any = {"svg.hashsalt": "archsweep", "svg.fonttype": "none", "axes.grid": True, "grid.alpha": 0.3}


def draw_cell(axes: Axes, cell: Cell) -> None:
    """The pruned cell, data flowing from left to right, every edge an arc that clears the vertices between."""
    pruned = cell.pruned
    matrix = pruned.matrix
    size = len(matrix)
    for source in range(size):
        for target in range(source + 1, size):
            if matrix[source, target]:
                span = target - source
                bend = 0.0 if span == 1 else (-0.62 if (source + target) % 2 else 0.62) / span**0.5
                axes.add_patch(
                    FancyArrowPatch(
                        (source, 0),
                        (target, 0),
                        connectionstyle=f"arc3,rad={bend}",
                        arrowstyle="-|>",
                        mutation_scale=12,
                        shrinkA=21,
                        shrinkB=21,
                        color="#555555",
                    )
                )
    for vertex, operation in enumerate(pruned.operations):
        axes.scatter(vertex, 0, s=1500, color=COLOURS[operation], zorder=2)
        axes.text(vertex, 0, SHORT.get(operation, operation), ha="center", va="center", fontsize=7, zorder=3)
    axes.set_xlim(-0.6, size - 0.4)
    axes.set_ylim(-1.6, 1.6)
    axes.axis("off")


def draw_regret(axes: Axes, points: Sequence[Point], finished: int) -> None:
    """Regret of the incumbent, in percentage points, against finished trials; nothing where regret is unknown."""
    known = [(point.finished, point.regret * 100) for point in points if point.regret is not None]
    if known:
        steps, regret = zip(*known, strict=True)
        axes.step((*steps, max(finished, steps[-1])), (*regret, regret[-1]), where="post", color="#0072B2")
        axes.set_xscale("log")
    axes.set_xlabel("finished trials")
    predicted = ", predicted" if any(point.source == PREDICTED for point in points) else ""
    axes.set_ylabel(f"test regret of the incumbent (points{predicted})")


def save_pictures(folder: Path, points: Sequence[Point], finished: int) -> list[Path]:
    """Writes ``regret.png`` and ``best_cell.svg`` into a folder; the same points give the same bytes."""
    written = []
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4), layout="constrained")
        draw_regret(figure.subplots(), points, finished)
        written.append(save(figure, folder / "regret.png"))
        if points:
            figure = Figure(figsize=(8, 2.6), layout="constrained")
            axes = figure.subplots()
            draw_cell(axes, points[-1].cell)
            best = points[-1]
            said = " (predicted)" if best.source == PREDICTED else ""
            axes.set_title(f"{best.cell.module_hash}, objective {best.objective:.4f}{said}", fontsize=9)
            written.append(save(figure, folder / "best_cell.svg"))
    return written


def save_front(folder: Path, front: Front) -> Path:
    """Writes ``front.png``: the non-dominated trials, the first goal against each other one."""
    first, *others = front.goals
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4 * len(others), 4), layout="constrained")
        columns = [np.abs(column) for column in zip(*(best.values for best in front.points), strict=True)]
        panels = figure.subplots(1, len(others), squeeze=False)[0]
        for axes, goal, column in zip(panels, others, columns[1:], strict=True):
            axes.scatter(column, columns[0], color="#0072B2")
            axes.set_xlabel(UNITS[goal])
            axes.set_ylabel(UNITS[first])
        return save(figure, folder / "front.png")


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure in the format of the path's suffix; the same figure gives the same bytes."""
    with replacing(path) as temporary:
        figure.savefig(
            temporary, format=path.suffix[1:], dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None
        )
    return path
