"""What an evaluator owes a pool, and a pool the loop."""

from __future__ import annotations

import math
from typing import Protocol

from nas.errors import EvaluationError
from nas.trial import Proposal, Result, Trial


class Evaluator(Protocol):
    """Says what a proposal is worth: a table, a live trainer, a surrogate."""

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        """The result, a function of the arguments alone. Raises `EvaluationError` if there is none."""
        ...


class Pool(Protocol):
    """Runs evaluations on a number of slots. Its clock starts where it is told to and never goes back."""

    @property
    def now(self) -> float:
        """Seconds on this pool's clock."""
        ...

    def idle(self) -> int | None:
        """The slot that the next trial should take; None while the pool takes no more."""
        ...

    def submit(self, trial: Trial) -> None:
        """Takes a pending trial on slot ``trial.worker``. Nothing leaves the process before `wait`."""
        ...

    def wait(self) -> list[Trial]:
        """Finished trials, in the order in which they finished; failures are values. Waits for at least one, unless
        slots become idle without: workers that joined.
        """
        ...

    def close(self) -> None:
        """Gives back what the pool holds; safe to call twice."""
        ...


class Fault(str):
    """The reason of a failure that may be the worker's, so that another one may succeed."""


class Obstacle(Fault):
    """A fault of what surrounds the evaluator, a disk that is full for example: if no worker succeeds, the search ends
    until somebody has seen to it, and no proposal is to blame.
    """


def evaluate(evaluator: Evaluator, proposal: Proposal, seed: int) -> Result | str:
    """The result, or the reason why there is none. An objective that is not a number is no result."""
    try:
        result = evaluator(proposal, seed)
    except EvaluationError as error:
        return str(error)
    return result if math.isfinite(result.objective) else Fault(f"the objective is {result.objective}")


def finish(trial: Trial, outcome: Result | str, started: float, finished: float) -> Trial:
    """The trial with its outcome, a result or the reason of its failure."""
    if isinstance(outcome, str):
        return trial.failed(outcome, started, finished)
    return trial.succeeded(outcome, started, finished)
