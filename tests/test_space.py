"""Drawing, changing and encoding cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.random import Generator
from numpy.typing import NDArray

from nas.errors import ArchsweepError, InvalidCellError
from nas.nasbench101.catalogue import CELLS, GRAPHS, LABELS, catalogue
from nas.nasbench101.cell import Cell
from nas.nasbench101.graph import EDGE_SPOTS, INTERIOR
from nas.nasbench101.space import CellSpace, Encoding
from tests.cells import cells

SMALL = np.flatnonzero(catalogue().vertices[catalogue().graph] <= 4)
FULL = CellSpace()
DRAWS = {
    "sample": lambda space, parent, rng: space.sample(rng),
    "sample_by_edges": lambda space, parent, rng: space.sample_by_edges(rng),
    "mutate": lambda space, parent, rng: space.mutate(parent, rng),
    "mutate_once": lambda space, parent, rng: space.mutate_once(parent, rng),
    "crossover": lambda space, parent, rng: space.crossover(parent, space.sample(rng), rng),
}


def seeded(seed: int = 0) -> Generator:
    return np.random.default_rng(seed)


def chi_square(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    """Pearson's statistic, as standard deviations from its mean: below 5 but for one sample in a million."""
    freedom = len(counts) - 1
    return float((((counts - expected) ** 2 / expected).sum() - freedom) / np.sqrt(2 * freedom))


def change(parent: Cell, child: Cell) -> tuple[int, int]:
    """How many edges and how many operations differ."""
    labels = zip(parent.padded.labels, child.padded.labels, strict=True)
    return (parent.frame ^ child.frame).bit_count(), sum(one != other for one, other in labels)


def one_change_away(cell: Cell) -> list[Cell]:
    """Every cell of the whole space with one edge flipped or one operation replaced, isomorphic ones included."""
    padded = cell.padded
    found = [(padded.frame ^ (1 << bit), padded.labels) for bit in range(EDGE_SPOTS)]
    for place in range(INTERIOR):
        for label in set(range(LABELS)) - {padded.labels[place]}:
            labels = list(padded.labels)
            labels[place] = label
            found.append((padded.frame, tuple(labels)))
    valid = []
    for frame, labels in found:
        try:
            valid.append(Cell(frame, labels))
        except InvalidCellError:
            continue
    return valid


