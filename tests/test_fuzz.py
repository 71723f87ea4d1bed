"""Hostile files, see `tests/fuzz.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz import TARGETS, run

CASES = 40
"""Of every target in the default run; `pytest -m slow` reads as many as there is time for."""
FOUND = {"tfrecord": [(0, 7), (0, 53), (0, 963)], "csv": [(1, 963), (1, 1710), (1, 3240)]}
"""(seed, number) of cases that were findings once."""


@pytest.mark.parametrize("target", TARGETS)
def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(target: str) -> None:
    said: list[str] = []
    run(target, 0, iter(range(CASES)), said.append)
    for seed, number in FOUND.get(target, []):
        run(target, seed, iter([number]), said.append)
    assert [line for line in said if not line.startswith("at ")] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_minutes_of_fuzzing_find_nothing() -> None:
    root, seconds = Path(__file__).parents[1], str(600 / len(TARGETS))
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", seconds]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
