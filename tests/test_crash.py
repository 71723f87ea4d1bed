"""Searches killed with SIGKILL, at moments that a seeded generator picks."""

from __future__ import annotations

import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.trial import Status
from orchestrator.records.journal import Reading

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Ray's own; they notice within about a minute that their node is gone."""


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def of_session(session: int) -> list[str]:
    """The command lines of what still runs in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, number = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            line = (folder / "cmdline").read_text().replace("\0", " ").strip()
        except (OSError, ValueError):
            continue
        if int(number) == session and state != "Z":
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("trials", "kills"), [(15_000, 8), pytest.param(60_000, 25, marks=pytest.mark.slow)], ids=["8 kills", "25 kills"]
)
def test_a_search_killed_at_any_moment_ends_as_the_uninterrupted_one(
    trials: int, kills: int, archsweep: Run, start: Start, curves_table: Path, tmp_path: Path
) -> None:
    flags = ("search", "--table", curves_table, "--trials", trials, "--no-track", "--out")
    began = time.monotonic()
    whole = archsweep(*flags, tmp_path / "whole")
    seconds = time.monotonic() - began
    assert whole.returncode == 0, whole.stderr
    rng = np.random.default_rng(8)
    landed = 0
    for moment in rng.uniform(0.02, 0.4, kills) * seconds:
        process = start(*flags, tmp_path / "killed")
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
            landed += 1
        assert process.wait() in (0, -9)
    assert landed >= 3
    last = archsweep(*flags, tmp_path / "killed")
    assert last.returncode == 0, last.stderr
    for name in ("journal.jsonl", "trajectory.parquet", "regret.png", "best_cell.svg", "config.toml"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    names = [sorted(path.name for path in (tmp_path / run).iterdir()) for run in ("killed", "whole")]
    assert names[0] == names[1]


def test_a_kill_before_anything_is_told_is_no_harm(
    start: Start, until: Until, archsweep: Run, small_table: Path, tmp_path: Path
) -> None:
    flags = ("search", "--table", small_table, "--trials", 20, "--no-track", "--out")
    for name in (".lock", "config.toml", "journal.jsonl"):
        process = start(*flags, tmp_path / "run")
        until((tmp_path / "run" / name).exists)
        process.kill()
        process.wait()
    assert archsweep(*flags, tmp_path / "run").returncode == 0
    assert archsweep(*flags, tmp_path / "whole").returncode == 0
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == (tmp_path / "whole" / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("kills", [2, pytest.param(6, marks=pytest.mark.slow)])
def test_on_ray_every_trial_is_told_once_however_often_the_driver_is_killed(
    kills: int, start: Start, until: Until, archsweep: Run, curves_table: Path, tmp_path: Path
) -> None:
    trials = 2_000 * (kills + 1)
    run_dir = tmp_path / "run"
    journal = run_dir / "journal.jsonl"
    flags = ("search", "--table", curves_table, "--trials", trials, "--pool", "ray", "--duplicates", "evaluate")
    rng = np.random.default_rng(3)
    sessions = []
    for _ in range(kills):
        process = start(*flags, "--no-track", "--out", run_dir)
        target = size(journal) + int(rng.uniform(5e4, 3e5))
        until(lambda target=target, process=process: size(journal) > target or process.poll() is not None)
        assert process.poll() is None, process.communicate()
        time.sleep(float(rng.uniform(0, 0.2)))
        process.kill()
        process.wait()
        sessions.append(process.pid)
    last = archsweep(*flags, "--no-track", "--out", run_dir)
    assert last.returncode == 0, last.stderr
    asked, finished = Counter[int](), Counter[int]()
    for trial in Reading(journal):
        (asked if trial.status is Status.PENDING else finished)[trial.number] += 1
        assert trial.status is not Status.FAILED
    assert asked == finished == Counter(range(trials))
    for session in sessions:
        until(lambda session=session: not [line for line in of_session(session) if not line.startswith(AGENTS)])
