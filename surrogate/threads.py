"""Torch's threads: one is faster for many small operations, and sums are the same everywhere; cores take turns."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Some = TypeVar("Some")
Made = TypeVar("Made")


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: trainings run side by side, and sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def side_by_side(done: Callable[[Some], Made], with_each: Sequence[Some]) -> list[Made]:
    """What is done with each, in threads, as many as there are cores: torch leaves Python's lock alone."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(done, with_each))
