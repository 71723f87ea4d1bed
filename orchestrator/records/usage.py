"""How busy the workers were, and what they cost: a fold of the finished trials, on the pool's clock."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from nas.trial import Trial
from orchestrator.records.state import State
from workers.cluster import HOUR, WorkerClass


class Usage:
    """An observer that adds up worker seconds. classes: the workers, those of the first class first.

    busy: seconds in which a worker had a trial, lost work and restarts included. queued: seconds between a trial's
    asking and its start, where the pool says when that was.
    """

    def __init__(self, classes: Sequence[WorkerClass]) -> None:
        self._classes = classes
        self._leave = [
            (place, kind.leaves * HOUR if kind.leaves else inf)
            for place, kind in enumerate(classes)
            for _ in range(kind.count if any(kind.leaves for kind in classes) else 0)
        ]
        self._overtime = [0.0] * len(classes)
        self.busy = self.queued = 0.0

    def __call__(self, trial: Trial, state: State) -> None:
        assert trial.started is not None
        assert trial.finished is not None
        self.busy += trial.finished - trial.started
        self.queued += trial.started - trial.asked
        if self._leave:
            place, leaves = self._leave[trial.worker]
            self._overtime[place] += max(0.0, trial.finished - leaves)

    def utilisation(self, clock: float) -> float | None:
        """Busy worker seconds as a share of those that there were by then; None at the start."""
        available = sum(self._hours(clock)) * HOUR
        return self.busy / available if available else None

    def cost(self, clock: float) -> float | None:
        """What the workers cost until then, in the unit of their prices; None if they have none."""
        if not any(kind.price for kind in self._classes):
            return None
        return sum(kind.price * hours for kind, hours in zip(self._classes, self._hours(clock), strict=True))

    def _hours(self, clock: float) -> list[float]:
        """Worker hours that every class had, what its workers finished after they should leave included."""
        return [
            kind.count * max(0.0, min(clock / HOUR, kind.leaves or inf) - kind.joins) + overtime / HOUR
            for kind, overtime in zip(self._classes, self._overtime, strict=True)
        ]
