"""Cells of NAS-Bench-201: their operations, published strings, published order and isomorphism classes."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from nas.errors import ArchsweepError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV1X1, CONV3X3, POOL = range(len(OPERATIONS))
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""Source and target of each edge, in the order in which operations are written; 0 is the input, 3 the output."""
N_CELLS = len(OPERATIONS) ** len(EDGES)
SHUFFLE_SEED = 88
ARCH = re.compile(r"\|(\w+)~0\|\+\|(\w+)~0\|(\w+)~1\|\+\|(\w+)~0\|(\w+)~1\|(\w+)~2\|")


@dataclass(frozen=True, slots=True)
class EdgeCell:
    """A cell: the operation of each edge, in the order of `EDGES`, and the cell's published index."""

    operations: tuple[int, ...]
    key: int

    @property
    def arch(self) -> str:
        """The published string, e.g. ``|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|avg_pool_3x3~2|``."""
        return arch_of(self.operations)

    def to_json(self) -> dict[str, str]:
        return {"arch": self.arch}


def arch_of(operations: Sequence[int]) -> str:
    a, b, c, d, e, f = (OPERATIONS[operation] for operation in operations)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def operations_of(arch: str) -> tuple[int, ...]:
    """Returns the operations that a published string names. Raises `ArchsweepError`."""
    match = ARCH.fullmatch(arch.strip())
    if match is None:
        raise ArchsweepError(f"{arch!r} is no NAS-Bench-201 cell; expected |OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2|")
    unknown = [name for name in match.groups() if name not in OPERATIONS]
    if unknown:
        raise ArchsweepError(f"unknown operation {unknown[0]!r} in {arch!r}; choose from {', '.join(OPERATIONS)}")
    return tuple(OPERATIONS.index(name) for name in match.groups())


def rank_of(operations: Sequence[float]) -> int:
    """Returns the operations, rounded down, as digits of a number in base 5."""
    rank = 0
    for operation in operations:
        rank = rank * len(OPERATIONS) + int(operation)
    return rank


@cache
def ranks() -> NDArray[np.int64]:
    """Returns the rank (`rank_of`) of the cell of each published index, int64 (15625,).

    The authors list the cells by rank and shuffle the list with Python's generator, seeded with `SHUFFLE_SEED`.
    """
    shuffled = list(range(N_CELLS))
    random.Random(SHUFFLE_SEED).shuffle(shuffled)  # noqa: S311  # repeats a published shuffle, no secret
    return np.array(shuffled)


@cache
def operations_table() -> NDArray[np.int64]:
    """Returns the operations of the cell of each published index, int64 (15625, 6)."""
    weights = len(OPERATIONS) ** np.arange(len(EDGES))[::-1]
    return ranks()[:, None] // weights % len(OPERATIONS)


def output_expression(operations: Sequence[int]) -> str:
    """Returns what the output computes, as a sum of terms in alphabetical order.

    Cells with the same text are isomorphic by the published rule, which passes through a skip connection and keeps the
    terms that are zero.
    """
    tensors = ["input"]
    for node in range(1, 4):
        incoming = (
            (source, operation) for (source, target), operation in zip(EDGES, operations, strict=True) if target == node
        )
        tensors.append("+".join(sorted(_term(tensors[source], operation) for source, operation in incoming)))
    return tensors[-1]


ZERO = "#"
"""A term that is zero. It sorts before every other one, as in the published rule, whose classes depend on the order."""


def _term(tensor: str, operation: int) -> str:
    if operation == NONE or tensor == ZERO:
        return ZERO
    return tensor if operation == SKIP else f"({tensor})@{OPERATIONS[operation]}"


@cache
def representatives() -> NDArray[np.int64]:
    """Returns the smallest index of the isomorphism class of each published index, int64 (15625,)."""
    first: dict[str, int] = {}
    return np.array(
        [first.setdefault(output_expression(row), key) for key, row in enumerate(operations_table().tolist())]
    )


@cache
def class_keys() -> tuple[int, ...]:
    """Returns the smallest index of each isomorphism class, ascending."""
    return tuple(np.unique(representatives()).tolist())


@cache
def cells() -> tuple[EdgeCell, ...]:
    """Returns all cells by published index."""
    return tuple(EdgeCell(tuple(row), key) for key, row in enumerate(operations_table().tolist()))


@cache
def cells_by_rank(classes: bool) -> tuple[EdgeCell, ...]:
    """Returns all cells by rank; each one as the representative of its class if ``classes`` are what counts."""
    keys = np.argsort(ranks())
    return tuple(cells()[key] for key in (representatives()[keys] if classes else keys).tolist())
