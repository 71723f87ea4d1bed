"""The actors of a search on a Ray cluster: brought up where there is room, replaced when they die, moved off nodes that
leave."""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.errors import ArchsweepError
from nas.files import FULL
from nas.trial import Proposal, Result
from workers.base import Evaluator, Fault, Obstacle, evaluate

Batch = list[tuple[Proposal, int]]
LOOK = 0.5
"""Seconds between looks at which nodes live, join and leave; one takes less than a millisecond."""
AGAIN = 10.0
"""Seconds before a node that could not make its host is tried again."""
QUIET = 5.0
"""Seconds without any host before a line says so; `MAKING` if some are being made, or wait for room."""
MAKING = 30.0
CONNECT_SECONDS = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HostSpec:
    """What one actor carries and takes.

    trials: evaluated at a time by an actor of its own, of which there are then enough for all slots, wherever the
    cluster has room. None, for evaluators that answer at once: one actor a node, which takes trials in batches.
    cpus, gpus: set aside for an actor, fractions allowed. memory: bytes that evaluations may take beyond what the
    evaluator itself holds; set aside too, and who wants more gets a MemoryError. seconds: that one evaluation may take.
    """

    trials: int | None = None
    cpus: float = 0.0
    gpus: float = 0.0
    memory: int | None = None
    seconds: float | None = None


class Host:
    """The actor: it holds one evaluator, for a table the node's one memory map of it."""

    def __init__(self, make_evaluator: Callable[[], Evaluator], memory: int | None) -> None:
        self._evaluator = make_evaluator()
        if memory is not None:
            limit_memory(memory)

    def ready(self) -> str:
        """The node's id, once the evaluator is there."""
        return str(ray.get_runtime_context().get_node_id())

    def evaluate(self, batch: Batch) -> list[Result | str]:
        """The outcome of every proposal with its seed, in order; whatever an evaluator raises is a `Fault`."""
        return [self._outcome(proposal, seed) for proposal, seed in batch]

    def _outcome(self, proposal: Proposal, seed: int) -> Result | str:
        try:
            return evaluate(self._evaluator, proposal, seed)
        except ArchsweepError as error:
            return Obstacle(error)
        except Exception as error:
            kind = Obstacle if isinstance(error, OSError) and error.errno in FULL else Fault
            return kind(f"{type(error).__name__}: {first_line(error)}".removesuffix(": "))


