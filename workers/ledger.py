"""Answers isomorphic proposals from what is known already, or soon will be."""

from __future__ import annotations

from dataclasses import replace

from nas.trial import LEDGER, Trial
from workers.base import Pool

Key = tuple[int, int | None]
"""A unique cell and the epochs it is trained for."""
UNKNOWN = 0, None


def key_of(trial: Trial) -> Key:
    return trial.proposal.cell.key, trial.proposal.epochs


class Ledger:
    """What came of every (unique cell, epochs): a fold of the trials, in the order in which they were asked and
    finished.

    A result answers every isomorphic trial, those that were in flight with it and those asked later. A failure answers
    only the former: whoever asks later may try again. So a resumed search, which submits the ones in flight once more,
    gives them the answers that they would have got.
    """

    def __init__(self) -> None:
        self._known: dict[Key, tuple[int, Trial]] = {}
        self._asked = 0

    def ask(self, trial: Trial) -> Trial | None:
        """Hears that a trial was asked. The trial with the outcome that is known, at no cost, as of when both were
        there; None if there is none.
        """
        self._asked = max(self._asked, trial.number + 1)
        asked, known = self._known.get(key_of(trial), UNKNOWN)
        if known is None or (known.result is None and trial.number >= asked):
            return None
        return repeated(trial, known)

    def learn(self, trial: Trial) -> None:
        """Remembers a finished trial's outcome; of two results the first, and a result rather than a failure."""
        key = key_of(trial)
        _, known = self._known.get(key, UNKNOWN)
        if known is None or known.result is None:
            self._known[key] = self._asked, trial


def repeated(trial: Trial, known: Trial) -> Trial:
    """A trial with the outcome of an isomorphic one that has finished, at no cost."""
    assert known.finished is not None
    at = max(trial.asked, known.finished)
    if known.result is None:
        return trial.failed(known.failure or "", at, at)
    return trial.succeeded(replace(known.result, source=LEDGER), at, at)


class LedgerPool:
    """A pool around another: a cell is evaluated once at the same epochs, and its result is everybody's.

    A proposal isomorphic to one in flight waits for that one's outcome without taking a slot; at most ``waiting`` do.
    While an answer waits to be told, no further trial is taken, so that the searcher hears of it first.
    """

    def __init__(self, inner: Pool, ledger: Ledger, waiting: int) -> None:
        self._inner, self._ledger, self._most = inner, ledger, waiting
        self._answered: list[Trial] = []
        self._twins: dict[Key, list[Trial]] = {}
        self._waiting = 0

    @property
    def now(self) -> float:
        return self._inner.now

    def idle(self) -> int | None:
        return None if self._answered or self._waiting >= self._most else self._inner.idle()

    def submit(self, trial: Trial) -> None:
        known = self._ledger.ask(trial)
        if known is not None:
            self._answered.append(known)
            return
        twins = self._twins.setdefault(key_of(trial), [])
        if twins:
            self._waiting += 1
        else:
            self._inner.submit(trial)
        twins.append(trial)

    def wait(self) -> list[Trial]:
        if self._answered:
            answered, self._answered = self._answered, []
            return answered
        finished = []
        for trial in self._inner.wait():
            self._ledger.learn(trial)
            finished.append(trial)
            for twin in self._twins.pop(key_of(trial), ())[1:]:
                self._waiting -= 1
                finished.append(repeated(twin, trial))
        return finished

    def close(self) -> None:
        self._inner.close()
