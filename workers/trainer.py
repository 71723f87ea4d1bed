"""Trains one cell, for real.

Everything random in a training is drawn from (seed, epoch), so on one kind of CPU the same seed gives the same bits,
and a training that goes on from its checkpoint ends like one that was never interrupted.

Repeats, trainings of one cell with different seeds, can go together in one network (see `workers.network`). Repeat r
does what a training alone with that seed does, up to rounding.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

from nas.errors import ArchsweepError, EvaluationError
from nas.nasbench101.cell import Cell
from nas.table.table import METRICS
from surrogate.threads import one_thread
from workers import checkpoint
from workers.checkpoint import AheadError, Progress
from workers.datasets import Data, Split
from workers.network import Network
from workers.optimizers import make_optimizer
from workers.recipe import Setting

EVALUATION_BATCH = 500
FORMAT = torch.channels_last
"""Of all activations and weights. On a CPU it makes grouped convolutions with few channels two to five times faster."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch gave, means over the repeats; accuracies are fractions.

    number: from 1. epochs: after which the training is to end. loss, train_accuracy: over the epoch's own batches,
    while the weights moved. seconds: of training so far, see `Outcome`.
    """

    number: int
    epochs: int
    loss: float
    train_accuracy: float
    validation_accuracy: float
    seconds: float

    def to_json(self) -> dict[str, float]:
        """What a curve keeps of it."""
        return {
            "epoch": self.number,
            "loss": self.loss,
            "train_accuracy": self.train_accuracy,
            "validation_accuracy": self.validation_accuracy,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    metrics: float64 (repeats, 8), in the order of `METRICS`. NaN for a repeat that diverged, and for halfway if the
    training was stopped before. Training time is a repeat's share of the seconds spent in training steps since the rung
    before, without evaluations: on a CPU those of this thread, so that other processes on the machine do not count.
    epochs: done; fewer than asked for if stopped.
    """

    metrics: NDArray[np.float64]
    epochs: int


