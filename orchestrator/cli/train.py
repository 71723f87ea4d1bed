"""The commands that train: `archsweep train`, `archsweep table build` and `archsweep drift`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as RichTable

from nas.errors import ArchsweepError
from nas.table.records import available_cores
from orchestrator.cli.arguments import CELL_HELP, table_argument
from orchestrator.cli.progress import BuildProgress, Curves
from orchestrator.pictures.words import duration


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
    from nas.nasbench101.cell import Cell
    from nas.nasbench101.hashes import cell_of_hash
    from nas.trial import Proposal
    from orchestrator.records.lock import locked
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
    from orchestrator.tables.build import Plan
    from orchestrator.tables.build import build as build_table
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


@click.command()
@table_argument
@click.option("--cells", default=8, show_default=True, help="Cells to train again.")
@click.option("--epochs", type=int, help="Budget to train for.  [default: the table's largest]")
@click.option("--preset", metavar="cpu|nasbench101", help="How to train.  [default: as the table records]")
@click.option("--dataset", metavar="NAME", help="What to train on, with --preset.  [default: the preset's]")
@click.option("--data", "folder", type=click.Path(path_type=Path), help="Folder of the data set's files.")
@click.option(
    "--level", type=click.FloatRange(1e-3, 0.5), default=0.01, show_default=True, help="Rate of false alarms."
)
@click.option(
    "--seed", type=click.IntRange(0, 1 << 30), default=0, show_default=True, help="Seed of everything random."
)
@click.option("--workers", type=click.IntRange(1), help="Processes, one thread each.  [default: the cores]")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def drift(
    table: Path,
    cells: int,
    epochs: int | None,
    preset: str | None,
    dataset: str | None,
    folder: Path | None,
    level: float,
    seed: int,
    workers: int | None,
    as_json: bool,
) -> int:
    """Train some cells of TABLE, the one in the box by default, again and say whether this pipeline reproduces them.

    The exit code is 0 if the new accuracies are within the spread of the table's own repeats, by a permutation test at
    the level given, and 1 if they are not. A table made by `archsweep table build` records how it was trained.

    \b
    Before a live search takes its accuracies for granted:
      archsweep drift fashion5.arrow --cells 12
      archsweep drift nb101.arrow --preset nasbench101 --epochs 4 --json
    """
    from nas.table.table import Table
    from orchestrator.tables.drift import drift as measure
    from workers.recipe import preset as preset_setting

    setting = preset_setting(preset or "cpu", dataset) if preset or dataset else None
    stderr = Console(stderr=True)
    with Progress(console=stderr, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("cells", total=None)
        found = measure(
            Table(table),
            setting,
            epochs,
            cells,
            level,
            seed,
            available_cores() if workers is None else workers,
            folder,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return 0 if found.reproduced else 1
    shown = RichTable(show_header=False)
    for name, value in (
        ("reproduced", "yes" if found.reproduced else "no"),
        ("cells, epochs", f"{len(found.cells)}, {found.epochs}"),
        ("shift of accuracy", f"{found.shift:+.4f} (p = {found.p_shift:.3f})"),
        ("scatter over cells", f"{found.scatter:.4f} (p = {found.p_scatter:.3f})"),
        ("a shift that would show", f"{found.detectable:.4f}"),
        ("training seconds", "unknown" if found.slower is None else f"{found.slower:.2f} times the table's"),
    ):
        shown.add_row(name, value)
    Console().print(shown)
    return 0 if found.reproduced else 1
