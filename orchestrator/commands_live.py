"""The command `archsweep stop`, for trainings under way."""

from __future__ import annotations

from pathlib import Path

import click

from nas.errors import ArchsweepError


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
    from nas.trial import Status, Trial
    from orchestrator.config import parse, read_toml
    from orchestrator.journal import Reading
    from orchestrator.search import CONFIG, JOURNAL
    from orchestrator.sources import open_source
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
