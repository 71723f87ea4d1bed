"""The commands that train: `archsweep train` and `archsweep table build`."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from nas.errors import ArchsweepError
from nas.records import available_cores
from orchestrator.arguments import CELL_HELP
from orchestrator.progress import duration

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH = 60
LOG_SECONDS = 60.0
SPEED_WINDOW = 900.0
"""Seconds that the time left is estimated from; cells differ by a factor of ten."""


@click.command()
@click.option("--cell", "cell_json", metavar="JSON", help=CELL_HELP)
@click.option("--hash", "module_hash", metavar="MD5", help="Or its module_hash.")
@click.option("--preset", default="cpu", show_default=True, metavar="cpu|nasbench101", help="How to train.")
@click.option("--dataset", metavar="NAME", help="digits, fashion-mnist or cifar-10.  [default: the preset's]")
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Folder of the data set's files.")
@click.option("--epochs", type=int, help="Epochs.  [default: the preset's]")
@click.option("--seed", type=click.IntRange(0, (1 << 63) - 1), default=0, show_default=True, help="Seed.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path),
    default=Path("runs/checkpoints"),
    show_default=True,
    help="Where a training that is interrupted is kept; the same command goes on with it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def train(
    cell_json: str | None,
    module_hash: str | None,
    preset: str,
    dataset: str | None,
    folder: Path | None,
    epochs: int | None,
    seed: int,
    device: str,
    checkpoints: Path,
    as_json: bool,
) -> None:
    """Train one cell and show its curves.

    \b
      archsweep train --cell '{"adjacency": "010001000", "operations": "input,conv3x3-bn-relu,output"}'
      archsweep train --hash 28cfc7874f6d200472e1a9dcd8650aa0 --dataset fashion-mnist --epochs 4
    """
    from nas.cell import Cell
    from nas.hashes import cell_of_hash
    from nas.trial import Proposal
    from orchestrator.lock import locked
    from workers.base import evaluate
    from workers.live import CurveReader
    from workers.recipe import preset as preset_setting

    if (cell_json is None) == (module_hash is None):
        raise ArchsweepError("name one cell, with --cell JSON or with --hash MD5")
    setting = preset_setting(preset, dataset).trained_for(epochs)
    cell = Cell.from_json(cell_json) if cell_json is not None else cell_of_hash(module_hash or "")
    from workers.train_evaluator import TrainEvaluator
    from workers.train_source import TrainSpec, trainings

    kept = checkpoints / hashlib.sha256(repr(setting).encode()).hexdigest()[:12]
    spec, proposal = TrainSpec((setting,), "validation", folder, kept, device), Proposal(cell)
    evaluator = TrainEvaluator(spec, curves := Curves(Console(stderr=True)))
    taken = "another process trains this cell so; wait for it, or choose another --seed or --checkpoints"
    with locked(kept / f".{cell.key}-{seed}.lock", taken, f"in {checkpoints}"), curves:
        result = evaluate(evaluator, proposal, seed)
        (live,) = trainings(spec, proposal, seed)
        live.end()
    if isinstance(result, str):
        raise ArchsweepError(f"the training failed: {result}; try another seed or preset")
    values = {
        "module_hash": cell.module_hash,
        **cell.to_json(),
        "dataset": setting.data.dataset,
        "preset": preset,
        "epochs": setting.recipe.epochs,
        "seed": seed,
        "parameters": result.parameters,
        "train_accuracy": result.train_accuracy,
        "validation_accuracy": result.validation_accuracy,
        "test_accuracy": result.test_accuracy,
        "training_seconds": result.training_seconds,
    }
    if as_json:
        click.echo(json.dumps({**values, "curve": CurveReader(live.curve).new()}))
    else:
        _show(values)


def _show(values: dict[str, Any]) -> None:
    shown = RichTable(show_header=False)
    for name, value in values.items():
        if name.endswith("accuracy"):
            text = f"{value:.2%}"
        elif name.endswith("seconds"):
            text = duration(value)
        else:
            text = f"{value:,}" if name == "parameters" else str(value)
        shown.add_row(name.replace("_", " "), text)
    Console().print(shown)


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


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--max-vertices", default=5, show_default=True, help="Of the cells, input and output included.")
@click.option("--dataset", default="fashion-mnist", show_default=True, help="digits, fashion-mnist or cifar-10.")
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Folder of the data set's files.")
@click.option("--preset", default="cpu", show_default=True, metavar="cpu|nasbench101", help="How to train.")
@click.option("--budgets", default="1,3,9", show_default=True, metavar="E,E,...", help="Epochs; each its own training.")
@click.option("--repeats", default=3, show_default=True, help="Trainings of every cell and budget.")
@click.option("--seed", default=0, show_default=True, help="Seed of the order and of every training.")
@click.option("--workers", type=int, help="Processes, one thread each.  [default: the cores]")
@click.option("--limit", type=int, metavar="N", help="Only the first N cells of the order; more can follow later.")
def build(
    out: Path,
    max_vertices: int,
    dataset: str,
    folder: Path | None,
    preset: str,
    budgets: str,
    repeats: int,
    seed: int,
    workers: int | None,
    limit: int | None,
) -> None:
    """Train every cell of a space and write the table OUT.

    What is trained is kept in OUT.journal, so that the same command goes on after whatever interrupted it, on another
    machine too. Cells go in a random order: with --limit, the table is a uniform sample of the space.

    \b
    All 91 cells of up to four vertices on scikit-learn's digits:
      archsweep table build digits.arrow --max-vertices 4 --dataset digits --budgets 1,4
    """
    from orchestrator.build import Plan
    from orchestrator.build import build as build_table
    from workers.recipe import preset as preset_setting

    plan = Plan(max_vertices, preset_setting(preset, dataset), _numbers(budgets), repeats, seed)
    with BuildProgress(Console(stderr=True)) as progress:
        made = build_table(plan, out, available_cores() if workers is None else workers, limit, folder, progress)
    click.echo(f"{out}: {len(made):,} cells, budgets {list(made.budgets)} epochs, {made.repeats} repeats")


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ArchsweepError(f"--budgets {text!r}: expected numbers of epochs, like 1,3,9") from None


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
