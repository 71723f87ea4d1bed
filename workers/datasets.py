"""Images to train on: scikit-learn's digits, Fashion-MNIST, CIFAR-10. Reads what is on the disk, never downloads.

- ``digits`` comes with scikit-learn.
- ``fashion-mnist``: the four published IDX files, gzipped or not (Xiao et al., 2017; Debian: dataset-fashion-mnist).
- ``cifar-10``: the published binary version, as archive or unpacked (Krizhevsky, 2009). The python version is pickles,
  which run code when they are read, so it is refused.

Files are looked for in the folder given, else in ``$ARCHSWEEP_DATA/NAME``, else where Debian puts them.
"""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.network import Count

Pixels = NDArray[np.uint8]
CLASSES = 10
CIFAR_FOLDER, CIFAR_ARCHIVE, CIFAR_PYTHON = "cifar-10-batches-bin", "cifar-10-binary.tar.gz", "cifar-10-*python*"
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar.html"
CIFAR_FILES = tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",)
CIFAR_IMAGES, CIFAR_RECORD = 10_000, 1 + 3 * 32 * 32


@dataclass(frozen=True)
class DataSpec:
    """Which images to use. Training images are the first of the training file, validation images its last.

    train, validation, test: how many of each. pool: side of the squares that are averaged to one pixel. scored: how
    many training images the training accuracy is measured on, the first ones.
    """

    dataset: str
    train: Count
    validation: Count
    test: Count
    pool: Count = 1
    scored: Count = 10_000


