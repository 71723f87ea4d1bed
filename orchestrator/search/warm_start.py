"""What a search starts from: the results of another, in a folder of archsweep's or in an Optuna storage."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from nas.errors import ArchsweepError
from nas.nasbench101.space import CellSpace
from nas.trial import LEDGER, Trial
from orchestrator.records.journal import Reading, earlier_trial


def earlier(source: str, space: CellSpace, identity: dict[str, Any], budgets: Collection[int]) -> list[Trial]:
    """The told trials of a source, in its order: those of the space and of this search's budgets, numbered up to -1.

    source: the folder of a search that maximised what this one does, or the URL of an Optuna storage, see
    `searchers.optuna_study.told`. budgets: the epochs of this search's own trials; a study that does not say how long
    it trained is believed to have done the same. Raises `ArchsweepError`, also if there is none.
    """
    journal = Path(source) / "journal.jsonl"
    if journal.is_file():
        reading = Reading(journal)
        _refuse_another_objective(source, reading, identity)
        usual = (reading.search or {}).get("objective.epochs")  # None: as many as there were
        found = [
            (trial.proposal.cell, trial.proposal.epochs or usual, trial.result.objective, trial.result.training_seconds)
            for trial in reading
            if trial.result is not None and trial.result.source != LEDGER
        ]
        if identity["objective.epochs"] is not None:
            found = [one for one in found if one[1] is not None]
    elif Path(source).is_dir():
        raise ArchsweepError(f"--warm-start: {source} holds no search")
    else:
        from searchers.optuna_study import told  # Optuna takes a second to import

        found = [(*one, None) for one in told(source)]
    here = [one for one in found if one[0] in space and (one[1] is None or one[1] in budgets)]
    if not here:
        epochs = " or ".join(map(str, budgets))
        raise ArchsweepError(
            f"--warm-start: {source} has no finished trial, of {epochs} epochs, of a cell of this search's table"
        )
    return [earlier_trial(number - len(here), *one) for number, one in enumerate(here)]


def _refuse_another_objective(source: str, reading: Reading, identity: dict[str, Any]) -> None:
    there = (reading.search or {}).get("objective.column")
    here = identity["objective.column"]
    if there != here:
        raise ArchsweepError(
            f"--warm-start: {source} maximised {there} accuracy; this search maximises {here} accuracy"
        )
