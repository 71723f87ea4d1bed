"""The append-only record of a search, from which all its state is folded.

A JSON object a line, see `orchestrator.records.lines`. The first line is the header: the format's version, what the
search is, and the results of another search that it starts from, if any. Then, in the order in which they happened:

- ``{"ask": n, "at": seconds, "worker": w, "seed": s, "cell": {...}, ...}``: trial n, before it is dispatched;
- ``{"tell": n, "started": seconds, "at": seconds, "result": {...}}``: its result, before the searcher hears of it;
- ``{"fail": n, "started": seconds, "at": seconds, "reason": "..."}``: or why there is none.

Seconds are the pool's clock. `commit` puts everything on record before anything is dispatched or told; a last line that
was cut off is dropped on resume.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from nas.errors import ArchsweepError, DataError
from nas.files import sync_folder
from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Result, Status, Trial
from orchestrator.records.lines import LineReader, LineWriter

VERSION = 1
Durability = Literal["turn", "second", "end"]
SECOND = 1.0
SHARE = 20
"""The disk is waited for at most once in so many times as long as that took."""


class Journal:
    """An open journal, to be appended from ``position`` on; what stands behind it is cut off.

    durability: when the disk has it, so that a power cut takes no more. ``turn``: before a dispatch, once for all that
    was asked and told since the last; where turns come so fast that to wait for the disk would take more than a
    twentieth of the time, another thread waits. ``second``: about a second later. ``end``: once the search has ended.
    interval: seconds between hand-overs to the operating system, without which the death of the process takes what was
    appended since. 0 for pools that dispatch to other processes. On the simulated clock nothing leaves the process, so
    what a crash takes is computed again, to the same bytes.
    """

    def __init__(self, path: Path, position: int, durability: Durability = "turn", interval: float = 0.0) -> None:
        self.path = path
        self._lines = LineWriter(path, position)
        self._interval, self._durability = interval, durability
        self._flushed = self._due = time.monotonic()
        self._asked = False
        self._disk = ThreadPoolExecutor(1, "journal")
        self._syncing: Future[None] | None = None

    @classmethod
    def create(cls, path: Path, search: Mapping[str, Any], earlier: Iterable[Trial] = ()) -> Journal:
        """A new journal of a search, described by JSON values. earlier: told trials of others that it starts from."""
        journal = cls(path, 0)
        known = [_earlier_record(trial) for trial in earlier]
        try:
            journal._lines.append({"journal": VERSION, "search": search} | ({"earlier": known} if known else {}))
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
        now = time.monotonic()
        if self._durability == "turn":
            self._sync_turn(now)
            return
        if now - self._flushed >= self._interval:
            self._lines.flush()
            self._flushed = now
        if self._durability == "second" and now >= self._due:
            self._sync_behind()
            self._due = now + SECOND

    def _sync_turn(self, now: float) -> None:
        if self._asked and now >= self._due:
            self._lines.sync()
            self._due = now + (time.monotonic() - now) * SHARE
        else:  # nothing leaves the process, or too much time would go to waiting
            self._lines.flush()
            self._sync_behind()
        self._asked = False

    def _sync_behind(self) -> None:
        """Has another thread wait for the disk to have what was flushed; raises what it met the last time."""
        last = self._syncing
        if last is not None and last.done():
            last.result()
        if last is None or last.done() or last.running():  # else it has not begun, and will have all
            self._syncing = self._disk.submit(self._lines.sync_flushed)

    def close(self) -> None:
        """Waits until the disk has everything."""
        self._disk.shutdown()
        self._lines.close()


class Reading:
    """The events of a journal file, in order; iterate once, then ask for ``position``.

    search: the header's description. earlier: what the searcher is told before the first trial. position: where the
    whole lines end, once iterated. Raises `DataError`, naming the line, on anything but a whole journal with at most
    its last line cut off.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = LineReader(path)
        self._lines = iter(self._reader)
        header = next(self._lines, None)
        self.earlier: list[Trial] = []
        if header is None:
            self.search: dict[str, Any] | None = None  # killed before the header was written
            return
        if header.get("journal") != VERSION:
            raise DataError(f"{path} is a journal of version {header.get('journal')}; this archsweep reads {VERSION}")
        self.search = header.get("search")
        if type(self.search) is not dict:
            raise DataError(f"{path} does not say which search it is of; begin in another folder")
        records = header.get("earlier", [])
        try:
            self.earlier = [_from_earlier(record, number - len(records)) for number, record in enumerate(records)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: line 1 does not say what the search was told before ({error!r})") from None

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


def _earlier_record(trial: Trial) -> dict[str, Any]:
    assert trial.result is not None
    record = {"cell": trial.proposal.cell.to_json(), "objective": trial.result.objective}
    more = {"epochs": trial.proposal.epochs, "training_seconds": trial.result.training_seconds}
    return record | {key: value for key, value in more.items() if value is not None}


def _from_earlier(record: Mapping[str, Any], number: int) -> Trial:
    return earlier_trial(
        number,
        Cell.from_json(record["cell"]),
        record.get("epochs"),
        float(record["objective"]),
        record.get("training_seconds"),
    )


def earlier_trial(number: int, cell: Cell, epochs: int | None, objective: float, seconds: float | None = None) -> Trial:
    """A told trial of another search. Its number is negative; where it came from there means nothing here."""
    return Trial(number, Proposal(cell, epochs), 0, 0, 0.0).succeeded(Result(objective, seconds), 0.0, 0.0)


def _to_record(trial: Trial) -> dict[str, Any]:
    if trial.finished is None:
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
    result = trial.result
    if result is None:
        return {"fail": trial.number, "started": trial.started, "at": trial.finished, "reason": trial.failure}
    told = {name: value for name in RESULT_FIELDS if (value := getattr(result, name)) is not None}
    return {"tell": trial.number, "started": trial.started, "at": trial.finished, "result": told}


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