@dataclass(frozen=True)
class Split:
    """Images, uint8 (n, channels, side, side), and their classes, int64 (n,)."""

    images: Pixels
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        assert len(self.images) == len(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of every channel, (channels,) each; a channel of one level deviates by 0.001."""
        channels = [np.ascontiguousarray(channel).reshape(-1) for channel in self.images.swapaxes(0, 1)]
        deviations = np.array([channel.std() for channel in channels])
        return np.array([channel.mean() for channel in channels]), np.maximum(deviations, 1e-3)

    def part(self, start: int, stop: int, pool: int) -> Split:
        return Split(pooled(self.images[start:stop], pool), self.labels[start:stop])


@dataclass(frozen=True)
class Data:
    """The images of a `DataSpec`."""

    train: Split
    validation: Split
    test: Split


def load(spec: DataSpec, folder: Path | None = None) -> Data:
    """Reads a data set. Raises `DataError` if it is missing or damaged, `ArchsweepError` if the spec asks too much."""
    if spec.dataset not in READERS:
        raise ArchsweepError(f"unknown data set {spec.dataset!r}; choose from {', '.join(READERS)}")
    training, testing = READERS[spec.dataset](folder)
    for wanted, there, what in (
        (spec.train + spec.validation, len(training), "training and validation"),
        (spec.test, len(testing), "test"),
    ):
        if wanted > there:
            raise ArchsweepError(f"{spec.dataset} has {there:,} images for {what}; {wanted:,} were asked for")
    if training.images.shape[-1] % spec.pool:
        raise ArchsweepError(f"images of side {training.images.shape[-1]} cannot be pooled by {spec.pool}")
    return Data(
        training.part(0, spec.train, spec.pool),
        training.part(len(training) - spec.validation, len(training), spec.pool),
        testing.part(0, spec.test, spec.pool),
    )


def pooled(images: Pixels, side: int) -> Pixels:
    """Averages squares of so many pixels a side, rounding to the nearest level."""
    if side == 1:
        return images
    n, channels, height, width = images.shape
    squares = images.reshape(n, channels, height // side, side, width // side, side)
    averages: NDArray[np.float32] = squares.mean((3, 5), dtype=np.float32)
    return np.rint(averages).astype(np.uint8)


def _digits(folder: Path | None) -> tuple[Split, Split]:
    """1,797 images of 8 x 8 pixels in 17 levels, shuffled as they come writer by writer; the last 399 are for test."""
    from sklearn.datasets import load_digits  # takes a second to import

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = found.images[order, None].astype(np.uint8)
    labels = found.target[order].astype(np.int64)
    return Split(images[:-399], labels[:-399]), Split(images[-399:], labels[-399:])


def _fashion_mnist(folder: Path | None) -> tuple[Split, Split]:
    places = _places("fashion-mnist", folder, Path("/usr/share/datasets/fashion-mnist"))
    advice = (
        "install the Debian package dataset-fashion-mnist, or get the four IDX files from"
        " https://github.com/zalandoresearch/fashion-mnist and name their folder"
    )
    return _idx_split(places, "train", 60_000, advice), _idx_split(places, "t10k", 10_000, advice)


def _idx_split(places: list[Path], prefix: str, count: int, advice: str) -> Split:
    images = _idx(_found(places, f"{prefix}-images-idx3-ubyte", advice), (count, 28, 28), advice)
    labels = _idx(_found(places, f"{prefix}-labels-idx1-ubyte", advice), (count,), advice)
    return Split(images[:, None], labels.astype(np.int64))


def _found(places: list[Path], name: str, advice: str) -> Path:
    """The file of this name, or the gzipped one. Raises `DataError`."""
    for place in places:
        for path in (place / name, place / f"{name}.gz"):
            if path.is_file():
                return path
    raise DataError(f"no {name} in {' or '.join(map(str, places))}; {advice}")


def _idx(path: Path, shape: tuple[int, ...], advice: str) -> Pixels:
    """An IDX file of unsigned bytes: two zeros, type 8, number of dimensions, the dimensions big-endian, the values."""
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged ({error}); {advice}") from None
    expected = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    values = np.frombuffer(raw, np.uint8, offset=min(len(raw), len(expected)))
    if not raw.startswith(expected) or values.size != np.prod(shape) or (len(shape) == 1 and values.max() >= CLASSES):
        raise DataError(f"{path} is damaged: it is no IDX file of {' x '.join(map(str, shape))} bytes; {advice}")
    return values.reshape(shape)


def _cifar10(folder: Path | None) -> tuple[Split, Split]:
    places = _places("cifar-10", folder)
    advice = f"get {CIFAR_ARCHIVE}, the binary version, from {CIFAR_URL} and name its folder"
    for place in places:
        for unpacked in (place, place / CIFAR_FOLDER):
            if (unpacked / CIFAR_FILES[1][0]).is_file():
                return _cifar_splits(partial(_bytes_in, unpacked), unpacked, advice)
        if (archive := place / CIFAR_ARCHIVE).is_file():
            return _cifar_archive(archive, advice)
    if any(next(place.glob(CIFAR_PYTHON), None) for place in places if place.is_dir()):
        advice = f"the python version is there, but it is pickles, which are unsafe to read; {advice}"
    raise DataError(f"no CIFAR-10 in {' or '.join(map(str, places)) or 'any known folder'}; {advice}")


def _bytes_in(folder: Path, name: str) -> bytes:
    return (folder / name).read_bytes()


def _cifar_archive(archive: Path, advice: str) -> tuple[Split, Split]:
    try:
        with tarfile.open(archive, "r:gz") as tar:

            def read(name: str) -> bytes:
                member = tar.getmember(f"{CIFAR_FOLDER}/{name}")
                file = tar.extractfile(member) if member.isreg() else None  # a link may lead in a circle
                return file.read() if file else b""

            return _cifar_splits(read, archive, advice)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{archive} is damaged ({error}); {advice}") from None


def _cifar_splits(read: Callable[[str], bytes], where: Path, advice: str) -> tuple[Split, Split]:
    """Training and test images of CIFAR-10's binary files: records of a class and 3 x 32 x 32 pixels."""
    splits = []
    for names in CIFAR_FILES:
        parts = []
        for name in names:
            try:
                raw = read(name)
            except (OSError, KeyError) as error:
                raise DataError(f"{where}: cannot read {name} ({error}); {advice}") from None
            records = np.frombuffer(raw, np.uint8)
            if records.size != CIFAR_IMAGES * CIFAR_RECORD or records[::CIFAR_RECORD].max() >= CLASSES:
                raise DataError(f"{where}: {name} is damaged: it has not {CIFAR_IMAGES:,} labelled images; {advice}")
            parts.append(records.reshape(-1, CIFAR_RECORD))
        whole = np.concatenate(parts)
        splits.append(Split(whole[:, 1:].reshape(-1, 3, 32, 32), whole[:, 0].astype(np.int64)))
    return splits[0], splits[1]


def _places(name: str, folder: Path | None, *usual: Path) -> list[Path]:
    """Where to look for a data set's files."""
    if folder is not None:
        return [folder]
    root = os.environ.get("ARCHSWEEP_DATA")
    return [*([Path(root) / name] if root else []), *usual]


READERS: dict[str, Callable[[Path | None], tuple[Split, Split]]] = {
    "digits": _digits,
    "fashion-mnist": _fashion_mnist,
    "cifar-10": _cifar10,
}
"""Data set -> what reads its training and test images."""
