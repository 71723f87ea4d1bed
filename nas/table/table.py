"""The benchmark table: what training every cell gave, in one Arrow IPC file that is memory-mapped, never copied.

One row a cell, ascending by module_hash as in the published file. Columns:

- ``module_hash`` fixed_size_binary[16]; ``cell`` int32, the catalogue number; ``trainable_parameters`` int32;
- ``adjacency`` and ``operations``, dictionary-encoded strings in the form of `Cell.to_json`, for other tools;
- a column a metric that the source has, fixed_size_list<float64>[budgets * repeats], NaN where a value is missing.

The schema's metadata, under ``archsweep``, holds JSON: version, budgets (epochs, ascending), repeats, source, made (how
the trainings were made, where that is known) and fingerprint, a digest of the values, so that a search can tell whether
it resumes on the table that it began on.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nas.errors import DataError
from nas.files import replacing
from nas.nasbench101.catalogue import CELLS, catalogue
from nas.nasbench101.cell import Cell, hash_bytes

METRICS = tuple(
    f"{moment}_{metric}"
    for moment in ("halfway", "final")
    for metric in ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
)
"""The eight published metrics: accuracies as fractions, training time in seconds up to that point."""
VERSION = 1
METADATA = b"archsweep"
MAX_REPEATS = 1_000
BLANK = np.full(1, np.nan)
PREDICTED = "predicted"
"""The key in what a benchmark was ``made`` by that says that nothing was trained, and the source of such results."""


class Benchmark(Protocol):
    """What is known of trainings of cells: looked up in a `Table`, or predicted. Meanings and errors are `Table`'s."""

    path: Path
    cells: NDArray[np.int32]
    parameters: NDArray[np.int32]
    made: Mapping[str, Any]

    @property
    def budgets(self) -> tuple[int, ...]: ...

    @property
    def repeats(self) -> int: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    def __hash__(self) -> int: ...

    def __len__(self) -> int: ...

    def metric(self, name: str) -> NDArray[np.float64]: ...

    def row(self, cell: int) -> int: ...

    def value(self, name: str, row: int, budget: int, repeat: int) -> float: ...

    def budget_index(self, epochs: int) -> int: ...


@dataclass(frozen=True)
class TableData:
    """What a table is written from. Rows in any order; `write` sorts them.

    cells: int32 (rows,), catalogue numbers, unique. hashes: uint8 (rows, 16). parameters: int32 (rows,).
    budgets: epochs, ascending. metrics: name -> float64 (rows, budgets, repeats), NaN where missing. made: JSON values
    that say how the trainings were made.
    """

    cells: NDArray[np.int32]
    hashes: NDArray[np.uint8]
    parameters: NDArray[np.int32]
    budgets: tuple[int, ...]
    metrics: Mapping[str, NDArray[np.float64]]
    source: str
    made: Mapping[str, Any] = field(default_factory=dict)


