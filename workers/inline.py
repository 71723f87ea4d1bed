"""Evaluates in the calling process, one trial after the other: the simplest pool."""

from __future__ import annotations

import time
from collections.abc import Callable

from nas.trial import Trial
from workers.base import Evaluator, evaluate, finish


class InlinePool:
    """One slot. The clock is the wall's, from ``now`` on; ``clock`` is there for tests to inject another."""

    def __init__(self, evaluator: Evaluator, now: float = 0.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._evaluate = evaluator
        self._clock = clock
        self._zero = clock() - now
        self._waiting: list[Trial] = []

    @property
    def now(self) -> float:
        return self._clock() - self._zero

    def idle(self) -> int | None:
        return None if self._waiting else 0

    def submit(self, trial: Trial) -> None:
        self._waiting.append(trial)

    def wait(self) -> list[Trial]:
        trial = self._waiting.pop(0)
        started = self.now
        outcome = evaluate(self._evaluate, trial.proposal, trial.seed)
        return [finish(trial, outcome, started, self.now)]

    def close(self) -> None:
        """Nothing is held."""
