"""Reads files that were damaged or made to harm, and looks for anything but the project's own error.

    python -m tests.fuzz [--seconds 100] [--seed 0] [TARGET ...]

A case is a function of (target, seed, number), so its number is enough to make it again: `--case NUMBER` does. Every
target runs in a process of its own with a limit on its memory; a case that ends the process or takes longer than
PATIENCE is a finding as an exception is. `test_fuzz.py` repeats the cases that once were findings.
"""

from __future__ import annotations

import argparse
import json
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import tomli_w
from numpy.random import Generator

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from nas.table.importing import import_table, load
from nas.table.table import METRICS, Table
from nas.trial import Proposal, Result, Trial
from orchestrator.records.journal import Journal, Reading
from orchestrator.settings.config import parse
from orchestrator.settings.values import read_toml
from tests import wire

MEMORY, PATIENCE = 4 << 30, 60.0
CELLS = [Cell.numbered(number) for number in (0, 1, 7, 91, 2_532, 70_000, 423_623)]
HOSTILE = (
    None, True, -1, 0, 1, 2**31, 2**63 - 1, 2**64, 10**400, 1e308, -0.0, "", "x", "\0", "\ud7ff" * 99, "0" * 5_000, [],
    {}, [[]], [None] * 500, {"": {}}, {"kind": "ray", "name": "optuna", "count": 10**9}, [{"count": 10**5}] * 50,
)  # fmt: skip
BYTES = (b"", b"\0" * 8, b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"[" * 9_000, b"{" * 9_000, b'"', b"\n", b",", b"nan",
         b"-", b"1e999", b"\xc3\x28", b"inf", b"9" * 5_000, b"\0\0\0\x80", b"ARROW1", b"PAR1")  # fmt: skip
CONFIG = """
table = "t.arrow"
trials = 100
budget_seconds = 1e5
seed = 3
duplicates = "reuse"
durability = "second"
[searcher]
name = "evolution"
population = 10
[objective]
column = "test"
repeat = 1
epochs = 108
[pool]
kind = "simulated"
[[pool.cluster]]
count = 64
speed = 0.9
preemptions = 0.1
leaves = 9
[[pool.cluster]]
count = 8
price = 3
[tracking]
enabled = true
uri = "http://127.0.0.1:5000"
"""


def trainings() -> Iterator[wire.Training]:
    for number, cell in enumerate(CELLS):
        for epochs in (4, 108):
            spots = (wire.Evaluation(at * epochs, at * number, 0.5, 0.4, 0.3) for at in (0, 0.5, 1))
            texts = cell.to_json()
            yield wire.Training(
                cell.module_hash, epochs, texts["adjacency"], texts["operations"], tuple(spots), 227_274 + number
            )


def rows() -> pa.Table:
    texts = [cell.to_json() for cell in CELLS]
    columns = {name: [text[name] for text in texts] for name in ("adjacency", "operations")}
    numbers = {"epochs": [108] * len(CELLS), "repeat": [0] * len(CELLS), "trainable_parameters": [9] * len(CELLS)}
    values = {name: [0.5] * len(CELLS) for name in METRICS}
    return pa.table({**columns, **numbers, "module_hash": [cell.module_hash for cell in CELLS], **values})


def base(target: str, folder: Path) -> bytes:
    """The sound file of a target."""
    path = folder / f"base.{target}"
    match target:
        case "tfrecord":
            return wire.tfrecord(trainings())
        case "parquet":
            pq.write_table(rows(), path)
        case "csv":
            pa.csv.write_csv(rows(), path)
        case "config":
            return CONFIG.encode()
        case "table":
            (folder / "base.tfrecord").write_bytes(wire.tfrecord(trainings()))
            import_table(folder / "base.tfrecord", path)
        case "journal":
            journal = Journal.create(path, {"seed": 1, "table": "abc"})
            for number, cell in enumerate(CELLS):
                trial = Trial(number, Proposal(cell, 108 if number % 2 else None, {"by": "me"}), 77, number % 3, 0.5)
                journal.append(trial)
                result = Result(0.9, 12.5, None, 0.9, parameters=3)
                journal.append(trial.failed("gone", 0.5, 2.0) if number % 3 == 2 else trial.succeeded(result, 0.5, 2.0))
            journal.close()
        case "cell":
            return json.dumps({"matrix": CELLS[-1].matrix.tolist(), "ops": list(CELLS[-1].operations)}).encode()
    return path.read_bytes()


def read(target: str, path: Path) -> None:
    """What the product does with such a file."""
    match target:
        case "config":
            parse(read_toml(path), str(path)).to_toml()
        case "table":
            table = Table(path)
            for name in METRICS:
                table.metric(name).sum()
            for row in range(len(table)):
                table.row_of_hash(table.module_hash(row))
                table.row(table.cell(row).key)
            table.verify()
        case "journal":
            list(Reading(path))
        case "cell":
            Cell.from_json(path.read_bytes())
        case _:
            load(path)


