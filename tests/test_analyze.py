"""The studies of a table, against the same questions asked one cell at a time."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.table.importing import import_table
from nas.table.table import Table
from orchestrator.tables.analysis_page import save_analysis
from orchestrator.tables.analyze import PAPER, Analysis
from orchestrator.tables.landscape import autocorrelation, distances, neighbours, replaced, shapes, walk

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def analysis(small_table: Path) -> Analysis:
    return Analysis(Table(small_table))


def chain(operations: int) -> Cell:
    """Convolutions one after the other."""
    size = operations + 2
    matrix = np.eye(size, k=1, dtype=int).tolist()
    return Cell.of(matrix, ["input", *["conv3x3-bn-relu"] * operations, "output"])


def test_replacing_an_operation_is_what_it_is_for_one_cell() -> None:
    rng = np.random.default_rng(1)
    cells = rng.integers(0, CELLS, 200)
    for vertex in range(5):
        found = replaced(cells, vertex, 0, 2)
        for number, other in zip(cells.tolist(), found.tolist(), strict=True):
            cell = Cell.numbered(number)
            labels = list(cell.labels)
            if vertex < len(labels) and labels[vertex] == 0:
                labels[vertex] = 2
                assert Cell(cell.frame, tuple(labels)).key == other
            else:
                assert other == -1


def test_neighbours_are_those_of_the_space() -> None:
    space, rng = CellSpace(), np.random.default_rng(2)
    for number in rng.integers(0, CELLS, 100).tolist():
        there = {cell.key for cell in space.neighbours(Cell.numbered(number))}
        assert set(neighbours()[number].tolist()) - {-1} == there


def test_distances_count_edits() -> None:
    source = 1_000
    far = distances(source, 2)
    near = {cell.key for cell in CellSpace().neighbours(Cell.numbered(source))}
    assert set(np.flatnonzero(far == 1).tolist()) == near
    assert far[source] == 0
    second = {other for cell in near for other in neighbours()[cell].tolist()} - near - {-1, source}
    assert set(np.flatnonzero(far == 2).tolist()) == second


def test_a_chain_is_as_deep_as_it_is_long_and_one_wide() -> None:
    depth, width = shapes()
    for operations in range(1, 6):
        number = chain(operations).key
        assert (depth[number], width[number]) == (operations + 1, 1)
    parallel = Cell.of(
        [[0, 1, 1, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1], [0] * 5],
        ["input", *["conv1x1-bn-relu"] * 3, "output"],
    )
    assert (depth[parallel.key], width[parallel.key]) == (2, 3)


def test_walks_go_from_neighbour_to_neighbour_inside_the_table(analysis: Analysis) -> None:
    value = np.full(CELLS, np.nan)
    value[analysis.table.cells] = analysis.table.cells  # so that a walk says where it is
    for path in walk(value, 20, 30, np.random.default_rng(0)):
        whole = path[~np.isnan(path)].astype(int).tolist()
        assert not np.isnan(path[: len(whole)]).any()  # one that got stuck stays so
        for here, there in pairwise(whole):
            assert there in neighbours()[here]
            assert analysis.table.row(there) >= 0


def test_autocorrelation_of_a_rising_and_of_a_random_walk() -> None:
    rng = np.random.default_rng(0)
    noise = autocorrelation(rng.normal(size=(200, 200)), 3)
    assert noise[0] == pytest.approx(1)
    assert np.abs(noise[1:]).max() < 0.03
    steady = autocorrelation(np.repeat(rng.normal(size=(200, 1)), 50, 1), 3)
    assert steady == pytest.approx(1)


def test_the_mean_change_is_that_of_all_pairs_counted_one_by_one(analysis: Analysis) -> None:
    table = analysis.table
    gains = []
    for row in range(len(table)):
        cell = table.cell(row)
        for place, label in enumerate(cell.labels):
            if label == 0:
                labels = (*cell.labels[:place], 1, *cell.labels[place + 1 :])
                other = Cell(cell.frame, labels).key
                if table.row(other) >= 0:
                    gains.append(analysis.accuracy[other] - analysis.accuracy[cell.key])
    found = analysis.replacements[0]
    assert (found.old, found.new, found.pairs) == ("conv 3x3", "conv 1x1", len(gains))
    assert found.accuracy == pytest.approx(100 * np.mean(gains))
    assert found.paper is None


def test_budgets_and_noise_are_there_where_the_table_has_them(analysis: Analysis) -> None:
    assert list(analysis.budgets) == [4, 12, 36]
    assert analysis.budgets[36][0] > analysis.budgets[4][0]
    assert list(analysis.noise) == [4, 12, 36, 108]
    assert all(spread > 0 for spread, _ in analysis.noise.values())


def test_the_command_prints_json_and_writes_a_page(archsweep: Run, small_table: Path, tmp_path: Path) -> None:
    done = archsweep("analyze", small_table, "--json", "--out", tmp_path / "a")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["replacements"]) == 6
    assert json.loads((tmp_path / "a" / "analysis.json").read_text()) == json.loads(done.stdout)
    page = (tmp_path / "a" / "analysis.html").read_text()
    assert page.count("<svg") == 4
    assert "<script" not in page


@pytest.mark.slow
def test_the_published_figures_come_out_on_nas_bench_101(data: Path, tmp_path: Path) -> None:
    import_table(data / "test108.parquet", tmp_path / "nb101.arrow")
    analysis = Analysis(Table(tmp_path / "nb101.arrow"))
    for found in analysis.replacements:
        if (found.old, found.new) in PAPER:
            assert found.paper is not None
            assert found.accuracy == pytest.approx(found.paper[0], abs=0.05)
            assert found.seconds == pytest.approx(found.paper[1], abs=0.3)
    assert analysis.seconds_by_width[0] == max(analysis.seconds_by_width)
    assert analysis.random_walks[1] > 0.3
    assert np.abs(analysis.random_walks[7:]).max() < 0.05
    assert "paper" in save_analysis(analysis, tmp_path)[0].read_text()
