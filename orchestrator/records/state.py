"""What a search knows about itself: a fold of its trials, the same whether they happen or are replayed."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from nas.trial import Proposal, Trial


@dataclass
class State:
    """asked = told + failed + len(pending), always.

    duplicates: asked trials whose cell and epochs were asked before. spent: training seconds of the told trials.
    free_streak: finished trials in a row that cost nothing, the last one included. clock: the pool's, at the last
    event. proposals: the pending ones' proposals, by trial number, in the order asked.
    """

    asked: int = 0
    told: int = 0
    failed: int = 0
    duplicates: int = 0
    spent: float = 0.0
    free_streak: int = 0
    clock: float = 0.0
    pending: dict[int, Trial] = field(default_factory=dict)
    proposals: dict[int, Proposal] = field(default_factory=dict)
    _seen: set[Hashable] = field(default_factory=set)

    @property
    def finished(self) -> int:
        return self.told + self.failed

    @property
    def duplicate_rate(self) -> float:
        """Share of the asked trials that are isomorphic to an earlier one."""
        return self.duplicates / self.asked if self.asked else 0.0

    def fold(self, trial: Trial) -> None:
        """Takes in one event: a trial asked, told or failed."""
        if trial.finished is None:
            self._ask(trial)
        else:
            self._finish(trial)

    def _ask(self, trial: Trial) -> None:
        self.asked += 1
        self.clock = trial.asked
        self.pending[trial.number] = trial
        self.proposals[trial.number] = trial.proposal
        before = len(self._seen)
        self._seen.add((trial.proposal.cell.key, trial.proposal.epochs))
        self.duplicates += len(self._seen) == before

    def _finish(self, trial: Trial) -> None:
        del self.pending[trial.number], self.proposals[trial.number]
        assert trial.finished is not None
        self.clock = max(self.clock, trial.finished)
        cost = 0.0 if trial.result is None else trial.result.paid
        self.told += trial.result is not None
        self.failed += trial.result is None
        self.spent += cost
        self.free_streak = 0 if cost else self.free_streak + 1


@dataclass(frozen=True)
class Budget:
    """When a search stops asking. It ends once what is pending has finished.

    trials: asked in all. seconds: training seconds of the told trials, the cost as NAS-Bench-101 counts it; what is in
    flight when they are spent is finished and counted. stall: trials in a row that cost nothing, answered from
    the ledger or failed, after which a searcher is taken to have nothing new to propose.
    """

    trials: int | None = None
    seconds: float | None = None
    stall: int = 10_000

    def allows(self, state: State) -> bool:
        """Whether another trial may be asked."""
        if self.trials is not None and state.asked >= self.trials:
            return False
        if self.seconds is not None and state.spent >= self.seconds:
            return False
        return self.trials is not None or state.free_streak < self.stall

    def spent(self, state: State) -> bool:
        """Whether the search is over."""
        return not state.pending and not self.allows(state)
