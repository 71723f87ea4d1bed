"""Cells: which graphs are valid, what is left of them, their names, and their JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import InvalidCellError
from nas.nasbench101.catalogue import catalogue
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import FRAMES, OPERATIONS
from nas.table.records import module_hashes
from tests.cells import Graph, cells, graphs, reference_pruned, relabelled, valid_graphs

CONV3X3, CONV1X1, MAXPOOL = OPERATIONS
CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
OPS = ["input", CONV3X3, "output"]


@given(graphs())
def test_exactly_the_connected_graphs_of_at_most_nine_edges_are_cells(graph: Graph) -> None:
    edges = reference_pruned(*graph)[2]
    if 0 < len(edges) <= 9:
        assert Cell.of(*graph).edges == len(edges)
    else:
        with pytest.raises(InvalidCellError, match="does not reach" if not edges else f"has {len(edges)} edges"):
            Cell.of(*graph)


@given(valid_graphs())
def test_pruning_leaves_what_is_on_a_path_in_its_order(graph: Graph) -> None:
    vertices, operations, edges = reference_pruned(*graph)
    cell = Cell.of(*graph)
    pruned = cell.pruned
    assert pruned.operations == tuple(operations)
    assert {(vertices[x], vertices[y]) for x, y in np.argwhere(pruned.matrix)} == edges
    assert cell.vertices == len(vertices)
    assert pruned.pruned == pruned
    assert pruned.key == cell.key == cell.padded.key
    assert pruned.module_hash == cell.module_hash


@given(valid_graphs())
def test_a_cell_keeps_the_graph_that_it_was_made_of(graph: Graph) -> None:
    cell = Cell.of(*graph)
    assert np.array_equal(cell.matrix, graph[0])
    assert list(cell.operations) == graph[1]


@given(st.data())
def test_the_order_of_vertices_changes_neither_key_nor_hash(data: st.DataObject) -> None:
    graph = data.draw(valid_graphs())
    one, other = Cell.of(*graph), Cell.of(*data.draw(relabelled(graph)))
    assert (one.key, one.module_hash) == (other.key, other.module_hash)
    assert catalogue().published(one.key) == catalogue().published(other.key)


@given(cells(), cells())
def test_cells_share_a_key_exactly_if_they_share_a_hash(one: Cell, other: Cell) -> None:
    assert (one.key == other.key) == (one.module_hash == other.module_hash)


@given(cells())
def test_the_numbered_cell_is_isomorphic(cell: Cell) -> None:
    numbered = Cell.numbered(cell.key)
    assert numbered.key == cell.key
    assert numbered.module_hash == cell.module_hash
    assert numbered.pruned == numbered


@given(cells())
def test_both_json_forms_give_the_cell_back(cell: Cell) -> None:
    modelspec = {"matrix": cell.matrix.tolist(), "ops": list(cell.operations)}
    for form in (cell.to_json(), modelspec):
        for value in (form, json.dumps(form), json.dumps(form).encode()):
            assert Cell.from_json(value) == cell


@pytest.mark.parametrize(
    ("matrix", "operations", "message"),
    [
        ([[0, 0, 0], [0, 0, 1], [0, 0, 0]], OPS, "input does not reach its output"),
        (
            np.triu(np.ones((5, 5)), 1),
            ["input", *[CONV3X3] * 3, "output"],
            "10 edges after pruning; the space allows 9",
        ),
        (np.eye(8, k=1), ["input", *[CONV3X3] * 6, "output"], "8 vertices; the space allows 7"),
        (np.zeros((500, 500)), OPS, "500 vertices; the space allows 7"),
        (CHAIN, ["input", "output"], "3 vertices but there are 2 operations"),
        (CHAIN, ["input", *[CONV3X3] * 6, "output"], "8 operations; the space allows 7"),
        (CHAIN, [CONV3X3, CONV3X3, "output"], "must start with 'input' and end with 'output'"),
        (CHAIN, ["input", CONV3X3, CONV3X3], "must start with 'input' and end with 'output'"),
        (CHAIN, ["input", "conv5x5", "output"], "unknown operation 'conv5x5'; choose from conv3x3-bn-relu"),
        (CHAIN, [], "at least two names"),
        (CHAIN, ["input", 5, "output"], "at least two names"),
        (CHAIN, ["input", ["x"], "output"], "at least two names"),
        (CHAIN[:2], OPS, r"must be square, got shape \(2, 3\)"),
        ([[0, 1], [0]], ["input", "output"], "rows of different lengths"),
        ([], [], "must be square"),
        ([[0]], ["input"], "at least two vertices"),
        ([[0, 2, 0], [0, 0, 1], [0, 0, 0]], OPS, "only 0 and 1"),
        ([[0, np.nan, 0], [0, 0, 1], [0, 0, 0]], OPS, "only 0 and 1"),
        ([["0", "1", "0"], ["0", "0", "1"], ["0", "0", "0"]], OPS, "only 0 and 1"),
        ([[0, 10**400], [0, 0]], ["input", "output"], "only 0 and 1"),
        ([[0, 1, 0], [1, 0, 1], [0, 0, 0]], OPS, "upper triangular"),
        ([[0, 1, 0], [0, 1, 1], [0, 0, 0]], OPS, "upper triangular"),
    ],
)
def test_a_broken_rule_is_named(matrix: Any, operations: list[Any], message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        Cell.of(matrix, operations)


def test_one_operation_cannot_hide_several() -> None:
    with pytest.raises(InvalidCellError, match="unknown operation"):
        Cell.of(np.eye(4, k=1), ["input", f"{CONV3X3},{MAXPOOL}", "output"])


@pytest.mark.parametrize(
    ("frame", "labels", "message"),
    [
        (1 << 15, (0,) * 6, "at most 5 labels"),
        (1 << 15, (3,), "labels below 3"),
        (1 << 15, (-1,), "labels below 3"),
        (-1, (), r"frame below 2\*\*21"),
        (FRAMES, (0,) * 5, r"frame below 2\*\*21"),
        (1 << 15 | 1, (), "edges at a vertex without an operation"),
    ],
)
def test_a_cell_is_valid_by_construction(frame: int, labels: tuple[int, ...], message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        Cell(frame, labels)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        pytest.param("[" * 100_000, "not JSON", id="deep"),
        pytest.param("1" * 5_000, "not JSON", id="long number"),
        ('"two\\nlines"', r"not a cell: 'two\\nlines'"),
        (None, "not a cell: None"),
        pytest.param(10**5_000, "not a cell: a int", id="a number of 5,001 digits"),
        ({"adjacency": "01", "operations": "input,output"}, "a square number of 0s and 1s, got '01'"),
        ({"adjacency": "0120", "operations": "input,output"}, "a square number of 0s and 1s"),
        ({"adjacency": "0" * 10**6, "operations": "input,output"}, "1000 vertices"),
        ({"adjacency": "0010", "operations": "input,output"}, "upper triangular"),
        ({"adjacency": "1000", "operations": "input,output"}, "upper triangular"),
        ({"adjacency": "0100", "operations": "input"}, "at least two names"),
        ({"adjacency": "0100", "operations": "input," + "x" * 10**6 + ",output"}, "unknown operation 'xxx"),
        ({"adjacency": "0100", "operations": "input," + f"{CONV3X3}," * 10**5 + "output"}, "100002 operations"),
        ({"adjacency": "0100", "operations": "input,output", "more": 1}, "not a cell"),
        ({"adjacency": 100, "operations": "input,output"}, "not a cell"),
        ({"matrix": [["x" * 10**7, 1], [0, 0]], "ops": ["input", "output"]}, "not a cell"),
        ({"matrix": [0, 1], "ops": ["input", "output"]}, "not a cell"),
        ({"matrix": [[0.5, 10**400], [0, 0]], "ops": ["input", "output"]}, "only 0 and 1"),
        ({"matrix": [[0, 1], [0, 0]], "ops": [None, "output"]}, "at least two names"),
    ],
)
def test_what_is_no_cell_is_refused_in_one_short_line(value: Any, message: str) -> None:
    with pytest.raises(InvalidCellError, match=message) as refusal:
        Cell.from_json(value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ALMOST_CELLS = st.one_of(
    st.fixed_dictionaries(
        {
            "adjacency": st.text("01", max_size=50) | st.sampled_from(["0100", "010001000", "0" * 16, "0x00"]) | JSON,
            "operations": st.lists(st.sampled_from(["input", "output", CONV3X3, "x", ""])).map(",".join) | JSON,
        },
        optional={"more": JSON},
    ),
    st.fixed_dictionaries(
        {
            "matrix": st.lists(st.lists(st.sampled_from([0, 1, 1.0, True, -1, 2**70]), max_size=4), max_size=4) | JSON,
            "ops": st.lists(st.sampled_from(["input", "output", CONV3X3, "x"]) | JSON, max_size=5) | JSON,
        }
    ),
)


@given(JSON | ALMOST_CELLS, st.booleans())
def test_any_json_is_a_cell_or_an_invalid_cell(value: Any, as_text: bool) -> None:
    try:
        cell = Cell.from_json(json.dumps(value) if as_text else value)
    except InvalidCellError as refusal:
        one_line = len(str(refusal).splitlines()) == 1
    else:
        one_line = Cell.from_json(cell.to_json()) == cell
    assert one_line


@given(st.binary() | st.text())
def test_random_text_is_an_invalid_cell(text: str | bytes) -> None:
    with pytest.raises(InvalidCellError):
        Cell.from_json(text)


def test_hashes_are_the_published_ones(data: Path) -> None:
    rows = pq.read_table(data / "hashes.parquet").to_pylist()[::200]
    assert len(rows) > 2_000
    for row in rows:
        cell = Cell.from_json({"adjacency": row["adjacency"], "operations": row["operations"]})
        assert cell.module_hash == row["module_hash"].hex()


@pytest.mark.slow
def test_all_hashes_are_the_published_ones(data: Path) -> None:
    computed = module_hashes(np.arange(len(catalogue()), dtype=np.int32), lambda *_: None)
    published = pq.read_table(data / "hashes.parquet", columns=["module_hash"])["module_hash"].to_pylist()
    assert sorted(map(bytes, computed)) == published
