"""The command about surrogates: `archsweep compare`, of how they rank, and of what searches with them find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table as RichTable

from nas.errors import ArchsweepError
from orchestrator.cli.arguments import table_argument
from orchestrator.cli.say import show
from surrogate.named import DEFAULT_SURROGATE

if TYPE_CHECKING:
    from orchestrator.studies.compare import Measured, Truth
    from surrogate.base import Prediction

SHOWN = {
    "kendall_tau": "tau",
    "spearman": "rho",
    "precision_at_1pct": "P@1%",
    "precision_at_01pct": "P@0.1%",
    "best_of_10": "top 10",
    "best_of_100": "top 100",
    "coverage": "cov.",
    "fit_seconds": "fit s",
    "score_seconds": "score s",
}
"""Metrics by the columns that show them."""


@click.command()
@table_argument
@click.option("--surrogate", "surrogates", multiple=True, metavar="NAME", help="Again for more.  [default: all]")
@click.option("--labels", multiple=True, type=click.IntRange(2), help="Again for more.  [default: 100, 172, 424, 4236]")
@click.option("--search", is_flag=True, help="Compare what searches find: on the table, on a surrogate, filtered.")
@click.option("--searcher", metavar="NAME", help="With --search.  [default: evolution]")
@click.option("--trials", type=click.IntRange(1), help="Trials of a search, with --search.  [default: 150]")
@click.option("--workers", type=click.IntRange(1), help="Simulated workers, with --search.  [default: 8]")
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1), help="Runs of each.")
@click.option(
    "--objective", default="test", show_default=True, type=click.Choice(["validation", "test"]), help="Which accuracy."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs and plots; resumed if it holds some.")
@click.option("--track/--no-track", default=None, help="Log to MLflow.  [default: track; no-track with --search]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def compare(
    table: Path,
    surrogates: tuple[str, ...],
    labels: tuple[int, ...],
    search: bool,
    seeds: int,
    objective: str,
    out: Path | None,
    track: bool | None,
    as_json: bool,
    **searched: Any,
) -> None:
    """Say how well surrogates rank the cells of TABLE that were fitted on a few of them.

    Fitted on the first training of cells drawn uniformly, judged by the mean accuracy of all cells. Of the table in the
    box, if none is named.

    \b
    All surrogates, then one of them from 100 labels:
      archsweep compare nb101.arrow
      archsweep compare nb101.arrow --surrogate blend --labels 100 --json
    What evolution finds on the table, on trees fitted on 100 labels, and on the table with trees as its filter:
      archsweep compare nb101.arrow --search --seeds 10
    """
    if search:
        _compare_searches(table, surrogates, labels, seeds, objective, out, bool(track), as_json, searched)
        return
    given = [name for name, value in searched.items() if value is not None]
    if given:
        raise ArchsweepError(f"--{given[0]} belongs to --search; give both or neither")
    from orchestrator.studies.compare import Comparison, summarised
    from orchestrator.studies.compare_log import logged

    comparison = Comparison.of(table, cast(Any, objective), surrogates, labels, seeds)
    folder = out or Path("runs") / f"compare-{table.stem}"
    params = {"table": str(table), "objective": objective, "seeds": seeds}
    stderr = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with comparison.alone(folder), Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        task = bar.add_task("runs", total=len(comparison.arms) * seeds)

        def advance(run: Measured, predicted: Prediction | None, truth: Truth) -> None:
            bar.advance(task)

        with logged(folder, track is not False, params, comparison.arms) as log:
            rows = summarised(comparison.run(folder, [log, advance]))
    if log.error is not None:
        click.echo(f"archsweep: not tracked: {log.error}", err=True)
    if as_json:
        click.echo(json.dumps(_nested(rows)))
        return
    _show(f"{table.name}, {objective} accuracy, {seeds} seeds", rows)


def _compare_searches(
    table: Path,
    surrogates: tuple[str, ...],
    labels: tuple[int, ...],
    seeds: int,
    objective: str,
    out: Path | None,
    track: bool,
    as_json: bool,
    searched: dict[str, Any],
) -> None:
    from orchestrator.studies.compare_search import ARMS, compare_searches, means

    if len(surrogates) > 1 or len(labels) > 1:
        raise ArchsweepError("--search takes one --surrogate and one number of --labels")
    values = {
        "table": str(table),
        "trials": searched["trials"] or 150,
        "searcher": {"name": searched["searcher"] or "evolution"},
        "objective": {"column": objective},
        "pool": {"workers": searched["workers"] or 8},
        "tracking": {"enabled": track},
    }
    folder = out or Path("runs") / f"compare-search-{table.stem}"
    found = compare_searches(values, folder, seeds, (*labels, 100)[0], (*surrogates, DEFAULT_SURROGATE)[0])
    stderr = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        rows = means(list(bar.track(found, total=len(ARMS) * seeds, description="searches")))
    if as_json:
        click.echo(json.dumps({row.pop("arm"): _without_nan(row) for row in rows}))
        return
    show(str(folder), rows)


def _nested(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """By surrogate, then by number of labels."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        found.setdefault(row["surrogate"], {})[str(row["labels"])] = _without_nan(row)
    return found


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """What is not a number is null, which JSON knows."""
    return {name: None if value != value else value for name, value in row.items()}


def _show(title: str, rows: list[dict[str, Any]]) -> None:
    click.echo(title)
    shown = RichTable(box=None, padding=(0, 1, 0, 0))
    for name in ("surrogate", "labels", *SHOWN.values()):
        shown.add_column(name, justify="left" if name == "surrogate" else "right")
    for row in rows:
        seconds = {name: f"{row[name]:.1f}" for name in SHOWN if name.endswith("seconds")}
        texts = {name: f"{row[name]:.3f}" for name in SHOWN} | seconds
        shown.add_row(row["surrogate"], str(row["labels"]), *texts.values())
    Console().print(shown)
