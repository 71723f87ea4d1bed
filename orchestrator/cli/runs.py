"""The commands about searches that are there: `archsweep track`, `verify`, `ui`, `export optuna`, `stop`."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import click

from nas.errors import ArchsweepError
from nas.trial import Status, Trial
from orchestrator.cli.say import FAILURE, complain


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
def track(run_dir: Path) -> None:
    """Bring MLflow up to date with the search in RUN_DIR, after its server was away.

    \b
    To the server that MLFLOW_TRACKING_URI names, else to the SQLite file beside the folder:
      archsweep track runs/evolution-nb101-seed0
    """
    from orchestrator.tracking.follow import track as catch_up

    click.echo(catch_up(run_dir, _tracking_uri(run_dir)))


def _tracking_uri(run_dir: Path) -> str:
    """Where the run in a folder is tracked."""
    from orchestrator.records.folder import CONFIG
    from orchestrator.settings.values import read_toml
    from orchestrator.tracking.store import default_uri

    config = run_dir / CONFIG
    chosen = read_toml(config).get("tracking", {}).get("uri") if config.is_file() else None
    return chosen or default_uri(run_dir.absolute().parent)


@click.command()
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
    from orchestrator.records.verify import verify as audited
    from orchestrator.sweep.state import begun_arms
    from orchestrator.tracking.follow import logged

    if mlflow and any(map(begun_arms, run_dirs)):
        raise ArchsweepError("--mlflow is for searches; the arms of a sweep have no run of their own")
    wrong = False
    for run_dir in (arm for folder in run_dirs for arm in begun_arms(folder) or [folder]):
        try:
            audit = audited(run_dir, logged(run_dir, _tracking_uri(run_dir)) if mlflow else None)
        except ArchsweepError as error:
            wrong = True
            complain(str(error))
            continue
        click.echo(
            audit.to_json()
            if as_json
            else f"{audit.run_dir}: {audit.lines:,} lines, asked {audit.asked:,} = told {audit.told:,} + failed "
            f"{audit.failed:,} + pending {audit.pending:,}; agrees with {', '.join(audit.agree) or 'no other file'}"
        )
    if wrong:
        click.get_current_context().exit(FAILURE)


@click.command()
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
    from orchestrator.settings.secrets import without_secrets
    from orchestrator.tracking.store import default_uri, is_new

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


@click.group()
def export() -> None:
    """Write a search in the form of another system.

    \b
    For optuna-dashboard:
      archsweep export optuna runs/evolution-nb101-seed0 sqlite:///studies.db
    """


@export.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("url")
@click.option("--name", help="Name of the study.  [default: the folder's]")
def optuna(run_dir: Path, url: str, name: str | None) -> None:
    """Write the search in RUN_DIR into the Optuna storage URL, as a study.

    URL is a database's, as Optuna takes it, or the path of a journal file. Trials that are there already are not
    written again, so a search that went on can be exported once more.

    \b
    Into SQLite, then into a journal file:
      archsweep export optuna runs/evolution-nb101-seed0 sqlite:///studies.db
      archsweep export optuna runs/evolution-nb101-seed0 studies.log
    """
    from orchestrator.records.folder import JOURNAL
    from orchestrator.records.journal import Reading
    from searchers.optuna_study import export as write

    path = run_dir / JOURNAL
    reading = Reading(path) if path.is_file() else None
    if reading is None or reading.search is None:
        raise ArchsweepError(f"{run_dir} holds no search")
    finished = (trial for trial in reading if trial.status is not Status.PENDING)
    study = name or run_dir.absolute().name
    click.echo(f"{write(finished, url, study, reading.search):,} trials in study {study!r}")


@click.command()
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("trials", nargs=-1, required=True, type=int)
def stop(run_dir: Path, trials: tuple[int, ...]) -> None:
    """End the trainings of these TRIALS of the live search in RUN_DIR early.

    Each ends after its current epoch, and the search is told the accuracy that it has by then. A trial that waits for
    another's training of the same cell ends with that one.

    \b
    What MLflow shows as trial_7 and trial_9 is going nowhere:
      archsweep stop runs/evolution-digits-seed0 7 9
    """
    from orchestrator.records.folder import CONFIG, JOURNAL
    from orchestrator.records.journal import Reading
    from orchestrator.search.sources import open_source
    from orchestrator.settings.config import parse
    from orchestrator.settings.values import read_toml
    from workers.ledger import Key, key_of

    if not (run_dir / JOURNAL).is_file():
        raise ArchsweepError(f"{run_dir} holds no search; give the folder of one that is running")
    config = parse(read_toml(run_dir / CONFIG), str(run_dir / CONFIG))
    trainings = open_source(config, run_dir).trainings
    if trainings is None:
        raise ArchsweepError(f"the search in {run_dir} trains nothing, so there is nothing to stop")
    latest = {trial.number: trial for trial in Reading(run_dir / JOURNAL)}
    trained: dict[Key, Trial] = {}
    for trial in latest.values():
        if trial.status is Status.PENDING and config.duplicates == "reuse":
            trained.setdefault(key_of(trial), trial)
    for number in trials:
        if number not in latest or latest[number].status is not Status.PENDING:
            raise ArchsweepError(f"trial {number} is not under way in {run_dir}")
    for number in trials:
        trial = trained.get(key_of(latest[number]), latest[number])
        if trial.number != number:
            click.echo(f"trial {number} waits for trial {trial.number}, the same cell, which is stopped", err=True)
        for live in trainings(trial.proposal, trial.seed):
            live.stop()
