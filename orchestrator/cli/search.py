"""The commands `archsweep search` and `archsweep searchers`."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table as RichTable

from nas.errors import ArchsweepError
from orchestrator.cli.progress import SearchProgress
from orchestrator.cli.say import stderr, stdout
from orchestrator.pictures.words import duration


@click.command()
@click.argument("config_file", required=False, type=click.Path(path_type=Path))
@click.option("--table", type=click.Path(path_type=Path), help="Benchmark table.  [default: the one in the box]")
@click.option(
    "--evaluator",
    "evaluator__kind",
    metavar="table|train|surrogate|pretrained-nb101",
    help="What says how good a cell is.  [default: table]",
)
@click.option("--preset", "evaluator__preset", metavar="cpu|nasbench101", help="How to train.  [default: cpu]")
@click.option("--dataset", "evaluator__dataset", metavar="NAME", help="What to train on.  [default: the preset's]")
@click.option("--data", "evaluator__data", type=click.Path(path_type=Path), help="Folder of the data set's files.")
@click.option("--device", "evaluator__device", help="cpu or cuda.  [default: cuda with --gpus, else cpu]")
@click.option(
    "--surrogate", "evaluator__surrogate", metavar="NAME", help="With --evaluator surrogate.  [default: trees]"
)
@click.option("--labels", "evaluator__labels", type=int, help="Cells of the table it is fitted on.  [default: 424]")
@click.option("--searcher", "searcher__name", metavar="NAME", help="Searcher; `archsweep searchers` lists them.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the searcher.")
@click.option(
    "--filter", "filter__policy", metavar="POLICY", help="Filter proposals: top, quantile, ei, thompson, space."
)
@click.option(
    "--filter-parameter", "filter_params", multiple=True, metavar="KEY=VALUE", help="A parameter of the filter."
)
@click.option("--trials", type=int, help="Trials asked in all.  [default: 1000, unless --budget-seconds]")
@click.option("--budget-seconds", type=float, help="Training seconds to spend, as the table counts them.")
@click.option("--seed", type=int, help="Seed of everything random.  [default: 0]")
@click.option("--objective", "objective__column", metavar="COLUMN", help="validation or test.  [default: validation]")
@click.option(
    "--repeat", "objective__repeat", metavar="sample|mean|N", help="Which training of a cell.  [default: sample]"
)
@click.option("--epochs", "objective__epochs", type=int, help="Budget of every trial.  [default: the table's largest]")
@click.option(
    "--warm-start", metavar="DIR|URL", help="Search, or Optuna storage, whose results the searcher starts from."
)
@click.option("--duplicates", metavar="reuse|evaluate", help="What an isomorphic proposal costs.  [default: reuse]")
@click.option(
    "--pool",
    "pool__kind",
    metavar="simulated|inline|ray",
    help="Where cells are evaluated; --evaluator train: ray.  [default: simulated]",
)
@click.option(
    "--workers", "pool__workers", type=int, help="Trials in flight; --evaluator train: a core each.  [default: 8]"
)
@click.option(
    "--speed-spread", "pool__speed_spread", type=float, help="Spread of simulated workers' speeds.  [default: 0]"
)
@click.option(
    "--dispatch",
    "pool__dispatch",
    metavar="async|generation",
    help="Ask when one worker is free, or all.  [default: async]",
)
@click.option(
    "--cluster",
    "cluster",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="A class of simulated workers; see docs/what-if.md.",
)
@click.option("--address", "pool__address", metavar="ADDRESS", help="Ray cluster to join; auto finds a local one.")
@click.option("--retries", "pool__retries", type=int, help="Tries more after a worker failed, on Ray.  [default: 3]")
@click.option("--trial-seconds", "pool__trial_seconds", type=float, help="What one evaluation may take, on Ray.")
@click.option("--memory-gib", "pool__memory_gib", type=float, help="Memory one evaluation may take, on Ray.")
@click.option(
    "--patience-seconds", "pool__patience_seconds", type=float, help="Wait for a worker, on Ray.  [default: 300]"
)
@click.option("--gpus", "pool__gpus", type=float, help="GPUs of each trainer on Ray, fractions too.  [default: 0]")
@click.option("--track/--no-track", "tracking__enabled", default=None, help="Log to MLflow.  [default: track]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; resumed if it holds one.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def search(
    config_file: Path | None,
    params: tuple[str, ...],
    filter_params: tuple[str, ...],
    cluster: tuple[str, ...],
    out: Path | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Run a search, or resume the one in --out.

    The search is described by CONFIG_FILE (TOML), by the flags, or by both, flags winning. --out DIR alone resumes what
    is in DIR. A search that was killed, at whatever moment, goes on where it was.

    \b
    On the table that comes with archsweep, then on NAS-Bench-101, on 64 simulated workers for half a million seconds:
      archsweep search
      archsweep search --table nb101.arrow --workers 64 --budget-seconds 5e5
    What 64 workers that are preempted twice a day, at a price of 0.3 an hour, make of it:
      archsweep search --table nb101.arrow --cluster count=64,preemptions=0.08,price=0.3
    On this machine's cores through Ray, then on a cluster:
      archsweep search --table nb101.arrow --pool ray
      archsweep search --table nb101.arrow --pool ray --address auto --workers 256
    Evolution, of whose proposals a surrogate lets the best of 50 pass:
      archsweep search --table nb101.arrow --filter top --filter-parameter candidates=50
    Every cell trained for real, a trainer a core:
      archsweep search --evaluator train --dataset digits --trials 40
    A surrogate of 424 cells of the table in its place:
      archsweep search --table nb101.arrow --evaluator surrogate --labels 424
    All of NAS-Bench-101 without its file, as graph networks predict it:
      archsweep search --evaluator pretrained-nb101
    """
    from orchestrator.search.search import Search
    from orchestrator.settings.config import RAY_ONLY, parse
    from orchestrator.settings.values import setting

    if cluster:
        flags["pool__cluster"] = [dict(map(setting, text.split(","))) for text in cluster]
    values, where = _values(config_file, params, filter_params, out, flags)
    config = parse(values, where)
    for name, kind in {**dict.fromkeys(RAY_ONLY, "ray"), "speed_spread": "simulated"}.items():
        if flags[f"pool__{name}"] is not None and config.pool.kind != kind:
            raise ArchsweepError(f"--{name.replace('_', '-')} is for --pool {kind}; this search has {config.pool.kind}")
    run_dir = out or Path("runs") / f"{config.searcher.name}-{config.label}-seed{config.seed}"
    job = Search(config, run_dir)
    with SearchProgress(stderr, job.trajectory, config.trial_limit, config.budget_seconds) as progress:
        gc.freeze()  # what is imported stays; to look through it for garbage takes 4 % on the simulated clock
        summary = job.run([progress])
    if job.tracking_error is not None:
        click.echo(f"archsweep: not tracked: {job.tracking_error}", err=True)
    if as_json:
        click.echo(summary.to_json())
        return
    click.echo(run_dir)  # not as the title, which a narrow terminal would wrap
    table = RichTable(show_header=False)
    for name, value in _described(summary, job.state.duplicate_rate):
        table.add_row(name, value)
    stdout.print(table)


