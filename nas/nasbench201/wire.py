"""Reads the folder that NATS-Bench published its topology space in, ``NATS-tss-v1_0-3ffb9-simple``.

``meta.pickle.pbz2`` holds the strings of all cells by their index; ``NNNNNN.pickle.pbz2``, bz2-compressed, every
training of one cell: ``{"12": ..., "200": ...}``, whose ``all_results`` are the trainings by (data set, seed).
Accuracies are percent, parameters and FLOPs millions. Sources: arXiv:2009.00437, https://github.com/D-X-Y/NATS-Bench.

The data sets, and what of them validates and tests:

- ``cifar10-valid``: trained on one half of CIFAR-10's training images, validated on the other (``x-valid``), tested on
  its test images (``ori-test``);
- ``cifar10``: trained on all of them, tested on the test images, never validated;
- ``cifar100`` and ``ImageNet16-120``: the published halves of the test images (``x-valid``, ``x-test``).
"""

from __future__ import annotations

import bz2
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import DataError
from nas.nasbench201.plain import loads

META = "meta.pickle.pbz2"
CELL_FILES = "[0-9]" * 6 + ".pickle.pbz2"
N_CELLS = 15_625
LARGEST = 8 << 20
"""Bytes of an unpacked file; published ones have 0.3 million a cell, 1.4 for the meta file."""
PARALLEL = 64
"""Files above which several processes read them."""
SPLITS: Mapping[str, Mapping[str, str]] = {
    "cifar10-valid": {"validation": "x-valid", "test": "ori-test"},
    "cifar10": {"test": "ori-test"},
    "cifar100": {"validation": "x-valid", "test": "x-test"},
    "ImageNet16-120": {"validation": "x-valid", "test": "x-test"},
}
METRICS = (
    "training_seconds",
    "train_accuracy",
    "validation_accuracy",
    "test_accuracy",
    "loss/train",
    "loss/validation",
    "loss/test",
)
LENGTHS = (12, 200)
"""Epochs of the published trainings, each with a learning-rate schedule of its own."""
WRONG = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)
"""What reading a structure raises that has another form."""


@dataclass(frozen=True)
class Training:
    """What one training of one cell gave after some epochs.

    metrics: the values of `METRICS`, NaN where there is none: accuracies are fractions, seconds those of training from
    its start. parameters, flops: counts, the latter as published, without batch normalisation.
    """

    cell: int
    epochs: int
    seed: int
    metrics: tuple[float, ...]
    parameters: int
    flops: int


def is_archive(source: Path) -> bool:
    """Returns whether a path is a folder of NATS-Bench."""
    return source.is_dir() and (source / META).exists()


def strings(folder: Path) -> list[str]:
    """Returns the strings of all cells, by index. Raises `DataError` if the folder is of another space."""
    path = folder / META
    meta = _load(path)
    names = meta.get("meta_archs") if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} holds no list of architectures; fetch NATS-tss-v1_0-3ffb9-simple again")
    if len(names) != N_CELLS or "|" not in names[0]:
        raise DataError(
            f"{folder} holds {len(names):,} architectures such as {str(names[:1])[:40]}; only NATS-Bench's topology "
            "space is read, NATS-tss-v1_0-3ffb9-simple"
        )
    return names


def cell_files(folder: Path) -> list[Path]:
    """Returns the files of cells, in order of their index. Raises `DataError` if there is none."""
    files = sorted(folder.glob(CELL_FILES))
    if not files:
        raise DataError(f"{folder} holds no file of a cell such as 000000.pickle.pbz2; unpack the archive again")
    return files


def read_cell(path: Path, names: Sequence[str], dataset: str, curve: Sequence[int] | None = None) -> list[Training]:
    """Returns the trainings of one cell on a data set, by epochs, then seed.

    names: the strings of all cells. curve: epochs at which the longest trainings are looked at; None for the ends of
    all trainings. Raises `DataError` naming the file if it is not what was published.
    """
    content = _load(path)
    try:
        index = int(path.name[:6])
        return sorted(_trainings(content, index, names[index], dataset, curve), key=lambda one: (one.epochs, one.seed))
    except WRONG as error:
        reason = " ".join(str(error).split())[:100]
        raise DataError(
            f"{path} is no NATS-Bench cell ({type(error).__name__}: {reason}); fetch the archive again"
        ) from None


