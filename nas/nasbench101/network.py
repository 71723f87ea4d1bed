"""The network around a cell, counted without building it: channels, trainable parameters, multiply-accumulates.

Source: ``model_builder.py`` of google-research/nasbench.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray

from nas.nasbench101.catalogue import CELLS, LABELS, catalogue
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import OPERATIONS, edge_bit, to_native

Count = Annotated[int, Ge(1)]


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The fixed part of every network: a 3x3 stem, stacks of cells, max-pooling and doubled channels in between.

    The defaults are NAS-Bench-101's, for CIFAR-10.
    """

    stem_channels: Count = 128
    stacks: Count = 3
    cells_per_stack: Count = 3
    image_size: Count = 32
    image_channels: Count = 3
    classes: Count = 10

    def cells(self) -> list[tuple[int, int, int]]:
        """(input channels, output channels, image side) of every cell, first to last."""
        sizes = []
        channels = self.stem_channels
        for stack in range(self.stacks):
            side = -(-self.image_size // 2**stack)  # "same" padding rounds up
            for _ in range(self.cells_per_stack):
                width = self.stem_channels * 2**stack
                sizes.append((channels, width, side))
                channels = width
        return sizes


NASBENCH101 = Skeleton()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network costs: trainable parameters, and multiply-accumulates (MACs) of one image's forward pass.

    MACs count convolutions and the classifier; pooling, batch normalisation and additions are left out, as usual.
    """

    parameters: int
    macs: int


def cost(cell: Cell, skeleton: Skeleton = NASBENCH101) -> Cost:
    """Parameters and MACs of the network of this cell."""
    pruned = cell.pruned
    native = to_native(pruned.frame, pruned.vertices)
    fixed, per_vertex = _graph_costs(native, pruned.vertices, skeleton)
    total = fixed + sum((per_vertex[v, label] for v, label in enumerate(pruned.labels)), np.zeros(2, np.int64))
    return Cost(int(total[0]), int(total[1]))


@lru_cache(maxsize=2)
def catalogue_costs(skeleton: Skeleton = NASBENCH101) -> NDArray[np.int64]:
    """Parameters and MACs of every unique cell; int64, (423,624 cells, 2)."""
    cells = catalogue()
    interior = cells.vertices[cells.graph].astype(np.int64) - 2
    costs = [
        _graph_costs(to_native(int(frame), int(vertices)), int(vertices), skeleton)
        for frame, vertices in zip(cells.frame, cells.vertices, strict=True)
    ]
    total = np.array([fixed for fixed, _ in costs])[cells.graph]
    for vertex in range(interior.max()):
        shaped = np.array([table[vertex] if vertex < len(table) else np.zeros((LABELS, 2)) for _, table in costs])
        place = LABELS ** np.maximum(interior - 1 - vertex, 0)
        total += shaped.astype(np.int64)[cells.graph, cells.labels // place % LABELS]
    assert total.shape == (CELLS, 2)
    return total


def vertex_channels(into_output: Sequence[bool], edges: Sequence[tuple[int, int]], output: int) -> list[int]:
    """Output channels of each interior vertex of a pruned cell.

    into_output[v]: interior vertex v + 1 feeds the output. edges: (v, w) between interior vertices, v < w, counted the
    same way. The output's channels are shared among the vertices that feed it, the remainder one each to the earliest;
    every other vertex takes the maximum over the vertices that it feeds.
    """
    sharers = sum(into_output)
    channels = [0] * len(into_output)
    shared = 0
    for v, feeds in enumerate(into_output):
        if feeds:
            channels[v] = output // sharers + (shared < output % sharers)
            shared += 1
    for v in reversed(range(len(channels))):
        if not into_output[v]:
            channels[v] = max(channels[w] for source, w in edges if source == v)
    return channels


@lru_cache(maxsize=1 << 13)
def _graph_costs(native: int, vertices: int, skeleton: Skeleton) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What a pruned graph costs whatever its operations, (2,), and what each operation adds, (interior, labels, 2)."""
    last = vertices - 1
    has = {(x, y) for y in range(vertices) for x in range(y) if native >> edge_bit(x, y) & 1}
    interior = range(1, last)
    into_output = [(v, last) in has for v in interior]
    between = [(x - 1, y - 1) for x, y in has if x > 0 and y < last]
    fixed = _convolution(3, skeleton.image_channels, skeleton.stem_channels, skeleton.image_size)
    per_vertex = np.zeros((vertices - 2, LABELS, 2), np.int64)
    width = skeleton.stem_channels
    for incoming, width, side in skeleton.cells():
        channels = vertex_channels(into_output, between, width)
        for v, out in zip(interior, channels, strict=True):
            if (0, v) in has:
                fixed = fixed + _convolution(1, incoming, out, side)
            for label, operation in enumerate(OPERATIONS):
                if operation != "maxpool3x3":
                    per_vertex[v - 1, label] += _convolution(3 if "3x3" in operation else 1, out, out, side)
        if (0, last) in has:
            fixed = fixed + _convolution(1, incoming, width, side)
    return fixed + np.array([(width + 1) * skeleton.classes, width * skeleton.classes]), per_vertex


def _convolution(kernel: int, incoming: int, out: int, side: int) -> NDArray[np.int64]:
    """Parameters and MACs of a convolution without bias, followed by batch normalisation's scale and offset."""
    weights = kernel * kernel * incoming * out
    return np.array([weights + 2 * out, weights * side * side], np.int64)
