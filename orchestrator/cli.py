"""The command line: `archsweep`."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable

from nas.errors import ArchsweepError
from orchestrator.commands_compare import compare
from orchestrator.commands_drift import drift
from orchestrator.commands_export import export
from orchestrator.commands_filter import audit
from orchestrator.commands_live import stop
from orchestrator.commands_look import analyze, draw
from orchestrator.commands_sweep import report, sweep
from orchestrator.commands_table import table
from orchestrator.commands_train import train
from orchestrator.progress import SearchProgress, duration

FAILURE, INTERRUPTED = 2, 130

stdout = Console()
stderr = Console(stderr=True)


def main() -> None:
    """The entry point: what a user did wrong is one line on standard error and exit code 2."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = cli(prog_name="archsweep", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = FAILURE
    except click.ClickException as error:
        code = _complain(f"{error.format_message()} See `{_command(error)} --help`.")
    except ArchsweepError as error:
        code = _complain(str(error))
    except (KeyboardInterrupt, click.Abort):
        code = _complain("interrupted; run the same command again to go on", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # e.g. `archsweep ... | head`
        code = FAILURE
    except OSError as error:  # e.g. a disk that is full
        code = _complain(f"{error.filename or 'a file'}: {error.strerror or error}")
    sys.exit(code)


def _complain(message: str, code: int = FAILURE) -> int:
    click.echo(f"archsweep: {' '.join(message.split())}", err=True)
    return code


def _command(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context else "archsweep"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="archsweep")
def cli() -> None:
    """Search for neural architectures, from one laptop to a Ray cluster.

    \b
    A first search, on the table in the box, then on NAS-Bench-101:
      archsweep search
      archsweep table import nasbench_only108.tfrecord nb101.arrow
      archsweep search --table nb101.arrow --searcher evolution --trials 1000
      archsweep ui
    """


@cli.command()
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
    from orchestrator.config import RAY_ONLY, parse, setting
    from orchestrator.search import Search

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
    from orchestrator.config import merged, nested, read_toml, setting
    from orchestrator.search import CONFIG

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
    from nas.table import PREDICTED
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


@cli.command()
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


cli.add_command(sweep)
cli.add_command(report)
cli.add_command(analyze)
cli.add_command(draw)
cli.add_command(audit)
cli.add_command(compare)
cli.add_command(export)
cli.add_command(table)
cli.add_command(train)
cli.add_command(drift)
cli.add_command(stop)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
def track(run_dir: Path) -> None:
    """Bring MLflow up to date with the search in RUN_DIR, after its server was away.

    \b
    To the server that MLFLOW_TRACKING_URI names, else to the SQLite file beside the folder:
      archsweep track runs/evolution-nb101-seed0
    """
    from orchestrator.tracking import track as catch_up

    click.echo(catch_up(run_dir, _tracking_uri(run_dir)))


def _tracking_uri(run_dir: Path) -> str:
    """Where the run in a folder is tracked."""
    from orchestrator.config import read_toml
    from orchestrator.search import CONFIG
    from orchestrator.tracking import default_uri

    config = run_dir / CONFIG
    chosen = read_toml(config).get("tracking", {}).get("uri") if config.is_file() else None
    return chosen or default_uri(run_dir.absolute().parent)


@cli.command()
@click.argument("run_dirs", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--mlflow", is_flag=True, help="Check the metrics that MLflow has, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a run.")
def verify(run_dirs: tuple[Path, ...], mlflow: bool, as_json: bool) -> None:
    """Prove of the searches in DIR... that nothing was lost and nothing told twice.

    At every line of a journal, asked = told + failed + pending; no trial is told twice, none is missing, no time goes
    back; and the other files say what the journal says. Exits with 2 if not, naming the first contradiction of each. Of
    a sweep's folder, all its arms that have begun.

    \b
    One run with what MLflow has of it, then all of them:
      archsweep verify runs/evolution-nb101-seed0 --mlflow
      archsweep verify runs/*/
    """
    from orchestrator.sweep_state import begun_arms
    from orchestrator.tracking import logged
    from orchestrator.verify import verify as audited

    if mlflow and any(map(begun_arms, run_dirs)):
        raise ArchsweepError("--mlflow is for searches; the arms of a sweep have no run of their own")
    wrong = False
    for run_dir in (arm for folder in run_dirs for arm in begun_arms(folder) or [folder]):
        try:
            audit = audited(run_dir, logged(run_dir, _tracking_uri(run_dir)) if mlflow else None)
        except ArchsweepError as error:
            wrong = True
            _complain(str(error))
            continue
        click.echo(
            audit.to_json()
            if as_json
            else f"{audit.run_dir}: {audit.lines:,} lines, asked {audit.asked:,} = told {audit.told:,} + failed "
            f"{audit.failed:,} + pending {audit.pending:,}; agrees with {', '.join(audit.agree) or 'no other file'}"
        )
    if wrong:
        click.get_current_context().exit(FAILURE)


@cli.command()
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=5000, show_default=True, help="Port to listen on.")
def ui(folder: Path, host: str, port: int) -> None:
    """Open MLflow's tracking UI on the searches in FOLDER (default: runs).

    \b
    Those of this folder, then those of another on another port:
      archsweep ui
      archsweep ui experiments --port 5050
    """
    from orchestrator.secrets import without_secrets
    from orchestrator.tracking import default_uri, is_new

    uri = default_uri(folder)
    if uri.startswith(("http:", "https:")):
        click.echo(f"searches are tracked at {without_secrets(uri)}, which has the UI")
        return
    if is_new(uri):
        raise ArchsweepError(f"nothing is tracked in {folder}; run `archsweep search` first, or name another folder")
    try:
        socket.create_server((host, port)).close()
    except (OSError, OverflowError) as error:
        raise ArchsweepError(f"cannot listen on {host}:{port} ({error}); choose another --port") from None
    command = [sys.executable, "-m", "mlflow", "ui", "--host", host, "--port", str(port), "--workers", "1"]
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven processes that tracking does not need
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": uri,  # on the command line, everyone could read its password
    }
    os.execve(sys.executable, command, environment)  # noqa: S606  # no shell is meant
