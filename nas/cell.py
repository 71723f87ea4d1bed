"""A cell: the directed acyclic graph of operations that NAS-Bench-101 repeats nine times to make a network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.catalogue import LABELS, catalogue
from nas.errors import InvalidCellError
from nas.graph import (
    EDGES,
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

    frame: its edges, see `nas.graph`.
    labels: the operation of each interior vertex, as indices into `OPERATIONS`; at most five.

    A cell is valid by construction: its input reaches its output, and what is left of it after pruning has at most nine
    edges (the published rule: unused vertices and edges do not count). Raises `InvalidCellError` otherwise.
    """

    frame: int
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        if not kept_vertices(self.frame):
            raise InvalidCellError("the cell's input does not reach its output; connect them")
        if self.edges > MAX_EDGES:
            raise InvalidCellError(f"the cell has {self.edges} edges after pruning; the space allows {MAX_EDGES}")

    @classmethod
    def of(cls, matrix: ArrayLike, operations: Sequence[str]) -> Cell:
        """A cell from a square upper-triangular 0/1 matrix and the operations of all its vertices.

        Raises `InvalidCellError`, naming the first rule that is broken.
        """
        array = _adjacency(matrix)
        size = len(array)
        if size > MAX_VERTICES:
            raise InvalidCellError(f"the cell has {size} vertices; the space allows {MAX_VERTICES}")
        if len(operations) != size:
            raise InvalidCellError(f"the matrix has {size} vertices but there are {len(operations)} operations")
        if operations[0] != INPUT or operations[-1] != OUTPUT:
            raise InvalidCellError(
                f"operations must start with '{INPUT}' and end with '{OUTPUT}', got {list(operations)}"
            )
        for operation in operations[1:-1]:
            if operation not in OPERATIONS:
                raise InvalidCellError(f"unknown operation {operation!r}; choose from {', '.join(OPERATIONS)}")
        native = sum(1 << edge_bit(x, y) for x, y in EDGES if y < size and array[x, y])
        return cls(from_native(native, size), tuple(OPERATIONS.index(op) for op in operations[1:-1]))

    @classmethod
    def numbered(cls, number: int) -> Cell:
        """The unique cell of this number in the catalogue, in its published form."""
        cells = catalogue()
        graph = cells.graph[number]
        labels = int(cells.labels[number])
        interior = int(cells.vertices[graph]) - 2
        return cls(
            int(cells.frame[graph]), tuple(labels // LABELS ** (interior - 1 - i) % LABELS for i in range(interior))
        )

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
            except ValueError as error:
                raise InvalidCellError(f"the cell is not JSON ({error}); expected {EXAMPLE}") from None
        match value:
            case {"adjacency": str() as bits, "operations": str() as operations, **rest} if not rest:
                return cls.of(matrix_of(bits), operations.split(","))
            case {"matrix": list() as matrix, "ops": list() as ops, **rest} if not rest:
                return cls.of(matrix, ops)
        raise InvalidCellError(f"not a cell: {str(value)[:80]}; expected {EXAMPLE}")

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
        return label_code(self.labels)

    @property
    def key(self) -> int:
        """The number of the unique cell that this one is isomorphic to."""
        return catalogue().number(self.frame, label_code(self.labels))

    @property
    def module_hash(self) -> str:
        """The published MD5 name of the cell, equal for isomorphic cells."""
        pruned = self.pruned
        return module_hash(pruned.frame, pruned.labels)


EXAMPLE = '{"adjacency": "010001000", "operations": "input,conv3x3-bn-relu,output"}'


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
    """Frame and number of vertices of a row-major adjacency string; the graph must be one of the space's.

    For reading many cells, whose graphs and operations repeat. Raises `InvalidCellError`.
    """
    matrix = matrix_of(adjacency)
    return Cell.of(matrix, [INPUT, *OPERATIONS[:1] * (len(matrix) - 2), OUTPUT]).frame, len(matrix)


@lru_cache(maxsize=1 << 10)
def label_code_of(operations: str) -> tuple[int, int]:
    """`label_code` and number of vertices of a comma-separated list of operations. Raises `InvalidCellError`."""
    names = operations.split(",")
    return Cell.of(np.eye(len(names), k=1), names).label_code, len(names)


def matrix_of(bits: str) -> NDArray[np.int8]:
    """The square matrix of a row-major string of '0' and '1'. Raises `InvalidCellError`."""
    size = int(len(bits) ** 0.5)
    if size * size != len(bits) or set(bits) - {"0", "1"}:
        raise InvalidCellError(f"adjacency must be a square number of 0s and 1s, got {bits[:60]!r}")
    return np.array([int(bit) for bit in bits], np.int8).reshape(size, size)


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
    return "".join(map(str, _matrix(to_native(frame, size), size).ravel().tolist()))


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
