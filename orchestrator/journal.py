"""The append-only record of a search, from which all its state is folded.

A JSON object a line, see `orchestrator.lines`. The first line is the header: the
format's version and what the search is. Then, in the order in which they happened:

- ``{"ask": n, "at": seconds, "worker": w, "seed": s, "cell": {...}, ...}``: trial n, before it is dispatched;
- ``{"tell": n, "started": seconds, "at": seconds, "result": {...}}``: its result, before the searcher hears of it;
- ``{"fail": n, "started": seconds, "at": seconds, "reason": "..."}``: or why there is none.

Seconds are the pool's clock. `commit` puts everything on record before anything is dispatched or told; a last line that
was cut off is dropped on resume.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from nas.cell import Cell
from nas.errors import ArchsweepError, DataError
from nas.files import sync_folder
from nas.trial import Proposal, Result, Status, Trial
from orchestrator.lines import LineReader, LineWriter

VERSION = 1
Durability = Literal["turn", "second", "end"]
SECOND = 1.0


class Journal:
    """An open journal, to be appended from ``position`` on; what stands behind it is cut off.

    durability: when the disk has it, so that a power cut takes no more. ``turn``: before every dispatch, once for all
    that was asked and told since the last. ``second``: about a second later, without waiting for it. ``end``: once the
    search has ended.
    interval: seconds between hand-overs to the operating system, without which the death of the process takes what was
    appended since. 0 for pools that dispatch to other processes. On the simulated clock nothing leaves the process, so
    what a crash takes is computed again, to the same bytes.
    """

    def __init__(self, path: Path, position: int, durability: Durability = "turn", interval: float = 0.0) -> None:
        self.path = path
        self._lines = LineWriter(path, position)
        self._interval, self._durability = interval, durability
        self._flushed = self._synced = time.monotonic()
        self._asked = False
        self._disk = ThreadPoolExecutor(1, "journal")
        self._syncing: Future[None] | None = None

    @classmethod
    def create(cls, path: Path, search: Mapping[str, Any]) -> Journal:
        """A new journal of a search, described by JSON values."""
        journal = cls(path, 0)
        try:
            journal._lines.append({"journal": VERSION, "search": search})
            journal._lines.sync()
            sync_folder(path.parent)
        except BaseException:
            with suppress(ArchsweepError):
                journal.close()
            raise
        return journal

    def append(self, trial: Trial) -> None:
        """Adds a trial's latest event; `commit` makes it last."""
        self._lines.append(_to_record(trial))
        self._asked |= trial.finished is None

    def commit(self) -> None:
        """Called before a dispatch and before a tell."""
        if self._durability == "turn":
            self._lines.sync() if self._asked else self._lines.flush()
            self._asked = False
            return
        now = time.monotonic()
        if now - self._flushed >= self._interval:
            self._lines.flush()
            self._flushed = now
        if self._durability == "second" and now - self._synced >= SECOND:
            self._sync_behind()
            self._synced = now

    def _sync_behind(self) -> None:
        """Has another thread wait for the disk, unless it still does; raises what it met the last time."""
        if self._syncing is None or self._syncing.done():
            if self._syncing is not None:
                self._syncing.result()
            self._syncing = self._disk.submit(self._lines.sync_flushed)

    def close(self) -> None:
        """Waits until the disk has everything."""
        self._disk.shutdown()
        self._lines.close()


class Reading:
    """The events of a journal file, in order; iterate once, then ask for ``position``.

    search: the header's description. position: where the whole lines end, once iterated. Raises `DataError`, naming
    the line, on anything but a whole journal with at most its last line cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = LineReader(path)
        self._lines = iter(self._reader)
        header = next(self._lines, None)
        if header is None:
            self.search: dict[str, Any] | None = None  # killed before the header was written
            return
        if header.get("journal") != VERSION:
            raise DataError(f"{path} is a journal of version {header.get('journal')}; this archsweep reads {VERSION}")
        self.search = header.get("search")
        if type(self.search) is not dict:
            raise DataError(f"{path} does not say which search it is of; begin in another folder")

    def __iter__(self) -> Iterator[Trial]:
        asked = 0
        pending: dict[int, Trial] = {}
        for line, record in enumerate(self._lines, 2):
            try:
                trial = _from_record(record, pending)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(f"{self._path}: line {line} is no event of a search ({error!r})") from None
            if trial.status is Status.PENDING:
                if trial.number != asked:
                    raise DataError(f"{self._path}: line {line} asks trial {trial.number}; expected {asked}")
                asked += 1
                pending[trial.number] = trial
            else:
                del pending[trial.number]
            yield trial

    @property
    def position(self) -> int:
        """Where the lines read so far end."""
        return self._reader.position


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


NUMBERS = (float, int)
KINDS = dict.fromkeys(RESULT_FIELDS, NUMBERS) | {"parameters": (int,), "source": (str,)}


def _from_record(record: dict[str, Any], pending: Mapping[int, Trial]) -> Trial:
    """The trial of an event. Raises `KeyError`, `TypeError` or `ValueError` on anything else, as every later use would.

    A line's checksum says that it arrived as it was written, not who wrote it.
    """
    if "ask" in record:
        proposal = Proposal(Cell.from_json(record["cell"]), record.get("epochs"), record.get("from", {}))
        trial = Trial(record["ask"], proposal, record["seed"], record["worker"], record["at"])
        whole = type(trial.number) is type(trial.seed) is type(trial.worker) is int and type(trial.asked) in NUMBERS
        budgeted = proposal.epochs is None or (type(proposal.epochs) is int and proposal.epochs > 0)
        if not whole or not budgeted or trial.worker < 0 or trial.seed < 0 or type(proposal.provenance) is not dict:
            raise TypeError("a value of the wrong kind")
        return trial
    started, finished = record["started"], record["at"]
    if type(started) not in NUMBERS or type(finished) not in NUMBERS:
        raise TypeError("a time that is no number")
    if "tell" in record:
        told = record["result"]
        if any(type(value) not in KINDS[name] for name, value in told.items()):
            raise TypeError("a value of the wrong kind")
        return pending[record["tell"]].succeeded(Result(**{"training_seconds": None, **told}), started, finished)
    if type(record["reason"]) is not str:
        raise TypeError("a reason that is no text")
    return pending[record["fail"]].failed(record["reason"], started, finished)
