"""The command line: `archsweep`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table as RichTable

from nas.errors import ArchsweepError
from orchestrator.commands_export import export
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
        code = cli(standalone_mode=False)
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
    A first search:
      archsweep table import nasbench_only108.tfrecord nb101.arrow
      archsweep search --table nb101.arrow --searcher evolution --trials 1000
      archsweep ui
    """


@cli.command()
@click.argument("config_file", required=False, type=click.Path(path_type=Path))
@click.option("--table", type=click.Path(path_type=Path), help="Benchmark table, made by `archsweep table import`.")
@click.option("--searcher", "searcher__name", metavar="NAME", help="Searcher; `archsweep searchers` lists them.")
@click.option("-p", "--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the searcher.")
@click.option("--trials", type=int, help="Trials asked in all.  [default: 1000, unless --budget-seconds]")
@click.option("--budget-seconds", type=float, help="Training seconds to spend, as the table counts them.")
@click.option("--seed", type=int, help="Seed of everything random.  [default: 0]")
@click.option("--objective", "objective__column", metavar="COLUMN", help="validation or test.  [default: validation]")
@click.option("--repeat", "objective__repeat", metavar="sample|mean|N", help="Training seen.  [default: sample]")
@click.option("--epochs", "objective__epochs", type=int, help="Budget of every trial.  [default: the table's largest]")
@click.option(
    "--warm-start", metavar="DIR|URL", help="Search, or Optuna storage, whose results the searcher starts from."
)
@click.option("--duplicates", metavar="reuse|evaluate", help="What an isomorphic proposal costs.  [default: reuse]")
@click.option("--pool", "pool__kind", metavar="simulated|inline|ray", help="Where it runs.  [default: simulated]")
@click.option("--workers", "pool__workers", type=int, help="Trials in flight.  [default: 8]")
@click.option(
    "--speed-spread", "pool__speed_spread", type=float, help="Spread of simulated workers' speeds.  [default: 0]"
)
@click.option("--address", "pool__address", metavar="ADDRESS", help="Ray cluster to join; auto finds a local one.")
@click.option("--track/--no-track", "tracking__enabled", default=None, help="Log to MLflow.  [default: track]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run; resumed if it holds one.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def search(config_file: Path | None, params: tuple[str, ...], out: Path | None, as_json: bool, **flags: Any) -> None:
    """Run a search, or resume the one in --out.

    The search is described by CONFIG_FILE (TOML), by the flags, or by both, flags winning. --out DIR alone resumes what
    is in DIR. A search that was killed, at whatever moment, goes on where it was.

    \b
    On the simulated clock, 64 workers, half a million seconds of training:
      archsweep search --table nb101.arrow --workers 64 --budget-seconds 5e5
    On this machine's cores through Ray, then on a cluster:
      archsweep search --table nb101.arrow --pool ray
      archsweep search --table nb101.arrow --pool ray --address auto --workers 256
    """
    from orchestrator.config import parse
    from orchestrator.search import Search

    values, where = _values(config_file, params, out, flags)
    config = parse(values, where)
    run_dir = out or Path("runs") / f"{config.searcher.name}-{config.table.stem}-seed{config.seed}"
    job = Search(config, run_dir)
    with SearchProgress(stderr, job.trajectory, config.trial_limit, config.budget_seconds) as progress:
        summary = job.run([progress])
    if job.tracking_error is not None:
        click.echo(f"archsweep: not tracked: {job.tracking_error}", err=True)
    if as_json:
        click.echo(summary.to_json())
        return
    table = RichTable(show_header=False, title=str(run_dir), title_justify="left")
    for name, value in _described(summary, job.state.duplicate_rate):
        table.add_row(name, value)
    stdout.print(table)


def _values(
    config_file: Path | None, params: tuple[str, ...], out: Path | None, flags: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The tables of the configuration, and what to call their source in a message."""
    from orchestrator.config import merged, read_toml
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
            over = merged(over, _nested(name, value))
    objective = over.get("objective", {})
    if objective.get("repeat", "").isdecimal():
        objective["repeat"] = int(objective["repeat"])
    if "column" in objective:
        objective["column"] = objective["column"].removesuffix("_accuracy")
    if params:
        over = merged(over, {"searcher": dict(_parameter(text) for text in params)})
    if "table" in over:
        over["table"] = str(over["table"])
    return merged(base, over), where


def _nested(option: str, value: Any) -> dict[str, Any]:
    """The tables of one option: a double underscore in its name leads into a section."""
    first, _, rest = option.partition("__")
    return {first: _nested(rest, value) if rest else value}


def _parameter(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ArchsweepError(f"--param {text!r}: expected KEY=VALUE")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _described(summary: Any, duplicate_rate: float) -> list[tuple[str, str]]:
    def percent(value: float | None) -> str:
        return "unknown" if value is None else f"{value * 100:.3f} %"

    return [
        ("trials", f"{summary.trials:,} ({summary.failed:,} failed)"),
        ("duplicates", f"{summary.duplicates:,} ({duplicate_rate:.1%})"),
        ("best cell", summary.best_hash or "none"),
        ("its objective", percent(summary.best_objective)),
        ("its mean test accuracy", percent(summary.best_test_accuracy)),
        ("regret", "unknown" if summary.regret is None else f"{summary.regret * 100:.3f} points"),
        ("clock", duration(summary.clock_seconds)),
        ("wall time", f"{duration(summary.wall_seconds)} ({summary.trials_per_second:,.0f} trials/s)"),
        ("MLflow run", summary.mlflow_run_id or "not tracked"),
    ]


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as one JSON object.")
def searchers(as_json: bool) -> None:
    """List the searchers with their parameters and papers.

    \b
    For a program:
      archsweep searchers --json
    """
    from searchers.registry import SEARCHERS

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
    for name, entry in SEARCHERS.items():
        click.echo(f"{name} ({entry.kind}): {entry.summary} ({entry.paper})")
        for key, _, default, text in entry.parameters():
            click.echo(f"  {key} = {default}: {text}")


cli.add_command(export)
cli.add_command(table)
cli.add_command(train)


@cli.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
def track(run_dir: Path) -> None:
    """Bring MLflow up to date with the search in RUN_DIR, after its server was away.

    \b
    To the server that MLFLOW_TRACKING_URI names, else to the SQLite file beside the folder:
      archsweep track runs/evolution-nb101-seed0
    """
    from orchestrator.config import read_toml
    from orchestrator.search import CONFIG
    from orchestrator.tracking import default_uri
    from orchestrator.tracking import track as catch_up

    config = run_dir / CONFIG
    chosen = read_toml(config).get("tracking", {}).get("uri") if config.is_file() else None
    click.echo(catch_up(run_dir, chosen or default_uri(run_dir.absolute().parent)))


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
    from orchestrator.tracking import SQLITE, default_uri, without_password

    uri = default_uri(folder)
    if uri.startswith(("http:", "https:")):
        click.echo(f"searches are tracked at {without_password(uri)}, which has the UI")
        return
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
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
