"""The commands about filters: `archsweep audit`, `archsweep compare-search`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--controls", is_flag=True, help="Also run the same search behind gates to compare with.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def audit(run_dir: Path, controls: bool, as_json: bool) -> None:
    """Judge by its table what the filter of the search in RUN_DIR rejected.

    The gates to compare with know nothing, parameters, what trees know, or the truth; their searches go into folders
    beside RUN_DIR.

    \b
    A filtered search, then its audit:
      archsweep search --table nb101.arrow --filter top --trials 150 --out runs/filtered
      archsweep audit runs/filtered --controls
    """
    from orchestrator.audit import audit_run, control_runs

    audits = {"filter": audit_run(run_dir)}
    if controls:
        audits |= {name: audit_run(folder) for name, folder in control_runs(run_dir)}
    if as_json:
        click.echo(json.dumps({name: asdict(one) for name, one in audits.items()}))
        return
    _show(str(run_dir), [{"gate": name, **asdict(one)} for name, one in audits.items()])


@click.command()
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs; resumed if they are.")
@click.option("--searcher", default="evolution", show_default=True, help="Searcher of all three.")
@click.option("--surrogate", default="trees", show_default=True, help="The surrogate that is searched, and filters.")
@click.option("--labels", default=100, show_default=True, help="Cells that the searched surrogate is fitted on.")
@click.option("--trials", default=150, show_default=True, help="Trials of every search.")
@click.option("--workers", default=8, show_default=True, help="Simulated workers.")
@click.option("--objective", default="test", show_default=True, help="validation or test.")
@click.option("--seeds", default=5, show_default=True, help="Searches of each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare_search(
    table: Path,
    out: Path,
    searcher: str,
    surrogate: str,
    labels: int,
    trials: int,
    workers: int,
    objective: str,
    seeds: int,
    as_json: bool,
) -> None:
    """Search TABLE, a surrogate of it, and TABLE behind a filter, from the same seeds.

    \b
    What each finds, in queries and in simulated seconds:
      archsweep compare-search nb101.arrow --out runs/three --seeds 10
    """
    from orchestrator.compare_search import compare_searches, means

    values = {
        "table": str(table),
        "trials": trials,
        "searcher": {"name": searcher},
        "objective": {"column": objective},
        "pool": {"workers": workers},
    }
    rows = means(list(compare_searches(values, out, seeds, labels, surrogate)))
    if as_json:
        click.echo(json.dumps({row.pop("arm"): row for row in rows}))
        return
    _show(str(out), rows)


def _show(title: str, rows: Iterable[Mapping[str, Any]]) -> None:
    rows = list(rows)
    click.echo(title)
    shown = RichTable()
    for name in rows[0]:
        shown.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        shown.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    Console().print(shown)
