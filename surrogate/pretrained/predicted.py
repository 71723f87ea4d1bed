"""The predictions of all cells, as a benchmark that answers like a table, run-to-run noise included.

The file holds what the networks say, not the networks, so that it is the same on every machine: safetensors with JSON
in its header. ``accuracy`` and ``seconds``, uint16 (cells,), in units that the header gives. Noise is drawn from the
distribution of single trainings around the mean of all, which depends on the accuracy: ``noise``, float64 (bins,
levels), are its quantiles at ``levels``, float64 (levels,), for accuracies between ``edges``, float64 (bins - 1,), and
``best``, float64 (bins,), the best training seen there, which none that is drawn exceeds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from nas.errors import DataError
from nas.files import replacing
from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.network import catalogue_costs
from nas.table.records import Progress, module_hashes
from nas.table.table import BLANK, PREDICTED, Table, TableData, write
from surrogate.arrays import save_arrays

Doubles = NDArray[np.float64]

NAME = "pretrained-nb101"
BUNDLED = Path(__file__).with_name("nb101.safetensors")
VERSION = "archsweep-predicted-1"
EPOCHS, REPEATS = 108, 3
NOISE_SEED = 101
IMAGES = 9_984
"""NAS-Bench-101 counts hits among so many test images."""
LARGEST = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Noise:
    """How single trainings scatter around the mean of all, by the accuracy; see the module."""

    edges: Doubles
    levels: Doubles
    quantiles: Doubles
    best: Doubles

    def drawn(self, accuracies: Doubles, repeats: int, seed: int) -> Doubles:
        """The accuracies of so many trainings of each cell, (cells, repeats)."""
        uniform = np.random.default_rng(seed).random((len(accuracies), repeats))
        bins = np.digitize(accuracies, self.edges)
        drawn = np.empty_like(uniform)
        for number, quantiles in enumerate(self.quantiles):
            chosen = bins == number
            errors = np.interp(uniform[chosen], self.levels, quantiles)
            drawn[chosen] = np.clip(accuracies[chosen, None] + errors, 0, self.best[number])
        return drawn


@dataclass(frozen=True)
class Predictions:
    """accuracy, seconds: float64 (cells,), by catalogue number. about: JSON values, what they were learnt from."""

    accuracy: Doubles
    seconds: Doubles
    noise: Noise
    about: Mapping[str, Any]


def save(predictions: Predictions, path: Path) -> None:
    """Writes them, whole or not at all; values are rounded to a 65,535th of the largest. Raises `DataError`."""
    scales = {"accuracy": predictions.accuracy.max() / LARGEST, "seconds": predictions.seconds.max() / LARGEST}
    arrays = {
        **{name: np.round(getattr(predictions, name) / scale).astype(np.uint16) for name, scale in scales.items()},
        "edges": predictions.noise.edges,
        "levels": predictions.noise.levels,
        "noise": predictions.noise.quantiles,
        "best": predictions.noise.best,
    }
    save_arrays(arrays, {"version": VERSION, "units": scales, "about": dict(predictions.about)}, path)


def load(path: Path) -> Predictions:
    """Raises `DataError` on a file that holds none."""
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            if about["version"] != VERSION:
                raise DataError(f"{path} holds no predictions that this archsweep reads, but {about['version']}")
            units = {name: float(about["units"][name]) for name in ("accuracy", "seconds")}
            accuracy, seconds = (file.get_tensor(name) * unit for name, unit in units.items())
            noise = Noise(*(file.get_tensor(name) for name in ("edges", "levels", "noise", "best")))
        shapes = (accuracy.shape, seconds.shape, noise.quantiles.shape, noise.best.shape)
        bins = len(noise.edges) + 1
        if shapes != ((CELLS,), (CELLS,), (bins, len(noise.levels)), (bins,)):
            raise ValueError(f"shapes {shapes}")
        return Predictions(accuracy, seconds, noise, about["about"])
    except (OSError, SafetensorError, TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path} holds no predictions: {' '.join(str(error).split())[:100]}") from None


class Predicted:
    """A `Benchmark` of three trainings of every cell that were never done. Raises `DataError`."""

    budgets = (EPOCHS,)
    repeats = REPEATS
    names = ("final_training_time", "final_test_accuracy")

    def __init__(self, path: Path = BUNDLED) -> None:
        self.path = path
        known = load(path)
        self.cells: NDArray[np.int32] = np.arange(CELLS, dtype=np.int32)
        self.parameters: NDArray[np.int32] = catalogue_costs()[:, 0].astype(np.int32)
        self.made: Mapping[str, Any] = {PREDICTED: dict(known.about)}
        runs = np.round(known.noise.drawn(known.accuracy, REPEATS, NOISE_SEED) * IMAGES) / IMAGES
        seconds = np.repeat(known.seconds[:, None], REPEATS, 1)
        self._metrics = {name: values[:, None] for name, values in zip(self.names, (seconds, runs), strict=True)}
        self._views = {name: np.ascontiguousarray(values).reshape(-1).data for name, values in self._metrics.items()}

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the values."""
        digest = hashlib.blake2b(digest_size=16)
        for values in self._metrics.values():
            digest.update(values.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return CELLS

    def metric(self, name: str) -> Doubles:
        values = self._metrics.get(name)
        return np.broadcast_to(BLANK, (CELLS, 1, REPEATS)) if values is None else values

    def row(self, cell: int) -> int:
        return cell

    def value(self, name: str, row: int, budget: int, repeat: int) -> float:
        view = self._views.get(name)
        return math.nan if view is None else view[row * REPEATS + repeat]

    def budget_index(self, epochs: int) -> int:
        if epochs != EPOCHS:
            raise DataError(f"{NAME} predicts trainings of {EPOCHS} epochs; got {epochs}")
        return 0

    def write(self, out: Path, progress: Progress = lambda *_: None) -> Table:
        """Writes the benchmark as a table, whole or not at all, for commands that take one. Raises `DataError`."""
        with replacing(out) as temporary:  # first of all, so that a folder that is not writable costs no minutes
            hashes = module_hashes(self.cells, progress)
            data = TableData(self.cells, hashes, self.parameters, self.budgets, self._metrics, NAME, self.made)
            write(data, temporary)
        return Table(out)