def damaged(content: bytes, rng: Generator) -> bytes:
    """Bytes changed, put in, taken out, repeated or cut off, in one to four places."""
    raw = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(len(raw) + 1))
        some = int(rng.geometric(0.1))
        match rng.integers(6):
            case 0:
                raw[at : at + 1] = bytes([rng.integers(256)])
            case 1:
                raw[at : at + some] = b""
            case 2:
                raw[at:at] = rng.bytes(some)
            case 3:
                raw[at:at] = raw[at : at + some * 10]
            case 4:
                token = BYTES[rng.integers(len(BYTES))]
                raw[at : at + len(token) * int(rng.integers(2))] = token
            case 5:
                if rng.random() < 0.2:
                    del raw[at:]
    return bytes(raw)


def changed(value: Any, rng: Generator) -> Any:
    """A JSON value in which one value, at any depth, is another one or is missing."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[rng.integers(len(keys))]
        copy = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.1:
            del copy[key]
        else:
            copy[key] = changed(value[key], rng)
        return copy
    return HOSTILE[rng.integers(len(HOSTILE))]


def forged(target: str, content: bytes, rng: Generator) -> bytes:
    """A file that is whole to its checksums but says something else."""
    match target:
        case "tfrecord":
            records = [bytes(record) for record in wire.records(content)]
            at = int(rng.integers(len(records)))
            loaded = json.loads(records[at])
            records[at] = damaged(records[at], rng) if rng.random() < 0.5 else text(changed(loaded, rng))
            return b"".join(map(wire.framed, records))
        case "journal":
            lines = [line[: line.rindex(b',"crc"')] for line in content.splitlines()]
            at = int(rng.integers(len(lines)))
            body = text(changed(json.loads(lines[at] + b"}"), rng))[:-1]
            lines[at] = damaged(lines[at], rng).replace(b"\n", b"") if rng.random() < 0.3 else body
            if rng.random() < 0.2:
                lines.insert(int(rng.integers(len(lines))), lines[at])
            return b"".join(b'%b,"crc":"%08x"}\n' % (line, zlib.crc32(line)) for line in lines)
        case "table":
            start = content.index(b'{"version"')
            known, size = json.JSONDecoder().raw_decode(content[start:].decode("latin-1"))
            end = start + size
            about = text(changed(known, rng))[:size].ljust(size)
            return content[:start] + about + content[end:]
        case "cell":
            return text(changed(json.loads(content), rng))
        case "config":
            value = changed(tomllib.loads(content.decode()), rng)
            try:
                return tomli_w.dumps(value).encode()
            except (TypeError, ValueError, AttributeError):
                return damaged(content, rng)
    return damaged(content, rng)


def text(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value).encode()


def case(target: str, content: bytes, seed: int, number: int) -> bytes:
    rng = np.random.default_rng([seed, TARGETS.index(target), number])
    return forged(target, content, rng) if rng.random() < 0.5 else damaged(content, rng)


TARGETS = ("tfrecord", "parquet", "csv", "config", "table", "journal", "cell")


def run(target: str, seed: int, numbers: Iterator[int], say: Callable[[str], None]) -> None:
    """Reads cases until the numbers end; says which one it is at, and what it found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = base(target, folder)
        read(target, written(folder, target, content))
        for number in numbers:
            say(f"at {number}")
            path = written(folder, target, case(target, content, seed, number))
            try:
                read(target, path)
            except ArchsweepError as error:
                if len(str(error).splitlines()) != 1:
                    say(f"found {number} a message of several lines")
            except Exception:
                say(f"found {number} {' | '.join(traceback.format_exc().splitlines()[-3:])}")


def written(folder: Path, target: str, content: bytes) -> Path:
    path = folder / f"case.{target}"
    path.write_bytes(content)
    return path


def child(target: str, seed: int, first: int, seconds: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    end = time.monotonic() + seconds

    def numbers() -> Iterator[int]:
        number = first
        while time.monotonic() < end:
            yield number
            number += 1

    run(target, seed, numbers(), lambda line: print(line, flush=True))


def fuzz(target: str, seed: int, seconds: float) -> tuple[int, list[str]]:
    """How many cases were read in so many seconds, and what was found."""
    found: list[str] = []
    number, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        command = [sys.executable, "-m", "tests.fuzz", "--child", target, str(seed), str(number), str(left)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **pipes, text=True, bufsize=1, cwd=Path(__file__).parents[1])
        assert process.stdout is not None
        with selectors.DefaultSelector() as ready:
            ready.register(process.stdout, selectors.EVENT_READ)
            while ready.select(PATIENCE) and (line := process.stdout.readline()):
                if line.startswith("at "):
                    number = int(line.split()[1])
                else:
                    found.append(f"{target} {line.strip()}")
        process.kill()
        code = process.wait()
        number += 1
        if code:
            found.append(f"{target} found {number - 1} the process ended with {code}")
    return number, found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=float, default=100.0, help="for every target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="read only this one, here")
    given = parser.parse_args()
    findings = []
    for target in given.targets:
        if given.case is not None:
            run(target, given.seed, iter([given.case]), print)
            continue
        count, found = fuzz(target, given.seed, given.seconds)
        print(f"{target}: {count:,} cases, {len(found)} findings", *found, sep="\n", flush=True)
        findings += found
    return len(findings) > 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
        sys.exit()
    sys.exit(main())
