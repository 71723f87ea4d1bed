"""Graphs of at most seven vertices as integers: the arithmetic under cells, space and catalogue.

A *frame* is the 21-bit code of a 7 x 7 upper-triangular matrix: edge (x, y), x < y, is bit ``x + y * (y - 1) // 2``,
the column-major order of the published generator (``generate_graphs.py`` of google-research/nasbench). The input is
vertex 0, the output is vertex 6; a graph of fewer vertices leaves vertices between its last operation and the output
without edges. Within the first five columns a smaller graph has the same bits as in a matrix of its own size, so only
the output's column moves (`to_native`, `from_native`).
"""

from __future__ import annotations

from functools import lru_cache

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""The operations of NAS-Bench-101 in canonical order; an operation's index here is its label."""
INPUT, OUTPUT = "input", "output"
MAX_VERTICES = 7
MAX_EDGES = 9
INTERIOR = MAX_VERTICES - 2
EDGE_SPOTS = MAX_VERTICES * (MAX_VERTICES - 1) // 2
FRAMES = 1 << EDGE_SPOTS
OUTPUT_SHIFT = (MAX_VERTICES - 1) * (MAX_VERTICES - 2) // 2
"""Where the output's column starts in a frame."""


def edge_bit(source: int, target: int) -> int:
    """The bit of edge (source, target), for source < target."""
    return source + target * (target - 1) // 2


EDGES = tuple((x, y) for y in range(MAX_VERTICES) for x in range(y))
"""Edge (x, y) of every bit, in bit order."""


def from_native(native: int, vertices: int) -> int:
    """The frame of a graph whose bits are those of a ``vertices`` x ``vertices`` matrix."""
    shift = edge_bit(0, vertices - 1)
    return (native & ((1 << shift) - 1)) | (native >> shift << OUTPUT_SHIFT)


def to_native(frame: int, vertices: int) -> int:
    """The bits of a frame in a matrix of its own size; the inverse of `from_native`."""
    return (frame & ((1 << OUTPUT_SHIFT) - 1)) | (frame >> OUTPUT_SHIFT << edge_bit(0, vertices - 1))


@lru_cache(maxsize=1 << 16)
def kept_vertices(frame: int) -> tuple[int, ...]:
    """The vertices on a path from input to output, ascending; empty if there is no such path.

    Source: ``ModelSpec._prune`` of google-research/nasbench, by reachability in one pass each way.
    """
    from_input, to_output = 1, 1 << (MAX_VERTICES - 1)
    sources = [0] + [frame >> edge_bit(0, y) & ((1 << y) - 1) for y in range(1, MAX_VERTICES)]
    for y in range(1, MAX_VERTICES):
        if sources[y] & from_input:
            from_input |= 1 << y
    for y in range(MAX_VERTICES - 1, 0, -1):
        if to_output >> y & 1:
            to_output |= sources[y]
    kept = from_input & to_output
    return tuple(v for v in range(MAX_VERTICES) if kept >> v & 1) if kept & 1 else ()


@lru_cache(maxsize=1 << 16)
def compact(frame: int) -> int:
    """The frame of the pruned graph: kept vertices moved together, in order, the rest dropped."""
    kept = kept_vertices(frame)
    native = sum(
        1 << edge_bit(a, b)
        for b, target in enumerate(kept)
        for a, source in enumerate(kept[:b])
        if frame >> edge_bit(source, target) & 1
    )
    return from_native(native, len(kept))
