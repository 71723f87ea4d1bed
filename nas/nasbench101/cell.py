"""A cell: the directed acyclic graph of operations that NAS-Bench-101 repeats nine times to make a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.errors import DataError, InvalidCellError
from nas.nasbench101.catalogue import LABELS, catalogue
from nas.nasbench101.graph import (
    EDGE_SPOTS,
    EDGES,
    FRAMES,
    INPUT,
    INTERIOR,
    MAX_EDGES,
    MAX_VERTICES,
    OPERATIONS,
    OUTPUT,
    compact,
    edge_bit,
    from_native,
    kept_vertices,
    to_native,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it was proposed, unused vertices included; make one with `of` or `from_json`.

    frame: its edges, see `nas.nasbench101.graph`.
    labels: the operation of each interior vertex, as indices into `OPERATIONS`; at most five.

    key: the number of the unique cell that this one is isomorphic to, its identity; see `nas.nasbench101.catalogue`.

    A cell is valid by construction: its input reaches its output, and what is left of it after pruning has at most nine
    edges (the published rule: unused vertices and edges do not count). Raises `InvalidCellError` otherwise.
    """

    frame: int
    labels: tuple[int, ...]
    key: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.labels not in LABEL_CODE or not 0 <= self.frame < FRAMES:
            raise InvalidCellError(
                f"a cell has a frame below 2**{EDGE_SPOTS} and at most {INTERIOR} labels below {LABELS}"
            )
        if self.frame & UNUSED[len(self.labels)]:
            raise InvalidCellError(f"the cell has edges at a vertex without an operation; it has {len(self.labels)}")
        key = catalogue().number(self.frame, LABEL_CODE[self.labels])
        if key < 0:
            raise InvalidCellError(_what_is_wrong(self.frame))
        object.__setattr__(self, "key", key)

    @classmethod
    def of(cls, matrix: ArrayLike, operations: Sequence[str]) -> Cell:
        """A cell from a square upper-triangular 0/1 matrix and the operations of all its vertices.

        Raises `InvalidCellError`, naming the first rule that is broken.
        """
        array = _adjacency(matrix)
        size = len(array)
        if size > MAX_VERTICES:
            raise InvalidCellError(f"the cell has {size} vertices; the space allows {MAX_VERTICES}")
        native = sum(1 << edge_bit(x, y) for x, y in EDGES if y < size and array[x, y])
        return cls(from_native(native, size), sized(size, _labels(list(operations))))

    @classmethod
    def numbered(cls, number: int) -> Cell:
        """The unique cell of this number in the catalogue, in its published form."""
        frame, interior, labels = catalogue().published(number)
        return cls(frame, LABELS_OF_CODE[interior][labels])

    @classmethod
    def from_json(cls, value: Any) -> Cell:
        """A cell from either JSON form.

        ``{"adjacency": "0101...", "operations": "input,conv3x3-bn-relu,...,output"}``, the form of archsweep's own
        files, or ``{"matrix": [[0, 1, ...], ...], "ops": ["input", ..., "output"]}``, the arguments of nasbench's
        ModelSpec. Text is parsed first. Raises `InvalidCellError`.
        """
        if isinstance(value, str | bytes):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise InvalidCellError(f"the cell is not JSON ({error}); expected {EXAMPLE}") from None
        match value:
            case {"adjacency": str() as bits, "operations": str() as operations, **rest} if not rest:
                frame, size = frame_of(bits)
                return cls(frame, sized(size, labels_of(operations)))
            case {"matrix": list() as matrix, "ops": list() as ops, **rest} if not rest and _are_rows(matrix):
                return cls.of(matrix, ops)
        raise InvalidCellError(f"not a cell: {_shown(value)}; expected {EXAMPLE}")

    def to_json(self) -> dict[str, str]:
        """The first form of `from_json`."""
        return {"adjacency": _bits(self.frame, len(self.labels) + 2), "operations": _names(self.labels)}

    @property
    def matrix(self) -> NDArray[np.int8]:
        """The adjacency matrix, int8, (vertices, vertices)."""
        return _matrix(to_native(self.frame, len(self.labels) + 2), len(self.labels) + 2)

    @property
    def operations(self) -> tuple[str, ...]:
        """The operations of all vertices, input and output included."""
        return (INPUT, *(OPERATIONS[label] for label in self.labels), OUTPUT)

    @property
    def edges(self) -> int:
        """The number of edges that are left after pruning."""
        return compact(self.frame).bit_count()

    @property
    def vertices(self) -> int:
        """The number of vertices that are left after pruning, input and output included."""
        return len(kept_vertices(self.frame))

    @property
    def pruned(self) -> Cell:
        """The cell without the vertices that are on no path from input to output, the others in their order."""
        kept = kept_vertices(self.frame)
        return Cell(compact(self.frame), tuple(self.labels[v - 1] for v in kept[1:-1]))

    @property
    def padded(self) -> Cell:
        """The same cell with five operations, the unused ones conv3x3: seven vertices for searchers that edit bits."""
        return Cell(self.frame, self.labels + (0,) * (INTERIOR - len(self.labels)))

    @property
    def label_code(self) -> int:
        """The operations of `padded` as one number, base 3, the first one most significant."""
        return LABEL_CODE[self.labels]

    @property
    def module_hash(self) -> str:
        """The published MD5 name of the cell, equal for isomorphic cells."""
        pruned = self.pruned
        return module_hash(pruned.frame, pruned.labels)


