"""The append-only record of a search, from which all its state is folded.

A JSON object a line, see `orchestrator.lines`. The first line is the header: the format's version, what the search is,
and the results of another search that it starts from, if any. Then, in the order in which they happened:

- ``{"ask": n, "at": seconds, "worker": w, "seed": s, "cell": {...}, ...}``: trial n, before it is dispatched;
- ``{"tell": n, "started": seconds, "at": seconds, "result": {...}}``: its result, before the searcher hears of it;
- ``{"fail": n, "started": seconds, "at": seconds, "reason": "..."}``: or why there is none.

Seconds are the pool's clock. `commit` hands everything to the operating system before anything is dispatched or told,
so the death of the process loses nothing; a last line that was cut off is dropped on resume.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.cell import Cell
from nas.errors import DataError
from nas.trial import Proposal, Result, Status, Trial
from orchestrator.lines import LineReader, LineWriter

VERSION = 1


class Journal:
    """An open journal, to be appended from ``position`` on; what stands behind it is cut off.

    interval: seconds between flushes. 0, for pools that dispatch to other processes, flushes at every `commit`. On the
    simulated clock nothing leaves the process, so what a crash takes is computed again, to the same bytes.
    """

    def __init__(self, path: Path, position: int, interval: float = 0.0) -> None:
        self.path = path
        self._interval = interval
        self._committed = time.monotonic()
        self._lines = LineWriter(path, position)

    @classmethod
    def create(
        cls, path: Path, search: Mapping[str, Any], interval: float = 0.0, earlier: Iterable[Trial] = ()
    ) -> Journal:
        """A new journal of a search, described by JSON values. earlier: told trials of others that it starts from."""
        journal = cls(path, 0, interval)
        known = [_earlier_record(trial) for trial in earlier]
        journal._lines.append({"journal": VERSION, "search": search} | ({"earlier": known} if known else {}))
        journal.flush()
        return journal

    def append(self, trial: Trial) -> None:
        """Adds a trial's latest event; `commit` makes it last."""
        self._lines.append(_to_record(trial))

    def commit(self) -> None:
        """Called before a dispatch or a tell: flushes, unless the last flush is less than ``interval`` seconds ago."""
        now = time.monotonic() if self._interval else 0.0
        if now - self._committed >= self._interval or not self._interval:
            self.flush()
            self._committed = now

    def flush(self) -> None:
        """Everything appended so far survives the death of this process from here on."""
        self._lines.flush()

    def close(self) -> None:
        """Commits, and waits until the disk has it."""
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
            self.search: Mapping[str, Any] | None = None  # killed before the header was written
            return
        if header.get("journal") != VERSION:
            raise DataError(f"{path} is a journal of version {header.get('journal')}; this archsweep reads {VERSION}")
        self.search = header["search"]
        records = header.get("earlier", [])
        self.earlier = [_from_earlier(record, number - len(records)) for number, record in enumerate(records)]

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
        record["objective"],
        record.get("training_seconds"),
    )


def earlier_trial(number: int, cell: Cell, epochs: int | None, objective: float, seconds: float | None = None) -> Trial:
    """A told trial of another search. Its number is negative; where it came from there means nothing here."""
    return Trial(number, Proposal(cell, epochs), 0, 0, 0.0).succeeded(Result(objective, seconds), 0.0, 0.0)


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