class Table:
    """A benchmark table, opened read-only. Raises `DataError` on a file that is not one.

    budgets: epochs, ascending. repeats: the most trainings of one cell and budget; fewer leave NaN.
    cells: int32 (rows,), catalogue number of every row; parameters: int32 (rows,). made: see `TableData`; empty if
    unknown.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        batch, about = _open(self.path)
        self.budgets: tuple[int, ...] = tuple(about["budgets"])
        self.repeats: int = about["repeats"]
        self.source: str = about["source"]
        self.fingerprint: str = about["fingerprint"]
        self.made: Mapping[str, Any] = about.get("made", {})
        self._batch = batch
        self.cells: NDArray[np.int32] = _view(batch.column("cell"))
        self.parameters: NDArray[np.int32] = _view(batch.column("trainable_parameters"))
        self.names = tuple(name for name in METRICS if name in batch.schema.names)
        self._check()
        rows = np.full(CELLS, -1, np.int32)
        rows[self.cells] = np.arange(len(self.cells), dtype=np.int32)
        self._rows = rows
        self._row_of_cell = rows.data
        self._views = {name: self.metric(name).reshape(-1).data for name in self.names}

    def _check(self) -> None:
        cells = self.cells
        valid = cells.size and cells.min() >= 0 and cells.max() < CELLS
        if not valid or np.bincount(cells, minlength=CELLS).max() > 1:
            raise DataError(f"{self.path} is damaged: its cell numbers are not unique and in range; import it again")
        for name in self.names:
            width = self._batch.schema.field(name).type.list_size
            column = self._batch.column(name)
            nulls = column.null_count or column.flatten().null_count
            if width != len(self.budgets) * self.repeats or nulls:
                raise DataError(f"{self.path} is damaged: column {name} has another shape; import it again")

    def __len__(self) -> int:
        return len(self.cells)

    def metric(self, name: str) -> NDArray[np.float64]:
        """All values of a metric, float64 (rows, budgets, repeats): a view of the file, or NaN if it has none."""
        shape = (len(self), len(self.budgets), self.repeats)
        if name not in self.names:
            return np.broadcast_to(BLANK, shape)
        return _view(self._batch.column(name).flatten()).reshape(shape)

    def row(self, cell: int) -> int:
        """The row of a catalogue number, -1 if the table lacks it."""
        return self._row_of_cell[cell] if cell >= 0 else -1

    def rows(self, cells: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """`row` of many cells; -1 where a cell is missing."""
        return np.where(cells < 0, np.int32(-1), self._rows[cells])

    def value(self, name: str, row: int, budget: int, repeat: int) -> float:
        """One value by row, index of the budget, and repeat; NaN if missing. Takes a fraction of a microsecond."""
        view = self._views.get(name)
        return math.nan if view is None else view[(row * len(self.budgets) + budget) * self.repeats + repeat]

    def values(
        self, name: str, cells: NDArray[np.integer[Any]], epochs: int, repeats: NDArray[np.integer[Any]] | int
    ) -> NDArray[np.float64]:
        """A metric of many cells at one budget, in one look-up; NaN where the table has no value."""
        rows = self.rows(cells)
        found = self.metric(name)[rows, self.budget_index(epochs), repeats]
        return np.where(rows < 0, np.nan, found)

    def budget_index(self, epochs: int) -> int:
        """The position of a budget. Raises `DataError` if the table has none such."""
        if epochs not in self.budgets:
            raise DataError(f"{self.path} has no budget of {epochs} epochs; choose from {_listed(self.budgets)}")
        return self.budgets.index(epochs)

    def verify(self) -> None:
        """Reads the whole file. Raises `DataError` if its values are not those that were written."""
        whole = _fingerprint(self._batch) == self.fingerprint
        for name, column in _readable(self.cells).items() if whole else ():
            whole &= name not in self._batch.schema.names or _same_text(self._batch.column(name), column)
        if not whole:
            raise DataError(f"{self.path} is damaged: its values are not those that were written; import it again")

    @cached_property
    def hashes(self) -> NDArray[np.uint8]:
        """module_hash of every row, uint8 (rows, 16)."""
        column = self._batch.column("module_hash")
        raw = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * 16 :]
        return raw[: len(self) * 16].reshape(-1, 16)

    @cached_property
    def _hash_heads(self) -> NDArray[np.uint64]:
        return _heads(self.hashes)

    def row_of_hash(self, module_hash: str) -> int:
        """The row of a module_hash, -1 if the table lacks it. Raises `DataError` on what is no MD5 in hexadecimal."""
        wanted = hash_bytes(module_hash)
        row = int(np.searchsorted(self._hash_heads, _heads(np.frombuffer(wanted, np.uint8)[None])[0]))
        while row < len(self) and self._hash_heads[row] == int.from_bytes(wanted[:8], "big"):
            if self.hashes[row].tobytes() == wanted:
                return row
            row += 1
        return -1

    def module_hash(self, row: int) -> str:
        """The module_hash of a row, in hexadecimal."""
        return bytes(self.hashes[row]).hex()

    def cell(self, row: int) -> Cell:
        """The cell of a row, in its published form."""
        return Cell.numbered(int(self.cells[row]))


def _view(column: pa.Array) -> NDArray[Any]:
    """A column's values where they lie. (`to_numpy` imports pandas: a fifth of a second, and a ctrl-C then is lost.)"""
    values: NDArray[Any] = np.from_dlpack(column)
    return values


def write(data: TableData, path: Path) -> None:
    """Writes a table file, whole or not at all."""
    order = np.lexsort((_heads(data.hashes[:, 8:]), _heads(data.hashes)))
    cells = data.cells[order]
    repeats = next(iter(data.metrics.values())).shape[2] if data.metrics else 1
    width = len(data.budgets) * repeats
    columns: dict[str, pa.Array] = {
        "module_hash": pa.Array.from_buffers(
            pa.binary(16), len(cells), [None, pa.py_buffer(data.hashes[order].tobytes())]
        ),
        "cell": pa.array(cells),
        "trainable_parameters": pa.array(data.parameters[order]),
        **_readable(cells),
    }
    for name in METRICS:
        if name in data.metrics and not np.isnan(data.metrics[name]).all():
            flat = pa.array(data.metrics[name][order].reshape(-1))
            columns[name] = pa.FixedSizeListArray.from_arrays(flat, width)
    batch = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    about = {
        "version": VERSION,
        "budgets": list(data.budgets),
        "repeats": repeats,
        "source": data.source,
        "made": dict(data.made),
        "fingerprint": _fingerprint(batch),
    }
    batch = batch.replace_schema_metadata({METADATA: json.dumps(about).encode()})
    with (
        replacing(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, batch.schema) as writer,
    ):
        writer.write_batch(batch)


