"""Seeds every random generator that an object of somebody else's holds, wherever in its parts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator


def reseed(part: Any, seed: int, leave: type) -> None:
    """Gives each generator a seed of its own, in the order in which they are found; none in parts of type ``leave``."""
    seeds = np.random.SeedSequence(seed)
    for give in _generators(part, leave, set()):
        give(int(seeds.spawn(1)[0].generate_state(1)[0]))


def _generators(part: Any, leave: type, seen: set[int]) -> Iterator[Callable[[int], None]]:
    """How to seed each generator that an object holds, itself or in its parts."""
    if id(part) in seen or isinstance(part, type) or not hasattr(part, "__dict__"):
        return
    seen.add(id(part))
    for value in list(vars(part).values()):
        match value:
            case np.random.RandomState() | random.Random():
                yield value.seed
            case Generator():
                yield partial(_seed_bits, value)
            case _ if isinstance(value, leave):
                pass
            case _ if type(value).__name__ == "LazyRandomState":
                yield partial(_seed_lazily, value)
            case _:
                yield from _generators(value, leave, seen)


def _seed_bits(generator: Generator, seed: int) -> None:
    bits = generator.bit_generator
    bits.state = type(bits)(seed).state


def _seed_lazily(lazy: Any, seed: int) -> None:
    lazy._rng = np.random.RandomState(seed)  # Optuna's samplers are written for it
