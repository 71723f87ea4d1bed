"""What models read of NAS-Bench-201's cells; every function takes operations, int64 (cells, 6)."""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nas.nasbench201.cell import CONV1X1, CONV3X3, EDGES, NONE, OPERATIONS, POOL, SKIP, operations_table
from nas.nasbench201.cost import Dataset, costs

PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))
"""The edges of each path from input to output."""
VERTICES = len(EDGES) + 2
KINDS = ("input", *OPERATIONS[1:], "output")
"""Kinds of a graph's vertices."""


@cache
def features(dataset: Dataset) -> NDArray[np.float32]:
    """Returns features of all cells by published index, float32 (15625, 50).

    The number of live edges (`live_edges`) with each operation; the number of paths that apply each sequence of
    operations (`signals`); the longest, shortest and number of paths; log parameters and multiply-accumulates of the
    live edges. Nothing that the output does not depend on: raw operations of edges make tree models worse.
    """
    operations = operations_table()
    live = np.where(live_edges(operations), operations, NONE)
    columns = [counts(live)[:, 1:], signals(operations), extremes(*path_lengths(operations))]
    return np.concatenate([*columns, np.log(costs(live, dataset))], 1).astype(np.float32)


@cache
def flow(dataset: Dataset) -> NDArray[np.float32]:
    """Returns flow features of all cells by published index, float32 (15625, 86).

    The features; operations of live edges; convolutions on each path; log cost of all edges.
    """
    operations = operations_table()
    live = np.where(live_edges(operations), operations, NONE)
    columns = [features(dataset), one_hot(live), path_lengths(operations)[1], np.log(costs(operations, dataset))]
    return np.concatenate(columns, 1).astype(np.float32)


@cache
def paths() -> NDArray[np.float32]:
    """Returns which sequences of operations lie on a path of each cell, float32 0/1 (15625, 84), short ones first.

    The path encoding of BANANAS (arXiv:1910.11858). A path with the operation ``none`` is no path.
    """
    operations = operations_table()
    columns = []
    for length in (1, 2, 3):
        for sequence in product(range(1, len(OPERATIONS)), repeat=length):
            same = [(operations[:, path] == sequence).all(1) for path in PATHS if len(path) == length]
            columns.append(np.any(same, 0))
    return np.stack(columns, 1).astype(np.float32)


def one_hot(operations: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns a column for each operation of each edge, bool (cells, 30)."""
    columns: NDArray[np.bool_] = operations[:, :, None] == np.arange(len(OPERATIONS))
    return columns.reshape(len(operations), -1)


def counts(operations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the number of edges with each operation, int64 (cells, 5)."""
    return np.stack([(operations == operation).sum(1) for operation in range(len(OPERATIONS))], 1)


def carrying(operations: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which paths carry a signal, having no ``none``; bool (cells, 4)."""
    carried: NDArray[np.bool_] = np.stack([(operations[:, path] != NONE).all(1) for path in PATHS], 1)
    return carried


def live_edges(operations: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which edges lie on a path that carries a signal, bool (cells, 6)."""
    carried = carrying(operations)
    members = np.array([[edge in path for edge in range(len(EDGES))] for path in PATHS])
    return np.stack([(carried & members[:, edge]).any(1) for edge in range(len(EDGES))], 1)


def path_lengths(operations: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Returns which paths carry a signal, bool (cells, 4), and the number of their convolutions, int64 (cells, 4)."""
    carried = carrying(operations)
    convolutions = (operations == CONV1X1) | (operations == CONV3X3)
    return carried, carried * np.stack([convolutions[:, path].sum(1) for path in PATHS], 1)


def extremes(carried: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns convolutions on the longest and the shortest path, numbers of paths, and whether there is one.

    int64 (cells, 4); the shortest path of a cell without paths has 4 convolutions, one more than any path.
    """
    shortest = np.where(carried, lengths, 4).min(1)
    return np.stack([lengths.max(1), shortest, carried.sum(1), carried.any(1)], 1)


def signals(operations: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the number of paths that apply each sequence of convolutions and poolings, int64 (cells, 40)."""
    applied = (CONV1X1, CONV3X3, POOL)
    sequences = [sequence for length in range(4) for sequence in product(applied, repeat=length)]
    column = {sequence: place for place, sequence in enumerate(sequences)}
    numbers = np.zeros((len(operations), len(sequences)), np.int64)
    rows = np.arange(len(operations))
    for path in PATHS:
        for choice in product(range(1, len(OPERATIONS)), repeat=len(path)):
            sequence = tuple(operation for operation in choice if operation != SKIP)
            numbers[rows[(operations[:, path] == choice).all(1)], column[sequence]] += 1
    return numbers


def graphs(operations: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns adjacency, float32 (cells, 8, 8), and kinds of vertices, float32 (cells, 8, 6), of cells.

    The vertices are the input, the six edges and the output. An edge that no signal from input to output passes
    (`live_edges`) is no vertex; in a cell without any signal only input and output are left, without a connection.
    """
    live = live_edges(operations)
    ends = np.ones((len(operations), 1), bool)
    present = np.concatenate([ends, live, ends], 1)
    adjacency = LINKS & present[:, :, None] & present[:, None, :]
    kinds = np.zeros((len(operations), VERTICES, len(KINDS)), np.float32)
    kinds[:, 0, 0] = kinds[:, -1, -1] = 1
    kinds[:, 1:-1, 1:-1] = (operations[:, :, None] == np.arange(1, len(OPERATIONS))) & live[:, :, None]
    return adjacency.astype(np.float32), kinds


def _links() -> NDArray[np.bool_]:
    """Returns which vertices of a graph follow each other, bool (8, 8)."""
    ends = [(-1, 0), *EDGES, (3, 4)]
    return np.array([[source[1] == target[0] for target in ends] for source in ends])


LINKS = _links()
