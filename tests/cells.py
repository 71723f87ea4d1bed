"""Random cells for property tests: valid ones of every size, unused vertices and edges included, and relabellings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import INPUT, MAX_EDGES, OPERATIONS, OUTPUT

Graph = tuple[NDArray[np.int8], list[str]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any square upper-triangular 0/1 matrix of 2 to 7 vertices, with operations; often no valid cell."""
    size = draw(st.integers(2, 7))
    spots = [(x, y) for y in range(size) for x in range(y)]
    matrix = np.zeros((size, size), np.int8)
    for x, y in draw(st.sets(st.sampled_from(spots))):
        matrix[x, y] = 1
    interior = draw(st.lists(st.sampled_from(OPERATIONS), min_size=size - 2, max_size=size - 2))
    return matrix, [INPUT, *interior, OUTPUT]


@st.composite
def _connected(draw: st.DrawFn) -> Graph:
    matrix, operations = draw(graphs())
    last = len(matrix) - 1
    interior = draw(st.sets(st.integers(1, last - 1))) if last > 1 else set()
    for x, y in pairwise([0, *sorted(interior), last]):
        matrix[x, y] = 1
    return matrix, operations


def valid_graphs() -> st.SearchStrategy[Graph]:
    """Matrix and operations of any cell of the space."""
    return _connected().filter(lambda graph: len(reference_pruned(*graph)[2]) <= MAX_EDGES)


def cells() -> st.SearchStrategy[Cell]:
    """Any cell of the space."""
    return valid_graphs().map(lambda graph: Cell.of(*graph))


@st.composite
def relabelled(draw: st.DrawFn, graph: Graph) -> Graph:
    """The graph with its interior vertices in any other order that keeps the matrix upper triangular."""
    matrix, operations = graph
    order, left = [0], set(range(1, len(matrix) - 1))
    while left:
        ready = sorted(v for v in left if not any(matrix[u, v] for u in left))
        order.append(draw(st.sampled_from(ready)))
        left.remove(order[-1])
    order.append(len(matrix) - 1)
    return matrix[np.ix_(order, order)], [operations[v] for v in order]


def reference_pruned(
    matrix: NDArray[np.int8], operations: list[str]
) -> tuple[list[int], list[str], set[tuple[int, int]]]:
    """What is on a path from input to output, by depth-first search: vertices, their operations, and the edges."""
    edges = {(int(x), int(y)) for x, y in np.argwhere(matrix)}

    def reached(start: int, steps: set[tuple[int, int]]) -> set[int]:
        seen, stack = {start}, [start]
        while stack:
            here = stack.pop()
            for target in {y for x, y in steps if x == here} - seen:
                seen.add(target)
                stack.append(target)
        return seen

    kept = reached(0, edges) & reached(len(matrix) - 1, {(y, x) for x, y in edges})
    if len(matrix) - 1 not in kept:
        return [], [], set()
    return sorted(kept), [operations[v] for v in sorted(kept)], {(x, y) for x, y in edges if {x, y} <= kept}
