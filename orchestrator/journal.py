"""The append-only record of a search, from which all its state is folded.

A JSON object a line, each closed by the CRC-32 of what stands before it in the line. The first line is the header: the
format's version and what the search is. Then, in the order in which they happened:

- ``{"ask": n, "at": seconds, "worker": w, "seed": s, "cell": {...}, ...}``: trial n, before it is dispatched;
- ``{"tell": n, "started": seconds, "at": seconds, "result": {...}}``: its result, before the searcher hears of it;
- ``{"fail": n, "started": seconds, "at": seconds, "reason": "..."}``: or why there is none.

Seconds are the pool's clock. `commit` hands everything to the operating system before anything is dispatched or told,
so the death of the process loses nothing; a last line that was cut off is dropped on resume.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from nas.cell import Cell
from nas.errors import ArchsweepError, DataError
from nas.trial import Proposal, Result, Status, Trial

VERSION = 1
BUFFER = 1 << 20


class Journal:
    """An open journal, to be appended from ``position`` on; what stands behind it is cut off.

    interval: seconds between flushes. 0, for pools that dispatch to other processes, flushes at every `commit`. On the
    simulated clock nothing leaves the process, so what a crash takes is computed again, to the same bytes.
    """

    def __init__(self, path: Path, position: int, interval: float = 0.0) -> None:
        self.path = path
        self._interval = interval
        self._committed = time.monotonic()
        try:
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=BUFFER)
            self._file.truncate(position)
            self._file.seek(position)
        except OSError as error:
            raise ArchsweepError(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from None

    @classmethod
    def create(cls, path: Path, search: Mapping[str, Any], interval: float = 0.0) -> Journal:
        """A new journal of a search, described by JSON values."""
        journal = cls(path, 0, interval)
        journal._write({"journal": VERSION, "search": search})
        journal.flush()
        return journal

    def append(self, trial: Trial) -> None:
        """Adds a trial's latest event; `commit` makes it last."""
        self._write(_to_record(trial))

    def _write(self, record: Mapping[str, Any]) -> None:
        body = orjson.dumps(record)[:-1]
        self._file.write(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))

    def commit(self) -> None:
        """Called before a dispatch or a tell: flushes, unless the last flush is less than ``interval`` seconds ago."""
        now = time.monotonic() if self._interval else 0.0
        if now - self._committed >= self._interval or not self._interval:
            self.flush()
            self._committed = now

    def flush(self) -> None:
        """Everything appended so far survives the death of this process from here on."""
        self._file.flush()

    def close(self) -> None:
        """Commits, and waits until the disk has it."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


class Reading:
    """The events of a journal file, in order; iterate once, then ask for ``position``.

    search: the header's description. position: where the whole lines end, once iterated. Raises `DataError`, naming
    the line, on anything but a whole journal with at most its last line cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = self._whole_lines()
        self.position = 0
        header = next(self._lines, None)
        if header is None:
            self.search: Mapping[str, Any] | None = None  # killed before the header was written
            return
        if header.get("journal") != VERSION:
            raise DataError(f"{path} is a journal of version {header.get('journal')}; this archsweep reads {VERSION}")
        self.search = header["search"]

    def __iter__(self) -> Iterator[Trial]:
        asked = 0
        pending: dict[int, Trial] = {}
        for line, record in enumerate(self._lines, 2):
            try:
                trial = _from_record(record, pending)
            except (KeyError, TypeError, ValueError) as error:
                raise DataError(f"{self._path}: line {line} is no event of a search ({error!r})") from None
            if trial.status is Status.PENDING:
                if trial.number != asked:
                    raise DataError(f"{self._path}: line {line} asks trial {trial.number}; expected {asked}")
                asked += 1
                pending[trial.number] = trial
            else:
                del pending[trial.number]
            yield trial

    def _whole_lines(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        return
                    yield self._checked(number, line)
                    self.position += len(line)
        except OSError as error:
            raise DataError(f"cannot read {self._path}: {error.strerror}") from None

    def _checked(self, number: int, line: bytes) -> dict[str, Any]:
        body, mark, claimed = line[:-SUFFIX], line[-SUFFIX : -SUFFIX + 8], line[-SUFFIX + 8 : -3]
        if mark != b',"crc":"' or line[-3:] != b'"}\n' or claimed != b"%08x" % zlib.crc32(body):
            raise DataError(f"{self._path}: line {number} is damaged; restore the file, or search in another folder")
        record: dict[str, Any] = orjson.loads(line)
        return record


SUFFIX = len(b',"crc":"00000000"}\n')


def _to_record(trial: Trial) -> dict[str, Any]:
    match trial.status:
        case Status.PENDING:
            proposal = trial.proposal
            record: dict[str, Any] = {
                "ask": trial.number,
                "at": trial.asked,
                "worker": trial.worker,
                "seed": trial.seed,
                "cell": proposal.cell.to_json(),
            }
            if proposal.epochs is not None:
                record["epochs"] = proposal.epochs
            if proposal.provenance:
                record["from"] = proposal.provenance
            return record
        case Status.TOLD:
            result = trial.result
            told = {name: value for name in RESULT_FIELDS if (value := getattr(result, name)) is not None}
            return {"tell": trial.number, "started": trial.started, "at": trial.finished, "result": told}
        case Status.FAILED:
            return {
                "fail": trial.number,
                "started": trial.started,
                "at": trial.finished,
                "reason": trial.failure,
            }


RESULT_FIELDS = tuple(Result.__dataclass_fields__)


def _from_record(record: dict[str, Any], pending: Mapping[int, Trial]) -> Trial:
    if "ask" in record:
        proposal = Proposal(Cell.from_json(record["cell"]), record.get("epochs"), record.get("from", {}))
        return Trial(record["ask"], proposal, record["seed"], record["worker"], record["at"])
    if "tell" in record:
        result = Result(**{"training_seconds": None, **record["result"]})
        return pending[record["tell"]].succeeded(result, record["started"], record["at"])
    return pending[record["fail"]].failed(record["reason"], record["started"], record["at"])
