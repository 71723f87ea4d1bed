"""Cells, and what a search proposed, as pictures: SVG or PNG, and the sequence as an animated GIF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import matplotlib as mpl
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nas.errors import ArchsweepError, DataError
from nas.files import replacing
from nas.nasbench101.cell import Cell
from orchestrator.pictures.cell import STYLE, draw_cell, save
from orchestrator.records.folder import JOURNAL
from orchestrator.records.journal import Reading

FORMATS = (".svg", ".png", ".gif")
COLUMNS = 4
FRAMES_A_SECOND = 2
DPI = 80


@dataclass(frozen=True)
class Frame:
    """A finished trial: the how many-th to finish, from 1 on, its number, cell, and objective (None if it failed); the
    best objective by then.
    """

    finished: int
    number: int
    cell: Cell
    objective: float | None
    best: float | None

    @property
    def title(self) -> str:
        found = "failed" if self.objective is None else f"{self.objective:.4f}"
        return f"trial {self.number}: {found}" + ("" if self.best is None else f", best {self.best:.4f}")


def frames(run_dir: Path, first: int, count: int, only_best: bool = False) -> list[Frame]:
    """At most ``count`` of a search's finished trials, from the ``first`` on, or of those that became its incumbent.

    Raises `DataError` if there is none.
    """
    if not (run_dir / JOURNAL).is_file():
        raise DataError(f"{run_dir} holds no search; give the folder of one, a cell as JSON, or a module_hash")
    found: list[Frame] = []
    best: float | None = None
    finished = (trial for trial in Reading(run_dir / JOURNAL) if trial.finished is not None)
    for place, trial in enumerate(finished, 1):
        objective = trial.result.objective if trial.result else None
        better = objective is not None and (best is None or objective > best)
        best = objective if better else best
        if better or not only_best:
            found.append(Frame(place, trial.number, trial.proposal.cell, objective, best))
    chosen = list(islice(found, first, first + count))
    if not chosen:
        raise DataError(f"{run_dir} has no proposal from number {first} on; it has {len(found)}")
    return chosen


def save_cell(cell: Cell, path: Path) -> Path:
    """One cell as SVG or PNG."""
    if path.suffix == ".gif":
        raise ArchsweepError(f"{path}: one cell does not move; choose .svg or .png, or draw the folder of a search")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 2.6), layout="constrained")
        axes = figure.subplots()
        draw_cell(axes, cell)
        axes.set_title(cell.module_hash, fontsize=9)
        return save(figure, path)


def save_frames(shown: Sequence[Frame], path: Path) -> Path:
    """All of them side by side, or one after the other as a GIF."""
    with mpl.rc_context(STYLE):
        return _animated(shown, path) if path.suffix == ".gif" else _side_by_side(shown, path)


def _side_by_side(shown: Sequence[Frame], path: Path) -> Path:
    rows = -(-len(shown) // COLUMNS)
    figure = Figure(figsize=(6.4 * COLUMNS, 2.4 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, frame in zip(grid.flat, shown, strict=False):
        draw_cell(axes, frame.cell)
        axes.set_title(frame.title, fontsize=9)
    return save(figure, path)


def _animated(shown: Sequence[Frame], path: Path) -> Path:
    figure = Figure(figsize=(7, 4.4))
    FigureCanvasAgg(figure)
    cell_axes, curve = figure.subplots(2, 1, height_ratios=[3, 2])
    writer = PillowWriter(fps=FRAMES_A_SECOND)
    with replacing(path) as temporary:
        gif = temporary.with_suffix(".gif")  # the writer goes by the suffix
        try:
            with writer.saving(figure, str(gif), DPI):
                for place, frame in enumerate(shown):
                    cell_axes.clear()
                    draw_cell(cell_axes, frame.cell)
                    cell_axes.set_title(frame.title, fontsize=10)
                    _draw_so_far(curve, shown, place)
                    writer.grab_frame()
            gif.replace(temporary)
        finally:
            gif.unlink(missing_ok=True)
    return path


def _draw_so_far(axes: Axes, shown: Sequence[Frame], place: int) -> None:
    """Objectives of the frames up to this one, and the best."""
    axes.clear()
    past = shown[: place + 1]
    known = [(frame.finished, frame.objective) for frame in past if frame.objective is not None]
    best = [(frame.finished, frame.best) for frame in past if frame.best is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "o", color="#56B4E9", markersize=3, label="proposal")
    if best:
        axes.step(*zip(*best, strict=True), where="post", color="#0072B2", label="best")
    values = [frame.objective for frame in shown if frame.objective is not None]
    if values:
        top = max(max(values), *(frame.best or 0 for frame in shown))
        middle = sorted(values)[len(values) // 2]
        axes.set_ylim(min(top - 3 * (top - middle), top - 0.01), top + 0.005)
    axes.set_xlim(shown[0].finished - 0.5, shown[-1].finished + 0.5)
    axes.set_xlabel("finished trials")
    axes.set_ylabel("objective")
