"""What a search has to know of what evaluates its cells, whatever that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.trial import Proposal
from workers.base import Evaluator
from workers.live import LiveTraining


class Seconds(Enum):
    """What an evaluator's results say of their training seconds.

    RECORDED: the same whenever one asks, so that a simulated clock can run on them. MEASURED: what it took this time.
    """

    UNKNOWN = auto()
    MEASURED = auto()
    RECORDED = auto()


@dataclass(frozen=True)
class Source:
    """An evaluator, described before it is made.

    here, elsewhere: make it in this process, and in another one; ``elsewhere`` is picklable by reference.
    identity: JSON values that say what results depend on; they stand in the journal's header, and a search is not
    resumed where they differ. tags: what tracking shows of it. budgets: epochs at which a cell can be trained,
    ascending; a trial without epochs gets the last. cells: catalogue numbers that it can evaluate, None for all.
    best: the highest test accuracy that can be had, what regret is counted from; None if nobody knows. alone: an
    evaluation keeps a core busy, so each needs a process of its own. longest: the most training seconds of any cell,
    None if nobody knows. trainings: the files of a proposal's trainings with a seed; None if it trains nothing.
    check: raises `ArchsweepError` if an evaluator cannot be made on this machine, without making one.
    """

    here: Callable[[], Evaluator]
    elsewhere: Callable[[], Evaluator]
    identity: Mapping[str, Any]
    tags: Mapping[str, str]
    budgets: tuple[int, ...]
    cells: NDArray[np.int32] | None = None
    best: float | None = None
    seconds: Seconds = Seconds.RECORDED
    alone: bool = False
    longest: Callable[[], float | None] = lambda: None
    trainings: Callable[[Proposal, int], Sequence[LiveTraining]] | None = None
    check: Callable[[], None] = lambda: None
