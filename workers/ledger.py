"""Answers isomorphic proposals from what is known already."""

from __future__ import annotations

from dataclasses import replace

from nas.trial import Result, Trial
from workers.base import Pool


class Ledger:
    """The first result of every (unique cell, epochs): a fold of the trials, in the order in which they were asked and
    finished.

    It answers only what was asked after that result was there. A trial that was in flight by then is evaluated, also
    when a resumed search submits it once more.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int | None], tuple[int, Result]] = {}
        self._asked = 0

    def ask(self, trial: Trial) -> None:
        """Hears that a trial was asked."""
        self._asked = max(self._asked, trial.number + 1)

    def learn(self, trial: Trial) -> None:
        """Remembers a finished trial's result, unless there is an earlier one."""
        if trial.result is not None:
            self._known.setdefault((trial.proposal.cell.key, trial.proposal.epochs), (self._asked, trial.result))

    def answer(self, trial: Trial) -> Result | None:
        """What an isomorphic trial had got when this one was asked, now at no cost; None if there was none."""
        since, known = self._known.get((trial.proposal.cell.key, trial.proposal.epochs), (0, None))
        return replace(known, training_seconds=0.0, source="ledger") if known and trial.number >= since else None


class LedgerPool:
    """A pool around another: a cell that was answered at these epochs before is answered again from the ledger.

    While such an answer waits to be told, no further trial is taken, so that the searcher hears of it first.
    """

    def __init__(self, inner: Pool, ledger: Ledger) -> None:
        self._inner, self._ledger = inner, ledger
        self._answered: list[Trial] = []

    @property
    def now(self) -> float:
        return self._inner.now

    def idle(self) -> int | None:
        return None if self._answered else self._inner.idle()

    def submit(self, trial: Trial) -> None:
        self._ledger.ask(trial)
        known = self._ledger.answer(trial)
        if known is None:
            self._inner.submit(trial)
        else:
            self._answered.append(trial.succeeded(known, self.now, self.now))

    def wait(self) -> list[Trial]:
        if self._answered:
            answered, self._answered = self._answered, []
            return answered
        finished = self._inner.wait()
        for trial in finished:
            self._ledger.learn(trial)
        return finished

    def close(self) -> None:
        self._inner.close()
