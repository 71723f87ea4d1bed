"""A table's analysis as one page that needs nothing else, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nas.files import replacing
from orchestrator.pictures import plots
from orchestrator.pictures.page import render
from orchestrator.pictures.plots import Series
from orchestrator.tables.analyze import PAPER_VANISHES, Analysis

PAGE, NUMBERS = "analysis.html", "analysis.json"


def save_analysis(analysis: Analysis, folder: Path) -> list[Path]:
    """Writes ``analysis.html`` and ``analysis.json`` into a folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {PAGE: page(analysis), NUMBERS: json.dumps(analysis.to_json(), indent=1) + "\n"}
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def page(analysis: Analysis) -> str:
    """The page."""
    return render(
        "analysis.html.jinja", analysis=analysis, figures=_figures(analysis), vanishes=PAPER_VANISHES, nan=np.isnan
    )


def _figures(analysis: Analysis) -> list[tuple[str, str]]:
    """(caption, SVG) of every plot."""
    accuracy, seconds = analysis.shape_means["accuracy"] * 100, analysis.shape_means["seconds"]
    depths = [str(depth + 1) for depth in range(len(accuracy))]
    widths = [str(width + 1) for width in range(accuracy.shape[1])]
    found = [
        (
            f"Mean {analysis.column} accuracy (%) by depth and width.",
            plots.heat(accuracy, depths, widths, "width", "depth", ".1f"),
        )
    ]
    if not np.isnan(seconds).all():
        caption = "Mean training time (minutes) by depth and width."
        found.append((caption, plots.heat(seconds / 60, depths, widths, "width", "depth", ".0f")))
    walks, near = analysis.random_walks, analysis.by_distance
    series = [
        Series("along random walks", np.arange(len(walks), dtype=float), walks),
        Series("by distance", np.arange(len(near), dtype=float), near),
    ]
    caption = "Locality: how alike the accuracies of cells are that lie so many edits apart."
    found.append((caption, plots.lines(series, "edits", "correlation of accuracy", log=False)))
    share = np.array(analysis.around_best) * 100
    close = [Series("within half a point of the best", np.arange(1.0, len(share) + 1), share)]
    found.append(("Around the best cell.", plots.lines(close, "edits from the best cell", "cells (%)", log=False)))
    return found
