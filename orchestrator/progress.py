"""The line that shows a search going on."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from nas.trial import Trial
from orchestrator.state import State
from orchestrator.trajectory import Trajectory

REFRESH = 0.1


class SearchProgress:
    """An observer that shows trials done, trials/s, the incumbent and the clock, on a terminal only.

    Progress counts trials against ``trials``, or training seconds against ``seconds``.
    """

    def __init__(self, console: Console, trajectory: Trajectory, trials: int | None, seconds: float | None) -> None:
        self._trajectory = trajectory
        self._by_trials = trials is not None
        self._progress = Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
            BarColumn(),
            TextColumn("{task.fields[rate]:,.0f} trials/s  best {task.fields[best]}  clock {task.fields[clock]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        unit = "trials" if self._by_trials else "s of training"
        total = trials if trials is not None else seconds
        self._task = self._progress.add_task("", total=total, unit=unit, rate=0.0, best="-", clock="0 s")
        self._shown_at, self._shown = time.monotonic(), 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, trial: Trial, state: State) -> None:
        now = time.monotonic()
        if now - self._shown_at >= REFRESH:
            self._show(state, now)

    def _show(self, state: State, now: float) -> None:
        rate = (state.finished - self._shown) / max(now - self._shown_at, REFRESH)
        self._shown_at, self._shown = now, state.finished
        incumbent = self._trajectory.incumbent
        best = "-" if incumbent is None else f"{incumbent.objective:.4f}"
        if incumbent is not None and incumbent.regret is not None:
            best += f" (regret {incumbent.regret * 100:.2f} points)"
        self._progress.update(
            self._task,
            completed=state.finished if self._by_trials else state.spent,
            rate=rate,
            best=best,
            clock=duration(state.clock),
        )


def duration(seconds: float) -> str:
    """Seconds as people say them, in the unit that leaves one to three digits."""
    for size, unit in ((86_400 * 365, "years"), (86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
