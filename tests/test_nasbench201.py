"""NAS-Bench-201: published order, classes, costs; what models read of its cells."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.random import default_rng

from nas.errors import ArchsweepError
from nas.nasbench201.cell import N_CELLS, OPERATIONS, EdgeCell, cells, class_keys, operations_table, representatives
from nas.nasbench201.cost import DATASETS, Dataset
from nas.nasbench201.features import live_edges
from nas.nasbench201.space import EdgeSpace
from nas.spaces import make_space

DATA = Path(os.environ.get("NAS_DATA", Path(__file__).parents[2] / "shared" / "data"))
CELLS = DATA / "spaces" / "nb201" / "cells.parquet"
EXAMPLE = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
DISCONNECTED = "|none~0|+|none~0|nor_conv_3x3~1|+|none~0|nor_conv_1x1~1|nor_conv_3x3~2|"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """Columns of the published cells; tests that need them are skipped where they are missing."""
    if not CELLS.is_file():
        pytest.skip(f"no NAS-Bench-201 data at {CELLS}; set NAS_DATA")
    table = pq.read_table(CELLS)
    return {name: table[name].to_pylist() for name in table.column_names}


@pytest.fixture
def space() -> EdgeSpace:
    return EdgeSpace()


def test_keys_are_the_published_indices(published: dict[str, Any], space: EdgeSpace) -> None:
    assert published["index"] == list(range(N_CELLS))
    assert [space.at(key).arch for key in range(N_CELLS)] == published["arch"]
    assert [list(cell.operations) for cell in cells()] == published["edges"]


def test_the_order_is_the_published_one_without_the_data(space: EdgeSpace) -> None:
    assert (
        space.at(0).arch
        == "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )
    assert space.at(9).arch == "|avg_pool_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"


def test_classes_are_the_published_ones(published: dict[str, Any]) -> None:
    assert representatives().tolist() == published["class_representative"]
    assert EdgeSpace(classes=True).keys().tolist() == sorted(set(published["class_representative"]))


@pytest.mark.parametrize("dataset", DATASETS)
def test_costs_are_exact(published: dict[str, Any], dataset: Dataset) -> None:
    space, column = EdgeSpace(dataset), dataset.replace("-", "_").lower()
    expected = np.array([published[f"parameters_{column}"], published[f"flops_{column}"]]).T
    assert np.array_equal(space.costs(space.keys()), expected)
    assert space.cost(space.at(284)) == dict(zip(("parameters", "macs"), expected[284].tolist(), strict=True))


def test_a_class_has_the_cell_of_its_smallest_index() -> None:
    space = EdgeSpace(classes=True)
    assert space.size == len(class_keys()) == 6_466
    other = int(np.flatnonzero(representatives() != np.arange(N_CELLS))[0])
    representative = int(representatives()[other])
    for made in (space.named(str(other)), space.named(cells()[other].arch), space.from_json(cells()[other].to_json())):
        assert made == space.at(representative)
    assert cells()[other] not in space
    assert cells()[other] in EdgeSpace()
    with pytest.raises(ArchsweepError, match=f"cell {other} is isomorphic to cell {representative}"):
        space.at(other)


def test_classes_are_sampled_uniformly() -> None:
    space, rng = EdgeSpace(classes=True), default_rng(0)
    sizes = Counter(representatives().tolist())
    mean_size = np.mean([sizes[space.sample(rng).key] for _ in range(4_000)])
    assert mean_size == pytest.approx(N_CELLS / 6_466, rel=0.1)  # drawing cells instead would give a mean above 4


def test_a_cell_has_24_neighbours_one_edge_away(space: EdgeSpace) -> None:
    cell = space.at(11)
    neighbours = space.neighbours(cell)
    assert len(neighbours) == 24
    assert all(sum(a != b for a, b in zip(cell.operations, near.operations, strict=True)) == 1 for near in neighbours)


def test_one_mutation_draws_all_neighbours_equally(space: EdgeSpace) -> None:
    cell, rng = space.at(11), default_rng(0)
    drawn = Counter(space.mutate_once(cell, rng).key for _ in range(4_800))
    assert set(drawn) == {near.key for near in space.neighbours(cell)}
    assert min(drawn.values()) > 130  # 200 expected, 5 standard deviations


def test_a_name_is_the_published_string_or_the_index(space: EdgeSpace) -> None:
    cell = space.named(EXAMPLE)
    assert space.name_of(cell) == EXAMPLE
    assert space.named(str(cell.key)) == cell
    assert space.from_json({"arch": f" {EXAMPLE} "}) == cell


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"arch": 3}, "no NAS-Bench-201 cell"),
        ({"arch": EXAMPLE, "more": 1}, "no NAS-Bench-201 cell"),
        (EXAMPLE.replace("skip_connect~0", "skip~0"), "unknown operation 'skip'"),
        (EXAMPLE.replace("~2", "~1"), r"expected \|OP~0\|"),
    ],
)
def test_another_value_is_no_cell(space: EdgeSpace, value: Any, message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        space.from_json(value)


def test_keys_of_another_space_are_refused(space: EdgeSpace) -> None:
    for keys in ([-1, 3], [N_CELLS]):
        for method in (space.features, space.flow, space.paths, space.graphs, space.costs):
            with pytest.raises(ArchsweepError, match="NAS-Bench-201 has 0 to 15624"):
                method(np.array(keys))
    for text in ("15625", "123456789012345678901234567890"):
        with pytest.raises(ArchsweepError, match="no cell"):
            space.named(text)


def test_definitions_are_checked() -> None:
    assert EdgeSpace().definition == {}
    assert EdgeSpace("cifar100", classes=True).definition == {"dataset": "cifar100", "classes": True}
    with pytest.raises(ArchsweepError, match="dataset = 'mnist'"):
        make_space("nasbench201", {"dataset": "mnist"})
    with pytest.raises(ArchsweepError, match="unknown data set 'mnist'"):
        EdgeSpace("mnist")  # type: ignore[arg-type]  # what a user may give


def test_cells_that_compute_the_same_have_the_same_features(space: EdgeSpace) -> None:
    """Edges through which no signal passes change nothing that the features say."""
    dead = space.named("|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|nor_conv_1x1~2|")
    plain = space.named("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
    features = space.features(np.array([dead.key, plain.key]))
    assert np.array_equal(features[0], features[1])
    assert not np.array_equal(*space.flow(np.array([dead.key, plain.key])))


def test_features_tell_cells_apart_that_compute_something_else(space: EdgeSpace) -> None:
    chain = "|{}~0|+|none~0|{}~1|+|none~0|none~1|{}~2|"
    names = [chain.format(*operations) for operations in (OPERATIONS[2:], OPERATIONS[:1:-1], OPERATIONS[1:4])]
    features = space.features(np.array([space.named(name).key for name in names]))
    assert len(np.unique(features, axis=0)) == len(names)


def test_341_cells_see_no_input(space: EdgeSpace) -> None:
    adjacency, kinds = space.graphs(space.keys())
    assert int((~live_edges(operations_table()).any(1)).sum()) == 341
    assert int((adjacency.sum((1, 2)) == 0).sum()) == 341
    assert int((kinds.sum((1, 2)) == 2).sum()) == 341  # only input and output are left
    key = space.named(DISCONNECTED).key
    assert adjacency[key].sum() == 0


def test_a_graph_has_a_vertex_for_each_edge_that_carries_a_signal(space: EdgeSpace) -> None:
    cell = space.named("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|")
    adjacency, kinds = (array[0] for array in space.graphs(np.array([cell.key])))
    # vertices: input, 0-1, 0-2 (none), 1-2, 0-3, 1-3 (none), 2-3, output
    assert {tuple(edge) for edge in np.argwhere(adjacency)} == {(0, 1), (0, 4), (1, 3), (3, 6), (4, 7), (6, 7)}
    assert kinds.argmax(1)[kinds.any(1)].tolist() == [0, 3, 4, 1, 2, 5]


def test_paths_are_those_of_the_cell(space: EdgeSpace) -> None:
    cell = space.named("|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|")
    encoding = space.paths(np.array([cell.key]))[0]
    assert encoding.shape == (84,)
    third = 20 + (2 * 4 + 3) * 4 + 1  # 3x3, pooling, 1x1 as digits of base 4 after the 4 + 16 shorter sequences
    assert np.flatnonzero(encoding).tolist() == [0, third]
    frequencies = space.paths(space.keys()).mean(0)
    assert (np.diff(frequencies) <= 1e-6).all()


def test_a_diagram_leaves_out_none(space: EdgeSpace) -> None:
    diagram = space.diagram(space.named(DISCONNECTED))
    assert [node.label for node in diagram.nodes] == ["input", "1", "2", "output"]
    assert [(edge.source, edge.target, edge.label) for edge in diagram.edges] == [
        (1, 2, "nor_conv_3x3"),
        (1, 3, "nor_conv_1x1"),
        (2, 3, "nor_conv_3x3"),
    ]


def test_a_cell_is_small_and_frozen(space: EdgeSpace) -> None:
    cell = space.at(5)
    assert cell == EdgeCell(cell.operations, 5)
    with pytest.raises(AttributeError):
        cell.key = 6  # type: ignore[misc]  # must fail
    assert not hasattr(cell, "__dict__")


def test_importing_the_space_loads_no_heavy_library() -> None:
    program = "import sys, nas.nasbench201.space; print({'torch', 'pandas', 'pyarrow', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
