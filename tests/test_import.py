"""Imports: every value of every source arrives, and what is wrong is refused by name, leaving nothing behind."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from nas.errors import DataError
from nas.nasbench101.cell import Cell
from nas.nasbench101.network import cost
from nas.table.importing import import_table, load
from nas.table.table import METRICS, Table
from tests import wire
from tests.wire import Evaluation, Training

CELL = Cell.of(np.eye(3, k=1), ["input", "maxpool3x3", "output"])
OTHER = Cell.of(np.eye(2, k=1), ["input", "output"])


def training(cell: Cell = CELL, epochs: int = 108, **values: Any) -> Training:
    """A complete record; values of its last evaluation, or fields of the record, may be given."""
    fields = {name: values.pop(name) for name in list(values) if name in Training.__dataclass_fields__}
    final = replace(Evaluation(epochs, 200.0, 1.0, 0.9, 0.875), **values)
    evaluations = (Evaluation(0, 0.0, 0.1, 0.1, 0.1), Evaluation(epochs / 2, 100.0, 0.75, 0.625, 0.5), final)
    texts = cell.to_json()
    whole = Training(
        cell.module_hash, epochs, texts["adjacency"], texts["operations"], evaluations, cost(cell).parameters
    )
    return replace(whole, **fields)


def imported(folder: Path, content: bytes, name: str = "source.tfrecord") -> Table:
    """The table of a file of this content; fails if the import leaves anything else behind."""
    source, out = folder / name, folder / "out" / "table.arrow"
    out.parent.mkdir(exist_ok=True)
    source.write_bytes(content)
    try:
        return import_table(source, out)
    finally:
        assert [path for path in out.parent.iterdir() if path != out] == []


def refused(folder: Path, content: bytes, name: str = "source.tfrecord") -> str:
    """Why a file of this content is refused, in one line; fails if it is not, or if anything is left behind."""
    with pytest.raises(DataError, match=name) as refusal:
        imported(folder, content, name)
    assert not (folder / "out" / "table.arrow").exists()
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


def same(one: Iterable[Any], other: Iterable[Any]) -> bool:
    return np.array_equal(np.array([*one], float), np.array([*other], float), equal_nan=True)


@pytest.mark.parametrize(("name", "cells"), [("only108_30cells.tfrecord", 30), ("ecnas_4v9e.tfrecord", 91)])
def test_every_value_of_a_published_file_arrives(data: Path, tmp_path: Path, name: str, cells: int) -> None:
    content = (data / name).read_bytes()
    table = imported(tmp_path, content)
    assert len(table) == cells
    seen: dict[tuple[str, int], int] = {}
    for record in map(wire.decode, wire.records(content)):
        repeat = seen.setdefault((record.module_hash, record.epochs), 0)
        seen[record.module_hash, record.epochs] += 1
        row, budget = table.row_of_hash(record.module_hash), table.budgets.index(record.epochs)
        _, halfway, final = record.evaluations
        assert same((table.value(metric, row, budget, repeat) for metric in METRICS), halfway.values + final.values)
        assert table.parameters[row] == record.parameters
        texts = {"adjacency": record.adjacency, "operations": record.operations}
        assert table.cell(row).key == Cell.from_json(texts).key
    assert len(seen) == cells * len(table.budgets)
    assert set(seen.values()) == {table.repeats} == {3}
    assert not any(np.isnan(table.metric(metric)).any() for metric in METRICS)


def test_every_value_of_the_curves_arrives(data: Path, curves_table: Path) -> None:
    table, source = Table(curves_table), pq.read_table(data / "curves20k.parquet")
    assert (len(table), table.budgets, table.repeats) == (20_001, (4, 12, 36, 108), 1)
    names = pq.read_table(data / "hashes.parquet", columns=["module_hash"])["module_hash"].slice(0, len(table))
    assert np.array_equal(table.hashes, np.array([np.frombuffer(name.as_py(), np.uint8) for name in names]))
    assert source["epochs"].to_pylist() == [4, 12, 36, 108] * len(table)
    for name in ("validation_accuracy", "test_accuracy", "training_time"):
        expected = np.asarray(source[name].to_numpy(), np.float64)  # rows ascend by hash, as a table's do
        assert same(table.metric(f"final_{name}").ravel(), expected)
    assert table.parameters.tolist() == source["trainable_parameters"].to_pylist()[::4]
    assert np.isnan(table.metric("halfway_test_accuracy")).all()


@pytest.mark.slow
def test_every_value_of_all_cells_arrives(data: Path, tmp_path: Path) -> None:
    table = import_table(data / "test108.parquet", tmp_path / "table.arrow")
    source = pq.read_table(data / "test108.parquet")
    published = pq.read_table(data / "hashes.parquet")
    assert (len(table), table.budgets, table.repeats) == (423_624, (108,), 3)
    assert list(map(bytes, table.hashes)) == published["module_hash"].to_pylist()
    assert table.parameters.tolist() == published["trainable_parameters"].to_pylist()
    forms = [table.cell(row).to_json() for row in range(len(table))]
    for name in ("adjacency", "operations"):
        assert [form[name] for form in forms] == published[name].to_pylist()
    for name in ("test_accuracy", "training_time"):
        assert same(table.metric(f"final_{name}").ravel(), source[name].to_numpy())


def test_a_csv_file_gives_the_table_that_parquet_gives(data: Path, tmp_path: Path) -> None:
    rows = pq.read_table(data / "curves20k.parquet").slice(0, 4 * 300)
    rows = rows.cast(plain(rows.schema))
    pq.write_table(rows, tmp_path / "rows.parquet")
    pa.csv.write_csv(rows, tmp_path / "rows.csv")
    tables = [import_table(tmp_path / f"rows.{kind}", tmp_path / f"{kind}.arrow") for kind in ("csv", "parquet")]
    assert len(tables[0]) == 300
    assert tables[0].fingerprint == tables[1].fingerprint
    assert tables[0].budgets == tables[1].budgets
    assert [table.source for table in tables] == ["rows.csv", "rows.parquet"]


def plain(schema: pa.Schema) -> pa.Schema:
    """Text instead of dictionaries and doubles instead of floats: types that CSV is read as."""
    instead = {pa.float32(): pa.float64(), pa.dictionary(pa.int32(), pa.string()): pa.string()}
    return pa.schema([(field.name, instead.get(field.type, field.type)) for field in schema])


UNKNOWN = (
    wire.field(9, 7)
    + wire.field(10, 2.5)
    + wire.field(11, b"text")
    + wire.varint(12 << 3 | wire.FLOAT)
    + struct.pack("<f", 1.5)
)


def test_fields_that_the_format_does_not_have_are_skipped(tmp_path: Path) -> None:
    whole = training()
    more = tuple(replace(evaluation, extra=UNKNOWN) for evaluation in whole.evaluations)
    extended = replace(whole, evaluations=more, extra=wire.field(3, 5.0) + UNKNOWN)
    tables = [imported(tmp_path, wire.tfrecord([record])) for record in (whole, extended)]
    assert tables[0].fingerprint == tables[1].fingerprint
    assert wire.tfrecord([whole]) != wire.tfrecord([extended])


@pytest.mark.parametrize("parameters", [1, 227_274, 2_694_282, (1 << 28) - 1, 1 << 28])
def test_any_layout_of_a_message_gives_the_same_values(tmp_path: Path, parameters: int) -> None:
    published = training(parameters=parameters, extra=wire.field(3, 5.0))
    records = [published, replace(published, extra=b""), replace(published, extra=wire.field(4, 5.0))]
    tables = [imported(tmp_path, wire.tfrecord([record, training(OTHER)])) for record in records]
    assert len({table.fingerprint for table in tables}) == 1
    row = tables[0].row(CELL.key)
    assert same((tables[0].value(name, row, 0, 0) for name in METRICS), [100, 0.75, 0.625, 0.5, 200, 1, 0.9, 0.875])
    assert tables[0].parameters[row] == parameters


def test_a_field_that_is_there_twice_counts_as_it_is_last(tmp_path: Path) -> None:
    table = imported(tmp_path, wire.tfrecord([training(extra=wire.field(3, 5.0) + wire.field(2, 17))]))
    assert table.parameters.tolist() == [17]


def test_evaluations_after_the_third_are_skipped(tmp_path: Path) -> None:
    whole = training()
    longer = replace(whole, evaluations=(*whole.evaluations, Evaluation(1, 1, 0, 0, 0)))
    tables = [imported(tmp_path, wire.tfrecord([record])) for record in (whole, longer)]
    assert tables[0].fingerprint == tables[1].fingerprint


def test_a_value_that_a_record_lacks_stays_missing_and_zero_stays_zero(tmp_path: Path) -> None:
    table = imported(tmp_path, wire.tfrecord([training(validation=None, test=0.0, time=nan), training(OTHER)]))
    values = {name: table.value(name, table.row(CELL.key), 0, 0) for name in METRICS}
    missing = [name for name, value in values.items() if isnan(value)]
    assert missing == ["final_training_time", "final_validation_accuracy"]
    assert values["final_test_accuracy"] == 0
    assert not any(isnan(table.value(name, table.row(OTHER.key), 0, 0)) for name in METRICS)


def test_a_parameter_count_that_a_record_lacks_is_that_of_its_graph(tmp_path: Path) -> None:
    table = imported(tmp_path, wire.tfrecord([training(parameters=None), training(OTHER, parameters=17)]))
    assert table.parameters[table.row(CELL.key)] == cost(CELL).parameters
    assert table.parameters[table.row(OTHER.key)] == 17


def test_repeats_are_numbered_as_they_come_and_fewer_leave_gaps(tmp_path: Path) -> None:
    records = [training(test=0.1), training(OTHER, test=0.2), training(test=0.3), training(epochs=4, test=0.4)]
    table = imported(tmp_path, wire.tfrecord(records))
    assert (table.budgets, table.repeats) == ((4, 108), 2)
    assert same(table.metric("final_test_accuracy")[table.row(CELL.key)].ravel(), [0.4, nan, 0.1, 0.3])
    assert same(table.metric("final_test_accuracy")[table.row(OTHER.key)].ravel(), [nan, nan, 0.2, nan])


def test_isomorphic_records_are_one_cell(tmp_path: Path) -> None:
    matrix = np.zeros((4, 4), int)
    matrix[0, 1] = matrix[0, 2] = matrix[1, 3] = matrix[2, 3] = 1
    ops = ["conv1x1-bn-relu", "maxpool3x3"]
    cells = [Cell.of(matrix, ["input", *order, "output"]) for order in (ops, ops[::-1])]
    assert len(imported(tmp_path, wire.tfrecord(map(training, cells)))) == 1


TWO = wire.tfrecord([training(), training(OTHER)])
FIRST = len(wire.tfrecord([training()]))


def test_any_truncation_is_refused_by_file_and_record(tmp_path: Path) -> None:
    source = tmp_path / "cut.tfrecord"
    for size in set(range(len(TWO))) - {FIRST}:  # there, a shorter file is whole
        source.write_bytes(TWO[:size])
        with pytest.raises(DataError, match=rf"cut\.tfrecord.*record {int(size > FIRST)}" if size else "is empty"):
            load(source)


def test_any_flipped_bit_is_refused_by_file_and_record(tmp_path: Path) -> None:
    source = tmp_path / "flipped.tfrecord"
    for place in range(len(TWO)):
        for bit in range(8) if place < FIRST else [place % 8]:
            flipped = bytearray(TWO)
            flipped[place] ^= 1 << bit
            source.write_bytes(flipped)
            with pytest.raises(DataError, match=rf"flipped\.tfrecord.*record {int(place >= FIRST)}.*checksum"):
                load(source)


def test_damage_leaves_no_file(tmp_path: Path) -> None:
    assert "record 1 is cut off" in refused(tmp_path, TWO[:-1])
    assert "record 1 (byte" in refused(tmp_path, TWO[:-9] + b"x" + TWO[-8:])
    assert "is empty" in refused(tmp_path, b"")
    assert "record 0" in refused(tmp_path, b"no TFRecord at all")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source.tfrecord"]


def test_reading_in_parallel_gives_every_record_and_names_the_damaged_one(data: Path, tmp_path: Path) -> None:
    content = (data / "ecnas_4v9e.tfrecord").read_bytes()
    records, times = sum(1 for _ in wire.records(content)), 16
    assert records * times > 16_384
    steps: list[tuple[str, int, int]] = []
    source = tmp_path / "large.tfrecord"
    source.write_bytes(content * times)
    large = import_table(source, tmp_path / "large.arrow", lambda *step: steps.append(step))
    small = imported(tmp_path, content)
    done = [step[1] for step in steps]
    assert done == sorted(done)
    assert len(done) > 1
    assert steps[-1] == ("reading bytes", len(content) * times, len(content) * times)
    assert large.repeats == 3 * times
    for name in METRICS:
        assert np.array_equal(large.metric(name), np.tile(small.metric(name), times))
    source.write_bytes(content * times + wire.framed(b"no training"))
    with pytest.raises(DataError, match=rf"large\.tfrecord: record {records * times} "):
        load(source)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"test": 1.5}, "record 1 has final_test_accuracy 1.5, outside its range"),
        ({"validation": -0.1}, "record 1 has final_validation_accuracy -0.1"),
        ({"train": inf}, "record 1 has final_train_accuracy inf"),
        ({"time": -1.0}, "record 1 has final_training_time -1.0"),
        ({"time": inf}, "record 1 has final_training_time inf"),
        ({"parameters": 5}, "record 1 has another parameter count"),
        ({"module_hash": "00" * 16}, "record 1 has another module_hash"),
        ({"module_hash": "00" * 15}, "record 1 .*expected an MD5"),
        ({"module_hash": "no hexadecimal"}, "record 1 .*hexadecimal"),
        ({"epochs": 0}, "record 1 .*positive epochs"),
        ({"epochs": 1 << 31}, "record 1 .*positive epochs"),
        ({"epochs": -(10**30)}, "record 1"),
        ({"adjacency": "0" * 9}, "record 1 .*not connected"),
        ({"adjacency": "01"}, "record 1 .*square number"),
        ({"adjacency": "0" * 64}, "record 1 .*8 vertices"),
        ({"adjacency": "010" * 3}, "record 1 .*upper triangular"),
        ({"adjacency": "0100"}, "record 1 .*2 vertices but there are 3 operations"),
        ({"operations": "input,conv5x5,output"}, "record 1 .*unknown operation 'conv5x5'"),
        ({"operations": "output"}, "record 1 .*at least two names"),
        ({"evaluations": ()}, "record 1 .*expected evaluations .*got 0"),
        ({"evaluations": (Evaluation(),) * 2}, "record 1 .*expected evaluations .*got 2"),
    ],
)
def test_a_wrong_record_is_refused_by_its_number(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    content = wire.tfrecord([training(), training(**wrong)])
    with pytest.raises(DataError, match=message):
        imported(tmp_path, content)
    assert not (tmp_path / "out" / "table.arrow").exists()


def test_a_hash_that_is_not_its_graphs_is_refused(tmp_path: Path) -> None:
    content = wire.tfrecord([training(), training(OTHER, module_hash="00" * 16)])
    assert "record 1 has a module_hash that is not its graph's" in refused(tmp_path, content)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'["a", 1, "0100", "input,output"]',
        b'["a", true, 5, "input,output", ""]',
        wire.record_data(training(), None),
        wire.record_data(training(), "not base64!"),
        wire.record_data(training(), "é"),
        wire.record_data(training(), "CgA"),
        wire.record_data(training(), "////"),
        wire.record_data(training(), "CgUK"),
    ],
    ids=lambda content: repr(content[-20:]),
)
def test_a_record_that_is_none_is_refused_by_its_number(tmp_path: Path, content: bytes) -> None:
    assert "record 1" in refused(tmp_path, TWO[:FIRST] + wire.framed(content))


def test_a_record_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    length = struct.pack("<Q", (1 << 63) + 5)
    assert "record 1 is cut off" in refused(tmp_path, TWO[:FIRST] + length + wire.masked_crc(length) + b"data")


def rows(count: int = 2, **changes: Any) -> pa.Table:
    """Trainings in the long format, one repeat after the other; a column is changed, or left out if None."""
    columns = {
        "adjacency": [CELL.to_json()["adjacency"]] * count,
        "operations": [CELL.to_json()["operations"]] * count,
        "epochs": [108] * count,
        "repeat": list(range(count)),
        "test_accuracy": [0.5] * count,
    }
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


def parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def test_the_least_that_a_file_must_have_is_graph_epochs_and_a_metric(tmp_path: Path) -> None:
    table = imported(tmp_path, parquet(rows(repeat=None)), "rows.parquet")
    assert (len(table), table.repeats, table.names) == (1, 2, ("final_test_accuracy",))
    assert table.parameters.tolist() == [cost(CELL).parameters]
    assert table.module_hash(0) == CELL.module_hash


def test_a_metric_that_is_misspelt_is_refused(tmp_path: Path) -> None:
    whole = parquet(rows(test_accuracy=None))
    assert "there is no metric; metrics are halfway_training_time" in refused(tmp_path, whole, "rows.parquet")
    misspelt = parquet(rows(tset_accuracy=[0.5, 0.5]))
    assert "column tset_accuracy is no metric; did you mean test_accuracy?" in refused(
        tmp_path, misspelt, "rows.parquet"
    )


@pytest.mark.parametrize(
    "hashes",
    [[CELL.module_hash] * 2, [bytes.fromhex(CELL.module_hash)] * 2, [CELL.module_hash.upper(), CELL.module_hash]],
)
def test_a_hash_may_be_text_or_bytes(tmp_path: Path, hashes: list[Any]) -> None:
    table = imported(tmp_path, parquet(rows(module_hash=hashes)), "rows.parquet")
    assert table.module_hash(0) == CELL.module_hash


def test_all_eight_metrics_have_a_column(tmp_path: Path) -> None:
    given = {name: [float(position), position / 8] for position, name in enumerate(METRICS)}
    given = {name: values if "time" in name else [value / 10 for value in values] for name, values in given.items()}
    table = imported(tmp_path, parquet(rows(test_accuracy=None, **given)), "rows.parquet")
    for name in METRICS:
        assert table.metric(name).tolist() == [[given[name]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adjacency": None}, "no column adjacency; it has operations, epochs"),
        ({"operations": None}, "no column operations"),
        ({"epochs": None}, "no column epochs"),
        ({"epochs": [108, None]}, "row 1 has no epochs"),
        ({"epochs": [108, 0]}, "row 1 has 0 epochs"),
        ({"epochs": ["many", "x"]}, "column epochs is string; expected int32"),
        ({"epochs": [108.0, 0.5]}, "column epochs is double; expected int32"),
        ({"epochs": [108, 1 << 40]}, "column epochs is int64; expected int32"),
        ({"epochs": [[108], [108]]}, "column epochs is list"),
        ({"repeat": [0, 0]}, "row 1 gives the same cell, epochs and repeat as an earlier one"),
        ({"repeat": [0, -1]}, "row 1 has a repeat outside 0 to 999"),
        ({"repeat": [0, 1_000]}, "row 1 has a repeat outside 0 to 999"),
        ({"repeat": [0, None]}, "row 1 has no repeat"),
        ({"adjacency": ["010001000", None]}, "row 1 has no adjacency"),
        ({"adjacency": ["010001000", "0"]}, "row 1: adjacency must be a square"),
        ({"adjacency": ["010001000", "010000000"]}, "row 1: the graph is not connected"),
        ({"adjacency": ["010001000", "0100"]}, "row 1: the matrix has 2 vertices but there are 3 operations"),
        ({"adjacency": [1, 2]}, "row 0: adjacency"),
        ({"adjacency": [b"\xff", b"\xff"]}, "column adjacency is binary"),
        ({"operations": ["input,maxpool3x3,output", "input,x,output"]}, "row 1: unknown operation 'x'"),
        ({"operations": ["input," + "maxpool3x3," * 6 + "output"] * 2}, "row 0: there are 8 operations"),
        ({"module_hash": ["0" * 31] * 2}, "32 hexadecimal digits"),
        ({"module_hash": ["0" * 30] * 2}, "row 0 has a module_hash of 15 bytes"),
        ({"module_hash": [CELL.module_hash, None]}, "32 hexadecimal digits"),
        ({"module_hash": [1 << 50] * 2}, "32 hexadecimal digits"),
        ({"module_hash": ["0" * 32] * 2}, "row 0 has a module_hash that is not its graph's"),
        ({"module_hash": [CELL.module_hash, "0" * 32]}, "row 1 has another module_hash than its cell had before"),
        ({"trainable_parameters": [5, 6]}, "row 1 has another parameter count"),
        ({"trainable_parameters": [5, None]}, "row 1 has no trainable_parameters"),
        ({"test_accuracy": [0.5, 1.01]}, "row 1 has final_test_accuracy 1.01, outside its range"),
        ({"test_accuracy": [0.5, -inf]}, "row 1 has final_test_accuracy -inf"),
        ({"test_accuracy": ["good", "bad"]}, "column test_accuracy is string; expected double"),
        ({"training_time": [1.0, -1.0]}, "row 1 has final_training_time -1.0"),
    ],
)
def test_wrong_rows_and_columns_are_refused_by_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        imported(tmp_path, parquet(rows(**changes)), "rows.parquet")
    assert not (tmp_path / "out" / "table.arrow").exists()


def test_more_trainings_than_a_table_holds_are_refused_though_nobody_counted_them(tmp_path: Path) -> None:
    text = b"adjacency,operations,epochs,test_accuracy\n" + b'010001000,"input,maxpool3x3,output",4,0.5\n' * 1_001
    assert "row 1000 is a training more than the 1000" in refused(tmp_path, text, "rows.csv")


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    assert "holds no row" in refused(tmp_path, parquet(rows().slice(0, 0)), "rows.parquet")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    whole = rows()
    twice = pa.Table.from_arrays([*whole.columns, whole["epochs"]], names=[*whole.column_names, "epochs"])
    assert "epochs" in refused(tmp_path, parquet(twice), "rows.parquet")
    text = b'adjacency,operations,epochs,epochs\n010001000,"input,maxpool3x3,output",4,4\n'
    assert "more than one column epochs" in refused(tmp_path, text, "rows.csv")


def test_text_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xff\xff")]
    )
    for name in ("adjacency", "operations", "module_hash"):
        refused(tmp_path, parquet(rows(**{name: broken})), "rows.parquet")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.parquet", b""),
        ("rows.parquet", b"PAR1"),
        ("rows.parquet", b"adjacency,operations,epochs\n"),
        ("rows.csv", b""),
        ("rows.csv", b"\xff\xfe\x00"),
        ("rows.csv", b"adjacency,operations,epochs\n1,2\n"),
        ("rows.csv", b'adjacency,operations,epochs\n"1'),
        ("rows.csv", b"PAR1\0\0\0PAR1"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    refused(tmp_path, content, name)


def test_a_damaged_parquet_file_never_ends_in_anything_but_a_refusal(tmp_path: Path) -> None:
    whole, source, refusals = parquet(rows(module_hash=[CELL.module_hash] * 2)), tmp_path / "rows.parquet", 0
    rng = np.random.default_rng(0)
    for place in range(0, len(whole), 2):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(rng.integers(8))
        for damaged in (bytes(flipped), whole[:place]):
            source.write_bytes(damaged)
            try:
                load(source)
            except DataError as error:
                refusals += "rows.parquet" in str(error)
    assert refusals > len(whole) / 2


def test_what_is_not_there_or_of_another_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    for name, message in (
        ("missing.tfrecord", "no file at"),
        (".", "no file at"),
        ("table.json", "unknown kind of file"),
    ):
        with pytest.raises(DataError, match=message):
            import_table(tmp_path / name, tmp_path / "table.arrow")
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_an_import_onto_its_source_is_refused(tmp_path: Path) -> None:
    source, link, twin = (tmp_path / name for name in ("source.tfrecord", "link", "twin"))
    source.write_bytes(TWO)
    link.symlink_to(source)
    twin.hardlink_to(source)
    for out in (source, tmp_path / "." / "source.tfrecord", link, twin):
        with pytest.raises(DataError, match="is the source itself"):
            import_table(source, out)
    assert source.read_bytes() == TWO


def test_an_unwritable_place_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source.tfrecord"
    source.write_bytes(b"would be refused if it were read")
    (tmp_path / "folder").mkdir()
    for out in (tmp_path / "missing" / "table.arrow", source / "table.arrow", tmp_path / "folder"):
        with pytest.raises(DataError, match="cannot write"):
            import_table(source, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "source.tfrecord"]


def test_a_refused_import_keeps_the_table_that_was_there(tmp_path: Path) -> None:
    source, out = tmp_path / "source.tfrecord", tmp_path / "table.arrow"
    source.write_bytes(TWO)
    import_table(source, out)
    before = out.read_bytes()
    source.write_bytes(TWO[:-1])
    with pytest.raises(DataError, match="cut off"):
        import_table(source, out)
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source.tfrecord", "table.arrow"]
