"""The curves of trainings while they run: from the files in which trainers keep them into the metrics file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from nas.trial import Proposal, Trial
from orchestrator.state import State
from workers.live import CurveReader

POLL = 1.0
"""Seconds between looks at the curves of pending trials."""
CurveFiles = Callable[[Proposal, int], Sequence[Path]]
"""Where the curves of a proposal's trainings with a seed grow."""


class Curves:
    """A context that watches the pending trials of a search, and an observer that reads on when one has finished.

    write: called with ``trial_N`` (``trial_N.M`` for the M-th setting of several) and an epoch, each once and in order.
    """

    def __init__(self, files: CurveFiles, state: State, write: Callable[[str, dict[str, Any]], None]) -> None:
        self._files, self._state, self._write = files, state, write
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
            paths = self._files(trial.proposal, trial.seed)
            names = [f"trial_{trial.number}" + (f".{m}" if len(paths) > 1 else "") for m in range(len(paths))]
            self._readers[trial.number] = {name: CurveReader(p) for name, p in zip(names, paths, strict=True)}
        for name, reader in self._readers[trial.number].items():
            for epoch in reader.new():
                self._write(name, {key: value for key, value in epoch.items() if key != "by"})
