"""Evaluates on a Ray cluster, whatever becomes of its workers."""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from nas.errors import ArchsweepError
from nas.trial import Result, Trial
from workers.base import Evaluator, Fault, Obstacle, finish
from workers.ray_fleet import Fleet, Handle, HostSpec, first_line

BATCHES_IN_FLIGHT = 2
"""Batches that a node's share of the slots is split into, so that the driver works while the node does."""


@dataclass(eq=False)
class Flight:
    """A batch on its way: where to, since when, until when, and what it carries. Seconds are the pool's."""

    host: Handle
    started: float
    deadline: float
    trials: list[Trial]


@dataclass
class Past:
    """What befell a trial: how many faults that are its own, the host of the last, whether it must travel alone."""

    faults: int = 0
    host: Handle | None = None
    alone: bool = False


class RayPool:
    """Slots on a cluster. The clock is the wall's, from ``now`` on.

    make_evaluator: called in every host, so it must be picklable by reference. address: of a running cluster, "auto" to
    find it, or None to start Ray here. retries: how often a trial that met a fault (its worker died or overran its
    time, the evaluator raised) is sent again, to another host if there is one, before it fails. hosts: what evaluates.
    patience: see `Fleet`, also for errors.

    A trial is at any time in the queue or in one flight, so it comes back once. A host may die with many trials of
    which one is to blame: then each is sent again, alone on its host, and only a fault that befalls it there counts.
    Nor does one on a node that had been announced to leave.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], Evaluator],
        workers: int,
        address: str | None = None,
        now: float = 0.0,
        retries: int = 3,
        hosts: HostSpec = HostSpec(),  # noqa: B008  # it is frozen
        patience: float = 300.0,
    ) -> None:
        self._workers, self._retries, self._spec = workers, retries, hosts
        self._idle = list(range(workers))
        self._carried = 0
        self._queue: list[Trial] = []
        self._flights: dict[Any, Flight] = {}
        self._past: dict[int, Past] = {}
        self._fleet = Fleet(make_evaluator, workers, address, hosts, patience)
        self._zero = time.monotonic() - now  # the cluster's own start does not count

    @property
    def now(self) -> float:
        return time.monotonic() - self._zero

    def idle(self) -> int | None:
        """A free slot that has a worker: where each host has its share of the slots, those of lost hosts are lost."""
        share = self._spec.trials
        if not self._idle or (share and self._carried >= share * len(self._fleet.usable)):
            return None
        return self._idle[0]

    def submit(self, trial: Trial) -> None:
        if trial.worker in self._idle:  # not so for trials of a search that is resumed with fewer slots
            self._idle.remove(trial.worker)
        self._carried += 1
        self._queue.append(trial)

    def wait(self) -> list[Trial]:
        finished: list[Trial] = []
        joined = False
        while not finished and not (joined and self.idle() is not None):
            self._dispatch()
            landed, joined = self._fleet.wait(list(self._flights))
            for reference in landed:
                finished += self._land(reference, self._flights.pop(reference))
            if self._spec.seconds is not None:
                self._stop_late()
        for trial in finished:
            self._past.pop(trial.number, None)
            insort(self._idle, trial.worker)
        self._carried -= len(finished)
        return finished

    def close(self) -> None:
        self._fleet.close()

    def _dispatch(self) -> None:
        """Sends what is queued; keeps what there is no room for."""
        hosts = self._fleet.usable
        if not self._queue or not hosts:
            return
        queue, self._queue = self._queue, []
        if self._past:
            for trial in filter(self._is_alone, queue):
                self._send([trial], [host for host in hosts if not host.load])
            queue = [trial for trial in queue if not self._is_alone(trial)]
            if self._queue:  # the host with the least to do is kept free for those that travel alone
                hosts = sorted(hosts, key=lambda host: host.load)[1:]
        for trials in self._batches(queue, len(hosts)):
            room = self._spec.trials or self._workers
            self._send(trials, [host for host in hosts if host.load < room and not host.reserved])

    def _batches(self, queue: list[Trial], hosts: int) -> Iterator[list[Trial]]:
        """What is queued, in batches if the hosts take any; a trial that met a fault is one of its own."""
        fresh = [trial for trial in queue if trial.number not in self._past] if self._past else queue
        if self._past:
            yield from ([trial] for trial in queue if trial.number in self._past)
        size = 1 if self._spec.trials else -(-self._workers // (BATCHES_IN_FLIGHT * max(1, hosts)))
        yield from (fresh[first : first + size] for first in range(0, len(fresh), size))

    def _send(self, trials: list[Trial], hosts: list[Handle]) -> None:
        """Sends a batch to the host with the least to do among these, or queues it.

        A trial does not go again to the host where it met a fault, but for want of another.
        """
        past = self._past.get(trials[0].number)
        if past is not None and len(self._fleet.usable) > 1:
            hosts = [host for host in hosts if host is not past.host]
        host = min(hosts, key=lambda host: host.load, default=None)
        if host is None:
            self._queue += trials
            return
        host.load += len(trials)
        host.reserved = past is not None and past.alone
        now = self.now
        seconds = (self._spec.seconds or 0.0) * (1 if self._spec.trials else host.load)
        reference = host.actor.evaluate.remote([(trial.proposal, trial.seed) for trial in trials])
        self._flights[reference] = Flight(host, now, now + seconds, trials)

    def _land(self, reference: Any, flight: Flight) -> list[Trial]:
        """The finished trials of a batch that came back; one that met a fault is queued again, or fails."""
        host = flight.host
        whose = len(flight.trials) == 1
        outcomes: list[Result | str]
        try:
            outcomes = ray.get(reference)
            whose = True
        except RayTaskError as error:  # its answer did not survive the way
            outcomes = [Fault(first_line(error.cause or error))] * len(flight.trials)
        except RayError as error:
            self._fleet.bury(host)
            whose = host.alone and not host.leaving
            outcomes = [Fault(host.reason or f"its worker died ({type(error).__name__})")] * len(flight.trials)
        host.load -= len(flight.trials)
        host.reserved = False
        landed = [
            self._again(trial, outcome, flight, whose)
            if isinstance(outcome, Fault)
            else finish(trial, outcome, flight.started, self.now)
            for trial, outcome in zip(flight.trials, outcomes, strict=True)
        ]
        return [trial for trial in landed if trial is not None]

    def _again(self, trial: Trial, fault: Fault, flight: Flight, whose: bool) -> Trial | None:
        """Queues a trial that met a fault, which was its own or not; failed if it has had too many.

        Raises `ArchsweepError` if the last of them was an obstacle.
        """
        past = self._past.setdefault(trial.number, Past())
        past.faults += whose
        past.host = flight.host
        past.alone |= not whose
        if past.faults > self._retries:
            if isinstance(fault, Obstacle):
                raise ArchsweepError(fault)
            return trial.failed(f"{fault} (tried {past.faults} times)", flight.started, self.now)
        self._queue.append(trial)
        return None

    def _is_alone(self, trial: Trial) -> bool:
        past = self._past.get(trial.number)
        return past is not None and past.alone

    def _stop_late(self) -> None:
        """Kills the hosts of flights that are overdue; what they carry comes back as lost."""
        now = self.now
        for flight in self._flights.values():
            if flight.deadline < now:
                self._fleet.bury(flight.host, f"it took longer than {self._spec.seconds:g} s")
