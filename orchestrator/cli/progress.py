"""The lines and bars that show a search, a sweep, a training or a build going on."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from nas.trial import Trial
from orchestrator.pictures.words import duration
from orchestrator.records.state import State
from orchestrator.records.trajectory import Trajectory

if TYPE_CHECKING:
    from orchestrator.sweep.arm import Outcome

REFRESH = 0.1
BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 60
LOG_SECONDS = 60.0
SPEED_WINDOW = 900.0
"""Seconds that the time left is estimated from; cells differ by a factor of ten."""


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


class Curves:
    """Hears of every epoch and draws loss and accuracies, on a terminal only.

    rows: the epochs so far, as JSON values.
    """

    def __init__(self, console: Console) -> None:
        self.rows: list[dict[str, float]] = []
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Curves:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, epoch: Any) -> None:
        self.rows.append(epoch.to_json())
        if self._live is not None:
            self._live.update(self._drawn(epoch.epochs), refresh=True)

    def _drawn(self, epochs: int) -> Group:
        last = self.rows[-1]
        lines = [Text(f"epoch {last['epoch']}/{epochs}  {duration(last['seconds'])} of training")]
        for name in ("loss", "train_accuracy", "validation_accuracy"):
            values = [row[name] for row in self.rows]
            lines.append(Text(f"{name.replace('_', ' '):>20} {last[name]:8.4f} {sparkline(values, WIDTH)}"))
        return Group(*lines)


def sparkline(values: list[float], width: int) -> str:
    """The last values as blocks of a height between their lowest and highest."""
    shown = values[-width:]
    low, high = min(shown), max(shown)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((value - low) * scale)] for value in shown)


class BuildProgress:
    """Shows epochs done and the time left: a bar on a terminal, elsewhere a line a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} epochs"),
            BarColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=SPEED_WINDOW,
        )
        self._task = self._bar.add_task("", total=None)
        self._begun: tuple[float, int] | None = None
        self._logged = time.monotonic()

    def __enter__(self) -> BuildProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)
        now = time.monotonic()
        began, before = self._begun = self._begun or (now, done)
        if not self._console.is_terminal and done > before and now - self._logged >= LOG_SECONDS:
            self._logged = now
            left = duration((total - done) * (now - began) / (done - before))
            click.echo(f"{done:,}/{total:,} epochs, {left} left", err=True)
