"""Where the arms of a sweep run: in this process, on this machine's cores, as tasks of a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from orchestrator.processes import ProcessDied, completed
from orchestrator.sweep.arm import Outcome, Task, failed, run_arm

Launcher = Callable[[Iterable[Task]], Iterator[tuple[Task, Outcome]]]
"""Takes tasks as it has room for them, gives each back with its outcome as it ends."""
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
DEATHS = 2
"""How often a process may die under an arm before the arm counts as failed."""


def launcher(jobs: int, address: str | None) -> Launcher:
    """The one for so many processes, or for the Ray cluster at an address. Raises `ArchsweepError`."""
    if address is not None:
        from orchestrator.sweep.launch_ray import on_ray  # Ray takes a second to import

        return partial(on_ray, address=address)
    return inline if jobs == 1 else partial(on_cores, count=jobs)


def inline(tasks: Iterable[Task]) -> Iterator[tuple[Task, Outcome]]:
    """One after the other, in this process."""
    for task in tasks:
        yield task, run_arm(task)


def on_cores(tasks: Iterable[Task], count: int) -> Iterator[tuple[Task, Outcome]]:
    """In processes of one thread each, which are started once and open a table once."""
    for variable in ONE_THREAD:
        os.environ.setdefault(variable, "1")
    waiting, deaths = iter(tasks), dict[Path, int]()
    again: list[Task] = []
    while True:
        try:
            yield from completed(run_arm, _chained(again, waiting), count)
            return
        except ProcessDied as died:
            for task in died.tasks:
                deaths[task.folder] = deaths.get(task.folder, 0) + 1
                if deaths[task.folder] < DEATHS:
                    again.append(task)
                else:
                    yield task, failed(task, "its process died, more than once (out of memory?)")


def _chained(first: list[Task], rest: Iterator[Task]) -> Iterator[Task]:
    """What is taken out of the list, then the rest, which stays open when this is closed."""
    while first:
        yield first.pop(0)
    for task in rest:  # noqa: UP028  # which would close it
        yield task
