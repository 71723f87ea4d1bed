"""The benchmark table that comes with archsweep: the default of a search that names none."""

from __future__ import annotations

from pathlib import Path

from nas.errors import DataError

PACKAGED = Path(__file__).parents[1] / "tables" / "fashion5.arrow"
"""All cells of up to five vertices on Fashion-MNIST, trained by archsweep itself."""


def packaged_table() -> Path:
    """Its file. Raises `DataError` where it was left out, e.g. of a source archive."""
    if not PACKAGED.is_file():
        raise DataError(
            'no table given, and none came with this archsweep; name one (a search: --table FILE or `table = "FILE"`)'
        )
    return PACKAGED
