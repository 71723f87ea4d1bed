"""Whether a search can be what it is told to be, and is the one in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import ArchsweepError
from orchestrator.settings.config import Config
from searchers.base import Searcher
from workers.source import Seconds, Source


def check_clock(config: Config, source: Source) -> None:
    """Raises `ArchsweepError` if the pool or the budget needs training seconds that the evaluator does not have."""
    if source.seconds is Seconds.UNKNOWN and (config.pool.kind == "simulated" or config.budget_seconds):
        raise ArchsweepError(f"{config.label} has no training times; use --pool inline or ray, and --trials")
    if source.seconds is Seconds.MEASURED and config.pool.kind == "simulated":
        raise ArchsweepError(f"--evaluator {config.evaluator.kind} takes real time; use --pool inline or ray")


def check_budgets(searcher: Searcher, source: Source) -> None:
    """Raises `ArchsweepError` if a multi-fidelity searcher would ask for epochs that nothing trains for."""
    asked, most = getattr(searcher, "budgets", ()), source.budgets[-1]
    trains = source.trainings is not None  # for any number of epochs up to the recipe's
    wrong = [epochs for epochs in asked if (epochs > most if trains else epochs not in source.budgets)]
    if wrong:
        there = f"up to {most}" if trains else " or ".join(map(str, source.budgets))
        raise ArchsweepError(f"searcher: budgets has {wrong[0]}; cells are trained for {there} epochs")


def refuse_another(run_dir: Path, described: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raises `ArchsweepError` if the journal in the folder describes another search than this identity."""
    for key in {**described, **identity}:
        there, here = described.get(key), identity.get(key)
        if there != here:
            tables = key == "table" and there and here
            what = "its table has other values" if tables else f"it has {key} = {there!r}, not {here!r}"
            more = f", or --warm-start {run_dir} to go on from it" if key in ("trials", "budget_seconds") else ""
            raise ArchsweepError(
                f"{run_dir} holds another search: {what}; choose another --out{more}, or drop the change"
            )
