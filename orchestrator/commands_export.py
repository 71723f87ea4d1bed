"""The commands that write a search in the form of another system: `archsweep export optuna`."""

from __future__ import annotations

from pathlib import Path

import click

from nas.errors import ArchsweepError
from nas.trial import Status


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
    from orchestrator.journal import Reading
    from orchestrator.search import JOURNAL
    from searchers.optuna_study import export as write

    path = run_dir / JOURNAL
    reading = Reading(path) if path.is_file() else None
    if reading is None or reading.search is None:
        raise ArchsweepError(f"{run_dir} holds no search")
    finished = (trial for trial in reading if trial.status is not Status.PENDING)
    study = name or run_dir.absolute().name
    click.echo(f"{write(finished, url, study, reading.search):,} trials in study {study!r}")