@pytest.mark.parametrize(("members", "size"), [(None, CELLS), (SMALL, 91), ([5, 5, 17], 2)])
def test_a_space_has_its_members(members: Any, size: int) -> None:
    space = CellSpace(members)
    assert len(space) == size
    inside = [number for number in range(0, CELLS, 97) if Cell.numbered(number) in space]
    assert inside == [n for n in range(0, CELLS, 97) if members is None or n in members]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "empty"),
        ([-1, 5], "numbers from 0 to 423623"),
        ([5, CELLS], "numbers from 0 to 423623"),
        ([1 << 40], "numbers from 0 to 423623"),
        ([0.5], "numbers from 0 to 423623"),
        (["5"], "numbers from 0 to 423623"),
    ],
)
def test_members_that_are_no_cells_are_refused(members: Any, message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        CellSpace(members)


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("members", [SMALL, [0], [3, 100, 300_000], None], ids=["small", "one", "scattered", "all"])
def test_every_draw_is_a_cell_of_the_space(draw: Any, members: Any) -> None:
    space, rng = CellSpace(members), seeded()
    parent = space.sample(rng)
    for _ in range(3 if members is not None and len(members) < 5 else 100):
        parent = draw(space, parent, rng)
        assert parent in space
        assert all(neighbour in space for neighbour in space.neighbours(parent))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_draw_depends_on_its_generator_only(draw: Any) -> None:
    parent = FULL.sample(seeded(5))
    once, often = ([draw(space, parent, seeded(s)) for s in range(30)] for space in (FULL, CellSpace(np.arange(CELLS))))
    assert once == often
    assert len(set(once)) > 10


def test_sample_is_uniform_over_unique_cells() -> None:
    space, rng, draws = CellSpace(SMALL), seeded(), 9_100
    counts = np.bincount([np.searchsorted(SMALL, space.sample(rng).key) for _ in range(draws)], minlength=91)
    assert abs(chi_square(counts, np.full(91, draws / 91))) < 5


def test_sample_by_edges_is_uniform_over_labelled_matrices() -> None:
    known = catalogue()
    frames = np.bincount(known.graph_of_frame[known.graph_of_frame >= 0], minlength=GRAPHS)
    forms = frames * LABELS ** (7 - known.vertices.astype(int))  # (matrix, five operations) that prune to one labelling
    graph = np.searchsorted(known.first_labelled, np.arange(len(known.cell_of_labelled)), side="right") - 1
    weights = np.bincount(known.cell_of_labelled, weights=forms[graph])[SMALL]
    space, rng, draws = CellSpace(SMALL), seeded(), 3_000
    counts = np.bincount([np.searchsorted(SMALL, space.sample_by_edges(rng).key) for _ in range(draws)], minlength=91)
    expected = draws * weights / weights.sum()
    assert expected.min() > 5
    assert abs(chi_square(counts, expected)) < 5


def test_a_space_too_sparse_for_rejection_is_sampled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.nasbench101.space.ATTEMPTS", 0)
    space, rng = CellSpace([3, 300_000]), seeded()
    mother, father = Cell.numbered(3), Cell.numbered(300_000)
    assert {space.sample_by_edges(rng).key for _ in range(30)} == {3, 300_000}
    assert {space.mutate(mother, rng).key for _ in range(30)} == {3, 300_000}
    assert space.crossover(mother, father, rng) == mother


def test_a_mutation_of_rate_zero_changes_nothing() -> None:
    rng = seeded()
    for _ in range(20):
        cell = FULL.sample(rng)
        assert change(cell, FULL.mutate(cell, rng, rate=0)) == (0, 0)


@pytest.mark.parametrize("rate", [0.5, 1.0, 2.0])
def test_a_mutation_replaces_each_operation_with_the_probability_that_it_says(rate: float) -> None:
    # Whether a graph is in the whole space does not depend on its operations, so rejection leaves them unbiased.
    cell, rng, draws = FULL.sample(seeded(3)).padded, seeded(), 5_000
    children = np.array([FULL.mutate(cell, rng, rate).labels for _ in range(draws)])
    expected = np.full((INTERIOR, LABELS), draws * rate / INTERIOR / 2)
    expected[np.arange(INTERIOR), cell.labels] = draws * (1 - rate / INTERIOR)
    counts = np.array([np.bincount(column, minlength=LABELS) for column in children.T])
    assert abs(chi_square(counts.ravel(), expected.ravel())) < 5


def test_a_mutation_flips_each_edge_with_the_probability_that_it_says() -> None:
    cell, draws = Cell.numbered(0), 20_000  # one edge: all that can go wrong is to lose it, or to gain too many
    rng = seeded()
    flipped = np.array([cell.frame ^ FULL.mutate(cell, rng, rate=0.7).frame for _ in range(draws)])
    unconnected = [bit for bit, edge in enumerate(edge_list()) if 0 not in edge and 6 not in edge]
    rates = np.array([(flipped >> bit & 1).mean() for bit in unconnected])
    assert np.abs(rates - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / draws)


def edge_list() -> list[tuple[int, int]]:
    return [(x, y) for y in range(7) for x in range(y)]


@given(cells(), st.integers(0, 1 << 32))
def test_mutate_once_changes_one_thing_and_the_cell(cell: Cell, seed: int) -> None:
    assume(cell.vertices > 2)  # a single edge can only be lost
    child = FULL.mutate_once(cell, seeded(seed))
    assert sum(change(cell, child)) == 1
    assert child.key != cell.key


def test_mutate_once_draws_its_change_uniformly() -> None:
    cell, rng, draws = FULL.sample(seeded(1)), seeded(), 4_000
    others = [child for child in one_change_away(cell) if child.key != cell.key]
    drawn = [FULL.mutate_once(cell, rng) for _ in range(draws)]
    counts = np.array([drawn.count(child) for child in others])
    assert counts.sum() == draws
    assert abs(chi_square(counts, np.full(len(others), draws / len(others)))) < 5


@given(cells())
def test_neighbours_are_the_unique_cells_one_change_away(cell: Cell) -> None:
    keys = [neighbour.key for neighbour in FULL.neighbours(cell)]
    assert len(set(keys)) == len(keys)
    assert set(keys) == {child.key for child in one_change_away(cell)} - {cell.key}
    assert all(sum(change(cell, neighbour)) == 1 for neighbour in FULL.neighbours(cell))


def test_a_cell_without_neighbours_is_mutated_into_any_cell() -> None:
    lonely, rng = Cell.numbered(0), seeded()
    assert FULL.neighbours(lonely) == []
    assert len({FULL.mutate_once(lonely, rng).key for _ in range(20)}) == 20


@given(cells())
def test_neighbours_in_a_restricted_space_are_those_inside(cell: Cell) -> None:
    space = CellSpace(SMALL)
    assert [n for n in FULL.neighbours(cell) if n in space] == space.neighbours(cell)


@given(cells(), cells(), st.integers(0, 1 << 32))
def test_every_edge_and_operation_of_a_child_is_a_parents(mother: Cell, father: Cell, seed: int) -> None:
    child = FULL.crossover(mother, father, seeded(seed))
    assert (child.frame ^ mother.frame) & ~(mother.frame ^ father.frame) == 0
    parents = zip(mother.padded.labels, father.padded.labels, strict=True)
    assert all(label in pair for label, pair in zip(child.labels, parents, strict=True))


def test_a_child_takes_from_both_parents_alike() -> None:
    mother, father = Cell.numbered(0).padded, Cell(1 << 15, (1,) * 5)
    rng, draws = seeded(), 4_000
    labels = np.array([FULL.crossover(mother, father, rng).labels for _ in range(draws)])
    assert np.abs(labels.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(draws)


@given(cells(), st.sampled_from(Encoding))
def test_decoding_gives_an_isomorphic_cell_back(cell: Cell, encoding: Encoding) -> None:
    vector = FULL.encode(cell, encoding)
    assert vector.dtype == np.float64
    assert vector.shape == (encoding.edge_slots + INTERIOR,)
    assert FULL.decode(vector, encoding).key == cell.key


def anything(length: int) -> st.SearchStrategy[Any]:
    """Vectors: of small numbers that are often right, of any floats, of other lengths; and what is no vector."""
    near = arrays.arrays(np.float64, length, elements=st.floats(-1, 22))
    weights = arrays.arrays(np.float64, length, elements=st.floats(0, 1))
    wild = arrays.arrays(np.float64, st.integers(0, 40), elements=st.floats())
    exact = arrays.arrays(np.float64, length, elements=st.floats())
    return st.one_of(near, weights, wild, exact, st.lists(st.none() | st.text() | st.complex_numbers()), st.none())


@given(st.data(), st.sampled_from(Encoding), st.booleans())
def test_any_vector_is_a_cell_of_the_space_or_an_invalid_cell(
    data: st.DataObject, encoding: Encoding, restricted: bool
) -> None:
    space = CellSpace(SMALL) if restricted else FULL
    try:
        passed = space.decode(data.draw(anything(encoding.edge_slots + INTERIOR)), encoding) in space
    except InvalidCellError as refusal:
        passed = len(str(refusal).splitlines()) == 1
    assert passed


CHAIN = Cell.of(np.eye(3, k=1), ["input", "maxpool3x3", "output"])


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300, -0.5, -1, 22])
def test_one_value_out_of_range_is_refused_by_its_place(encoding: Encoding, value: float) -> None:
    for place in range(encoding.edge_slots + INTERIOR):
        vector = FULL.encode(CHAIN, encoding)
        vector[place] = value
        with pytest.raises(InvalidCellError, match=f"value {place} is"):
            FULL.decode(vector, encoding)


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        (np.zeros(25), "takes 26 numbers"),
        (np.zeros((1, 26)), r"got shape \(1, 26\)"),
        (np.zeros(10**6), r"got shape \(1000000,\)"),
        (0.0, r"got shape \(\)"),
        (["x"] * 26, "got something else"),
        ([[0], [0, 1]], "got something else"),
        ([10**400] * 26, "got something else"),
    ],
)
def test_what_is_no_vector_of_the_length_is_refused(vector: Any, message: str) -> None:
    with pytest.raises(InvalidCellError, match=message):
        FULL.decode(vector, Encoding.A)


def test_edge_bits_are_rounded_and_integers_rounded_down() -> None:
    a, b, c = (FULL.encode(CHAIN, encoding) for encoding in Encoding)
    a[:EDGE_SPOTS] = np.where(a[:EDGE_SPOTS] > 0, 0.5, 0.499)
    assert FULL.decode(a, Encoding.A).key == CHAIN.key
    b += 0.999
    assert FULL.decode(b, Encoding.B).key == CHAIN.key
    c[:EDGE_SPOTS] = np.where(c[:EDGE_SPOTS] > 0, 0.2, 0.1)  # only their order counts
    c[EDGE_SPOTS:] += 0.999
    assert FULL.decode(c, Encoding.C).key == CHAIN.key