EXAMPLE = '{"adjacency": "010001000", "operations": "input,conv3x3-bn-relu,output"}'


UNUSED = tuple(
    sum(1 << bit for bit, edge in enumerate(EDGES) if any(interior < v < MAX_VERTICES - 1 for v in edge))
    for interior in range(INTERIOR + 1)
)
"""The edges that a cell cannot have, by the number of its operations."""

LABELS_OF_CODE = tuple(tuple(product(range(LABELS), repeat=interior)) for interior in range(INTERIOR + 1))
"""The labels of every base-3 code, by the number of operations."""

LABEL_CODE: dict[tuple[int, ...], int] = {
    labels: code * LABELS ** (INTERIOR - interior)
    for interior, codes in enumerate(LABELS_OF_CODE)
    for code, labels in enumerate(codes)
}
"""`label_code` of all labels that a cell can have."""


def _what_is_wrong(frame: int) -> str:
    """Why the catalogue has no such graph."""
    if not kept_vertices(frame):
        return "the cell's input does not reach its output; connect them"
    return f"the cell has {compact(frame).bit_count()} edges after pruning; the space allows {MAX_EDGES}"


def label_code(labels: Sequence[int]) -> int:
    """At most five labels as base-3 digits of one number, the first one most significant, missing ones 0."""
    code = 0
    for label in labels:
        code = code * LABELS + label
    for _ in range(INTERIOR - len(labels)):
        code *= LABELS
    return code


@lru_cache(maxsize=1 << 13)
def frame_of(adjacency: str) -> tuple[int, int]:
    """Frame and number of vertices of a row-major string of '0' and '1'. Raises `InvalidCellError`.

    For reading many cells, whose graphs and operations repeat; that the graph is connected is not checked here.
    """
    size = isqrt(len(adjacency))
    if size * size != len(adjacency) or adjacency.strip("01") or size < 2:
        raise InvalidCellError(f"adjacency must be a square number of 0s and 1s, got {_shown(adjacency)}")
    if size > MAX_VERTICES:
        raise InvalidCellError(f"the cell has {size} vertices; the space allows {MAX_VERTICES}")
    frame = 0
    for position, digit in enumerate(adjacency):
        if digit == "1":
            bit = BIT_OF_POSITION[size][position]
            if bit is None:
                raise InvalidCellError("the matrix must be upper triangular: edges go from a vertex to a later one")
            frame |= bit
    return frame, size


@lru_cache(maxsize=1 << 10)
def labels_of(operations: str) -> tuple[int, ...]:
    """The labels of a comma-separated list of operations, input and output included. Raises `InvalidCellError`."""
    return _labels(operations.split(","))


def _labels(operations: Sequence[str]) -> tuple[int, ...]:
    if len(operations) < 2 or not all(isinstance(operation, str) for operation in operations):
        raise InvalidCellError(f"operations must be at least two names, got {_shown(operations)}")
    first, *interior, last = operations
    if first != INPUT or last != OUTPUT:
        raise InvalidCellError(
            f"operations must start with '{INPUT}' and end with '{OUTPUT}', got {_shown(operations)}"
        )
    if len(interior) > INTERIOR:
        raise InvalidCellError(f"there are {len(operations)} operations; the space allows {MAX_VERTICES}")
    for operation in interior:
        if operation not in OPERATIONS:
            raise InvalidCellError(f"unknown operation {_shown(operation)}; choose from {', '.join(OPERATIONS)}")
    return tuple(OPERATIONS.index(operation) for operation in interior)


