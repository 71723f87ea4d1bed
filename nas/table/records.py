"""Training records from any source, put together into a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError
from nas.nasbench101.cell import Cell, module_hash
from nas.table.table import MAX_REPEATS, METRICS, TableData

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""

ALWAYS_HASHED = 4_096
"""Claimed hashes are recomputed for at most so many cells, evenly spread: a hash takes longer than reading a record."""

MOST_VALUES = 1 << 28
"""Cells x budgets x repeats of a table, two gigabytes a metric; fifty times what was published."""


@dataclass(frozen=True)
class Records:
    """Trainings, one a row, in the source's order.

    cells: int32 (n,), catalogue numbers. epochs: int32 (n,). metrics: float64 (n, 8), in the order of `METRICS`, NaN
    where missing. parameters: int32 (n,). hashes: uint8 (n, 16), as the source claims them, or None. repeats: int32
    (n,), or None where the order of appearance numbers them. unit: what the source calls a row, for messages.
    """

    cells: NDArray[np.int32]
    epochs: NDArray[np.int32]
    metrics: NDArray[np.float64]
    parameters: NDArray[np.int32]
    hashes: NDArray[np.uint8] | None
    repeats: NDArray[np.int32] | None
    unit: str


def assemble(records: Records, source: str, progress: Progress) -> TableData:
    """The table of these records. Raises `DataError`, naming the record, where they contradict each other."""
    if not records.cells.size:
        raise DataError(f"{source} holds no {records.unit}; give a file with trainings")
    _check_values(records, source)
    cells, first, row = _unique(records.cells)
    hashes = _hashes(records, source, cells, first, row, progress)
    budgets, budget = np.unique(records.epochs, return_inverse=True)
    if budgets[0] < 1:
        raise DataError(f"{source}: {_at(records, records.epochs < 1)} has {budgets[0]} epochs; expected at least 1")
    repeat = _repeats(records, source, row * len(budgets) + budget)
    shape = (len(cells), len(budgets), int(repeat.max()) + 1)
    if prod(shape) > MOST_VALUES:
        raise DataError(
            f"{source} has {shape[0]:,} cells, {shape[1]:,} budgets and repeats up to {shape[2] - 1}: too many"
        )
    metrics = {}
    for position, name in enumerate(METRICS):
        metrics[name] = np.full(shape, np.nan)
        metrics[name][row, budget, repeat] = records.metrics[:, position]
    parameters = records.parameters[first]
    differs = records.parameters != parameters[row]
    if differs.any():
        raise DataError(f"{source}: {_at(records, differs)} has another parameter count than its cell had before")
    return TableData(cells, hashes, parameters, tuple(budgets.tolist()), metrics, source)


def _unique(cells: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct cells as they first appear, where each does, and which of them every record is of.

    Their order matters for speed only: sources are sorted as tables are, so that values are copied in sequence.
    """
    _, first, row = np.unique(cells, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return cells[first[order]], first[order], rank[row]


def _at(records: Records, where: NDArray[np.bool_]) -> str:
    return f"{records.unit} {int(np.flatnonzero(where)[0])}"


def _check_values(records: Records, source: str) -> None:
    for position, name in enumerate(METRICS):
        values = records.metrics[:, position]
        highest = np.inf if name.endswith("time") else 1.0
        wrong = (values < 0) | (values > highest) | np.isinf(values)
        if wrong.any():
            value = values[np.flatnonzero(wrong)[0]]
            raise DataError(f"{source}: {_at(records, wrong)} has {name} {value}, outside its range")


def _repeats(records: Records, source: str, training: NDArray[np.int64]) -> NDArray[np.int64]:
    """The repeat number of every record. training: the (cell, budget) that it belongs to, as one number."""
    if records.repeats is None:
        order = np.argsort(training, kind="stable")
        starts = np.flatnonzero(np.diff(training[order], prepend=-1))
        ranks = np.empty(len(order), np.int64)
        ranks[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
        beyond = ranks >= MAX_REPEATS
        if beyond.any():
            raise DataError(
                f"{source}: {_at(records, beyond)} is a training more than the {MAX_REPEATS} that a table holds"
            )
        return ranks
    repeat = records.repeats.astype(np.int64)
    outside = (repeat < 0) | (repeat >= MAX_REPEATS)
    if outside.any():
        raise DataError(f"{source}: {_at(records, outside)} has a repeat outside 0 to {MAX_REPEATS - 1}")
    again = np.ones(len(repeat), bool)
    again[np.unique(training * MAX_REPEATS + repeat, return_index=True)[1]] = False
    if again.any():
        raise DataError(f"{source}: {_at(records, again)} gives the same cell, epochs and repeat as an earlier one")
    return repeat


def _hashes(
    records: Records,
    source: str,
    cells: NDArray[np.int32],
    first: NDArray[np.int64],
    row: NDArray[np.int64],
    progress: Progress,
) -> NDArray[np.uint8]:
    """The hash of every cell: the source's, checked, or computed where the source has none."""
    if records.hashes is None:
        return module_hashes(cells, progress)
    hashes = records.hashes[first]
    differs = (records.hashes != hashes[row]).any(axis=1)
    if differs.any():
        raise DataError(f"{source}: {_at(records, differs)} has another module_hash than its cell had before")
    sample = np.unique(np.linspace(0, len(cells) - 1, min(len(cells), ALWAYS_HASHED)).astype(int))
    wrong = (module_hashes(cells[sample], lambda *_: None) != hashes[sample]).any(axis=1)
    if wrong.any():
        record = first[sample[np.flatnonzero(wrong)[0]]]
        raise DataError(f"{source}: {records.unit} {record} has a module_hash that is not its graph's")
    return hashes


def module_hashes(cells: NDArray[np.int32], progress: Progress) -> NDArray[np.uint8]:
    """The module_hash of cells by catalogue number, uint8 (n, 16), computed on all cores if they are many."""
    chunks = [cells[i : i + 4_096] for i in range(0, len(cells), 4_096)]
    parts = []
    with workers(len(chunks) > 1) as run:
        for part in run(_hash_chunk, chunks):
            parts.append(part)
            progress("hashing cells", min(4_096 * len(parts), len(cells)), len(cells))
    return np.frombuffer(b"".join(parts), np.uint8).reshape(-1, 16)


def _hash_chunk(cells: NDArray[np.int32]) -> bytes:
    published = (Cell.numbered(int(cell)) for cell in cells)
    return b"".join(bytes.fromhex(module_hash(cell.frame, cell.labels)) for cell in published)


@contextmanager
def workers(parallel: bool) -> Iterator[Callable[..., Iterator[bytes]]]:
    """An ordered ``map`` over one process a core, or the built-in one where that would not pay."""
    if not parallel:
        yield map
        return
    # Forking is unsafe under threads (Ray, MLflow and pytest-timeout start some), so processes start fresh.
    with ProcessPoolExecutor(available_cores(), get_context("spawn")) as pool:
        try:
            yield pool.map
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def available_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def concatenate(parts: Sequence[Records]) -> Records:
    """Records of consecutive pieces of one source; all or none of the pieces have hashes and repeats."""

    def joined(name: str) -> NDArray[np.generic] | None:
        pieces = [getattr(part, name) for part in parts]
        return None if pieces[0] is None else np.concatenate(pieces)

    names = ("cells", "epochs", "metrics", "parameters", "hashes", "repeats")
    return replace(parts[0], **{name: joined(name) for name in names})  # type: ignore[arg-type]  # by name
