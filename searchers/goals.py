"""What a search may want at once: accuracy, and networks that cost little."""

from __future__ import annotations

from enum import StrEnum

from nas.nasbench101.network import cost
from nas.trial import Trial


class Goal(StrEnum):
    """accuracy: the search's objective. parameters, macs: of the network. seconds: its training time."""

    ACCURACY = "accuracy"
    PARAMETERS = "parameters"
    MACS = "macs"
    SECONDS = "seconds"


def pursued(searcher: object) -> tuple[Goal, ...]:
    """What a searcher wants, behind a filter too; accuracy alone if it has no ``goals``."""
    return getattr(getattr(searcher, "inner", searcher), "goals", None) or (Goal.ACCURACY,)


def reached(trial: Trial, goals: tuple[Goal, ...]) -> tuple[float, ...] | None:
    """How far a trial gets with each goal, all to be maximised (costs are negative); None if any is unknown."""
    if trial.result is None:
        return None
    values = [_value(trial, goal) for goal in goals]
    return None if None in values else tuple(value for value in values if value is not None)


def _value(trial: Trial, goal: Goal) -> float | None:
    assert trial.result is not None
    match goal:
        case Goal.ACCURACY:
            return trial.result.objective
        case Goal.PARAMETERS:
            return -float(cost(trial.proposal.cell).parameters)
        case Goal.MACS:
            return -float(cost(trial.proposal.cell).macs)
        case Goal.SECONDS:
            seconds = trial.result.training_seconds
            return None if seconds is None else -seconds
