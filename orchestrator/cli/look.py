"""The commands that look: `archsweep analyze`, `archsweep draw`."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table as RichTable

from nas.errors import ArchsweepError
from orchestrator.cli.arguments import table_argument

if TYPE_CHECKING:
    from orchestrator.tables.analyze import Analysis


@click.command()
@table_argument
@click.option("--out", type=click.Path(path_type=Path), help="Folder for analysis.html, with plots, and analysis.json.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def analyze(table: Path, out: Path | None, as_json: bool) -> None:
    """Study the search space by a benchmark table (the one in the box by default), as the NAS-Bench-101 paper does.

    The effect of replacing operations, depth and width, locality, rank correlation of budgets, noise of repeats. The
    paper's figures stand beside where the table is NAS-Bench-101.

    \b
    On the terminal, then as a page with plots:
      archsweep analyze nb101.arrow
      archsweep analyze nb101.arrow --out runs/analysis
    """
    from nas.table.table import Table
    from orchestrator.tables.analyze import Analysis

    analysis = Analysis(Table(table))
    if as_json:
        click.echo(json.dumps(analysis.to_json()))
    else:
        _print(analysis)
    if out is not None:
        from orchestrator.tables.analysis_page import save_analysis

        for path in save_analysis(analysis, out):
            click.echo(path, err=as_json)


def _print(analysis: Analysis) -> None:
    console = Console()
    click.echo("replacing one operation, mean change")
    shown = RichTable()
    for column in ("operation", "by", "accuracy (points)", "paper", "training time (%)", "paper"):
        shown.add_column(column, justify="left" if column in ("operation", "by") else "right")
    for one in analysis.replacements:
        accuracy, seconds = ("", "") if one.paper is None else (f"{value:+.2f}" for value in one.paper)
        shown.add_row(one.old, one.new, _signed(one.accuracy), accuracy, _signed(one.seconds), seconds)
    console.print(shown)
    for title, rows in (
        ("mean training time by width (s)", list(enumerate(analysis.seconds_by_width, 1))),
        ("autocorrelation along random walks, by edits", list(enumerate(analysis.random_walks.tolist()))),
        ("correlation of cells, by distance in edits", list(enumerate(analysis.by_distance.tolist()))),
        ("rank correlation", list(analysis.correlations.items())),
        ("rank correlation with the largest budget, by epochs", [(e, r) for e, (r, _) in analysis.budgets.items()]),
        ("the same among the best tenth", [(e, r) for e, (_, r) in analysis.budgets.items()]),
        ("standard deviation of repeats (points), by epochs", [(e, s) for e, (s, _) in analysis.noise.items()]),
    ):
        if rows:
            console.print(f"{title}: " + "  ".join(f"{key} {_plain(value)}" for key, value in rows), highlight=False)


def _signed(value: float) -> str:
    return "-" if isnan(value) else f"{value:+.2f}"


def _plain(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3g}"


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--first", default=0, show_default=True, type=click.IntRange(min=0), help="First proposal to draw.")
@click.option("--count", default=50, show_default=True, type=click.IntRange(min=1), help="Proposals to draw at most.")
@click.option("--best", is_flag=True, help="Draw only the proposals that became the incumbent.")
def draw(source: str, out: Path, first: int, count: int, best: bool) -> None:
    """Draw a cell, or a search's sequence of proposals, into OUT.

    SOURCE is the folder of a search, a cell as JSON, or a module_hash of NAS-Bench-101. A cell is drawn as SVG or PNG,
    by the suffix of OUT; a search as one picture of many cells, or as an animated GIF.

    \b
    A cell, then what evolution proposed and how it got better:
      archsweep draw 28cfc7874f6d200472e1a9dcd8650aa0 cell.svg
      archsweep draw runs/evolution-nb101-seed0 proposals.gif --count 100
      archsweep draw runs/evolution-nb101-seed0 incumbents.svg --best
    """
    from nas.nasbench101.cell import Cell
    from nas.nasbench101.hashes import cell_of_hash
    from orchestrator.search.animation import FORMATS, frames, save_cell, save_frames

    if out.suffix not in FORMATS:
        raise ArchsweepError(f"cannot draw {out.suffix or 'without a suffix'} ({out}); choose {', '.join(FORMATS)}")
    if Path(source).is_dir():
        save_frames(frames(Path(source), first, count, best), out)
    else:
        save_cell(Cell.from_json(source) if source.startswith(("{", "[")) else cell_of_hash(source), out)
    click.echo(out)
