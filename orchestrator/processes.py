"""Work for this machine's cores: processes that end with their parent and stop when it is interrupted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import active_children, connection, get_context, parent_process
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class ProcessDied(Exception, Generic[T]):  # noqa: N818  # it is no error of ours, an out-of-memory kill for example
    """A process died; ``tasks`` were taken and have not ended, and whichever killed it is among them."""

    def __init__(self, tasks: list[T]) -> None:
        super().__init__(tasks)
        self.tasks = tasks


def completed(
    work: Callable[[T], R],
    tasks: Iterable[T],
    count: int,
    start: Callable[..., None] | None = None,
    arguments: tuple[Any, ...] = (),
) -> Iterator[tuple[T, R]]:
    """Every task with what ``work`` made of it, as they end. Tasks are taken as processes become free.

    start: called with the arguments in every process as it begins. Raises `ProcessDied`, and what ``work`` raises.
    """
    # Spinning threads of a busy machine's trainers were up to 20 times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    waiting = iter(tasks)
    flying: dict[Future[R], T] = {}
    taken: list[T] = []
    with _processes(count, start, arguments) as pool:
        try:
            while True:
                taken += islice(waiting, 2 * count - len(flying))
                while taken:
                    flying[pool.submit(work, taken[0])] = taken[0]
                    del taken[0]
                if not flying:
                    return
                done = wait(flying, return_when=FIRST_COMPLETED).done
                for future in sorted(done, key=lambda future: future.exception() is not None):  # what there is, first
                    result = future.result()
                    yield flying.pop(future), result
        except BrokenProcessPool:
            raise ProcessDied([*flying.values(), *taken]) from None


@contextmanager
def _processes(
    count: int, start: Callable[..., None] | None, arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Processes that are stopped at once if what runs inside fails."""
    others = set(active_children())
    pool = ProcessPoolExecutor(max(1, count), get_context("spawn"), _begin, (start, arguments))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - others:
            child.terminate()
        raise


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    """In a process as it begins: sees to it that it ends when its parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears of it and stops this process
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
