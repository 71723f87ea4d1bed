"""The asynchronous search loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.random import Generator, Philox

from nas.trial import Trial
from orchestrator.records.journal import Journal
from orchestrator.records.state import Budget, State
from searchers.base import Searcher
from workers.base import Pool

Observer = Callable[[Trial, State], None]
"""Called with every finished trial, replayed or new, after the searcher was told."""


def run(
    searcher: Searcher,
    pool: Pool,
    journal: Journal,
    budget: Budget,
    state: State,
    streams: Streams,
    observers: Sequence[Observer] = (),
) -> int:
    """Searches until the budget is spent. ``state`` is what the journal holds already.

    Returns how many completions were ignored, since their trials had finished.
    """
    ignored = 0
    for trial in list(state.pending.values()):
        pool.submit(trial)
    while not budget.spent(state):
        while (slot := pool.idle()) is not None and budget.allows(state):
            trial = next_trial(searcher, state, streams, slot, pool.now)
            journal.append(trial)
            state.fold(trial)
            pool.submit(trial)
        journal.commit()
        completed = pool.wait()
        finished = first_completions(completed, state)
        ignored += len(completed) - len(finished)
        for trial in finished:
            journal.append(trial)
        journal.commit()
        for trial in finished:
            finish(trial, searcher, state, observers)
    return ignored


def next_trial(searcher: Searcher, state: State, streams: Streams, slot: int, now: float) -> Trial:
    """Asks the searcher for the next trial; everything random about it comes from its own stream."""
    rng = streams(state.asked)
    seed = int(rng.bit_generator.random_raw()) >> 32
    proposal = searcher.ask(state.proposals.values(), rng)
    return Trial(state.asked, proposal, seed, slot, now)


def first_completions(completed: Iterable[Trial], state: State) -> list[Trial]:
    """The completions of pending trials, the first of each: nothing is told twice, whatever a pool says."""
    first: dict[int, Trial] = {}
    for trial in completed:
        if trial.number in state.pending:
            first.setdefault(trial.number, trial)
    return list(first.values())


def finish(trial: Trial, searcher: Searcher, state: State, observers: Sequence[Observer]) -> None:
    """Lets everyone hear of a finished trial."""
    state.fold(trial)
    searcher.tell(trial)
    for observer in observers:
        observer(trial, state)


class Streams:
    """A random stream for every trial, a function of (search seed, trial number): no random state is ever saved.

    Philox is counter-based, so stream n is the sequence from counter n * 2^192 on, and taking it up is one assignment
    to a generator that is kept (a new generator costs ten times as much). Salmon et al., 2011.
    """

    def __init__(self, seed: int) -> None:
        key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
        self._philox = Philox(key=key)
        self._generator = Generator(self._philox)
        self._state = self._philox.state

    def __call__(self, number: int) -> Generator:
        """The generator at the start of this trial's stream; valid until the next call."""
        self._state["state"]["counter"][:] = (0, 0, 0, number)
        self._philox.state = self._state
        return self._generator
