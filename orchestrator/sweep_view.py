"""The live view of a sweep on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.arm import Outcome


class SweepView:
    """Arms done, running, failed; trials/s of this run; time left; the best so far. On a terminal only.

    arms, done: of the whole sweep, as it begins.
    """

    def __init__(self, console: Console, arms: int, done: int) -> None:
        self._progress = Progress(
            MofNCompleteColumn(),
            TextColumn("arms"),
            BarColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=arms, completed=done, state="")
        self._done, self._running, self._failed, self._trials = done, 0, 0, 0
        self._best: Outcome | None = None
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, arm: str, outcome: Outcome | None) -> None:
        self._running += 1 if outcome is None else -1
        if outcome is not None and outcome.failure is not None:
            self._failed += 1
            self._progress.console.print(f"{arm} failed: {outcome.failure}", markup=False, highlight=False)
        elif outcome is not None:
            self._done += 1
            self._trials += outcome.trials
            better = self._best is None or (outcome.best_objective or 0) > (self._best.best_objective or 0)
            self._best = outcome if better else self._best
        self._progress.update(self._task, completed=self._done + self._failed, state=self._state())

    def _state(self) -> str:
        rate = self._trials / max(time.monotonic() - self._began, 1e-9)
        best = self._best.best_objective if self._best else None
        shown = f"{self._running} running  {self._failed} failed  {rate:,.0f} trials/s"
        return shown if best is None else f"{shown}  best {best:.4f}"
