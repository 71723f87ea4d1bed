"""Trainings under way, as files in a folder that all who train and who watch share.

``NAME.safetensors`` is the checkpoint of a training, there until its result is on record; of one that goes on rung by
rung, until that of its last rung is. ``NAME.jsonl`` is its curve, kept: a line an epoch, which also says which process
trained it; an epoch that is trained again has another line. ``NAME-RUNG.stop``, made by anyone, ends the training after
its current epoch, with what it has by then.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from nas.files import room_for
from nas.nasbench101.cell import Cell

CHECKPOINT = ".safetensors"


@dataclass(frozen=True)
class LiveTraining:
    """The files of one training. What reads and writes them may be on different machines.

    rung: the epochs after which it is to end, None for all of its setting's.
    """

    folder: Path
    name: str
    rung: int | None = None

    @classmethod
    def of(cls, folder: Path, cell: Cell, seed: int, number: int = 0, rung: int | None = None) -> LiveTraining:
        """The training of a cell with a seed in the setting of this number."""
        return cls(folder, f"{cell.key}-{seed}-{number}", rung)

    @property
    def checkpoint(self) -> Path:
        return self.folder / f"{self.name}{CHECKPOINT}"

    @property
    def curve(self) -> Path:
        return self.folder / f"{self.name}.jsonl"

    def begin(self) -> None:
        """Called by who trains, first."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def report(self, epoch: Mapping[str, float]) -> None:
        """Adds an epoch to the curve. Raises `DataError` if the disk is full."""
        line = orjson.dumps({**epoch, "by": f"{socket.gethostname()}:{os.getpid()}"}) + b"\n"
        with room_for(self.curve), self.curve.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if size and file.read() != b"\n":  # cut off by a power cut
                line = b"\n" + line
            if file.write(line) < len(line):  # only what fits is written
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @property
    def stopped(self) -> bool:
        """Whether somebody asked the training to end."""
        return self._stop.exists()

    def stop(self) -> None:
        """Asks the training to end after its current epoch; safe when it has ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stop.touch()

    def end(self, may_go_on: bool = False) -> None:
        """Removes what only an unfinished training needs; its checkpoint stays if it may go on to another rung.

        To be called once the result is where it cannot be lost: before, a kill would cost the whole training.
        """
        if not may_go_on:
            self.checkpoint.unlink(missing_ok=True)
        self._stop.unlink(missing_ok=True)

    @property
    def _stop(self) -> Path:
        return self.folder / f"{self.name}-{self.rung or 'all'}.stop"


def forget_checkpoints(folder: Path) -> None:
    """Removes those of trainings that might have gone on, once none will, and what was left of kills while saving."""
    for path in (*folder.glob(f"*{CHECKPOINT}"), *folder.glob(f".*{CHECKPOINT}.*.part")):
        path.unlink(missing_ok=True)


@dataclass
class CurveReader:
    """Reads a curve as it grows, up to an epoch."""

    path: Path
    most: float = math.inf
    last: float = 0.0

    def new(self) -> list[dict[str, Any]]:
        """The epochs since the last call, as they were reported, each once, though one that was trained again was told
        twice.
        """
        try:
            found = self.path.read_bytes()
        except FileNotFoundError:
            return []
        epochs = []
        for line in found[: found.rfind(b"\n") + 1].splitlines():
            try:
                epoch = orjson.loads(line)
            except orjson.JSONDecodeError:  # cut off
                continue
            if self.last < epoch["epoch"] <= self.most:
                self.last = epoch["epoch"]
                epochs.append({key: value for key, value in epoch.items() if key != "by"})
        return epochs
