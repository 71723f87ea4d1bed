"""The search space: drawing cells, changing them, and turning them into vectors and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from nas.errors import ArchsweepError, InvalidCellError
from nas.nasbench101.catalogue import CELLS, LABEL_CODES, LABELS, catalogue
from nas.nasbench101.cell import Cell, label_code
from nas.nasbench101.graph import EDGE_SPOTS, FRAMES, INTERIOR, MAX_EDGES, MAX_VERTICES

ATTEMPTS = 10_000
"""How often a random draw is repeated before a space too sparse for it is sampled uniformly instead."""

_BIT_VALUES = 1 << np.arange(EDGE_SPOTS)


class Encoding(StrEnum):
    """How a cell is written as a vector. Every encoding ends with the labels of five interior vertices.

    A: 21 edge bits. B: nine edge positions, 0 to 20, repeats allowed. C: 21 edge weights in [0, 1] and the number of
    edges, 0 to 9, of which the heaviest are taken. Source: the search spaces A, B, C of NAS-Bench-1Shot1's and
    NAS-Bench-101's HPO comparison (nas_cifar10.py of automl/nas_benchmarks).
    """

    A = "A"
    B = "B"
    C = "C"

    @property
    def highest(self) -> list[int]:
        """The highest value of every place in the part of the vector that describes edges; the lowest is 0."""
        return {"A": [1] * EDGE_SPOTS, "B": [EDGE_SPOTS - 1] * MAX_EDGES, "C": [1] * EDGE_SPOTS + [MAX_EDGES]}[
            self.value
        ]

    @property
    def edge_slots(self) -> int:
        """Length of the part of the vector that describes edges."""
        return len(self.highest)


class CellSpace:
    """The unique cells of NAS-Bench-101, or those of them that a table holds.

    members: catalogue numbers of the cells in the space; None means all 423,624. Every method that makes a cell makes
    one of the space, and draws randomness from the generator that it is given, only.
    """

    def __init__(self, members: ArrayLike | None = None) -> None:
        self._catalogue = catalogue()
        self._members: NDArray[np.int32] | None = None
        if members is not None:
            numbers = np.unique(np.asarray(members))
            if not numbers.size:
                raise ArchsweepError("the search space is empty; give it at least one cell")
            if numbers.dtype.kind not in "iu" or numbers[0] < 0 or numbers[-1] >= CELLS:
                raise ArchsweepError(f"the cells of a search space are numbers from 0 to {CELLS - 1}")
            self._members = numbers.astype(np.int32)
            inside = np.zeros(CELLS, bool)
            inside[self._members] = True
            self._inside = inside.data

    def __len__(self) -> int:
        return CELLS if self._members is None else len(self._members)

    @property
    def numbers(self) -> NDArray[np.integer]:
        """The catalogue numbers of its cells, ascending."""
        return np.arange(CELLS) if self._members is None else self._members

    def __contains__(self, cell: Cell) -> bool:
        return self._has(cell.key)

    def _has(self, number: int) -> bool:
        return number >= 0 and (self._members is None or bool(self._inside[number]))

    def find(self, frame: int, labels: Sequence[int]) -> Cell | None:
        """The cell of a frame and five labels, or None if it is outside the space."""
        return Cell(frame, tuple(labels)) if self._has(self._catalogue.number(frame, label_code(labels))) else None

    def sample(self, rng: Generator) -> Cell:
        """A cell drawn uniformly from the unique cells of the space."""
        position = int(rng.random() * len(self))
        return Cell.numbered(position if self._members is None else int(self._members[position]))

    def sample_by_edges(self, rng: Generator) -> Cell:
        """A cell as the published notebook draws it: each of 21 edges with probability 1/2, five random operations.

        Draws outside the space are repeated, so cells with many labelled forms are likelier than under `sample`.
        Source: ``random_spec`` in NASBench.ipynb of google-research/nasbench.
        """
        for _ in range(ATTEMPTS):
            frame, code = divmod(int(rng.random() * (FRAMES * LABEL_CODES)), LABEL_CODES)
            if self._has(self._catalogue.number(frame, code)):
                return Cell(frame, tuple(code // LABELS**place % LABELS for place in reversed(range(INTERIOR))))
        return self.sample(rng)

    def mutate(self, cell: Cell, rng: Generator, rate: float = 1.0) -> Cell:
        """Flips each edge with probability ``rate`` / 7 and changes each operation with ``rate`` / 5, independently.

        Repeated until the cell is in the space; it may equal its parent. Source: ``mutate_spec`` in NASBench.ipynb of
        google-research/nasbench.
        """
        labels = cell.padded.labels
        for _ in range(ATTEMPTS):
            draws = rng.random(EDGE_SPOTS + 2 * INTERIOR)
            flips = int(_BIT_VALUES @ (draws[:EDGE_SPOTS] < rate / MAX_VERTICES))
            fates = draws[EDGE_SPOTS:].tolist()
            mutated = [
                (label + 1 + int(choice * (LABELS - 1))) % LABELS if fate < rate / INTERIOR else label
                for label, fate, choice in zip(labels, fates[:INTERIOR], fates[INTERIOR:], strict=True)
            ]
            child = self.find(cell.frame ^ flips, mutated)
            if child is not None:
                return child
        return self.sample(rng)

    def mutate_once(self, cell: Cell, rng: Generator) -> Cell:
        """Makes exactly one change, drawn uniformly from those that lead to another cell of the space.

        A change flips one of 21 edges or replaces one of five operations. Without such a change, as from the cell of
        one edge, it samples. Source: Real et al., 2019 (arXiv:1802.01548),
        applied to this space's edges and operations.
        """
        changes = list(self._changes(cell))
        return changes[int(rng.random() * len(changes))] if changes else self.sample(rng)

    def neighbours(self, cell: Cell) -> list[Cell]:
        """The cells one change away, one per unique cell, the cell itself left out, in a fixed order."""
        found = {cell.key: cell}
        for neighbour in self._changes(cell):
            found.setdefault(neighbour.key, neighbour)
        return list(found.values())[1:]

    def _changes(self, cell: Cell) -> Iterator[Cell]:
        """Every labelled cell of the space that one flipped edge or one replaced operation makes of this one."""
        labels, key = cell.padded.labels, cell.key
        edited = [(cell.frame ^ (1 << bit), labels) for bit in range(EDGE_SPOTS)]
        edited += [
            (cell.frame, (*labels[:i], (label + step) % LABELS, *labels[i + 1 :]))
            for i, label in enumerate(labels)
            for step in range(1, LABELS)
        ]
        for frame, changed in edited:
            child = self.find(frame, changed)
            if child is not None and child.key != key:
                yield child

    def crossover(self, mother: Cell, father: Cell, rng: Generator) -> Cell:
        """Takes each edge and each operation from either parent with probability 1/2 (uniform crossover).

        Repeated until the child is in the space; the mother, if that never happens.
        """
        mothers, fathers = mother.padded.labels, father.padded.labels
        for _ in range(ATTEMPTS):
            draws = rng.random(EDGE_SPOTS + INTERIOR) < 0.5
            mask = int(_BIT_VALUES @ draws[:EDGE_SPOTS])
            labels = [m if own else f for m, f, own in zip(mothers, fathers, draws[EDGE_SPOTS:], strict=True)]
            child = self.find((mother.frame & mask) | (father.frame & ~mask), labels)
            if child is not None:
                return child
        return mother

    def encode(self, cell: Cell, encoding: Encoding) -> NDArray[np.float64]:
        """The cell as a vector, float64, (edge slots + 5,). `decode` gives back an isomorphic cell."""
        # A frame may hold unused edges beyond the nine that B and C can write; the pruned cell never does.
        cell = cell if encoding is Encoding.A else cell.pruned
        bits = [bit for bit in range(EDGE_SPOTS) if cell.frame >> bit & 1]
        edges = np.zeros(encoding.edge_slots)
        if encoding is Encoding.B:
            edges[:] = bits + bits[-1:] * (MAX_EDGES - len(bits))
        else:
            edges[bits] = 1
            if encoding is Encoding.C:
                edges[-1] = len(bits)
        return np.concatenate([edges, cell.padded.labels])

    def decode(self, vector: ArrayLike, encoding: Encoding) -> Cell:
        """The cell of a vector. An edge bit is rounded; positions, labels and the number of edges are rounded down.

        Raises `InvalidCellError` if the vector names no cell of the space, which is common: searchers that work on
        vectors must expect it.
        """
        values = _vector(vector, encoding)
        edges, labels = values[: encoding.edge_slots], values[encoding.edge_slots :].astype(int).tolist()
        match encoding:
            case Encoding.A:
                bits = np.flatnonzero(edges >= 0.5)
            case Encoding.B:
                bits = np.unique(edges.astype(int))
            case Encoding.C:
                bits = np.argsort(-edges[:-1], kind="stable")[: int(edges[-1])]
        cell = self.find(sum(1 << int(bit) for bit in bits), labels)
        if cell is None:
            raise InvalidCellError("the vector's graph is not in the search space")
        return cell


def _vector(vector: ArrayLike, encoding: Encoding) -> NDArray[np.float64]:
    """The vector, every value in its range. Raises `InvalidCellError`."""
    size = encoding.edge_slots + INTERIOR
    try:
        values = np.asarray(vector, np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidCellError(f"encoding {encoding} takes {size} numbers, got something else ({error})") from None
    if values.shape != (size,):
        raise InvalidCellError(f"encoding {encoding} takes {size} numbers, got shape {values.shape}")
    highest = np.array([*encoding.highest, *[LABELS - 1] * INTERIOR])
    values = np.where(highest > 1, np.floor(values), values)  # all but edge bits and weights are integers
    outside = np.flatnonzero(~((values >= 0) & (values <= highest)))  # so that NaN is outside
    if outside.size:
        at = outside[0]
        raise InvalidCellError(f"encoding {encoding}: value {at} is {values[at]}; expected 0 to {highest[at]}")
    return values
