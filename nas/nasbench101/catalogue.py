"""Every unique cell of NAS-Bench-101, numbered, and the number of any cell by table look-up.

A cell's *number* is its position in the order in which the published generator first meets it: by vertices, by edge
bits, by labels. Its representative there is the graph that the published file lists, which matters because the channel
rule, and with it the parameter count, depends on the order of the vertices.

There are 6,472 pruned graphs and 1,293,208 labelled cells, so three look-ups name a cell: frame -> pruned graph and
kept vertices, labels -> labels of the kept vertices, (graph, labels) -> number.
"""

from __future__ import annotations

import zlib
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import numpy as np
import platformdirs
from numpy.typing import NDArray

from nas.errors import DataError
from nas.files import replacing
from nas.nasbench101.graph import EDGES, FRAMES, INTERIOR, MAX_EDGES, MAX_VERTICES, OPERATIONS, edge_bit, from_native

GRAPHS, LABELLED, CELLS = 6_472, 1_293_208, 423_624
LABELS = len(OPERATIONS)
LABEL_CODES = LABELS**INTERIOR

LAYOUT = np.dtype(
    [
        ("graph_of_frame", "<i2", (FRAMES,)),  # -1: no path from input to output, or too many edges
        ("kept", "u1", (FRAMES,)),  # bit i: interior vertex i + 1 is on a path
        ("kept_labels", "u1", (1 << INTERIOR, LABEL_CODES)),  # (kept, labels of five) -> labels of the kept
        ("frame", "<i4", (GRAPHS,)),
        ("vertices", "u1", (GRAPHS,)),
        ("first_labelled", "<i4", (GRAPHS,)),
        ("cell_of_labelled", "<i4", (LABELLED,)),
        ("graph", "<i2", (CELLS,)),
        ("labels", "u1", (CELLS,)),
    ]
)
"""The cache file is one record of this, uncompressed, followed by its CRC-32, so that it opens by memory map."""


class Catalogue:
    """All unique cells. Arrays are indexed by *graph* (0..6,471) or by *cell number* (0..423,623).

    ``frame[g]``, ``vertices[g]``: a pruned graph (see `nas.nasbench101.graph`). ``graph[n]``, ``labels[n]``: the
    representative of cell n; labels are base-3 digits of its interior operations, the first one most significant.
    """

    def __init__(self, record: NDArray[Any]) -> None:
        self.record = record
        self.graph_of_frame: NDArray[np.int16] = record["graph_of_frame"]
        self.kept: NDArray[np.uint8] = record["kept"]
        self.kept_labels: NDArray[np.uint8] = record["kept_labels"]
        self.frame: NDArray[np.int32] = record["frame"]
        self.vertices: NDArray[np.uint8] = record["vertices"]
        self.first_labelled: NDArray[np.int32] = record["first_labelled"]
        self.cell_of_labelled: NDArray[np.int32] = record["cell_of_labelled"]
        self.graph: NDArray[np.int16] = record["graph"]
        self.labels: NDArray[np.uint8] = record["labels"]
        # Indexing a memoryview gives a Python int in a third of the time that numpy's scalar indexing takes.
        self._graph_of_frame, self._kept = self.graph_of_frame.data, self.kept.data
        self._kept_labels = self.kept_labels.reshape(-1).data
        self._graph, self._labels = self.graph.data, self.labels.data
        self._frame, self._vertices = self.frame.data, self.vertices.data
        self._first_labelled, self._cells = self.first_labelled.data, self.cell_of_labelled.data

    def __len__(self) -> int:
        return CELLS

    def number(self, frame: int, labels: int) -> int:
        """The number of a cell given by its frame and the base-3 code of five labels; -1 outside the space."""
        graph = self._graph_of_frame[frame]
        if graph < 0:
            return -1
        kept = self._kept_labels[self._kept[frame] * LABEL_CODES + labels]
        return cast(int, self._cells[self._first_labelled[graph] + kept])

    def published(self, number: int) -> tuple[int, int, int]:
        """Frame, number of operations, and base-3 code of just those, of a cell as the published file lists it."""
        graph = self._graph[number]
        return self._frame[graph], self._vertices[graph] - 2, self._labels[number]

    def numbers(self, frames: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
        """`number` of many cells at once; arrays of any equal shape."""
        graph = self.graph_of_frame[frames]
        kept = self.kept_labels[self.kept[frames], labels]
        found = self.cell_of_labelled[self.first_labelled[graph] + kept]
        return np.where(graph < 0, np.int32(-1), found)


@cache
def catalogue() -> Catalogue:
    """The catalogue, from the user's cache folder if it is there and whole, else built and cached."""
    path = platformdirs.user_cache_path("archsweep") / "nasbench101-v1.catalogue"
    loaded = _load(path)
    if loaded is not None:
        return loaded
    built = Catalogue(build())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            body = built.record.tobytes()
            temporary.write_bytes(body + zlib.crc32(body).to_bytes(4, "little"))
    except (OSError, DataError):
        pass  # a cache that cannot be written costs a second each time, nothing else
    return built


def cells_up_to(max_vertices: int) -> NDArray[np.int32]:
    """The numbers of all cells of at most so many vertices, input and output included, ascending."""
    known = catalogue()
    return np.flatnonzero(known.vertices[known.graph] <= max_vertices).astype(np.int32)


def _load(path: Path) -> Catalogue | None:
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError):
        return None
    body = raw[:-4]
    if body.size != LAYOUT.itemsize or zlib.crc32(body.data) != int.from_bytes(raw[-4:].tobytes(), "little"):
        return None
    return Catalogue(body.view(LAYOUT)[0])


