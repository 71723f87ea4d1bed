"""Parameters and multiply-accumulates of networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given

from nas.nasbench101.catalogue import catalogue
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import OPERATIONS
from nas.nasbench101.network import Skeleton, catalogue_costs, cost, vertex_channels
from tests.cells import Graph, cells, reference_pruned, valid_graphs

CONV3X3, CONV1X1, MAXPOOL = OPERATIONS
STEM = 3 * 3 * 3 * 128
WIDTHS = [128, 128, 128, 256, 256, 256, 512, 512, 512]
INCOMING = [128, *WIDTHS[:-1]]
PIXELS = [32 * 32] * 3 + [16 * 16] * 3 + [8 * 8] * 3


def test_parameters_of_every_cell_are_the_published_ones(data: Path) -> None:
    published = pq.read_table(data / "hashes.parquet")
    cell_numbers = [
        Cell.from_json({"adjacency": bits, "operations": names}).key
        for bits, names in zip(published["adjacency"].to_pylist(), published["operations"].to_pylist(), strict=True)
    ]
    assert np.array_equal(catalogue_costs()[cell_numbers, 0], published["trainable_parameters"].to_numpy())


def test_the_cell_of_the_published_readme_has_its_parameters() -> None:
    edges = [(0, 1), (0, 2), (0, 3), (0, 5), (1, 6), (2, 6), (3, 4), (4, 6), (5, 6)]
    matrix = np.zeros((7, 7), int)
    matrix[tuple(np.array(edges).T)] = 1
    cell = Cell.of(matrix, ["input", CONV1X1, CONV3X3, CONV3X3, CONV3X3, MAXPOOL, "output"])
    assert cost(cell).parameters == 2_694_282


def test_costs_of_a_single_edge_are_those_counted_by_hand() -> None:
    weights = [incoming * width for incoming, width in zip(INCOMING, WIDTHS, strict=True)]
    counted = cost(Cell.of([[0, 1], [0, 0]], ["input", "output"]))
    assert counted.parameters == STEM + 2 * 128 + sum(weights) + 2 * sum(WIDTHS) + 512 * 10 + 10
    macs = sum(weight * pixels for weight, pixels in zip(weights, PIXELS, strict=True))
    assert counted.macs == STEM * 32 * 32 + macs + 512 * 10


@pytest.mark.parametrize(("operation", "taps"), [(CONV3X3, 9), (CONV1X1, 1), (MAXPOOL, 0)])
def test_costs_of_a_chain_are_those_counted_by_hand(operation: str, taps: int) -> None:
    chain = cost(Cell.of(np.eye(3, k=1), ["input", operation, "output"]))
    edge = cost(Cell.of([[0, 1], [0, 0]], ["input", "output"]))
    squares = [width * width for width in WIDTHS]
    normalisation = 2 * sum(WIDTHS) if taps else 0
    assert chain.parameters - edge.parameters == taps * sum(squares) + normalisation
    assert chain.macs - edge.macs == taps * sum(square * side for square, side in zip(squares, PIXELS, strict=True))


def test_macs_follow_the_size_of_the_image_and_parameters_do_not() -> None:
    cell = Cell.of(np.eye(3, k=1), ["input", CONV3X3, "output"])
    small, large = cost(cell, Skeleton(image_size=32)), cost(cell, Skeleton(image_size=64))
    assert small.parameters == large.parameters
    assert large.macs - 5_120 == 4 * (small.macs - 5_120)


def test_costs_of_one_cell_are_those_of_the_catalogue() -> None:
    for number in range(0, len(catalogue()), 997):
        counted = cost(Cell.numbered(number))
        assert [counted.parameters, counted.macs] == catalogue_costs()[number].tolist()


def test_costs_of_all_cells_follow_the_skeleton() -> None:
    tiny = Skeleton(stem_channels=8, stacks=2, cells_per_stack=1, image_size=9, classes=4)
    costs = catalogue_costs(tiny)
    for number in range(0, len(catalogue()), 9_973):
        counted = cost(Cell.numbered(number), tiny)
        assert [counted.parameters, counted.macs] == costs[number].tolist()


@given(cells())
def test_unused_vertices_cost_nothing(cell: Cell) -> None:
    assert cost(cell) == cost(cell.pruned) == cost(cell.padded)


@given(valid_graphs())
def test_the_channels_of_the_output_are_shared_and_the_others_follow(graph: Graph) -> None:
    vertices, _, edges = reference_pruned(*graph)
    last = vertices[-1]
    interior = vertices[1:-1]
    place = {vertex: position for position, vertex in enumerate(interior)}
    into_output = [(vertex, last) in edges for vertex in interior]
    between = [(place[x], place[y]) for x, y in edges if x in place and y in place]
    channels = vertex_channels(into_output, between, 128)
    shared = [channels[v] for v, feeds in enumerate(into_output) if feeds]
    assert sum(shared) == (128 if shared else 0)
    assert shared == sorted(shared, reverse=True)
    assert max(shared, default=0) - min(shared, default=0) <= 1
    for v, feeds in enumerate(into_output):
        if not feeds:
            assert channels[v] == max(channels[w] for source, w in between if source == v)


def test_the_remainder_goes_to_the_earliest_vertices() -> None:
    assert vertex_channels([True, True, True], [], 128) == [43, 43, 42]
    assert vertex_channels([False, True, False, True, True], [(0, 2), (2, 4), (0, 1)], 128) == [43, 43, 42, 43, 42]
