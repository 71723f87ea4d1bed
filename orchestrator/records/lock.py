"""What one process at a time may write: a search's folder, a build's journal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from nas.errors import ArchsweepError


@contextmanager
def locked(path: Path, taken: str, what: str) -> Iterator[None]:
    """Makes the file and its folder if need be, and holds it alone.

    Raises `ArchsweepError`: ``taken`` if another process holds it, or that one cannot write ``what``, and why.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0)
        lock.acquire()
    except Timeout:
        raise ArchsweepError(taken) from None
    except OSError as error:
        raise ArchsweepError(f"cannot write {what}: {error.strerror}; choose a folder that is writable") from None
    try:
        yield
    finally:
        lock.release()
