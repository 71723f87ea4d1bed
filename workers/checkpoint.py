"""A training on disk: safetensors with JSON in its header, so that reading one never runs code."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.errors import DataError
from nas.files import replacing


class AheadError(Exception):
    """A checkpoint has come further than is asked for, so there is no going on from it. rungs: see `Progress`."""

    def __init__(self, rungs: tuple[tuple[int, float], ...]) -> None:
        super().__init__()
        self.rungs = rungs


@dataclass(frozen=True)
class Progress:
    """How far a training is: epochs done, seconds of training spent.

    halfway: float64 (repeats, 4), the metrics at half of the steps, NaN until then. lost: the repeats that diverged.
    rungs: where it was to end so far, in epochs, with the seconds that had been spent when it did.
    """

    epoch: int
    seconds: float
    halfway: NDArray[np.float64]
    lost: tuple[int, ...] = ()
    rungs: tuple[tuple[int, float], ...] = ()

    @property
    def diverged(self) -> list[int]:
        return list(self.lost)

    def at_half(self, halfway: NDArray[np.float64]) -> Progress:
        return replace(self, halfway=halfway)

    def after_epoch(self, seconds: float, diverged: NDArray[np.bool_]) -> Progress:
        lost = tuple(sorted({*self.lost, *np.flatnonzero(diverged).tolist()}))
        return replace(self, epoch=self.epoch + 1, seconds=seconds, lost=lost)

    def ended(self, until: int) -> Progress:
        return replace(self, rungs=(*self.rungs, (until, self.seconds)))

    def since_rung(self, until: int) -> float:
        """Seconds spent since the training last ended before ``until``."""
        return self.seconds - max((seconds for epochs, seconds in self.rungs if epochs < until), default=0.0)


def save(path: Path, identity: str, network: nn.Module, optimizer: Optimizer, progress: Progress) -> None:
    """Writes a checkpoint, whole or not at all. identity: what the training is. Raises `DataError`."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in slots.items()}
    about = {
        "epoch": progress.epoch,
        "seconds": progress.seconds,
        "halfway": [[None if math.isnan(value) else value for value in row] for row in progress.halfway.tolist()],
        "lost": progress.lost,
        "rungs": progress.rungs,
    }
    whole = {name: value.contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(whole, temporary, {"identity": identity, "progress": json.dumps(about)})
        except SafetensorError as error:  # e.g. of a disk that is full
            raise DataError(f"cannot write checkpoint {path}: {error}") from None


def load(path: Path, identity: str, network: nn.Module, optimizer: Optimizer, until: int) -> Progress | None:
    """Puts network and optimiser back, and says how far they were; None if there is no whole checkpoint of this
    training: one that cannot be read, or is of a network with other weights, costs the epochs that it held, nothing
    else. Raises `AheadError` if it is of a later epoch than ``until``."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        if metadata.get("identity") != identity:
            return None
        progress = _progress(json.loads(metadata["progress"]))
        weights, state = _parts(tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if progress.epoch > until:
        raise AheadError(progress.rungs)
    if _shapes(weights) != _shapes(network.state_dict()):
        return None
    network.load_state_dict(weights)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return progress


def _progress(about: Any) -> Progress:
    """The inverse of what `save` writes. Raises KeyError, TypeError or ValueError."""
    halfway = np.array(about["halfway"], np.float64)
    rungs = tuple((int(epochs), float(seconds)) for epochs, seconds in about["rungs"])
    return Progress(int(about["epoch"]), float(about["seconds"]), halfway, tuple(about["lost"]), rungs)


def _parts(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]:
    """The weights by name, and what the optimiser holds by the number of the weight. Raises ValueError."""
    weights: dict[str, Tensor] = {}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "network":
            weights[rest] = value
        else:
            number, _, slot = rest.partition(".")
            state.setdefault(int(number), {})[slot] = value
    return weights, state


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in weights.items()}
