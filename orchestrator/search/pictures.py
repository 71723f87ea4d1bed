"""Pictures of a search: its best cell, and how regret fell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nas.table.table import PREDICTED
from orchestrator.pictures.cell import STYLE, draw_cell, save
from orchestrator.records.front import Front
from orchestrator.records.trajectory import Point
from searchers.goals import Goal

UNITS = {
    Goal.ACCURACY: "objective (accuracy)",
    Goal.PARAMETERS: "parameters",
    Goal.MACS: "multiply-accumulates",
    Goal.SECONDS: "training seconds",
}


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
