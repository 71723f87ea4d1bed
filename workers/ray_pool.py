"""Evaluates on a Ray cluster: one evaluator actor a node, trials travelling in batches."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import ArchsweepError
from nas.trial import Proposal, Result, Trial
from workers.base import Evaluator, evaluate, finish

Batch = list[tuple[Proposal, int]]
BATCHES_IN_FLIGHT = 2
"""Batches that a node's share of the slots is split into, so that the driver works while the node does."""
CONNECT_SECONDS = 5.0


class Host:
    """An actor that holds one evaluator, for a table the node's one memory map of it."""

    def __init__(self, make_evaluator: Callable[[], Evaluator]) -> None:
        self._evaluator = make_evaluator()

    def ready(self) -> None:
        """Returns once the evaluator is there."""

    def evaluate(self, batch: Batch) -> list[Result | str]:
        """The outcome of every proposal with its seed, in order."""
        return [evaluate(self._evaluator, proposal, seed) for proposal, seed in batch]


@dataclass(eq=False)
class Node:
    """A host and how many trials it has."""

    actor: Any
    name: str
    load: int = 0


@dataclass
class Flight:
    """A batch on its way: where to, since when, and what it carries."""

    node: Node
    started: float
    trials: list[Trial] = field(default_factory=list)


class RayPool:
    """Slots on a cluster. The clock is the wall's, from ``now`` on.

    make_evaluator: called in every host, so it must be picklable by reference. address: of a running cluster, "auto" to
    find it, or None to start Ray here. retries: how often a trial whose host died is sent to another before it fails.
    Raises `ArchsweepError` if the cluster cannot be reached or a node cannot make the evaluator.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], Evaluator],
        workers: int,
        address: str | None = None,
        now: float = 0.0,
        retries: int = 3,
    ) -> None:
        self._make_evaluator, self._retries = make_evaluator, retries
        self._idle = list(range(workers))
        self._queue: list[Trial] = []
        self._flights: dict[Any, Flight] = {}
        self._deaths: dict[int, int] = {}
        self._owns_ray = connect(address)
        self._nodes: list[Node] = []
        try:
            self._start_hosts()
        except BaseException:
            self.close()
            raise
        self._zero = time.monotonic() - now  # the cluster's own start does not count
        self._batch = max(1, -(-workers // (BATCHES_IN_FLIGHT * len(self._nodes))))

    @property
    def now(self) -> float:
        return time.monotonic() - self._zero

    def idle(self) -> int | None:
        return self._idle[0] if self._idle else None

    def submit(self, trial: Trial) -> None:
        if trial.worker in self._idle:  # not so for trials of a search that is resumed with fewer slots
            self._idle.remove(trial.worker)
        self._queue.append(trial)

    def wait(self) -> list[Trial]:
        finished: list[Trial] = []
        while not finished:
            self._dispatch()
            flights = list(self._flights)
            done, rest = ray.wait(flights)
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0] if rest else []
            for reference in done:
                finished += self._land(reference, self._flights.pop(reference))
        for trial in finished:
            insort(self._idle, trial.worker)
        return finished

    def close(self) -> None:
        for node in self._nodes:
            ray.kill(node.actor)
        self._nodes = []
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    def _dispatch(self) -> None:
        """Sends what is queued, in batches, each to the node with the least to do."""
        for first in range(0, len(self._queue), self._batch):
            node = min(self._nodes, key=lambda node: node.load)
            flight = Flight(node, self.now, self._queue[first : first + self._batch])
            node.load += len(flight.trials)
            batch: Batch = [(trial.proposal, trial.seed) for trial in flight.trials]
            self._flights[node.actor.evaluate.remote(batch)] = flight
        self._queue.clear()

    def _land(self, reference: Any, flight: Flight) -> list[Trial]:
        """The trials of a batch that came back; those of a dead host are queued again, or failed."""
        flight.node.load -= len(flight.trials)
        try:
            outcomes = ray.get(reference)
        except RayTaskError:
            raise  # the evaluator broke its contract: a defect, not a fault of the cluster
        except RayError as error:
            return self._lost(flight, type(error).__name__)
        return [
            finish(trial, outcome, flight.started, self.now)
            for trial, outcome in zip(flight.trials, outcomes, strict=True)
        ]

    def _lost(self, flight: Flight, reason: str) -> list[Trial]:
        """Replaces a dead host; gives up on the trials that have lost too many."""
        if flight.node in self._nodes:
            self._nodes.remove(flight.node)
            self._start_hosts()
        given_up = []
        for trial in flight.trials:
            self._deaths[trial.number] = self._deaths.get(trial.number, 0) + 1
            if self._deaths[trial.number] <= self._retries:
                self._queue.append(trial)
            else:
                text = f"its worker died {self._deaths.pop(trial.number)} times ({reason})"
                given_up.append(trial.failed(text, flight.started, self.now))
        return given_up

    def _start_hosts(self) -> None:
        """Brings one host to every living node that has none."""
        hosted = {node.name for node in self._nodes}
        living = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in hosted]
        started = [
            Node(
                ray.remote(Host)
                .options(num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False))
                .remote(self._make_evaluator),
                name,
            )
            for name in living
        ]
        reasons = []
        for node in started:
            try:
                ray.get(node.actor.ready.remote())
                self._nodes.append(node)
            except RayError as error:
                reasons.append(str(error).strip().splitlines()[-1])
        if not self._nodes:
            raise ArchsweepError(
                f"no node of the Ray cluster can evaluate: {reasons[0] if reasons else 'none is alive'}"
            )


def connect(address: str | None) -> bool:
    """Joins or starts Ray; whether it was started or joined here, so that it is left again at the end."""
    if ray.is_initialized():
        return False
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    ours = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            ray.init(include_dashboard=False, **quiet)
        else:
            check_address(address)
            ray.init(address=address, **quiet)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)  # Ray's own ends the process without giving back what it holds
    except (RayError, OSError, ValueError, RuntimeError) as error:
        raise _unreachable(address, error) from None
    return True


def check_address(address: str) -> None:
    """Raises `ArchsweepError` if nobody listens at ``host:port``, where Ray would try for minutes. Other forms pass."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            raise _unreachable(address, error) from None


def _unreachable(address: str | None, error: Exception) -> ArchsweepError:
    reason = str(error).strip().splitlines()[0]
    return ArchsweepError(f"cannot join the Ray cluster at {address}: {reason}; start one with `ray start`")
