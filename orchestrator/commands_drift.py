"""The command `archsweep drift`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as RichTable

from nas.records import available_cores
from orchestrator.arguments import table_argument


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
    from nas.table import Table
    from orchestrator.drift import drift as measure
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