def limit_memory(more: int) -> None:
    """Lets this process take so many bytes more than it has; where the system cannot tell (not Linux), any number."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        data = int(statm.read_text().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (data + more, resource.getrlimit(resource.RLIMIT_DATA)[1]))


@dataclass(eq=False)
class Handle:
    """The driver's view of a host.

    node: where it is; "" while it looks for room. load: trials it has. reserved: for one trial, which travels alone.
    leaving: its node is drained, so it gets no further trial. dead, alone: it is gone, and held one trial then.
    reason: why it was killed here.
    """

    actor: Any
    node: str
    load: int = 0
    reserved: bool = False
    leaving: bool = False
    dead: bool = False
    alone: bool = False
    reason: str | None = None


class Fleet:
    """Hosts for a number of slots. There is at least one once it is made, and `wait` gives up when there is none again.

    patience: seconds to wait for a host when the last one is gone. Raises `ArchsweepError` if the cluster cannot be
    reached or none of its nodes can make the evaluator.
    """

    def __init__(
        self,
        make_evaluator: Callable[[], Evaluator],
        slots: int,
        address: str | None,
        spec: HostSpec,
        patience: float,
    ) -> None:
        self._make_evaluator, self._spec, self._patience = make_evaluator, spec, patience
        self._wanted = -(-slots // spec.trials) if spec.trials else 0
        self._hosts: list[Handle] = []
        self._starting: dict[Any, Handle] = {}
        self._barred: dict[str, float] = {}
        self._reason = "no node of it takes work"
        self._due = 0.0
        self._none_since: float | None = None
        self._said = False
        self._owns_ray = connect(address)
        try:
            self._await_first()
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> list[Handle]:
        """The hosts that take further trials."""
        return [host for host in self._hosts if not host.leaving]

    def wait(self, references: list[Any]) -> tuple[list[Any], bool]:
        """Those of the references that have come back, soon or at once, and whether a host has come up.

        Raises `ArchsweepError` if there has been no host for too long.
        """
        if time.monotonic() >= self._due:
            self._look()
        awaited = [*references, *self._starting]
        pause = max(0.0, self._due - time.monotonic())
        if not awaited:
            time.sleep(pause)
            done: list[Any] = []
        else:
            done, rest = ray.wait(awaited, timeout=pause)
            done += ray.wait(rest, num_returns=len(rest), timeout=0)[0] if done and rest else []
        came = [
            self._came(self._starting.pop(reference), reference) for reference in done if reference in self._starting
        ]
        self._check_patience()
        return [reference for reference in done if reference in references] if came else done, any(came)

    def bury(self, host: Handle, reason: str | None = None) -> None:
        """Takes a host that died, hangs or is not needed out of service; another takes its place if there is room."""
        if not host.dead:
            host.dead, host.alone, host.reason = True, host.load == 1, reason
            self._hosts.remove(host)
            ray.kill(host.actor)
            self._due = 0.0

    def close(self) -> None:
        for host in [*self._hosts, *self._starting.values()]:
            ray.kill(host.actor)
        self._hosts, self._starting = [], {}
        if self._owns_ray:
            ray.shutdown()
            self._owns_ray = False

    def _await_first(self) -> None:
        failed = self._reason
        while not self._hosts:
            self.wait([])
            if not self._hosts and not self._starting and self._reason is not failed:
                raise ArchsweepError(f"no node of the Ray cluster can evaluate: {self._reason}")

    def _look(self) -> None:
        """Sees which nodes are there, and acts on it."""
        self._due = time.monotonic() + LOOK
        living = {node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) > 0}
        leaving = set(ray._private.state.state.get_draining_nodes())  # Ray shows it nowhere else without its dashboard
        for host in list(self._hosts):
            host.leaving = host.node in leaving
            if host.leaving and not host.load:
                self.bury(host)
        here = [*self.usable, *self._starting.values()]
        if self._wanted:
            places = [""] * (self._wanted - len(here))
        else:
            places = sorted(living - leaving - {host.node for host in here})
        for place in places:
            if self._barred.get(place, 0.0) <= time.monotonic():
                self._start(place)

    def _start(self, place: str) -> None:
        spec = self._spec
        options: dict[str, Any] = {
            "num_cpus": spec.cpus,
            "num_gpus": spec.gpus,
            "memory": spec.memory,
            "max_concurrency": spec.trials or 1,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place, soft=False) if place else "SPREAD",
        }
        actor = ray.remote(Host).options(**options).remote(self._make_evaluator, spec.memory)
        self._starting[actor.ready.remote()] = Handle(actor, place)

    def _came(self, host: Handle, reference: Any) -> bool:
        """Whether a host that was started is there; if it could not be made, why is remembered."""
        try:
            host.node = ray.get(reference)
        except RayError as error:
            self._reason = str(error).strip().splitlines()[-1]
            self._barred[host.node] = time.monotonic() + AGAIN
            return False
        self._hosts.append(host)
        return True

    def _check_patience(self) -> None:
        if self._hosts:
            self._none_since = None
            return
        now = time.monotonic()
        if self._none_since is None:
            self._none_since, self._said = now, False
        elif now - self._none_since > self._patience:
            raise ArchsweepError(
                f"the Ray cluster had no worker for {self._patience:g} s ({self._reason}); run the same command again "
                "to go on when it has"
            )
        elif not self._said and now - self._none_since > (MAKING if self._starting else QUIET):
            self._said = True
            log.warning("the Ray cluster has no worker now (%s); waiting %g s for one", self._reason, self._patience)


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).strip().splitlines()), "")


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
    ray._private.worker._worker_logs_enabled = False  # a node that dies would print a page of its log on our stdout
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
    return ArchsweepError(
        f"cannot join the Ray cluster at {address}: {first_line(error)}; start one with `ray start`; if it asks for a "
        "token, set RAY_AUTH_MODE=token"
    )
