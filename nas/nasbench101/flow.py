"""How a signal flows through a cell: features that do not depend on the order of its vertices, of many cells at once.

They say what the counts of `nas.nasbench101.features` leave out: which operations a signal meets, how often, how
early, beside which others. A signal is a random walk: forwards from the input along edges drawn uniformly, or backwards
from the output.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.nasbench101.catalogue import LABELS, catalogue
from nas.nasbench101.features import OPERATION_COUNTS, Cells, path_codes, path_vertices, vertex_labels
from nas.nasbench101.graph import MAX_VERTICES, edge_bit

OUTPUT = MAX_VERTICES - 1
Floats = NDArray[np.float32]


def flow_features(cells: Cells) -> Floats:
    """58 numbers on vertices, float32 (cells, 58).

    Of each operation: visits by the walk backwards and by the one forwards; paths through it; longest way from the
    input to it, and from it to the output, the largest and the mean; in- and out-degree, the largest and the sum; the
    share of the output's channels that it has, the sum, the sum of squares, and weighted by backward visits. Edges from
    input or each operation to each operation or the output.
    """
    kinds, graphs = vertex_kinds(cells), catalogue().graph[cells]
    backwards, forwards, through, before, behind, into, out_of, shares = (flow[graphs] for flow in _flows_of_graphs())
    operations = kinds[:, :, 2:]
    columns: list[NDArray[Any]] = [_summed(values, operations) for values in (backwards, forwards, through)]
    for longest in (before, behind):
        mean = _summed(longest, operations) / np.maximum(operations.sum(1), 1)
        columns += [np.where(operations > 0, longest[:, :, None], -1).max(1), mean]
    for degree in (into, out_of):
        columns += [(operations * degree[:, :, None]).max(1), _summed(degree, operations)]
    columns += [_summed(values, operations) for values in (shares, shares**2, shares * backwards)]
    pairs = kinds.transpose(0, 2, 1) @ adjacency(cells) @ kinds
    columns.append(pairs[:, [0, 2, 3, 4], 1:].reshape(len(cells), -1))
    return np.concatenate(columns, 1).astype(np.float32)


@lru_cache(maxsize=1)
def _flows_of_graphs() -> tuple[Floats, ...]:
    """What does not depend on the operations, of every vertex of every graph, (graphs, 7) each.

    Visits backwards and forwards, paths through it, longest way to it and from it, in- and out-degree, channels.
    """
    edges = _edges_of_graphs()
    into, out_of = edges.sum(1), edges.sum(2)
    backwards = _visits((edges / np.maximum(into, 1)[:, None, :]).transpose(0, 2, 1), OUTPUT)
    forwards = _visits(edges / np.maximum(out_of, 1)[:, :, None], 0)
    through = _paths_from(edges, forwards=True) * _paths_from(edges, forwards=False)
    before, behind = _longest(edges, forwards=True), _longest(edges, forwards=False)
    return backwards, forwards, through, before, behind, into, out_of, _channel_shares(edges)


def path_moments(cells: Cells) -> Floats:
    """37 numbers on paths, float32 (cells, 37).

    Of the path that a walk takes, backwards and forwards: mean and variance of its length, variance of its 3x3
    convolutions, expectations of what it holds. Then the number of paths, its logarithm, and how many lack what.
    """
    codes, there = path_codes(cells)
    graphs = catalogue().graph[cells]
    counts = OPERATION_COUNTS[np.where(there, codes, 0)]
    conv3, conv1, pool = counts[..., 0], counts[..., 1], counts[..., 2]
    conv, length = conv3 + conv1, counts.sum(2)
    columns = []
    for probabilities in _path_probabilities():
        weight = probabilities[graphs] * there
        columns.append((weight * length).sum(1))
        columns += [(weight * count**2).sum(1) - (weight * count).sum(1) ** 2 for count in (length, conv3)]
        columns += [(weight * 0.5**count).sum(1) for count in (conv3, conv)]
        holds = [conv3 == 0, conv3 >= 2, conv3 >= 3, conv == 0, conv >= 3, pool > 0, pool > 1, conv1 > 0]
        holds += [(pool > 0) & (conv3 == 0), (pool > 0) & (conv == 0)]
        columns += [(weight * these).sum(1) for these in holds]
    number = there.sum(1)
    lacking = [(there & (count == 0)).sum(1) for count in (conv, conv3, pool, conv1)]
    columns += [np.log(number), (there & (conv3 >= 2)).sum(1) / number, lacking[1] / number, *lacking]
    return np.stack(columns, 1).astype(np.float32)


def _summed(values: Floats, operations: Floats) -> Floats:
    """The sum of a number over the vertices of each operation, (cells, 3)."""
    return np.asarray(np.einsum("nv,nvl->nl", values, operations))


def adjacency(cells: Cells) -> Floats:
    """Adjacency, float32 0/1 (cells, 7, 7); the output is the last vertex, and what a cell lacks has no edges."""
    return _edges_of_graphs()[catalogue().graph[cells]]


@lru_cache(maxsize=1)
def _edges_of_graphs() -> Floats:
    frames = catalogue().frame
    edges = np.zeros((len(frames), MAX_VERTICES, MAX_VERTICES), np.float32)
    for target in range(1, MAX_VERTICES):
        for source in range(target):
            edges[:, source, target] = frames >> edge_bit(source, target) & 1
    return edges


def vertex_kinds(cells: Cells) -> Floats:
    """What every vertex is: input, output, or each operation; float32 0/1 (cells, 7, 5)."""
    kinds = np.zeros((len(cells), MAX_VERTICES, 2 + LABELS), np.float32)
    kinds[:, 0, 0] = kinds[:, OUTPUT, 1] = 1
    for label in range(LABELS):
        kinds[:, 1:OUTPUT, 2 + label] = vertex_labels(cells) == label
    return kinds


def _visits(steps: Floats, start: int) -> Floats:
    """How often a walk with these transition probabilities visits each vertex, (cells, 7)."""
    at = np.zeros(steps.shape[:2], np.float32)
    at[:, start] = 1
    total = at.copy()
    for _ in range(MAX_VERTICES - 1):
        at = np.einsum("nx,nxy->ny", at, steps)
        total += at
    return total


def _paths_from(edges: Floats, forwards: bool) -> Floats:
    """The number of ways from the input to each vertex, or from it to the output, (cells, 7)."""
    ways = np.zeros(edges.shape[:2], np.float32)
    ways[:, 0 if forwards else OUTPUT] = 1
    for vertex, before in _in_order(edges, forwards):
        ways[:, vertex] = (ways * before).sum(1)
    return ways


def _longest(edges: Floats, forwards: bool) -> Floats:
    """Edges on the longest way from the input to each vertex, or from it to the output, (cells, 7)."""
    longest = np.zeros(edges.shape[:2], np.float32)
    for vertex, before in _in_order(edges, forwards):
        longest[:, vertex] = ((longest + 1) * before).max(1)
    return longest


def _channel_shares(edges: Floats) -> Floats:
    """Each vertex's channels as a share of the output's: equal among those that it concatenates, else the largest of
    what the vertex feeds, (cells, 7)."""
    concatenated = np.maximum(edges[:, 1:OUTPUT, OUTPUT].sum(1), 1)
    shares = np.zeros(edges.shape[:2], np.float32)
    for vertex in reversed(range(1, OUTPUT)):
        fed = (edges[:, vertex] * shares).max(1)
        shares[:, vertex] = np.where(edges[:, vertex, OUTPUT] > 0, 1 / concatenated, fed)
    return shares


def _in_order(edges: Floats, forwards: bool) -> list[tuple[int, Floats]]:
    """The vertices after the input in order, each with where its edges come from; or before the output, backwards."""
    if forwards:
        return [(vertex, edges[:, :, vertex]) for vertex in range(1, MAX_VERTICES)]
    return [(vertex, edges[:, vertex, :]) for vertex in reversed(range(OUTPUT))]


@lru_cache(maxsize=1)
def _path_probabilities() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How likely each path of each graph is to a walk backwards, and to one forwards, (graphs, paths) each."""
    edges, vertices = _edges_of_graphs(), path_vertices()
    into, out_of = np.maximum(edges.sum(1), 1), np.maximum(edges.sum(2), 1)
    graphs = np.arange(len(vertices))[:, None]
    there = vertices[:, :, 0] >= 0
    backwards, forwards = there / into[:, OUTPUT, None], there / out_of[:, 0, None]
    for step in range(vertices.shape[2]):
        vertex = vertices[:, :, step].astype(np.int64)
        on = vertex > 0
        backwards = np.where(on, backwards / into[graphs, vertex], backwards)
        forwards = np.where(on, forwards / out_of[graphs, vertex], forwards)
    return backwards, forwards
