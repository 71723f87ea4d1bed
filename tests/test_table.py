"""The table file: what is asked of it, what it depends on, and what damage does to it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nas.errors import DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.cell import Cell
from nas.table.table import METADATA, METRICS, Table, TableData, write

TEST, TIME = "final_test_accuracy", "final_training_time"
CELL_NUMBERS = [300_000, 7, 0, 91, 423_623]
BUDGETS = (4, 108)


def example() -> TableData:
    """Five cells, two budgets, three repeats, two metrics, one value missing."""
    rng = np.random.default_rng(0)
    metrics = {name: rng.random((5, 2, 3)) for name in (TIME, TEST)}
    metrics[TEST][1, 0, 2] = np.nan
    names = [bytes.fromhex(Cell.numbered(number).module_hash) for number in CELL_NUMBERS]
    hashes = np.frombuffer(b"".join(names), np.uint8).reshape(-1, 16)
    return TableData(np.array(CELL_NUMBERS, np.int32), hashes, np.arange(5, dtype=np.int32), BUDGETS, metrics, "here")


DATA = example()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("example") / "table.arrow"
    write(DATA, path)
    return path


@pytest.fixture
def table(path: Path) -> Table:
    return Table(path)


def use(path: Path) -> None:
    """Opens a table and reads all that it has."""
    table = Table(path)
    assert sum(table.metric(name).size for name in METRICS) == 8 * len(table) * len(table.budgets) * table.repeats
    for row in range(len(table)):
        assert table.row(table.cell(row).key) == row
        assert table.row_of_hash(table.module_hash(row)) in range(-1, len(table))
        assert all(isinstance(table.value(name, row, 0, 0), float) for name in METRICS)


def test_a_table_holds_what_it_was_written_from(table: Table) -> None:
    assert len(table) == 5
    assert (table.budgets, table.repeats, table.source, table.names) == (BUDGETS, 3, "here", (TIME, TEST))
    assert sorted(table.cells.tolist()) == sorted(CELL_NUMBERS)
    for source, number in enumerate(CELL_NUMBERS):
        row = table.row(number)
        assert table.cell(row) == Cell.numbered(number)
        assert table.module_hash(row) == DATA.hashes[source].tobytes().hex() == Cell.numbered(number).module_hash
        assert table.parameters[row] == DATA.parameters[source]
        for name in DATA.metrics:
            assert np.array_equal(table.metric(name)[row], DATA.metrics[name][source], equal_nan=True)


def test_rows_ascend_by_hash(curves_table: Path) -> None:
    hashes = [Table(curves_table).module_hash(row) for row in range(2_000)]
    assert hashes == sorted(hashes)


def test_one_value_many_values_and_the_metric_agree(table: Table) -> None:
    cells = np.array([[number, 5, -1] for number in CELL_NUMBERS])
    for name in METRICS:
        for budget, epochs in enumerate(BUDGETS):
            for repeat in range(3):
                found = table.values(name, cells, epochs, repeat)
                assert np.isnan(found[:, 1:]).all()
                for number, value in zip(CELL_NUMBERS, found[:, 0], strict=True):
                    row = table.row(number)
                    one = table.value(name, row, budget, repeat)
                    assert np.array_equal([one, table.metric(name)[row, budget, repeat]], [value] * 2, equal_nan=True)
                    missing = name not in (TIME, TEST) or (number, name, epochs, repeat) == (7, TEST, 4, 2)
                    assert math.isnan(one) == missing


def test_every_cell_may_be_asked_at_its_own_repeat(table: Table) -> None:
    cells, repeats = np.array(CELL_NUMBERS), np.array([0, 1, 2, 0, 1])
    expected = DATA.metrics[TIME][np.arange(5), 1, repeats]
    assert np.array_equal(table.values(TIME, cells, 108, repeats), expected)


def test_a_cell_that_the_table_lacks_has_no_row(table: Table) -> None:
    absent = np.setdiff1d(np.arange(CELLS), CELL_NUMBERS)
    assert (table.rows(absent) == -1).all()
    assert {table.row(int(number)) for number in absent[::1_000]} | {table.row(-1)} == {-1}
    assert table.rows(np.array([-1, 7])).tolist() == [-1, table.row(7)]


def test_a_budget_that_the_table_lacks_is_refused_and_the_others_named(table: Table) -> None:
    with pytest.raises(DataError, match="no budget of 12 epochs; choose from 4, 108"):
        table.values(TEST, np.array([7]), 12, 0)


def test_a_row_is_found_by_its_hash(small_table: Path) -> None:
    table = Table(small_table)
    for row in range(len(table)):
        assert table.row_of_hash(table.module_hash(row)) == row
        assert table.row_of_hash(table.module_hash(row).upper()) == row


def test_hashes_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    hashes = np.zeros((5, 16), np.uint8)
    hashes[:, 15] = [4, 2, 0, 6, 8]
    write(replace(DATA, hashes=hashes), tmp_path / "alike.arrow")
    table = Table(tmp_path / "alike.arrow")
    rows = [table.row_of_hash(f"{last:032x}") for last in range(10)]
    assert rows == [0, -1, 1, -1, 2, -1, 3, -1, 4, -1]
    assert table.row_of_hash("f" * 32) == -1


@pytest.mark.parametrize("text", ["", "abc", "g" * 32, "0" * 31, "0" * 34, "é" * 32, 5, None])
def test_what_is_no_hash_is_refused(table: Table, text: Any) -> None:
    with pytest.raises(DataError, match="expected 32 hexadecimal digits"):
        table.row_of_hash(text)


def test_a_table_is_read_from_the_map_and_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "table.arrow"
    write(DATA, path)
    before = pa.total_allocated_bytes()
    table = Table(path)
    assert pa.total_allocated_bytes() - before < DATA.metrics[TEST].nbytes
    assert np.shares_memory(table.metric(TEST), table.metric(TEST))
    value = table.value(TEST, 0, 0, 0)
    place = path.read_bytes().index(np.float64(value).tobytes())
    with path.open("r+b") as file:  # in place, as an import never does
        file.seek(place)
        file.write(np.float64(0.125).tobytes())
    assert table.value(TEST, 0, 0, 0) == table.metric(TEST)[0, 0, 0] == 0.125


def test_values_cannot_be_changed_through_a_table(table: Table) -> None:
    for array in (table.metric(TEST), table.metric("halfway_test_accuracy"), table.cells, table.hashes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_table_file_is_a_function_of_its_contents(path: Path, tmp_path: Path) -> None:
    order = np.array([3, 0, 4, 1, 2])
    shuffled = TableData(
        DATA.cells[order],
        DATA.hashes[order],
        DATA.parameters[order],
        BUDGETS,
        {name: values[order] for name, values in reversed(DATA.metrics.items())},
        "here",
    )
    for name, data in (("again", example()), ("shuffled", shuffled)):
        write(data, tmp_path / name)
        assert (tmp_path / name).read_bytes() == path.read_bytes()


def changed(name: str) -> TableData:
    metrics = {metric: values.copy() for metric, values in DATA.metrics.items()}
    match name:
        case "a value":
            metrics[TEST][4, 1, 2] += 1e-9
        case "a missing value":
            metrics[TEST][1, 0, 2] = 0
        case "a metric's name":
            metrics["final_train_accuracy"] = metrics.pop(TEST)
        case "a metric less":
            del metrics[TIME]
        case "a parameter count":
            return replace(DATA, parameters=DATA.parameters + 1)
        case "a cell":
            return replace(DATA, cells=np.array([*CELL_NUMBERS[:-1], 11], np.int32))
        case "a hash":
            return replace(DATA, hashes=DATA.hashes ^ np.uint8(1))
    return replace(DATA, metrics=metrics)


CHANGES = ["a value", "a missing value", "a metric's name", "a metric less", "a parameter count", "a cell", "a hash"]


@pytest.mark.parametrize("change", CHANGES)
def test_the_fingerprint_depends_on(path: Path, tmp_path: Path, change: str) -> None:
    write(changed(change), tmp_path / "changed.arrow")
    assert Table(tmp_path / "changed.arrow").fingerprint != Table(path).fingerprint


def test_the_fingerprint_does_not_depend_on_the_sources_name(path: Path, tmp_path: Path) -> None:
    write(replace(DATA, source="elsewhere"), tmp_path / "renamed.arrow")
    assert Table(tmp_path / "renamed.arrow").fingerprint == Table(path).fingerprint


def test_a_metric_without_any_value_has_no_column(tmp_path: Path) -> None:
    nothing = np.full((5, 2, 3), np.nan)
    write(replace(DATA, metrics={**DATA.metrics, METRICS[0]: nothing}), tmp_path / "table.arrow")
    assert Table(tmp_path / "table.arrow").names == (TIME, TEST)


def test_a_table_without_metrics_is_a_table(tmp_path: Path) -> None:
    write(replace(DATA, metrics={}), tmp_path / "table.arrow")
    use(tmp_path / "table.arrow")
    assert math.isnan(Table(tmp_path / "table.arrow").value(TEST, 0, 0, 0))


def test_other_tools_read_the_cells(path: Path) -> None:
    with pa.memory_map(str(path)) as file:
        rows = pa.ipc.open_file(file).read_all().to_pylist()
    for row in rows:
        cell = Cell.from_json({"adjacency": row["adjacency"], "operations": row["operations"]})
        assert (cell.key, cell.module_hash) == (row["cell"], row["module_hash"].hex())


def test_any_truncation_is_refused(path: Path, tmp_path: Path) -> None:
    whole, cut = path.read_bytes(), tmp_path / "cut.arrow"
    for size in {*range(0, len(whole), 4), *range(len(whole) - 100, len(whole))}:
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.arrow"):
            Table(cut)


def test_a_flipped_bit_never_ends_in_anything_but_a_refusal(path: Path, tmp_path: Path) -> None:
    whole, flipped = path.read_bytes(), tmp_path / "flipped.arrow"
    refused = 0
    for place, bit in enumerate(np.random.default_rng(0).integers(8, size=len(whole)).tolist()):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << bit
        flipped.write_bytes(damaged)
        try:
            use(flipped)
        except DataError as error:
            refused += str(flipped) in str(error)
    assert refused > len(whole) / 5


@given(st.binary(max_size=300), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_bytes_are_refused(tmp_path: Path, content: bytes, disguised: bool) -> None:
    path = tmp_path / "random.arrow"
    path.write_bytes(b"ARROW1\0\0" + content + b"ARROW1" if disguised else content)
    with pytest.raises(DataError, match=r"random\.arrow"):
        Table(path)


def columns(**changes: Any) -> dict[str, pa.Array]:
    """The columns of a table of one cell, some of them changed, or left out where the change is None."""
    whole = {
        "module_hash": pa.array([bytes(16)], pa.binary(16)),
        "cell": pa.array([7], pa.int32()),
        "trainable_parameters": pa.array([1], pa.int32()),
        TEST: pa.array([[0.5, 0.25]], pa.list_(pa.float64(), 2)),
    }
    return {name: column for name, column in (whole | changes).items() if column is not None}


def about(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "budgets": [4, 108], "repeats": 1, "source": "x", "fingerprint": "y"} | changes


def save(path: Path, arrays: dict[str, pa.Array], metadata: Any, batches: int = 1, names: Any = None) -> None:
    batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=names or list(arrays))
    described = {METADATA: metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()}
    schema = batch.schema.with_metadata(described if metadata is not None else None)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for _ in range(batches):
            writer.write_batch(batch)


def test_a_table_made_by_hand_is_one(tmp_path: Path) -> None:
    save(tmp_path / "table.arrow", columns(more=pa.array(["ignored"])), about(more=1))
    use(tmp_path / "table.arrow")
    assert Table(tmp_path / "table.arrow").metric(TEST).tolist() == [[[0.5], [0.25]]]


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "no archsweep table"),
        (b"\xff", "no archsweep table"),
        (b"{", "no archsweep table"),
        pytest.param(b"[" * 100_000, "no archsweep table", id="deep"),
        ([], "another table version"),
        ({}, "another table version"),
        (about(version=2), "another table version"),
        (about(budgets=None), "metadata"),
        (about(budgets=[]), "metadata"),
        (about(budgets=[0, 108]), "metadata"),
        (about(budgets=[108, 4]), "metadata"),
        (about(budgets=[4, 4]), "metadata"),
        (about(budgets=["4", "108"]), "metadata"),
        (about(budgets=4), "metadata"),
        (about(repeats=0), "metadata"),
        (about(repeats=10**30), "metadata"),
        (about(repeats="1"), "metadata"),
        (about(source=None), "metadata"),
        (about(fingerprint=5), "metadata"),
        (about(budgets=[108]), f"column {TEST} has another shape"),
        (about(repeats=2), f"column {TEST} has another shape"),
    ],
)
def test_wrong_metadata_is_refused(tmp_path: Path, metadata: Any, message: str) -> None:
    save(tmp_path / "table.arrow", columns(), metadata)
    with pytest.raises(DataError, match=message):
        Table(tmp_path / "table.arrow")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": None}, "lacks column cell"),
        ({"module_hash": None}, "lacks column module_hash"),
        ({"cell": pa.array([7], pa.int64())}, "lacks column cell of type int32"),
        ({"module_hash": pa.array(["0" * 32])}, "lacks column module_hash"),
        ({"module_hash": pa.array([None], pa.binary(16))}, "lacks column module_hash"),
        ({"cell": pa.array([None], pa.int32())}, "lacks column cell"),
        ({"trainable_parameters": pa.array([None], pa.int32())}, "lacks column trainable_parameters"),
        ({"cell": pa.array([-1], pa.int32())}, "cell numbers"),
        ({"cell": pa.array([CELLS], pa.int32())}, "cell numbers"),
        ({TEST: pa.array([0.5])}, f"column {TEST} is double"),
        ({TEST: pa.array([[0.5, 0.5]])}, f"column {TEST} is list"),
        ({TEST: pa.array([[0.5, 0.5]], pa.list_(pa.float32(), 2))}, f"column {TEST} is fixed_size_list"),
        ({TEST: pa.array([[0.5, 0.5, 0.5]], pa.list_(pa.float64(), 3))}, "another shape"),
        ({TEST: pa.array([None], pa.list_(pa.float64(), 2))}, "another shape"),
        ({TEST: pa.array([[0.5, None]], pa.list_(pa.float64(), 2))}, "another shape"),
    ],
)
def test_wrong_columns_are_refused(tmp_path: Path, changes: dict[str, pa.Array], message: str) -> None:
    save(tmp_path / "table.arrow", columns(**changes), about())
    with pytest.raises(DataError, match=message):
        Table(tmp_path / "table.arrow")


@pytest.mark.parametrize("name", [TEST, "cell"])
def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, name: str) -> None:
    arrays = columns()
    save(tmp_path / "table.arrow", {**arrays, "again": arrays[name]}, about(), names=[*arrays, name])
    with pytest.raises(DataError, match=name):
        Table(tmp_path / "table.arrow")


def test_a_cell_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    twice = {name: pa.concat_arrays([column, column]) for name, column in columns().items()}
    save(tmp_path / "table.arrow", twice, about())
    with pytest.raises(DataError, match="not unique"):
        Table(tmp_path / "table.arrow")


@pytest.mark.parametrize("batches", [0, 2])
def test_a_file_of_other_than_one_batch_is_refused(tmp_path: Path, batches: int) -> None:
    save(tmp_path / "table.arrow", columns(), about(), batches)
    with pytest.raises(DataError, match="record batches, not one"):
        Table(tmp_path / "table.arrow")


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "table.arrow", {name: column.slice(0, 0) for name, column in columns().items()}, about())
    with pytest.raises(DataError, match=r"table\.arrow"):
        Table(tmp_path / "table.arrow")


def test_a_stream_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    batch = pa.RecordBatch.from_pydict(columns())
    with pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as sink, pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    for path in (tmp_path / "stream.arrow", tmp_path, tmp_path / "missing.arrow"):
        with pytest.raises(DataError, match="archsweep table import"):
            Table(path)


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "missing" / "table.arrow", tmp_path / "file" / "table.arrow", tmp_path / "folder"):
        with pytest.raises(DataError, match="cannot write"):
            write(DATA, out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_table_is_replaced_whole_or_kept(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.arrow"
    write(changed("a value"), out)
    before, opened = out.read_bytes(), Table(out)
    broken: dict[str, NDArray[np.float64]] = {TEST: np.zeros((5, 2, 3)), TIME: np.zeros((5, 2, 2))}
    with pytest.raises(pa.ArrowInvalid):
        write(replace(DATA, metrics=broken), out)
    assert out.read_bytes() == before
    write(DATA, out)
    assert out.read_bytes() == path.read_bytes()
    assert opened.metric(TEST).shape == (5, 2, 3)  # who has it open keeps the old one
    assert list(tmp_path.iterdir()) == [out]
