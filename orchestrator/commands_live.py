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

    Each ends after its current epoch, and the search is told the accuracy that it has by then.

    \b
    What MLflow shows as trial_7 and trial_9 is going nowhere:
      archsweep stop runs/evolution-digits-seed0 7 9
    """
    from nas.trial import Status
    from orchestrator.config import parse, read_toml
    from orchestrator.journal import Reading
    from orchestrator.search import CONFIG, JOURNAL
    from orchestrator.sources import open_source

    if not (run_dir / JOURNAL).is_file():
        raise ArchsweepError(f"{run_dir} holds no search; give the folder of one that is running")
    trainings = open_source(parse(read_toml(run_dir / CONFIG), str(run_dir / CONFIG)), run_dir).trainings
    if trainings is None:
        raise ArchsweepError(f"the search in {run_dir} trains nothing, so there is nothing to stop")
    latest = {trial.number: trial for trial in Reading(run_dir / JOURNAL)}
    for number in trials:
        if number not in latest or latest[number].status is not Status.PENDING:
            raise ArchsweepError(f"trial {number} is not under way in {run_dir}")
    for number in trials:
        for live in trainings(latest[number].proposal, latest[number].seed):
            live.stop()
