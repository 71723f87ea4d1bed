"""The command about filters: `archsweep audit`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table as RichTable


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--controls", is_flag=True, help="Also run the same search behind control filters.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def audit(run_dir: Path, controls: bool, as_json: bool) -> None:
    """Judge by its table what the filter of the search in RUN_DIR rejected.

    The controls know nothing, parameters, what trees know, or the truth; their searches go into folders
    beside RUN_DIR.

    \b
    A filtered search, then its audit:
      archsweep search --table nb101.arrow --filter top --trials 150 --out runs/filtered
      archsweep audit runs/filtered --controls
    """
    from orchestrator.studies.audit import audit_run, control_runs

    audits = {"filter": audit_run(run_dir)}
    if controls:
        audits |= {name: audit_run(folder) for name, folder in control_runs(run_dir)}
    if as_json:
        click.echo(json.dumps({name: asdict(one) for name, one in audits.items()}))
        return
    click.echo(str(run_dir))
    shown = RichTable("", *audits)
    for key in asdict(audits["filter"]):
        shown.add_row(key.replace("_", " "), *(_said(key, getattr(one, key)) for one in audits.values()))
    Console().print(shown)


def _said(key: str, value: float) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "unknown"
    match key:
        case "tau":
            return f"{value:.3f}"
        case "false_rejects" | "best":
            return f"{value:.2%}"
        case _:
            return f"{100 * value:.3f} points"
