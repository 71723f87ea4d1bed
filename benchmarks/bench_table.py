"""Times the benchmark table: import against a reference reader, open, and look-ups, scalar and in batches.

    python benchmarks/bench_table.py [FILE.tfrecord] [--rounds 3]

Without a file, one of full size is made first (see make_tfrecord.py; `NB101_DATA` names the folder of its sources).
Import and reference reader take turns, each in a fresh process, so that what else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from make_tfrecord import write
from reference_reader import ReferenceReader

from nas.nasbench101.catalogue import catalogue
from nas.table.importing import import_table
from nas.table.table import Table

METRIC = "final_test_accuracy"
SCALAR, BATCH = 200_000, 2_000_000


def main(source: Path | None, rounds: int) -> None:
    """Prints a line a figure."""
    with TemporaryDirectory() as folder:
        if source is None:
            source = Path(folder) / "only108.tfrecord"
            write(source)
        out = Path(folder) / "table.arrow"
        _print_import(source, out, rounds)
        opening = min(_seconds(lambda: Table(out)) for _ in range(5))
        print(f"open: {opening * 1e3:.1f} ms")
        table = Table(out)
        scalar = max(SCALAR / _seconds(lambda: _scalar(table, SCALAR)) for _ in range(3))
        print(f"scalar look-ups: {scalar:,.0f}/s (target 100,000/s)")
        batch = max(_batch_rate(table) for _ in range(3))
        print(f"batch look-ups: {batch:,.0f}/s in batches of {BATCH:,} (target 5,000,000/s)")


def _print_import(source: Path, out: Path, rounds: int) -> None:
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_in_a_process("import", source, out))
        theirs.append(_in_a_process("reference", source, out))
    ratio = median(ours) / median(theirs)
    print(
        f"import: {median(ours):.2f} s, reference reader: {median(theirs):.2f} s, "
        f"ratio {ratio:.3f} (target 0.250), medians of {rounds}"
    )


def _in_a_process(task: str, source: Path, out: Path) -> float:
    """Seconds of one import or one reference read, without the start of the interpreter."""
    command = [sys.executable, __file__, str(source), "--only", task, "--out", str(out)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _seconds(task: Callable[[], object]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def _scalar(table: Table, count: int) -> float:
    """Look-ups from (frame, labels), as a searcher's proposal comes, to a value."""
    known, rng = catalogue(), np.random.default_rng(0)
    numbers = table.cells[rng.integers(len(table), size=1_000)]
    graphs = known.graph[numbers]
    proposals = list(zip(known.frame[graphs].tolist(), _codes(numbers).tolist(), strict=True))
    return sum(
        table.value(METRIC, table.row(known.number(frame, code)), 0, 0)
        for _ in range(count // len(proposals))
        for frame, code in proposals
    )


def _batch_rate(table: Table) -> float:
    """Look-ups a second from arrays of frames and labels to an array of values."""
    known, rng = catalogue(), np.random.default_rng(0)
    numbers = table.cells[rng.integers(len(table), size=BATCH)]
    frames, codes = known.frame[known.graph[numbers]], _codes(numbers)
    epochs = table.budgets[-1]
    return BATCH / _seconds(lambda: table.values(METRIC, known.numbers(frames, codes), epochs, 0))


def _codes(numbers: np.ndarray) -> np.ndarray:
    """The base-3 codes of five operations of cells in their published form."""
    known = catalogue()
    return known.labels[numbers].astype(np.int64) * 3 ** (7 - known.vertices[known.graph[numbers]].astype(np.int64))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["import", "reference"], help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    match arguments.only:
        case "import":
            print(_seconds(lambda: import_table(arguments.source, arguments.out)))
        case "reference":
            print(_seconds(lambda: ReferenceReader(arguments.source)))
        case _:
            main(arguments.source, arguments.rounds)
