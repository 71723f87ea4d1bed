"""Which cell has this module_hash? The catalogue knows cells, not hashes, so this computes them until one fits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nas.errors import DataError
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.cell import Cell, hash_bytes
from nas.table.records import Progress, module_hashes

CUTS = (0, 2_532, 64_542, 200_000, 320_000, CELLS)
"""Cells by number are cells by size: up to five vertices, then six, then seven in parts."""


def cell_of_hash(module_hash: str, progress: Progress = lambda *_: None) -> Cell:
    """The cell of a module_hash; at once for up to five vertices, about a minute for the last of seven.

    Raises `DataError` if it is no MD5 in hexadecimal, or no cell's.
    """
    wanted = hash_bytes(module_hash)
    for start, stop in pairwise(CUTS):
        hashes = module_hashes(np.arange(start, stop, dtype=np.int32), lambda *_: None)
        found = np.flatnonzero((hashes == np.frombuffer(wanted, np.uint8)).all(1))
        if found.size:
            return Cell.numbered(start + int(found[0]))
        progress("looking for the hash", stop, CELLS)
    raise DataError(f"no cell has module_hash {module_hash}; give the cell itself, as JSON")