def train(
    cell: Cell,
    setting: Setting,
    data: Data,
    seeds: Sequence[int],
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    checkpoint_path: Path | None = None,
    device: str = "cpu",
    until: int | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains a cell once a seed, all together, and evaluates it halfway and at the end.

    on_epoch: called after every epoch. checkpoint_path: written after every epoch; a training of the same cell, setting
    and seeds that finds it goes on from there. until: it ends after so many of the setting's epochs, a rung of which a
    later call goes on. stopped: asked after every epoch whether the training is to end early; also by one that goes on
    from a checkpoint, before anything else, so that it ends where it would have ended.
    Raises `EvaluationError` if every repeat diverges.
    """
    with one_thread():
        training = Training(cell, setting, data, seeds, device, until)
        if checkpoint_path is not None:
            try:
                training.resume(checkpoint_path)
            except AheadError as ahead:
                training.progress = replace(training.progress, rungs=ahead.rungs)
                checkpoint_path = None  # who comes to a later rung goes on from there
        while training.progress.epoch < training.until and not (training.progress.epoch and stopped()):
            loss, accuracy = training.run_epoch()
            if checkpoint_path is not None:
                training.save(checkpoint_path)
            on_epoch(training.report(loss, accuracy))
        training.end()
        if checkpoint_path is not None and training.until < setting.recipe.epochs:
            training.save(checkpoint_path)
        return training.outcome()


def check_device(device: str) -> None:
    """Raises `ArchsweepError` unless this machine has the device."""
    try:
        found = torch.device(device)
        there = found.type == "cpu" or (found.type == "cuda" and (found.index or 0) < torch.cuda.device_count())
    except RuntimeError:  # no device's name at all
        there = False
    if not there:
        raise ArchsweepError(f"no device {device!r} on this machine; use --device cpu")


class Training:
    """A training under way, an epoch at a time."""

    def __init__(
        self, cell: Cell, setting: Setting, data: Data, seeds: Sequence[int], device: str, until: int | None = None
    ) -> None:
        self._cell, self._setting, self._recipe, self._seeds = cell, setting, setting.recipe, tuple(seeds)
        self.until = setting.recipe.epochs if until is None else until
        self._device = torch.device(device)
        self._on_gpu = self._device.type == "cuda"
        network = Network(cell, setting.skeleton, self._seeds, self._recipe.normalisation_momentum)
        self.network = network.to(self._device).to(memory_format=FORMAT)  # type: ignore[call-overload]  # it is there
        self._optimizer = make_optimizer(self.network, self._recipe)
        self._images = Images(data.train, self._device)
        self._scored = [
            data.train.part(0, setting.data.scored, 1),
            data.validation,
            data.test,
        ]
        self._steps = setting.data.train // self._recipe.batch  # an epoch leaves out what fills no batch
        self._total = self._steps * self._recipe.epochs
        self._clock = partial(_gpu_seconds, self._device) if self._on_gpu else time.thread_time
        self.progress = Progress(0, 0.0, np.full((len(seeds), len(METRICS) // 2), np.nan))

    def run_epoch(self) -> tuple[Tensor, Tensor]:
        """One pass over the training images; mean loss and accuracy of every repeat, (repeats,).

        Raises `EvaluationError` if every repeat has diverged: its loss or a weight is not finite.
        """
        progress = self.progress
        rngs = [np.random.default_rng((seed, progress.epoch)) for seed in self._seeds]
        order = np.stack([rng.permutation(self._setting.data.train) for rng in rngs])
        totals = torch.zeros(2, len(self._seeds), device=self._device)
        seconds, began = progress.seconds, self._clock()
        for step in range(self._steps):
            done = progress.epoch * self._steps + step
            if done == self._total // 2:
                seconds += self._clock() - began
                progress = progress.at_half(self._measured(seconds))
                began = self._clock()
            chosen = order[:, step * self._recipe.batch : (step + 1) * self._recipe.batch]
            totals += self._step(done, *self._images.batch(chosen, rngs, self._recipe.crop, self._recipe.flip))
        loss, accuracy = totals.cpu() / self._steps
        seconds += self._clock() - began
        sound = loss.isfinite() & self._finite().cpu()
        if not sound.any():
            what = "weights" if loss.isfinite().any() else "loss"
            raise EvaluationError(f"the {what} became infinite or no number in epoch {progress.epoch + 1}")
        self.progress = progress.after_epoch(seconds, ~sound.numpy())
        return loss, accuracy

    def _finite(self) -> Tensor:
        """Which repeats have finite weights and moving averages only, (repeats,): the last step of all may have broken
        them.
        """
        averages = (buffer for buffer in self.network.buffers() if buffer.is_floating_point())
        parts = [values.detach().reshape(len(self._seeds), -1) for values in (*self.network.parameters(), *averages)]
        return torch.stack([values.isfinite().all(1) for values in parts]).all(0)

    def _step(self, done: int, images: Tensor, labels: Tensor) -> Tensor:
        """One update of the weights; loss and accuracy of every repeat on the batch, (2, repeats)."""
        self.network.train()
        self._optimizer.param_groups[0]["lr"] = self.learning_rate(done)
        logits = self._logits(images)
        losses = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels).mean(0)
        self._optimizer.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]  # torch's
        self._optimizer.step()
        return torch.stack([losses.detach(), (logits.detach().argmax(2) == labels).float().mean(0)])

    def learning_rate(self, done: int) -> float:
        """The rate after so many steps: a cosine from the recipe's to 0, warmed up."""
        warm = min(1.0, done / self._recipe.warmup) if self._recipe.warmup else 1.0
        return self._recipe.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * done / self._total))

    def _logits(self, images: Tensor) -> Tensor:
        """Logits, float32 (batch, repeats, classes); on a GPU the convolutions run in bfloat16."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._on_gpu):
            logits: Tensor = self.network(images.contiguous(memory_format=FORMAT))
        return logits.float()

    def accuracy(self, split: Split) -> NDArray[np.float64]:
        """Of every repeat on some images, (repeats,)."""
        self.network.eval()
        right = torch.zeros(len(self._seeds), device=self._device)
        with torch.no_grad():
            for start in range(0, len(split), EVALUATION_BATCH):
                images, labels = self._images.plain(split, slice(start, start + EVALUATION_BATCH))
                right += (self._logits(images.repeat(1, len(self._seeds), 1, 1)).argmax(2) == labels[:, None]).sum(0)
        return right.cpu().numpy().astype(np.float64) / len(split)

    def _measured(self, seconds: float) -> NDArray[np.float64]:
        """Half a row of metrics, (repeats, 4): seconds so far, accuracies in training, validation and test."""
        share = np.full(len(self._seeds), seconds / len(self._seeds))
        return np.stack([share, *(self.accuracy(split) for split in self._scored)], 1)

    def report(self, loss: Tensor, accuracy: Tensor) -> Epoch:
        """The epoch that just ended."""
        done, seconds = self.progress.epoch, self.progress.seconds / len(self._seeds)
        validation = float(self.accuracy(self._scored[1]).mean())
        return Epoch(done, self.until, float(loss.mean()), float(accuracy.mean()), validation, seconds)

    def end(self) -> None:
        """Notes that it has been trained as long as it was to be, for now."""
        self.progress = self.progress.ended(self.until)

    def outcome(self) -> Outcome:
        """The metrics as of now."""
        metrics = np.hstack([self.progress.halfway, self._measured(self.progress.since_rung(self.until))])
        metrics[self.progress.diverged] = np.nan
        return Outcome(metrics, self.progress.epoch)

    def save(self, path: Path) -> None:
        """Writes a checkpoint, whole or not at all."""
        checkpoint.save(path, self._identity(), self.network, self._optimizer, self.progress)

    def resume(self, path: Path) -> None:
        """Goes on from a checkpoint of this very training, if there is one. Raises `AheadError` if it came too far."""
        found = checkpoint.load(path, self._identity(), self.network, self._optimizer, self.until)
        self.progress = found or self.progress

    def _identity(self) -> str:
        return identity(self._cell, self._setting, self._seeds)


def _gpu_seconds(device: torch.device) -> float:
    torch.cuda.synchronize(device)
    return time.perf_counter()


def identity(cell: Cell, setting: Setting, seeds: Sequence[int]) -> str:
    """What a training is a function of, as text."""
    return repr((cell.to_json(), setting, tuple(seeds)))


class Images:
    """A training set on a device, and how batches are made of it."""

    def __init__(self, train: Split, device: torch.device) -> None:
        self._device = device
        self._images = torch.from_numpy(train.images.copy()).to(device)
        self._labels = torch.from_numpy(train.labels).to(device)
        self._mean, self._std = (
            torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1) for values in train.statistics
        )

    def batch(
        self, chosen: NDArray[np.int64], rngs: Sequence[np.random.Generator], crop: int, flip: bool
    ) -> tuple[Tensor, Tensor]:
        """Training images (batch, repeats * channels, side, side), augmented and normalised, labels (batch, repeats).

        chosen: (repeats, batch) image numbers. rngs: one a repeat.
        """
        index = torch.from_numpy(chosen.T.copy()).to(self._device)
        images = self._images[index]
        if crop or flip:
            drawn = np.stack([_draw(rng, chosen.shape[1], crop, flip) for rng in rngs], 1)
            images = cropped(images.flatten(0, 1), torch.from_numpy(drawn).to(self._device).flatten(0, 1), crop)
            images = images.view(chosen.shape[1], len(rngs), *images.shape[1:])
        return self._normalised(images).flatten(1, 2), self._labels[index]

    def plain(self, split: Split, which: slice) -> tuple[Tensor, Tensor]:
        """Some images of a split, normalised but not augmented, (n, channels, side, side), and their labels, (n,)."""
        images, labels = (torch.from_numpy(array[which]).to(self._device) for array in (split.images, split.labels))
        return self._normalised(images), labels

    def _normalised(self, images: Tensor) -> Tensor:
        """Mean 0 and standard deviation 1 in every channel of the training set."""
        return (images.float() - self._mean) / self._std


def _draw(rng: np.random.Generator, count: int, crop: int, flip: bool) -> NDArray[np.int64]:
    """How to augment images, (count, 3): shift down, shift right, mirrored or not."""
    flips = rng.integers(0, 2, (count, 1)) if flip else np.zeros((count, 1), np.int64)
    return np.hstack([rng.integers(0, 2 * crop + 1, (count, 2)), flips])


def cropped(images: Tensor, drawn: Tensor, crop: int) -> Tensor:
    """Images (n, channels, side, side), padded with black, cropped to their size, mirrored; drawn: see `_draw`."""
    side = images.shape[-1]
    padded = F.pad(images, (crop, crop, crop, crop))
    pixels = torch.arange(side, device=images.device)
    rows = drawn[:, :1] + pixels
    columns = drawn[:, 1:2] + torch.where(drawn[:, 2:] == 1, pixels.flip(0), pixels)
    number = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[number, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