def build() -> NDArray[Any]:
    """Enumerates the space. Returns one record of `LAYOUT`; about half a second."""
    record = np.zeros((), LAYOUT)
    keys = _prune_all(record)
    vertices, native = keys >> len(EDGES), keys & (FRAMES - 1)
    record["vertices"] = vertices
    record["frame"] = [from_native(int(n), int(v)) for n, v in zip(native, vertices, strict=True)]
    counts = LABELS ** (vertices - 2)
    record["first_labelled"] = np.cumsum(counts) - counts
    smallest = _smallest_isomorph(vertices, native, record["first_labelled"])
    unique, record["cell_of_labelled"] = np.unique(smallest, return_inverse=True)
    record["graph"] = np.searchsorted(record["first_labelled"], unique, side="right") - 1
    record["labels"] = unique - record["first_labelled"][record["graph"]]
    return record


def _prune_all(record: NDArray[Any]) -> NDArray[np.int64]:
    """Fills frame -> graph, kept vertices and kept labels; returns ``vertices << 21 | native bits`` of every graph."""
    frames = np.arange(FRAMES, dtype=np.int32)
    sources = [frames >> edge_bit(0, y) & ((1 << y) - 1) for y in range(MAX_VERTICES)]
    from_input = np.ones(FRAMES, np.int32)
    for y in range(1, MAX_VERTICES):
        from_input |= ((sources[y] & from_input) != 0).astype(np.int32) << y
    to_output = np.full(FRAMES, 1 << (MAX_VERTICES - 1), np.int32)
    for y in range(MAX_VERTICES - 1, 0, -1):
        to_output |= np.where(to_output >> y & 1, sources[y], 0)
    on_path = from_input & to_output
    record["kept"] = on_path >> 1 & ((1 << INTERIOR) - 1)

    keys = np.full(FRAMES, -1, np.int32)
    digits = np.arange(LABEL_CODES)[:, None] // LABELS ** np.arange(INTERIOR - 1, -1, -1) % LABELS
    for kept in range(1 << INTERIOR):
        interior = [v for v in range(1, MAX_VERTICES - 1) if kept >> (v - 1) & 1]
        chosen = np.flatnonzero((record["kept"] == kept) & (on_path & 1 == 1))
        keys[chosen] = _compacted(frames[chosen], [0, *interior, MAX_VERTICES - 1])
        places = LABELS ** np.arange(len(interior) - 1, -1, -1)
        record["kept_labels"][kept] = digits[:, [v - 1 for v in interior]] @ places
    known = np.zeros(MAX_VERTICES + 1 << len(EDGES), bool)
    known[keys[keys >= 0]] = True
    graphs = np.flatnonzero(known)
    index = np.full(known.size, -1, np.int16)
    index[graphs] = np.arange(graphs.size)
    record["graph_of_frame"] = np.where(keys < 0, -1, index[keys])
    return graphs


def _compacted(frames: NDArray[np.int32], kept: list[int]) -> NDArray[np.int32]:
    """``vertices << 21 | native bits`` of the graphs left by the kept vertices; -1 where they have too many edges."""
    native = np.zeros_like(frames)
    for b, target in enumerate(kept):
        for a, source in enumerate(kept[:b]):
            native |= (frames >> edge_bit(source, target) & 1) << edge_bit(a, b)
    return np.where(np.bitwise_count(native) <= MAX_EDGES, len(kept) << len(EDGES) | native, -1)


def _smallest_isomorph(
    vertices: NDArray[np.int64], native: NDArray[np.int64], first: NDArray[np.int32]
) -> NDArray[np.int32]:
    """For every labelled cell, the first labelled cell that is isomorphic to it.

    Isomorphisms fix input and output, and every upper-triangular form of a graph is one permutation away, so the
    minimum over permutations that keep the matrix upper triangular is a canonical form.
    """
    smallest = np.arange(LABELLED, dtype=np.int32)
    for size in range(2, MAX_VERTICES + 1):
        group = np.flatnonzero(vertices == size)
        graph_of_native = np.zeros(1 << size * (size - 1) // 2, np.int32)
        graph_of_native[native[group]] = group
        labels = np.arange(LABELS ** (size - 2))
        places = LABELS ** np.arange(size - 3, -1, -1)
        digits = labels[:, None] // places % LABELS
        for order in permutations(range(1, size - 1)):
            moved = (0, *order, size - 1)  # vertex v becomes moved[v]
            backward = sum(1 << edge_bit(a, b) for a, b in EDGES if b < size and moved[a] > moved[b])
            graphs = group[native[group] & backward == 0]
            image = np.zeros(graphs.size, np.int64)
            for a, b in EDGES:
                if b < size and moved[a] < moved[b]:
                    image |= (native[graphs] >> edge_bit(a, b) & 1) << edge_bit(moved[a], moved[b])
            moved_labels = digits @ places[np.array(order, int) - 1] if order else labels
            here = first[graphs][:, None] + labels
            there = first[graph_of_native[image]][:, None] + moved_labels
            smallest[here] = np.minimum(smallest[here], there)
    return smallest
