"""Evaluates by the predictions that come with archsweep: NAS-Bench-101 for those who do not have its file."""

from __future__ import annotations

from functools import lru_cache, partial

from surrogate.pretrained.predicted import NAME, Predicted
from workers.source import Source
from workers.table import Objective, TableEvaluator, described


@lru_cache(maxsize=1)
def predicted() -> Predicted:
    """The benchmark, read once a process. Raises `DataError`."""
    return Predicted()


def make_evaluator(objective: Objective) -> TableEvaluator:
    """For pools that make it in another process, too."""
    return TableEvaluator(predicted(), objective)


def pretrained_source(objective: Objective) -> Source:
    """What a search has to know of it. Raises `DataError`."""
    identity = {"evaluator.kind": NAME, "evaluator.fingerprint": predicted().fingerprint}
    return described(
        make_evaluator(objective), partial(make_evaluator, objective), identity, {"archsweep.surrogate": NAME}
    )
