"""What a simulated cluster is made of and what befalls its workers.

Everything random about a trial is drawn from a stream of its own, so what happens to it depends on nothing else that
runs, and a search that is resumed meets the same stragglers and preemptions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.random import Generator

from nas.trial import Trial

HOUR = 3_600.0
MOST_PREEMPTIONS = 1_000
"""Of one trial; after that it fails, since its class of workers will not get it done."""

Amount = Annotated[float, Interval(ge=0, le=1e6)]
Factor = Annotated[float, Interval(gt=0, le=1e6)]


@dataclass(frozen=True)
class WorkerClass:
    """Workers that are alike. Times are in hours on the simulated clock; rates are an hour and a worker.

    speed: 1 takes exactly the table's training seconds, 2 half of them; speed_spread: see `worker_speeds`.
    stragglers: the share of trials that take ``slowdown`` times as long.
    preemptions: how often a worker is taken away. Its trial goes on ``restart`` hours later on the replacement that has
    its slot, from the last whole epoch if ``checkpoints``, else from its start.
    failures: how often a trial ends without a result. The worker takes the next one.
    joins, leaves: when a worker takes its first trial, and from when on it takes none. What it has then it finishes.
    price: of a worker, from when it joins until it has left or the search ends; replacements are paid from the start.
    """

    count: Annotated[int, Interval(ge=1, le=100_000)]
    speed: Factor = 1.0
    speed_spread: Annotated[float, Interval(ge=0, le=5)] = 0.0
    stragglers: Annotated[float, Interval(ge=0, le=1)] = 0.0
    slowdown: Annotated[float, Interval(ge=1, le=1e6)] = 4.0
    preemptions: Amount = 0.0
    restart: Amount = 0.05
    checkpoints: bool = True
    failures: Amount = 0.0
    joins: Annotated[float, Ge(0)] = 0.0
    leaves: Annotated[float, Gt(0)] | None = None
    price: Amount = 0.0

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    @property
    def steady(self) -> bool:
        """Whether its trials take just their time."""
        return not (self.stragglers or self.preemptions or self.failures)


class Cluster:
    """Numbered workers, those of the first class first.

    seed: of the workers' speeds. streams: the generator of everything that happens to the trial of this number. epochs:
    what a trial is trained for that does not say it.
    """

    def __init__(
        self, classes: Sequence[WorkerClass], seed: int, streams: Callable[[int], Generator], epochs: int
    ) -> None:
        self._kinds = [kind for kind in classes for _ in range(kind.count)]
        self._streams, self._epochs = streams, epochs
        speeds = worker_speeds([kind.speed_spread for kind in self._kinds], seed)
        self._speeds = [kind.speed * speed for kind, speed in zip(self._kinds, speeds, strict=True)]
        self.joins = [kind.joins * HOUR for kind in self._kinds]
        self.leaves = [inf if kind.leaves is None else kind.leaves * HOUR for kind in self._kinds]

    def __len__(self) -> int:
        return len(self._kinds)

    def run(self, trial: Trial, seconds: float) -> tuple[float, str | None]:
        """When a trial of so many training seconds ends on its worker, and why without a result, if so."""
        kind = self._kinds[trial.worker]
        left = seconds / self._speeds[trial.worker]
        if kind.steady:
            return trial.asked + left, None
        rng = self._streams(trial.number)
        if rng.random() < kind.stragglers:
            left *= kind.slowdown
        saved = left / (trial.proposal.epochs or self._epochs) if kind.checkpoints else left
        failure, now = _until(rng, kind.failures), trial.asked
        for _ in range(MOST_PREEMPTIONS):
            ran = min(left, failure, _until(rng, kind.preemptions))
            now += ran
            if ran == left:
                return now, None
            if ran == failure:
                return now, "its worker failed"
            failure -= ran
            left -= ran // saved * saved
            now += kind.restart * HOUR
        return now, f"it was preempted {MOST_PREEMPTIONS:,} times"


def _until(rng: Generator, an_hour: float) -> float:
    """Seconds until the next of events that happen so often an hour, whenever one looks."""
    return rng.exponential(HOUR / an_hour) if an_hour else inf


def worker_speeds(spreads: Sequence[float], seed: int) -> list[float]:
    """Log-normal speeds, median 1; a worker's spread is the standard deviation of its speed's logarithm."""
    normal = np.random.default_rng([seed, len(spreads)]).standard_normal(len(spreads))
    return [float(speed) for speed in np.exp(np.asarray(spreads) * normal)]


def steady(speeds: Sequence[float]) -> Cluster:
    """Workers of these speeds to which nothing happens."""

    def nothing(number: int) -> Generator:
        raise AssertionError("nothing is random about a steady cluster")

    return Cluster([WorkerClass(1, speed) for speed in speeds], 0, nothing, 1)
