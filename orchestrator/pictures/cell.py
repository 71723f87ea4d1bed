"""A cell as a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from nas.files import replacing
from nas.nasbench101.cell import Cell

# Colours of Okabe and Ito (2008), told apart by colour-blind people too.
COLOURS = {
    "input": "#999999",
    "output": "#999999",
    "conv3x3-bn-relu": "#E69F00",
    "conv1x1-bn-relu": "#56B4E9",
    "maxpool3x3": "#009E73",
}
SHORT = {"conv3x3-bn-relu": "conv 3x3", "conv1x1-bn-relu": "conv 1x1", "maxpool3x3": "max-pool\n3x3"}
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


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure in the format of the path's suffix; the same figure gives the same bytes."""
    with replacing(path) as temporary:
        figure.savefig(
            temporary, format=path.suffix[1:], dpi=120, metadata={"Date": None} if path.suffix == ".svg" else None
        )
    return path
