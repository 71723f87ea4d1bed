"""The commands about sweeps: `archsweep sweep`, `sweep status`, `report`."""

from __future__ import annotations

import json
import os
from math import isnan
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable

FAILED_ARMS = 1


class DefaultGroup(click.Group):
    """Runs the command ``run`` where no other is named, so that `archsweep sweep FILE` reads well."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=DefaultGroup)
def sweep() -> None:
    """Run a sweep: searchers x seeds x settings, or say how far one is.

    \b
    `archsweep sweep FILE` is short for `archsweep sweep run FILE`:
      archsweep sweep examples/sweep.toml --table nb101.arrow --out runs/sweep
      archsweep sweep status runs/sweep
      archsweep report runs/sweep
    """


@sweep.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--table", type=click.Path(path_type=Path), help="Benchmark table; overrides the file's.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the sweep. Default: runs/ and the file's name.")
@click.option("--seeds", type=click.IntRange(min=1), help="So many seeds, from 0 on; overrides the file's.")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="A key of every search; may be repeated.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. Default: one a core; 1 runs inline.")
@click.option("--address", help="Run the arms as tasks of this Ray cluster, host:port or auto.")
@click.option("--track/--no-track", default=None, help="Whether to log to MLflow.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON object.")
def run(
    file: Path,
    table: Path | None,
    out: Path | None,
    seeds: int | None,
    settings: tuple[str, ...],
    jobs: int | None,
    address: str | None,
    track: bool | None,
    as_json: bool,
) -> None:
    """Run the sweep that FILE describes: a search's configuration with a section [sweep].

    A sweep that was killed goes on where it was; arms that are done are never run again, those that failed are. The
    exit code is 1 if arms failed.

    \b
    On this machine's cores, with more seeds, on a Ray cluster:
      archsweep sweep examples/sweep.toml --table nb101.arrow
      archsweep sweep examples/sweep.toml --table nb101.arrow --seeds 100
      archsweep sweep examples/sweep.toml --table nb101.arrow --address auto
    """
    from orchestrator.cli.progress import SweepView
    from orchestrator.sweep.launch import launcher
    from orchestrator.sweep.plan import plan
    from orchestrator.sweep.state import Results
    from orchestrator.sweep.sweep import Sweep

    folder = out or Path("runs") / file.stem
    planned = plan(_values(file, table, seeds, settings, track), str(file), folder)
    job = Sweep(planned, folder)
    before = len(Results.read(job.folder, job.manifest).done)
    with SweepView(Console(stderr=True), len(planned.arms), before) as view:
        results = job.run(launcher(jobs or os.cpu_count() or 1, address), view)
    if job.tracking_error is not None:
        click.echo(f"archsweep: not tracked: {job.tracking_error}", err=True)
    _print(folder, as_json)
    if results.failures:
        click.get_current_context().exit(FAILED_ARMS)


def _values(
    file: Path, table: Path | None, seeds: int | None, settings: tuple[str, ...], track: bool | None
) -> dict[str, Any]:
    """The tables of the file, with what the flags say in their place."""
    from orchestrator.settings.values import merged, nested, read_toml, setting

    over: dict[str, Any] = {}
    for text in settings:
        over = merged(over, nested(*setting(text)))
    if table is not None:
        over["table"] = str(table)
    if seeds is not None:
        over = merged(over, {"sweep": {"seeds": seeds}})
    if track is not None:
        over = merged(over, {"tracking": {"enabled": track}})
    return merged(read_toml(file), over)


@sweep.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(folder: Path, as_json: bool) -> None:
    """Say how many arms of the sweep in FOLDER are done, begun, failed, and why.

    \b
    While it runs, in another terminal:
      archsweep sweep status runs/sweep
    """
    _print(folder, as_json)


def _print(folder: Path, as_json: bool) -> None:
    from dataclasses import asdict

    from orchestrator.statistics import interval
    from orchestrator.sweep.state import standing

    stands, results = standing(folder)
    mean, half = interval(results.losses)
    labels = [group.label for group in results.manifest.groups]
    if as_json:
        about = {
            **asdict(stands),
            "stopped_after_seeds": results.enough,
            "failures": results.failures,
            "mean_loss": dict(zip(labels, (None if isnan(value) else value for value in mean.tolist()), strict=True)),
        }
        click.echo(json.dumps(about))
        return
    click.echo(f"{folder}: {stands.done} of {stands.arms} arms done")
    shown = RichTable()
    for column in ("searcher", "seeds", f"{'regret' if results.known_regret else '1 - objective'} (points)"):
        shown.add_column(column, justify="left" if column == "searcher" else "right")
    for place in mean.argsort(kind="stable"):
        count = int((results.losses[:, place] == results.losses[:, place]).sum())
        loss = f"{mean[place] * 100:.3f} ± {half[place] * 100:.3f}" if count > 1 else f"{mean[place] * 100:.3f}"
        shown.add_row(labels[place], str(count), loss if count else "-")
    Console().print(shown)
    click.echo(
        f"{stands.begun} begun, {stands.failed} failed"
        + (f", stopped after {results.enough} seeds" * bool(results.enough))
    )
    for arm, reason in list(results.failures.items())[:SHOWN_FAILURES]:
        click.echo(f"{arm}: {reason}")


SHOWN_FAILURES = 10


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> None:
    """Write the report of the sweep in FOLDER: report.html and report.parquet.

    \b
    Also of a sweep that is still running:
      archsweep report runs/sweep
    """
    from orchestrator.sweep.page import save_page
    from orchestrator.sweep.report import report as found
    from orchestrator.sweep.report import save_arms

    made, arms = found(folder)
    click.echo(save_page(made, folder))
    click.echo(save_arms(arms, folder))