def sized(size: int, labels: tuple[int, ...]) -> tuple[int, ...]:
    """The labels, if a graph of so many vertices has as many. Raises `InvalidCellError`."""
    if len(labels) != size - 2:
        raise InvalidCellError(f"the matrix has {size} vertices but there are {len(labels) + 2} operations")
    return labels


def _are_rows(matrix: list[Any]) -> bool:
    """Whether this is lists of numbers; numpy would make other JSON values into an array too, of any size."""
    return all(isinstance(row, list) and all(isinstance(value, int | float) for value in row) for row in matrix)


def _shown(value: Any) -> str:
    """A value in one short line of a message, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]}..."


BIT_OF_POSITION: dict[int, list[int | None]] = {
    size: [from_native(1 << edge_bit(x, y), size) if x < y else None for x in range(size) for y in range(size)]
    for size in range(2, MAX_VERTICES + 1)
}
"""The frame's bit of every position in a row-major matrix of each size; None on and below the diagonal."""

DIGIT_OF_BIT = {
    size: {bit: 1 << (size * size - 1 - position) for position, bit in enumerate(bits) if bit is not None}
    for size, bits in BIT_OF_POSITION.items()
}
"""The inverse: the value of a frame's bit in the matrix read row-major as one binary number."""


def _adjacency(matrix: ArrayLike) -> NDArray[Any]:
    try:
        array = np.asarray(matrix)
    except ValueError:
        raise InvalidCellError("the matrix has rows of different lengths; make it square") from None
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise InvalidCellError(f"the matrix must be square, got shape {array.shape}")
    if len(array) < 2:
        raise InvalidCellError("a cell has at least two vertices, input and output")
    if array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all():
        raise InvalidCellError("the matrix must hold only 0 and 1")
    if np.tril(array).any():
        raise InvalidCellError("the matrix must be upper triangular: edges go from a vertex to a later one")
    return array


@lru_cache(maxsize=1 << 14)
def _bits(frame: int, size: int) -> str:
    digits = 0
    while frame:
        lowest = frame & -frame
        digits |= DIGIT_OF_BIT[size][lowest]
        frame ^= lowest
    return f"{digits:0{size * size}b}"


@lru_cache
def _names(labels: tuple[int, ...]) -> str:
    return ",".join((INPUT, *(OPERATIONS[label] for label in labels), OUTPUT))


def _matrix(native: int, size: int) -> NDArray[np.int8]:
    matrix = np.zeros((size, size), np.int8)
    for x, y in EDGES:
        if y < size and native >> edge_bit(x, y) & 1:
            matrix[x, y] = 1
    return matrix


@lru_cache(maxsize=1 << 10)
def _first_digest(degrees_and_label: tuple[int, int, int]) -> str:
    return _md5(str(degrees_and_label))


def module_hash(frame: int, labels: tuple[int, ...]) -> str:
    """The published hash of a pruned cell: as many rounds of neighbourhood hashing as it has vertices.

    Source: ``graph_util.hash_module`` of google-research/nasbench.
    """
    into, out_of = _neighbours(frame, len(labels) + 2)
    digests = [
        _first_digest((len(targets), len(sources), label))
        for targets, sources, label in zip(out_of, into, (-1, *labels, -2), strict=True)
    ]
    for _ in digests:
        digests = [
            _md5(
                "".join(sorted([digests[w] for w in sources]))
                + "|"
                + "".join(sorted([digests[w] for w in targets]))
                + "|"
                + digest
            )
            for sources, targets, digest in zip(into, out_of, digests, strict=True)
        ]
    return _md5(str(sorted(digests)))


def hash_bytes(module_hash: str) -> bytes:
    """The 16 bytes of a module_hash. Raises `DataError` on what is no MD5 in hexadecimal."""
    try:
        raw = bytes.fromhex(module_hash)
    except (ValueError, TypeError):
        raw = b""
    if len(raw) != 16:
        raise DataError(f"not a module_hash: {module_hash!r}; expected 32 hexadecimal digits")
    return raw


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@lru_cache(maxsize=1 << 13)
def _neighbours(frame: int, size: int) -> tuple[list[list[int]], list[list[int]]]:
    """The sources and the targets of every vertex of a pruned cell."""
    matrix = _matrix(to_native(frame, size), size)
    return (
        [np.flatnonzero(column).tolist() for column in matrix.T],
        [np.flatnonzero(row).tolist() for row in matrix],
    )
