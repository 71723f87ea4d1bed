"""The journal: whole, torn, damaged."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import DataError
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Result, Trial
from orchestrator.records.journal import Journal, Reading

SEARCH = {"seed": 1, "table": "abc"}


def events(count: int) -> list[Trial]:
    """Trials asked three at a time, every fourth failing."""
    space, rng = CellSpace(), np.random.default_rng(0)
    log, pending = [], []
    for number in range(count):
        proposal = Proposal(space.sample_by_edges(rng), 108 if number % 2 else None, {"by": "me"} if number % 3 else {})
        asked = Trial(number, proposal, int(rng.integers(1 << 32)), number % 3, number / 3)
        log.append(asked)
        pending.append(asked)
        if len(pending) == 3:
            done = pending.pop(0)
            if done.number % 4 == 3:
                log.append(done.failed("it is thin ice", done.asked, number * 1.1))
            else:
                result = Result(rng.random(), rng.random() * 1e3, None, rng.random(), None, 1_000, rng.random())
                log.append(done.succeeded(result, done.asked, number * 1.1))
    return log


EVENTS = events(12)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal.create(path, SEARCH)
    for event in EVENTS:
        journal.append(event)
    journal.close()
    return path.read_bytes()


def test_what_is_written_is_read(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(written)
    reading = Reading(path)
    assert list(reading) == EVENTS
    assert reading.search == SEARCH
    assert reading.position == len(written)


def test_any_truncation_is_read_up_to_its_last_whole_line_and_goes_on_from_there(
    written: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl"
    events, written = EVENTS[:4], b"".join(written.splitlines(keepends=True)[:5])
    for length in range(len(written) + 1):
        path.write_bytes(written[:length])
        reading = Reading(path)
        if reading.search is None:
            assert b"\n" not in written[:length]
            continue
        read = list(reading)
        assert read == events[: len(read)]
        journal = Journal(path, reading.position)
        for event in events[len(read) :]:
            journal.append(event)
        journal.close()
        assert path.read_bytes() == written


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_a_damaged_byte_is_refused_or_harmless(
    written: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(written) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != written[position]))
    path = tmp_path_factory.mktemp("damaged") / "journal.jsonl"
    path.write_bytes(written[:position] + bytes([value]) + written[position + 1 :])
    if position < len(written) - 1:
        with pytest.raises(DataError, match=re.escape(str(path))):
            list(Reading(path))
    else:  # the newline of the last line: a torn line, which is dropped
        assert list(Reading(path)) == EVENTS[:-1]


def test_every_line_but_the_last_newline_is_protected(written: bytes, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    for position in range(len(written) - 1):
        path.write_bytes(written[:position] + bytes([written[position] ^ 4]) + written[position + 1 :])
        with pytest.raises(DataError, match=r"line \d+ is damaged"):
            list(Reading(path))


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "journal.jsonl"
    monkeypatch.setattr("orchestrator.records.journal.VERSION", 2)
    Journal.create(path, SEARCH).close()
    monkeypatch.undo()
    with pytest.raises(DataError, match="version 2; this archsweep reads 1"):
        Reading(path)


@pytest.mark.parametrize(
    "wrong",
    [
        [EVENTS[0], EVENTS[0]],
        [EVENTS[1]],
        [EVENTS[3]],
        [*EVENTS[:4], EVENTS[3]],
    ],
    ids=["asked twice", "number left out", "told but not asked", "told twice"],
)
def test_whole_lines_in_a_wrong_order_are_refused(wrong: list[Trial], tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal.create(path, SEARCH)
    for event in wrong:
        journal.append(event)
    journal.close()
    with pytest.raises(DataError, match=f"{path}: line"):
        list(Reading(path))
