"""Arms of a sweep as tasks of a Ray cluster."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import ray
from ray.exceptions import RayError

from nas.errors import ArchsweepError
from orchestrator.sweep.arm import Outcome, Task, failed, run_arm
from workers.ray_fleet import connect

AHEAD = 2
"""Tasks a core that are handed to Ray, so that no core waits for this process."""
RETRIES = 3
QUIET, PATIENCE = 5.0, 300.0
"""Seconds that a cluster may be without a core before a line says so, and before the sweep gives up."""

log = logging.getLogger(__name__)


def on_ray(tasks: Iterable[Task], address: str) -> Iterator[tuple[Task, Outcome]]:
    """A task an arm, a core each. A worker process that is kept opens a table once; an arm whose node died is begun
    again elsewhere, from its journal. Raises `ArchsweepError` if the cluster cannot be reached, or has no core for
    `PATIENCE`.
    """
    owns_ray = connect(address)
    try:
        remote = ray.remote(max_retries=RETRIES, num_cpus=1)(_run)
        waiting = iter(tasks)
        flying: dict[Any, Task] = {}
        while True:
            room = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
            for task in islice(waiting, max(0, room - len(flying))):
                flying[remote.remote(task)] = task
            if not flying:
                return
            for reference in _done(list(flying)):
                yield flying[reference], _outcome(flying.pop(reference), reference)
    finally:
        if owns_ray:
            ray.shutdown()


def _done(references: list[Any]) -> list[Any]:
    """Those of the tasks that have ended; waits for one as long as the cluster has a core to run it."""
    without: float | None = None
    while True:
        done: list[Any] = ray.wait(references, timeout=QUIET)[0]
        if done:
            return done
        if ray.cluster_resources().get("CPU", 0) >= 1:
            without = None
        elif without is None:
            without = time.monotonic()
            log.warning("the Ray cluster has no core now; waiting %g s for one", PATIENCE)
        elif time.monotonic() - without > PATIENCE:
            raise ArchsweepError(
                f"the Ray cluster had no core for {PATIENCE:g} s; run the same command again to go on when it has"
            )


def _run(task: Task) -> Outcome:
    """On a node: an arm, if the node sees the sweep's folder."""
    sweep = task.folder.parents[2]
    if not sweep.is_dir():
        raise ArchsweepError(f"node {ray.util.get_node_ip_address()} does not see {sweep}; put it on a shared disk")
    return run_arm(task)


def _outcome(task: Task, reference: object) -> Outcome:
    try:
        outcome: Outcome = ray.get(reference)
    except ArchsweepError as error:
        return failed(task, str(error).strip().splitlines()[-1])
    except RayError as error:
        return failed(task, f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
    return outcome
