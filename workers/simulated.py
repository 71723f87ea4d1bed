"""A cluster that exists only on a clock: evaluations take the time that training would have taken."""

from __future__ import annotations

from heapq import heappop, heappush

from nas.trial import Trial
from workers.base import Evaluator, evaluate, finish
from workers.cluster import Cluster


class SimulatedPool:
    """Finishes trials in the order in which workers would, without waiting for any.

    now: where the clock starts, for a search that is resumed. When a trial ends is a function of the trial, so one that
    is submitted again ends when it would have ended; one that cannot be evaluated fails at once. Ties go to the lower
    trial number. Of the idle workers the lowest is the next.
    """

    def __init__(self, evaluator: Evaluator, cluster: Cluster, now: float = 0.0) -> None:
        self._evaluate, self._cluster = evaluator, cluster
        self._leaves = cluster.leaves
        self._idle = [worker for worker, joins in enumerate(cluster.joins) if joins <= now]
        self._coming = sorted(((joins, w) for w, joins in enumerate(cluster.joins) if joins > now), reverse=True)
        self._out_of_turn: set[int] = set()
        self._running: list[tuple[float, int, Trial]] = []
        self.now = now

    def idle(self) -> int | None:
        idle = self._idle
        while idle and (self._leaves[idle[0]] <= self.now or idle[0] in self._out_of_turn):
            self._out_of_turn.discard(heappop(idle))
        return idle[0] if idle else None

    def submit(self, trial: Trial) -> None:
        if self._idle and self._idle[0] == trial.worker:
            heappop(self._idle)
        else:  # a trial of a search that is resumed; `idle` drops the worker when it comes to it
            self._out_of_turn.add(trial.worker)
        outcome = evaluate(self._evaluate, trial.proposal, trial.seed)
        end = trial.asked
        if not isinstance(outcome, str):
            if outcome.training_seconds is None:
                outcome = "the training time is unknown, so the simulated clock cannot tell when it would end"
            else:
                end, failure = self._cluster.run(trial, outcome.training_seconds)
                outcome = failure or outcome
        heappush(self._running, (end, trial.number, finish(trial, outcome, trial.asked, end)))

    def wait(self) -> list[Trial]:
        if self._coming and (not self._running or self._coming[-1][0] <= self._running[0][0]):
            return self._join()
        end, _, trial = heappop(self._running)
        self.now = max(self.now, end)
        heappush(self._idle, trial.worker)
        return [trial]

    def _join(self) -> list[Trial]:
        """Lets the next workers in, which is no trial's end."""
        self.now = max(self.now, self._coming[-1][0])
        while self._coming and self._coming[-1][0] <= self.now:
            heappush(self._idle, self._coming.pop()[1])
        return []

    def close(self) -> None:
        """Nothing is held."""
