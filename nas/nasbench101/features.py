"""What a cell looks like to a model: features that do not depend on the order of its vertices, of many cells at once.

Cells are given by catalogue number. A path is a way from input to output, written as its sequence of operations.
Path encoding: White, Neiswanger and Savani, 2021 (arXiv:1910.11858).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nas.nasbench101.catalogue import LABELS, catalogue
from nas.nasbench101.graph import INTERIOR, MAX_VERTICES, edge_bit
from nas.nasbench101.network import catalogue_costs

PATHS = sum(LABELS**length for length in range(INTERIOR + 1))
"""Sequences of up to five operations: 364."""

_OFFSETS = np.array([sum(LABELS**shorter for shorter in range(length)) for length in range(INTERIOR + 1)])
Cells = NDArray[np.integer]
"""Catalogue numbers, (cells,)."""


def path_encoding(cells: Cells, length: int = PATHS) -> NDArray[np.float32]:
    """Which sequences of operations occur as a path, float32 0/1 (cells, length), shorter sequences first.

    length: keep so many; long paths are rare, and the paper finds the first 40 enough.
    """
    code, there = path_codes(cells)
    encoded = np.zeros((len(cells), PATHS + 1), np.float32)
    np.put_along_axis(encoded, np.where(there, code, PATHS), 1, 1)
    return encoded[:, :length]


def graph_features(cells: Cells) -> NDArray[np.float32]:
    """32 numbers on graph, paths and cost, float32 (cells, 32).

    Vertices, edges; vertices of each operation; paths; minimum, maximum, mean of the paths' lengths; the same of each
    operation's count on a path; whether a path keeps to each set of operations (of those but none); degrees of input
    and output, and the edge between them; mean degree; logarithms of parameters and MACs, and their ratio.
    """
    known = catalogue()
    graph = known.graph[cells]
    code, there = path_codes(cells)
    counts = OPERATION_COUNTS[np.where(there, code, 0)]  # (cells, paths, operations)
    lengths = counts.sum(2)[..., None]
    both = np.concatenate([lengths, counts], 2)
    number = there.sum(1)
    absent = ~there[..., None]
    used = ((counts > 0) * (1 << np.arange(LABELS))).sum(2)
    subset = [(there & ((used | allowed) == allowed)).any(1) for allowed in range(1, 1 << LABELS)]
    digits = vertex_labels(cells)
    frame = known.frame[graph]
    edges = np.bitwise_count(frame).astype(float)
    from_input = sum(frame >> edge_bit(0, y) & 1 for y in range(1, MAX_VERTICES))
    into_output = np.bitwise_count(frame >> edge_bit(0, MAX_VERTICES - 1))
    costs = np.log(catalogue_costs()[cells])
    columns = [
        known.vertices[graph],
        edges,
        *((digits == label).sum(1) for label in range(LABELS)),
        number,
        *np.where(absent, np.inf, both).min(1).T,
        *np.where(absent, 0, both).max(1).T,
        *(np.where(absent, 0, both).sum(1) / number[:, None]).T,
        *subset,
        from_input,
        into_output,
        frame >> edge_bit(0, MAX_VERTICES - 1) & 1,
        edges / known.vertices[graph],
        *costs.T,
        costs[:, 1] - costs[:, 0],
    ]
    return np.stack(columns, 1).astype(np.float32)


def vertex_labels(cells: Cells) -> NDArray[np.int64]:
    """The label of every interior vertex, (cells, 5), -1 where there is none."""
    known = catalogue()
    interior = known.vertices[known.graph[cells]].astype(np.int64) - 2
    places = interior[:, None] - 1 - np.arange(INTERIOR)
    labels = known.labels[cells].astype(np.int64)[:, None] // LABELS ** np.maximum(places, 0) % LABELS
    return np.where(places < 0, -1, labels)


def path_codes(cells: Cells) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The place in the path encoding of each of a cell's paths, (cells, paths), and which of these there are."""
    table = path_vertices()[catalogue().graph[cells]]
    digits = vertex_labels(cells)
    code = np.zeros(table.shape[:2], np.int64)
    length = np.zeros(table.shape[:2], np.int64)
    for step in range(INTERIOR):
        vertex = table[:, :, step].astype(np.int64)
        on = vertex > 0
        label = np.take_along_axis(digits, np.maximum(vertex - 1, 0), 1)
        code = np.where(on, code * LABELS + label, code)
        length += on
    return code + _OFFSETS[length], table[:, :, 0] >= 0


@lru_cache(maxsize=1)
def path_vertices() -> NDArray[np.int8]:
    """The interior vertices of every path of every graph, int8 (graphs, paths, 5), padded by 0; -1: no such path."""
    known = catalogue()
    found = [_paths_of(int(frame), int(vertices)) for frame, vertices in zip(known.frame, known.vertices, strict=True)]
    table = np.zeros((len(found), max(map(len, found)), INTERIOR), np.int8)
    for row, paths in zip(table, found, strict=True):
        row[len(paths) :] = -1
        for place, path in enumerate(paths):
            row[place, : len(path)] = path
    return table


def _paths_of(frame: int, vertices: int) -> list[tuple[int, ...]]:
    """Of a pruned graph: the output is vertex 6, the others are numbered as in its own matrix."""
    output = MAX_VERTICES - 1
    targets = [
        [w for w in (*range(v + 1, vertices - 1), output) if frame >> edge_bit(v, w) & 1] for v in range(vertices - 1)
    ]
    paths: list[tuple[int, ...]] = []
    growing: list[tuple[int, ...]] = [(0,)]
    while growing:
        path = growing.pop()
        for target in targets[path[-1]]:
            if target == output:
                paths.append(path[1:])
            else:
                growing.append((*path, target))
    return paths


def _operation_counts() -> NDArray[np.int64]:
    """How often each operation occurs in every sequence, (364, 3)."""
    counts = [np.zeros((1, LABELS), np.int64)]
    for _ in range(INTERIOR):
        counts.append((counts[-1][:, None] + np.eye(LABELS, dtype=np.int64)).reshape(-1, LABELS))
    return np.concatenate(counts)


OPERATION_COUNTS = _operation_counts()
