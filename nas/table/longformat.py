"""Reads trainings in the long format: Parquet or CSV, one row a training.

Columns: ``adjacency`` and ``operations`` (the form of `Cell.to_json`), ``epochs``; then, as far as the source has them,
``repeat``, ``module_hash`` (16 bytes or hexadecimal), ``trainable_parameters``, the eight metrics of `METRICS`, and the
four final ones also without their prefix (``test_accuracy`` is ``final_test_accuracy``), one at least. Others are
ignored, unless they are named like a metric.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from nas.errors import DataError
from nas.nasbench101.catalogue import catalogue
from nas.nasbench101.cell import frame_of, label_code, labels_of
from nas.nasbench101.network import catalogue_costs
from nas.table.records import Records
from nas.table.table import METRICS

KNOWN = {"adjacency", "operations", "epochs", "repeat", "module_hash", "trainable_parameters"}
ALIKE = 0.75
"""How like a metric's name that of a column may be, from 0 to 1, before it is taken for a slip."""
TEXT = {"adjacency": pa.string(), "operations": pa.string(), "module_hash": pa.string()}


def read(path: Path) -> Records:
    """All rows of a file. Raises `DataError` naming the column or row that is wrong."""
    table = _load(path)
    for name in ("adjacency", "operations", "epochs"):
        if name not in table.column_names:
            raise DataError(f"{path} has no column {name}; it has {', '.join(table.column_names)}")
    names = [*METRICS, *(name.removeprefix("final_") for name in METRICS[len(METRICS) // 2 :])]
    for name in [name for name in table.column_names if name not in KNOWN.union(names)]:
        if near := get_close_matches(name, names, 1, ALIKE):
            raise DataError(f"{path}: column {name} is no metric; did you mean {near[0]}? Rename or drop it")
    if not set(names).intersection(table.column_names):
        raise DataError(f"{path}: there is no metric; metrics are {', '.join(names)}")
    cells = _cells(path, table)
    values = [_metric(path, table, name) for name in METRICS]
    return Records(
        cells,
        _integers(path, table, "epochs"),
        np.stack(values, axis=1),
        _integers(path, table, "trainable_parameters")
        if "trainable_parameters" in table.column_names
        else catalogue_costs()[cells, 0].astype(np.int32),
        _hashes(path, table) if "module_hash" in table.column_names else None,
        _integers(path, table, "repeat") if "repeat" in table.column_names else None,
        "row",
    )


def _load(path: Path) -> pa.Table:
    try:
        if path.suffix == ".csv":
            table = pa.csv.read_csv(path, convert_options=pa.csv.ConvertOptions(column_types=TEXT))
        else:
            table = pa.parquet.read_table(path, partitioning=None)
        names = table.column_names  # decoded here, and may not be UTF-8
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path} cannot be read as {path.suffix[1:].upper()}: {reason}") from None
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise DataError(f"{path} has more than one column {twice[0]}; keep one")
    return table


def _column(path: Path, table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    try:
        return table.column(name).cast(kind)
    except (pa.ArrowException, ValueError):
        raise DataError(f"{path}: column {name} is {table.column(name).type}; expected {kind}") from None


def _integers(path: Path, table: pa.Table, name: str) -> NDArray[np.int32]:
    column = _column(path, table, name, pa.int32())
    _no_gaps(path, column, name)
    return np.asarray(column.to_numpy(), np.int32)


def _metric(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    short = name.removeprefix("final_")
    for candidate in (name, short):
        if candidate in table.column_names:
            return np.asarray(_column(path, table, candidate, pa.float64()).to_numpy(), np.float64)
    return np.full(len(table), np.nan)


def _hashes(path: Path, table: pa.Table) -> NDArray[np.uint8]:
    try:
        column = table["module_hash"].to_pylist()
        raw = [value if isinstance(value, bytes) else bytes.fromhex(value) for value in column]
    except (ValueError, TypeError):
        raise DataError(f"{path}: column module_hash must hold 16 bytes or 32 hexadecimal digits a row") from None
    wrong = [row for row, value in enumerate(raw) if len(value) != 16]
    if wrong:
        raise DataError(f"{path}: row {wrong[0]} has a module_hash of {len(raw[wrong[0]])} bytes; expected 16")
    return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, 16)


def _cells(path: Path, table: pa.Table) -> NDArray[np.int32]:
    """The catalogue number of every row. Each distinct text is parsed once."""
    frames, frame_sizes = _parsed(path, table, "adjacency", frame_of)
    labels, label_sizes = _parsed(path, table, "operations", _label_code_and_size)
    differ = np.flatnonzero(frame_sizes != label_sizes)
    if differ.size:
        row = differ[0]
        raise DataError(
            f"{path}: row {row}: the matrix has {frame_sizes[row]} vertices but there are {label_sizes[row]} operations"
        )
    cells = catalogue().numbers(frames, labels)
    if cells.min(initial=0) < 0:
        row = np.flatnonzero(cells < 0)[0]
        raise DataError(f"{path}: row {row}: the graph is not connected or has more than nine edges")
    return cells


def _label_code_and_size(operations: str) -> tuple[int, int]:
    labels = labels_of(operations)
    return label_code(labels), len(labels) + 2


def _parsed(
    path: Path, table: pa.Table, name: str, parse: Callable[[str], tuple[int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Both numbers that ``parse`` makes of every row of a column of texts."""
    column = _column(path, table, name, pa.string())
    _no_gaps(path, column, name)
    encoded = column.combine_chunks().dictionary_encode()
    index = encoded.indices.to_numpy()
    parsed = []
    for code, text in enumerate(encoded.dictionary):
        try:
            parsed.append(parse(text.as_py()))
        except ValueError as error:  # an `InvalidCellError`, or bytes that are no UTF-8
            raise DataError(f"{path}: row {np.flatnonzero(index == code)[0]}: {error}") from None
    numbers = np.array(parsed, np.int64).reshape(-1, 2)[index]
    return numbers[:, 0], numbers[:, 1]


def _no_gaps(path: Path, column: pa.ChunkedArray, name: str) -> None:
    if column.null_count:
        raise DataError(f"{path}: row {pc.index(pc.is_null(column), True).as_py()} has no {name}")