def _values(
    config_file: Path | None,
    params: tuple[str, ...],
    filter_params: tuple[str, ...],
    out: Path | None,
    flags: dict[str, Any],
) -> tuple[dict[str, Any], str]:
    """The tables of the configuration, and what to call their source in a message."""
    from orchestrator.records.folder import CONFIG
    from orchestrator.settings.values import merged, nested, read_toml, setting

    here = out / CONFIG if out is not None else None
    base: dict[str, Any] = {}
    where = "search"
    if config_file is None and here is not None and here.is_file():
        config_file = here
    if config_file is not None:
        base, where = read_toml(config_file), str(config_file)
    over: dict[str, Any] = {}
    for name, value in flags.items():
        if value is not None:
            over = merged(over, nested(name.replace("__", "."), value))
    objective = over.get("objective", {})
    if objective.get("repeat", "").isdecimal():
        objective["repeat"] = int(objective["repeat"])
    if "column" in objective:
        objective["column"] = objective["column"].removesuffix("_accuracy")
    over = merged(over, {"searcher": dict(setting(text) for text in params)} if params else {})
    if filter_params:
        over = merged(over, {"filter": dict(setting(text) for text in filter_params)})
    return merged(base, over), where


def _described(summary: Any, duplicate_rate: float) -> list[tuple[str, str]]:
    from nas.table.table import PREDICTED
    from workers.surrogate_source import SOURCE

    def percent(value: float | None) -> str:
        return "unknown" if value is None else f"{value * 100:.3f} %"

    predicted = " (predicted)" if summary.best_source == PREDICTED else ""
    said = f" ({summary.best_source})" if summary.best_source in (PREDICTED, SOURCE) else ""
    return [
        ("trials", f"{summary.trials:,} ({summary.failed:,} failed)"),
        ("duplicates", f"{summary.duplicates:,} ({duplicate_rate:.1%})"),
        ("best cell", summary.best_hash or "none"),
        ("its objective", percent(summary.best_objective) + said),
        ("its mean test accuracy", percent(summary.best_test_accuracy) + predicted),
        ("regret", "unknown" if summary.regret is None else f"{summary.regret * 100:.3f} points{predicted}"),
        ("clock", duration(summary.clock_seconds)),
        ("utilisation", percent(summary.utilisation)),
        *([] if summary.front is None else [("front", f"{len(summary.front)} cells, {_hypervolume(summary)}")]),
        *([] if summary.cost is None else [("cost", f"{summary.cost:,.2f}")]),
        ("wall time", f"{duration(summary.wall_seconds)} ({summary.trials_per_second:,.0f} trials/s)"),
        ("most of it", _where_it_went(summary)),
        ("MLflow run", summary.mlflow_run_id or "not tracked"),
    ]


def _hypervolume(summary: Any) -> str:
    return "hypervolume unknown" if summary.hypervolume is None else f"hypervolume {summary.hypervolume:.4f}"


def _where_it_went(summary: Any) -> str:
    """The three parts that took most of a search's wall time, as far as one sees any of it."""
    total = sum(summary.spans.values())
    most = [span for span in sorted(summary.spans.items(), key=lambda span: -span[1])[:3] if span[1] >= 0.005 * total]
    return ", ".join(f"{part} {seconds / total:.0%}" for part, seconds in most) if total else "too short to tell"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON object.")
def searchers(as_json: bool) -> None:
    """List the searchers with their parameters and papers.

    \b
    For a program:
      archsweep searchers --json
    """
    from searchers.registry import FILTER, SEARCHERS

    if as_json:
        listed = {
            name: {
                "kind": entry.kind,
                "summary": entry.summary,
                "paper": entry.paper,
                "parameters": {key: {"default": default, "help": text} for key, _, default, text in entry.parameters()},
            }
            for name, entry in SEARCHERS.items()
        }
        click.echo(json.dumps(listed))
        return
    filtering = "--filter POLICY, in front of any of them", FILTER
    for name, entry in (*((f"{name} ({entry.kind})", entry) for name, entry in SEARCHERS.items()), filtering):
        click.echo(f"{name}: {entry.summary} ({entry.paper})")
        for key, _, default, text in entry.parameters():
            click.echo(f"  {key}{'' if default is None else f' = {json.dumps(default)}'}: {text}")
