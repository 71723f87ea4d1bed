"""A cluster that exists only on a clock: evaluations take the time that training would have taken."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from heapq import heappop, heappush

import numpy as np

from nas.errors import ArchsweepError
from nas.trial import Trial
from workers.base import Evaluator, evaluate, finish


class SimulatedPool:
    """Finishes trials in the order in which workers would, without waiting for any.

    speeds: of each worker, 1.0 taking exactly the result's training seconds. now: where the clock starts, for a search
    that is resumed. A trial ends at ``trial.asked + training_seconds / speed``, so a pending trial that is submitted
    again ends when it would have ended; one that fails ends at once. Ties go to the lower trial number.
    """

    def __init__(self, evaluator: Evaluator, speeds: Sequence[float], now: float = 0.0) -> None:
        self._evaluate = evaluator
        self._speeds = tuple(speeds)
        self._idle = list(range(len(speeds)))
        self._running: list[tuple[float, int, Trial]] = []
        self.now = now

    def idle(self) -> int | None:
        return self._idle[0] if self._idle else None

    def submit(self, trial: Trial) -> None:
        self._idle.remove(trial.worker)
        outcome = evaluate(self._evaluate, trial.proposal, trial.seed)
        end = trial.asked
        if not isinstance(outcome, str):
            if outcome.training_seconds is None:
                outcome = "the training time is unknown, so the simulated clock cannot tell when it would end"
            else:
                end += outcome.training_seconds / self._speeds[trial.worker]
        heappush(self._running, (end, trial.number, finish(trial, outcome, trial.asked, end)))

    def wait(self) -> list[Trial]:
        end, _, trial = heappop(self._running)
        self.now = max(self.now, end)
        insort(self._idle, trial.worker)
        return [trial]

    def close(self) -> None:
        """Nothing is held."""


def worker_speeds(workers: int, spread: float, seed: int) -> list[float]:
    """Log-normal speeds of a cluster, median 1; ``spread`` is the standard deviation of their logarithm."""
    if spread < 0:
        raise ArchsweepError(f"the spread of the workers' speeds must not be negative, got {spread}")
    normal = np.random.default_rng([seed, workers]).standard_normal(workers)
    return [float(speed) for speed in np.exp(spread * normal)]