def _fingerprint(batch: pa.RecordBatch) -> str:
    """A digest of the column names and values of a table."""
    digest = hashlib.blake2b(digest_size=16)
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        digest.update(name.encode())
        values = column.flatten() if pa.types.is_fixed_size_list(column.type) else column
        if not pa.types.is_dictionary(values.type):
            digest.update(values.buffers()[1])
    return digest.hexdigest()


def _readable(cells: NDArray[np.int32]) -> dict[str, pa.Array]:
    """Adjacency and operations of cells as dictionary-encoded strings."""
    known = catalogue()
    columns = {}
    for name, codes in (
        ("adjacency", known.graph[cells].astype(np.int32)),
        ("operations", known.labels[cells].astype(np.int32) * 8 + known.vertices[known.graph[cells]]),
    ):
        _, first, index = np.unique(codes, return_index=True, return_inverse=True)
        texts = [Cell.numbered(int(cells[i])).to_json()[name] for i in first]
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int16)), pa.array(texts))
    return columns


def _same_text(one: pa.Array, other: pa.Array) -> bool:
    try:
        one.validate(full=True)
        return bool(one.cast(pa.string()).equals(other.cast(pa.string())))
    except pa.ArrowException:
        return False


def _heads(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first eight bytes of hashes as numbers that sort alike."""
    return np.ascontiguousarray(hashes[:, :8]).view(">u8").ravel().astype(np.uint64)


def refuse_other(path: Path) -> None:
    """Raises `DataError` if a file is there that is no table of archsweep's, which one may not take the place of."""
    if not path.is_file() or not path.stat().st_size:
        return
    try:
        metadata = pa.ipc.open_file(pa.memory_map(str(path))).schema.metadata
    except (pa.ArrowException, OSError):
        metadata = None
    if METADATA not in (metadata or {}):
        raise DataError(f"{path} is there, and is no table; choose another file, or delete it")


def _open(path: Path) -> tuple[pa.RecordBatch, dict[str, Any]]:
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        about = json.loads((reader.schema.metadata or {})[METADATA])
        if reader.num_record_batches != 1:
            raise ValueError(f"it has {reader.num_record_batches} record batches, not one")
        batch = reader.get_batch(0)
        batch.validate()
        names = batch.schema.names  # decoded here, and may not be UTF-8
    except FileNotFoundError:
        raise DataError(f"no table at {path}; make one with `archsweep table import SRC {path}`") from None
    except (pa.ArrowException, OSError, KeyError, ValueError, RecursionError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        advice = "it may be cut off, or make one with `archsweep table import`"
        raise DataError(f"{path} is no archsweep table ({reason}); {advice}") from None
    if not isinstance(about, dict) or about.get("version") != VERSION:
        raise DataError(f"{path} has another table version than {VERSION}; import its source again")
    for name, kind in SCHEMA.items():
        if names.count(name) != 1 or batch.schema.field(name).type != kind or batch[name].null_count:
            raise DataError(f"{path} is damaged: it lacks column {name} of type {kind}; import it again")
    budgets, repeats = about.get("budgets"), about.get("repeats")
    whole = (
        isinstance(budgets, list)
        and budgets
        and all(isinstance(budget, int) and budget > 0 for budget in budgets)
        and sorted(set(budgets)) == budgets
        and isinstance(repeats, int)
        and 0 < repeats <= MAX_REPEATS
    )
    named = all(isinstance(about.get(name), str) for name in ("source", "fingerprint"))
    if not whole or not named or not isinstance(about.get("made", {}), dict):
        raise DataError(f"{path} is damaged: its metadata is not what an import writes; import it again")
    for name in [name for name in METRICS if name in names]:
        if names.count(name) != 1:
            raise DataError(f"{path} is damaged: it has column {name} twice; import it again")
        kind = batch.schema.field(name).type
        if not pa.types.is_fixed_size_list(kind) or kind.value_type != pa.float64():
            raise DataError(f"{path} is damaged: column {name} is {kind}; import it again")
    return batch, about


SCHEMA = {"module_hash": pa.binary(16), "cell": pa.int32(), "trainable_parameters": pa.int32()}


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
