"""Where a search's wall time goes: the loop is asked so many times a second what it is in.

To read the clock around every call would be exact and cost 5 to 10 % of a search on the simulated clock, whose trials
take 30 microseconds. A thread that looks at the loop's stack costs less than 1 % at any speed, and the loop knows
nothing of it. What stands between two looks is put down to what the second one finds, so a long call into C, which
lets no other thread look, counts whole.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from orchestrator.records.journal import Journal
from searchers.base import Searcher
from workers.base import Evaluator, Pool

EARLY, PERIOD, LATER = 1.0, 0.01, 0.1
"""The first second is looked at more often, so that a short search has something to say, too."""
PARTS = ("ask", "filter", "dispatch", "evaluate", "persist", "tell", "log", "loop")
"""What the seconds of a search go to: the searcher's proposals, a filter around it, the pool, the evaluations or the
wait for them, the journal, the searcher again, observers such as tracking, and what is left."""


def parts_of(
    searcher: Searcher, pool: Pool, evaluator: Evaluator | None, journal: Journal, observers: Sequence[Any]
) -> dict[CodeType, str]:
    """The part that every function called by the loop belongs to. evaluator: None if other processes evaluate."""
    parts: dict[CodeType, str] = {}
    for part, calls in (
        ("log", observers),
        ("persist", (journal.append, journal.commit)),
        ("dispatch", (pool.idle, pool.submit, pool.wait)),
    ):
        parts |= {_code(call): part for call in calls}
    parts[_code(pool.wait if evaluator is None else evaluator)] = "evaluate"
    parts[_code(searcher.tell)] = "tell"
    parts[_code(searcher.ask)] = "ask"
    inner = getattr(searcher, "inner", None)
    if inner is not None:
        parts |= {_code(searcher.ask): "filter", _code(inner.ask): "ask"}
    return parts


def _code(call: Any) -> CodeType:
    """The code of a function, a method, or an object that is called."""
    function = getattr(call, "__func__", call)
    code: CodeType = (function if hasattr(function, "__code__") else type(call).__call__).__code__
    return code


@contextmanager
def watched(parts: Mapping[CodeType, str]) -> Iterator[dict[str, float]]:
    """The seconds that the calling thread spends in every part while inside; whole once outside."""
    seconds = dict.fromkeys(PARTS, 0.0)
    thread, ended = threading.get_ident(), threading.Event()

    def look() -> None:
        began = before = time.perf_counter()
        while not ended.wait(PERIOD if before - began < EARLY else LATER):
            part = _part(sys._current_frames().get(thread), parts)
            now = time.perf_counter()
            seconds[part] += now - before
            before = now

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield seconds
    finally:
        ended.set()
        watcher.join()


def _part(frame: FrameType | None, parts: Mapping[CodeType, str]) -> str:
    """The innermost part on a stack."""
    while frame is not None:
        part = parts.get(frame.f_code)
        if part is not None:
            return part
        frame = frame.f_back
    return "loop"
