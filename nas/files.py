"""Files that are either whole or absent."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EISDIR, ENOSPC
from pathlib import Path

from nas.errors import DataError

FULL = (ENOSPC, EDQUOT, EFBIG)
"""What is wrong when a disk is full, a quota spent, a limit on the size of files reached."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; renames it onto ``path`` on success and removes it on any failure."""
    try:
        if path.is_dir():
            raise IsADirectoryError(EISDIR, "it is a folder")
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose a file in a folder that is writable") from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        with room_for(path):
            yield temporary
        _put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _put_in_place(temporary: Path, path: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Raises `DataError` where a disk that is full ends what is inside."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise no_room(path, error) from None


def no_room(path: Path, error: OSError) -> DataError:
    """What to say when a disk is full, or a quota spent."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    return DataError(f"cannot write {path}: {reason}; make room, then run the same command again")


def sync_folder(folder: Path) -> None:
    """The names of the files in a folder survive a power cut from here on."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
