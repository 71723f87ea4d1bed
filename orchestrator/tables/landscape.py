"""The space as a landscape: which cells are one edit apart, and how alike the values of near cells are.

An edit flips one edge of a cell or replaces one operation, as in `nas.nasbench101.space`. Everything works on all cells
at once, by catalogue number; -1 stands for no cell of the table.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from nas.nasbench101.catalogue import CELLS, LABELS, catalogue
from nas.nasbench101.graph import EDGE_SPOTS, INTERIOR, MAX_VERTICES, edge_bit
from orchestrator.statistics import mean_known

Numbers = NDArray[np.int32]
Floats = NDArray[np.float64]
CHUNK = 1 << 16


def padded_labels(cells: NDArray[np.integer]) -> NDArray[np.int64]:
    """The base-3 code of five labels that belongs to a cell's frame; unused vertices have label 0."""
    known = catalogue()
    interior = known.vertices[known.graph[cells]].astype(np.int64) - 2
    return np.asarray(known.labels[cells].astype(np.int64) * LABELS ** (INTERIOR - interior))


def replaced(cells: NDArray[np.integer], vertex: int, old: int, new: int) -> Numbers:
    """The cells in which an interior vertex (from 0 on) of operation ``old`` has ``new``; -1 where it has not."""
    known = catalogue()
    codes = padded_labels(cells)
    place = LABELS ** (INTERIOR - 1 - vertex)
    interior = known.vertices[known.graph[cells]].astype(np.int64) - 2
    has = (interior > vertex) & (codes // place % LABELS == old)
    changed = np.where(has, codes + (new - old) * place, codes)
    return np.where(has, known.numbers(known.frame[known.graph[cells]], changed), np.int32(-1))


@lru_cache(maxsize=1)
def neighbours() -> Numbers:
    """The cells one edit away from every cell's representative, int32 (423,624, 31); itself and invalid ones are -1."""
    known = catalogue()
    table = np.full((CELLS, EDGE_SPOTS + INTERIOR * (LABELS - 1)), -1, np.int32)
    for first in range(0, CELLS, CHUNK):
        cells = np.arange(first, min(first + CHUNK, CELLS))
        frames, codes = known.frame[known.graph[cells]], padded_labels(cells)
        for bit in range(EDGE_SPOTS):
            table[cells, bit] = known.numbers(frames ^ (1 << bit), codes)
        for vertex in range(INTERIOR):
            place = LABELS**vertex
            label = codes // place % LABELS
            for step in range(1, LABELS):
                changed = codes + ((label + step) % LABELS - label) * place
                table[cells, EDGE_SPOTS + vertex * (LABELS - 1) + step - 1] = known.numbers(frames, changed)
        table[cells] = np.where(table[cells] == cells[:, None], -1, table[cells])
    return table


def distances(source: int, furthest: int) -> NDArray[np.int8]:
    """Edits from a cell to every cell, counted along representatives; -1 beyond ``furthest``."""
    found = np.full(CELLS, -1, np.int8)
    found[source] = 0
    border = np.array([source])
    for distance in range(1, furthest + 1):
        near = np.unique(neighbours()[border])
        border = near[(near >= 0) & (found[near] < 0)]
        found[border] = distance
    return found


def walk(value: Floats, walkers: int, steps: int, rng: Generator) -> Floats:
    """Values along random walks, (walkers, steps): each step goes to a cell one edit away, drawn evenly from those.

    value: by catalogue number, NaN where the table has none; walks stay where there is one. A walk that gets stuck goes
    on with NaN.
    """
    there = np.append(~np.isnan(value), False)  # -1, no cell, is last
    at = rng.choice(np.flatnonzero(there), walkers)
    path = np.full((walkers, steps), np.nan)
    path[:, 0] = value[at]
    stuck = np.zeros(walkers, bool)
    for step in range(1, steps):
        near = neighbours()[at]
        draws = np.where(there[near], rng.random(near.shape), -1)
        chosen = draws.argmax(1)
        stuck |= draws.max(1) < 0
        at = np.where(stuck, at, near[np.arange(walkers), chosen])
        path[:, step] = np.where(stuck, np.nan, value[at])
    return path


def autocorrelation(paths: Floats, furthest: int) -> Floats:
    """Correlation of values so many steps apart, for 0 to ``furthest`` steps."""
    centred = paths - mean_known(paths)
    length = paths.shape[1]
    products = [mean_known(centred[:, : length - d] * centred[:, d:]) for d in range(furthest + 1)]
    return np.array(products) / products[0] if products[0] else np.full(furthest + 1, np.nan)


@lru_cache(maxsize=1)
def shapes() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Depth and width of every cell. Depth: edges on the longest path from input to output. Width: the most edges that
    a cut crosses, over the cuts that no edge crosses backwards, so that a chain has width 1 (the directed cut of the
    NAS-Bench-101 paper).
    """
    known = catalogue()
    frames = known.frame.astype(np.int64)
    has = {(x, y): (frames >> edge_bit(x, y) & 1).astype(bool) for y in range(MAX_VERTICES) for x in range(y)}
    depth = np.full((len(frames), MAX_VERTICES), -99)
    depth[:, 0] = 0
    for (x, y), there in sorted(has.items(), key=lambda item: item[0][1]):
        depth[:, y] = np.where(there, np.maximum(depth[:, y], depth[:, x] + 1), depth[:, y])
    width = np.zeros(len(frames), np.int64)
    for inside in range(1 << INTERIOR):
        early = [True, *(bool(inside >> v & 1) for v in range(INTERIOR)), False]
        crossing = sum(there.astype(np.int64) for (x, y), there in has.items() if early[x] and not early[y])
        backward = sum(there.astype(np.int64) for (x, y), there in has.items() if not early[x] and early[y])
        width = np.maximum(width, np.where(backward == 0, crossing, 0))
    return depth[known.graph, -1], width[known.graph]
