"""Append-only files of JSON objects, one a line, each closed by the CRC-32 of what stands before it in the line.

A process that dies while it writes leaves at most its last line cut off; what reads the file drops that line and goes
on from ``position``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from nas.errors import ArchsweepError, DataError
from nas.files import no_room

BUFFER = 1 << 20
LONGEST = 1 << 24
"""Bytes of a line; what is longer was not written here, and is not read into memory."""
SUFFIX = len(b',"crc":"00000000"}\n')


class LineWriter:
    """An open file, to be appended from ``position`` on; what stands behind it is cut off. Raises `ArchsweepError`."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        try:
            self._file = path.open("r+b" if path.exists() else "w+b", buffering=BUFFER)
            self._file.truncate(position)
            self._file.seek(position)
        except OSError as error:
            raise ArchsweepError(f"cannot write {path}: {error.strerror}; choose a folder that is writable") from None

    def append(self, record: Mapping[str, Any]) -> None:
        """Adds a line of at least one field; `flush` makes it last."""
        body = orjson.dumps(record)[:-1]
        try:
            self._file.write(b'%b,"crc":"%08x"}\n' % (body, zlib.crc32(body)))
        except OSError as error:
            raise no_room(self._path, error) from None

    def flush(self) -> None:
        """Everything appended so far survives the death of this process from here on."""
        try:
            self._file.flush()
        except OSError as error:
            raise no_room(self._path, error) from None

    def sync(self) -> None:
        """Everything appended so far survives a power cut from here on."""
        self.flush()
        self.sync_flushed()

    def sync_flushed(self) -> None:
        """What was flushed survives a power cut from here on; may be called by another thread than writes."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise no_room(self._path, error) from None

    def close(self) -> None:
        """Flushes, and waits until the disk has it; safe to call twice."""
        if self._file.closed:
            return
        try:
            self.sync()
        finally:
            with suppress(OSError):  # what could not be flushed is tried again
                self._file.close()


class LineReader:
    """The records of a file, in order, up to its last whole line; ``position`` is where the lines read so far end.

    Raises `DataError`, naming the line, on a damaged one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                for number, line in enumerate(iter(lambda: file.readline(LONGEST), b""), 1):
                    if not line.endswith(b"\n"):
                        if len(line) == LONGEST:
                            raise self._damaged(number)
                        return
                    yield self._checked(number, line)
                    self.position += len(line)
        except OSError as error:
            raise DataError(f"cannot read {self._path}: {error.strerror}") from None

    def _checked(self, number: int, line: bytes) -> dict[str, Any]:
        body, mark, claimed = line[:-SUFFIX], line[-SUFFIX : -SUFFIX + 8], line[-SUFFIX + 8 : -3]
        if mark != b',"crc":"' or line[-3:] != b'"}\n' or claimed != b"%08x" % zlib.crc32(body):
            raise self._damaged(number)
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise self._damaged(number) from None
        if type(record) is not dict:
            raise self._damaged(number)
        return record

    def _damaged(self, number: int) -> DataError:
        return DataError(f"{self._path}: line {number} is damaged; restore the file, or begin in another folder")