def reader(names: Sequence[str], dataset: str, curve: Sequence[int] | None = None) -> partial[list[Training]]:
    """Returns `read_cell` for a data set, as a function of the path that other processes can be sent.

    Raises `DataError` on an unknown data set or an epoch that no training has.
    """
    if dataset not in SPLITS:
        raise DataError(f"NATS-Bench has no data set {dataset!r}; choose from {', '.join(SPLITS)}")
    if curve is not None and not all(0 < epoch <= LENGTHS[-1] for epoch in curve):
        raise DataError(f"NATS-Bench trained for {LENGTHS[-1]} epochs; got {list(curve)}")
    return partial(read_cell, names=names, dataset=dataset, curve=curve)


def _trainings(
    content: Mapping[str, Any], index: int, name: str, dataset: str, curve: Sequence[int] | None
) -> list[Training]:
    trainings = []
    for epochs in LENGTHS if curve is None else LENGTHS[-1:]:
        part = content[str(epochs)]
        if (part["arch_index"], part["arch_str"]) != (index, name):
            raise ValueError(f"it is of cell {part['arch_index']}, {part['arch_str']}")
        for (trained_on, seed), result in part["all_results"].items():
            if trained_on == dataset:
                if result["epochs"] != epochs or result["name"] != dataset:
                    raise ValueError(f"{epochs} epochs on {dataset} hold {result['epochs']} on {result['name']}")
                trainings += [_training(index, seed, result, epoch) for epoch in curve or (epochs,)]
    return trainings


def _training(index: int, seed: Any, result: Mapping[str, Any], epochs: int) -> Training:
    splits = SPLITS[result["name"]]
    last = epochs - 1
    accuracies, losses = result["eval_acc1es"], result["eval_losses"]
    at = {split: f"{name}@{last}" for split, name in splits.items()}
    seconds = [_number(result["train_times"][epoch]) for epoch in range(epochs)]
    metrics = (
        math.fsum(seconds),
        _fraction(result["train_acc1es"][last]),
        *(_fraction(accuracies.get(at.get(split))) for split in ("validation", "test")),
        _number(result["train_losses"][last]),
        *(_number(losses.get(at.get(split))) for split in ("validation", "test")),
    )
    if type(seed) is not int or not 0 <= seed < 1 << 31:
        raise ValueError(f"seed {seed!r}")
    return Training(index, epochs, seed, metrics, _count(result["params"]), _count(result["flop"]))


def _number(value: Any) -> float:
    """A measured number; NaN where there is none, or a training diverged. Raises ValueError on anything else."""
    if value is None or value != value:
        return math.nan
    if type(value) not in (float, int) or not 0 <= value < math.inf:
        raise ValueError(f"{str(value)[:40]!r} is no number that was measured")
    return float(value)


def _fraction(value: Any) -> float:
    percent = _number(value)
    if percent > 100:
        raise ValueError(f"accuracy {percent}")
    return percent / 100


def _count(millions: Any) -> int:
    return round(_number(millions) * 1e6)


def repeats_of(trainings: Sequence[Training]) -> tuple[NDArray[np.int32], dict[int, list[int]]]:
    """Returns the number of the repeat of every training, int32, and the seeds by epochs in the order of the repeats.

    Seeds are numbered within a number of epochs, since the short trainings have other seeds than the long ones; about
    half of the cells lack the last one.
    """
    seeds: dict[int, list[int]] = {}
    for training in trainings:
        known = seeds.setdefault(training.epochs, [])
        if training.seed not in known:
            known.append(training.seed)
    ordered = {epochs: sorted(known) for epochs, known in sorted(seeds.items())}
    places = {(epochs, seed): place for epochs, known in ordered.items() for place, seed in enumerate(known)}
    return np.array([places[one.epochs, one.seed] for one in trainings], np.int32), ordered


def _load(path: Path) -> Any:
    """The content of a file. Raises `DataError`."""
    try:
        return loads(_unpacked(path))
    except DataError as error:
        raise DataError(f"{path} is not what NATS-Bench published: {error}; fetch the archive again") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot read {path}: {reason}; fetch the archive again") from None


def _unpacked(path: Path) -> bytes:
    """The bytes that a bz2 file holds, of one stream or several."""
    with path.open("rb") as file:
        packed = file.read(LARGEST + 1)
    if len(packed) > LARGEST:
        raise DataError(f"it has more than {LARGEST >> 20} MiB")
    unpacked = b""
    while packed:
        stream = bz2.BZ2Decompressor()
        try:
            unpacked += stream.decompress(packed, LARGEST + 1 - len(unpacked))
        except (OSError, ValueError):
            raise DataError("it is no bz2 file, or damaged") from None
        if len(unpacked) > LARGEST:
            raise DataError(f"it holds more than {LARGEST >> 20} MiB")
        if not stream.eof:
            raise DataError("it is cut off")
        packed = stream.unused_data
    if not unpacked:
        raise DataError("it is empty")
    return unpacked
