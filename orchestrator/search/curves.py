"""The curves of trainings while they run: from the files in which trainers keep them into the metrics file."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Self

from nas.trial import Proposal, Trial
from orchestrator.records.state import State
from workers.live import CurveReader, LiveTraining

POLL = 1.0
"""Seconds between looks at the curves of pending trials."""
Trainings = Callable[[Proposal, int], Sequence[LiveTraining]]
"""The trainings of a proposal with a seed, in whose files curves grow."""


class Curves:
    """A context that watches the pending trials of a search, and an observer that reads on when one has finished.

    write: called with ``trial_N`` (``trial_N.M`` for the M-th setting of several) and an epoch, each once and in order.
    """

    def __init__(self, trainings: Trainings, state: State, write: Callable[[str, dict[str, Any]], None]) -> None:
        self._trainings, self._state, self._write = trainings, state, write
        self._readers: dict[int, dict[str, CurveReader]] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="curves", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def __call__(self, trial: Trial, state: State) -> None:
        with self._lock:
            self._read(trial)
            del self._readers[trial.number]

    def _watch(self) -> None:
        while not self._over.wait(POLL):
            for number, trial in list(self._state.pending.items()):
                with self._lock:
                    if number in self._state.pending:
                        self._read(trial)

    def _read(self, trial: Trial) -> None:
        if trial.number not in self._readers:
            lives = self._trainings(trial.proposal, trial.seed)
            names = [f"trial_{trial.number}" + (f".{m}" if len(lives) > 1 else "") for m in range(len(lives))]
            readers = [CurveReader(live.curve, live.rung or math.inf) for live in lives]
            self._readers[trial.number] = dict(zip(names, readers, strict=True))
        for name, reader in self._readers[trial.number].items():
            for epoch in reader.new():
                self._write(name, epoch)
