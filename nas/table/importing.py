"""`archsweep table import`: any source -> one table file."""

from __future__ import annotations

from pathlib import Path

from nas.errors import DataError
from nas.files import replacing
from nas.nasbench101 import tfrecord
from nas.table import longformat
from nas.table.records import Progress, assemble
from nas.table.table import Table, TableData, write

READERS = {".tfrecord": "TFRecord", ".parquet": "Parquet", ".csv": "CSV"}


def load(source: Path, progress: Progress = lambda *_: None) -> TableData:
    """The table of a TFRecord, Parquet or CSV file, in memory. Raises `DataError`."""
    if not source.is_file():
        raise DataError(f"no file at {source}; give a TFRecord, Parquet or CSV file")
    match source.suffix:
        case ".tfrecord":
            records = tfrecord.read(source, progress)
        case ".parquet" | ".csv":
            records = longformat.read(source)
        case suffix:
            raise DataError(f"{source}: unknown kind of file {suffix!r}; expected {', '.join(READERS)}")
    return assemble(records, source.name, progress)


def import_table(source: Path, out: Path, progress: Progress = lambda *_: None) -> Table:
    """Reads a source and writes its table, whole or not at all. Raises `DataError`."""
    if out.exists() and source.exists() and out.samefile(source):
        raise DataError(f"{out} is the source itself; choose another file to write")
    with replacing(out) as temporary:  # first of all, so that a folder that is not writable costs no minutes
        write(load(source, progress), temporary)
    return Table(out)
