"""Where the wall time of a search goes."""

from __future__ import annotations

import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from numpy.random import Generator

from nas.errors import ArchsweepError
from nas.trial import Proposal, Trial
from orchestrator.records.results import Summary
from orchestrator.records.state import State
from orchestrator.search.search import Search
from orchestrator.search.spans import PARTS
from orchestrator.settings.config import parse
from searchers.base import Searcher

NAP = 0.03
"""Seconds, several times the period in which is looked."""


class Slow:
    """A searcher around another that sleeps before it asks or tells."""

    def __init__(self, inner: Searcher, ask: float = 0.0, tell: float = 0.0) -> None:
        self.inner, self._ask, self._tell = inner, ask, tell

    def ask(self, pending: Collection[Proposal], rng: Generator) -> Proposal:
        time.sleep(self._ask)
        return self.inner.ask(pending, rng)

    def tell(self, trial: Trial) -> None:
        time.sleep(self._tell)
        self.inner.tell(trial)


def prepared(run_dir: Path, table: Path, **values: Any) -> Search:
    described = {"table": table, "trials": 12, "tracking": {"enabled": False}, **values}
    return Search(parse(described, "test"), run_dir)


def naps(trial: Trial, state: State) -> None:
    time.sleep(NAP)


def test_what_takes_longest_binds_and_gets_its_seconds(small_table: Path, tmp_path: Path) -> None:
    made: dict[str, Summary] = {}
    for part in ("filter", "tell", "log"):
        job = prepared(tmp_path / part, small_table)
        job.searcher = Slow(job.searcher, NAP * (part == "filter"), NAP * (part == "tell"))
        made[part] = job.run([naps] if part == "log" else [])
    for part, summary in made.items():
        assert summary.binds == part
        assert set(summary.spans) == set(PARTS)
        assert summary.spans[part] >= 0.7 * 12 * NAP
        assert sum(summary.spans.values()) <= summary.wall_seconds + NAP


def test_a_search_that_fails_leaves_nobody_looking(small_table: Path, tmp_path: Path) -> None:
    import threading

    def breaks(trial: Trial, state: State) -> None:
        raise ArchsweepError("enough")

    before = threading.active_count()
    with pytest.raises(ArchsweepError, match="enough"):
        prepared(tmp_path / "run", small_table).run([breaks])
    assert threading.active_count() == before


def test_a_finished_search_keeps_what_was_measured_and_a_damaged_result_is_measured_anew(
    small_table: Path, tmp_path: Path
) -> None:
    first = prepared(tmp_path / "run", small_table).run([naps])
    result = tmp_path / "run" / "result.json"
    before = result.read_bytes()
    assert prepared(tmp_path / "run", small_table).run() == first
    assert result.read_bytes() == before
    for content in (b"", b"[]", b'{"spans": {}}', b"[" * 100_000):
        result.write_bytes(content)
        again = prepared(tmp_path / "run", small_table).run()
        assert (again.trials, again.trials_per_second, again.binds) == (12, 0.0, None)
        assert json.loads(result.read_bytes())["best_hash"] == first.best_hash
