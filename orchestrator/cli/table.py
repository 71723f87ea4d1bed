"""The commands about benchmark tables, `archsweep table ...`: where they come from, and what they hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table as RichTable

from nas.errors import ArchsweepError, DataError
from orchestrator.cli.arguments import CELL_HELP, table_argument
from orchestrator.cli.train import build


@click.group()
def table() -> None:
    """Import or build a benchmark table and look into it, or into the one in the box if none is named.

    \b
    From the published file to one cell's trainings:
      archsweep table import nasbench_only108.tfrecord nb101.arrow
      archsweep table info nb101.arrow
      archsweep table query nb101.arrow --hash 28cfc7874f6d200472e1a9dcd8650aa0
    """


table.add_command(build)


@table.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def import_(source: Path, out: Path) -> None:
    """Import SOURCE and write the table OUT.

    SOURCE is the published NAS-Bench-101 TFRecord (any set of budgets), or trainings in the long format as Parquet or
    CSV: columns adjacency, operations, epochs, repeat, trainable_parameters, module_hash; and at least one of the
    metrics final_test_accuracy, final_validation_accuracy, final_train_accuracy (fractions), final_training_time
    (seconds), and the same with halfway_. An existing table OUT is replaced.

    \b
    The published file, then a table of your own:
      archsweep table import nasbench_only108.tfrecord nb101.arrow
      archsweep table import trainings.parquet mine.arrow
    """
    from nas.table.importing import import_table
    from nas.table.table import refuse_other

    refuse_other(out)
    stderr = Console(stderr=True)
    with Progress(console=stderr, disable=not stderr.is_terminal) as bar:
        made = import_table(source, out, _reporter(bar))
    click.echo(f"{out}: {len(made):,} cells, budgets {list(made.budgets)} epochs, {made.repeats} repeats")


@table.command()
@click.argument("out", type=click.Path(path_type=Path))
def pretrained(out: Path) -> None:
    """Write NAS-Bench-101, as graph networks predict it, as the table OUT.

    For commands that take a table. Whatever is read from it is marked as predicted. A search needs no file:
    `archsweep search --evaluator pretrained-nb101`.

    \b
    What the space looks like, without the published file:
      archsweep table pretrained predicted.arrow
      archsweep analyze predicted.arrow
    """
    from nas.table.table import refuse_other
    from surrogate.pretrained.predicted import Predicted

    refuse_other(out)
    stderr = Console(stderr=True)
    with Progress(console=stderr, disable=not stderr.is_terminal) as bar:
        made = Predicted().write(out, _reporter(bar))
    click.echo(f"{out}: {len(made):,} cells, predicted, {made.repeats} repeats")


def _reporter(bar: Progress) -> Callable[[str, int, int], None]:
    """A progress bar for each thing that is reported."""
    tasks: dict[str, Any] = {}

    def report(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = bar.add_task(what, total=total)
        bar.update(tasks[what], completed=done)

    return report


@table.command()
@table_argument
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(table: Path, as_json: bool) -> None:
    """Say what a table holds: budgets, repeats, how much of each metric.

    \b
    For people, then for a program:
      archsweep table info nb101.arrow
      archsweep table info nb101.arrow --json
    """
    import numpy as np

    from nas.table.table import METRICS, PREDICTED, Table

    opened = Table(table)
    filled = {name: float((~np.isnan(opened.metric(name))).mean()) for name in METRICS}
    if as_json:
        about = {
            "cells": len(opened),
            "budgets": opened.budgets,
            "repeats": opened.repeats,
            "source": opened.source,
            "fingerprint": opened.fingerprint,
            "filled": filled,
        }
        click.echo(json.dumps(about))
        return
    origin = "predicted by" if PREDICTED in opened.made else "from"
    click.echo(f"{table}: {len(opened):,} cells {origin} {opened.source}; means by epochs")
    shown = RichTable("metric")
    for column in ("filled", *(f"at {budget}" for budget in opened.budgets)):
        shown.add_column(column, justify="right")
    for name in METRICS:
        values = opened.metric(name)
        there = ~np.isnan(values)
        means = [
            f"{values[:, b][there[:, b]].mean():.4f}" if there[:, b].any() else "-" for b in range(len(opened.budgets))
        ]
        shown.add_row(name, f"{filled[name]:.1%}", *means)
    Console().print(shown)


@table.command()
@table_argument
def verify(table: Path) -> None:
    """Say whether a table's values are those that were written.

    To open a table is to read its head only, so that damage further in goes unnoticed; this reads all of it.

    \b
    After a copy:
      archsweep table verify nb101.arrow
    """
    from nas.table.table import Table

    opened = Table(table)
    opened.verify()
    click.echo(f"{table}: {len(opened):,} cells, whole; fingerprint {opened.fingerprint}")


@table.command()
@table_argument
@click.option("--hash", "module_hash", metavar="MD5", help="The cell's module_hash.")
@click.option("--cell", "cell_json", metavar="JSON", help=CELL_HELP)
def query(table: Path, module_hash: str | None, cell_json: str | None) -> None:
    """Print everything that a table knows of one cell, as JSON.

    \b
    By name, then by what it is:
      archsweep table query nb101.arrow --hash 28cfc7874f6d200472e1a9dcd8650aa0
      archsweep table query nb101.arrow --cell \\
        '{"adjacency": "010001000", "operations": "input,conv3x3-bn-relu,output"}'
    """
    from nas.nasbench101.cell import Cell
    from nas.table.table import Table

    if (module_hash is None) == (cell_json is None):
        raise ArchsweepError("name one cell, with --hash MD5 or with --cell JSON")
    opened = Table(table)
    row = opened.row(Cell.from_json(cell_json).key) if cell_json is not None else opened.row_of_hash(module_hash or "")
    if row < 0:
        raise DataError(f"{table} does not hold cell {module_hash or cell_json}")
    click.echo(json.dumps(described_row(opened, row), indent=2))


@table.command()
@table_argument
@click.option("--against", type=click.Path(path_type=Path), help="A table of the same cells to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print its numbers as one JSON object.")
def datasheet(table: Path, against: Path | None, as_json: bool) -> None:
    """Write how a table was made and how reliable it is, as Markdown.

    \b
    Beside NAS-Bench-101's accuracies of the same cells:
      archsweep table datasheet fashion5.arrow --against nb101.arrow > fashion5.md
    """
    from nas.table.table import Table
    from orchestrator.tables.datasheet import datasheet as described
    from orchestrator.tables.datasheet import to_json

    opened, other = Table(table), None if against is None else Table(against)
    click.echo(json.dumps(to_json(opened, other)) if as_json else described(opened, table.stem, other), nl=as_json)


def described_row(opened: Any, row: int) -> dict[str, Any]:
    """Everything that a table knows of one row, JSON values; what is missing is null."""
    import math

    from nas.nasbench101.network import cost

    cell = opened.cell(row)
    trainings = {
        str(epochs): [
            {
                name: None if math.isnan(value := opened.value(name, row, budget, repeat)) else value
                for name in opened.names
            }
            for repeat in range(opened.repeats)
        ]
        for budget, epochs in enumerate(opened.budgets)
    }
    return {
        "module_hash": opened.module_hash(row),
        **cell.to_json(),
        "trainable_parameters": int(opened.parameters[row]),
        "macs": cost(cell).macs,
        "trainings": trainings,
    }
