"""A storm of faults over a search on a real Ray cluster; see `tests/chaos.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import chaos

SHORT = {"worker_killed": 1, "node_killed": 1, "driver_killed": 1}


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(
    ("trials", "nodes", "storm", "least"),
    [(40, 1, SHORT, 3), pytest.param(2_200, chaos.NODES, chaos.STORM, 200, marks=pytest.mark.slow)],
    ids=["a breeze", "a storm"],
)
def test_nothing_is_lost_and_nothing_told_twice(
    trials: int,
    nodes: int,
    storm: dict[str, int],
    least: int,
    archsweep: Callable[..., Any],
    curves_table: Path,
    tmp_path: Path,
) -> None:
    run_dir = tmp_path / "run"
    command = [sys.executable, chaos.__file__, curves_table, run_dir, "--trials", trials, "--nodes", nodes]
    done = subprocess.run(
        [*map(str, command), "--storm", json.dumps(storm)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["faults"].values()) >= least
    proof = archsweep("verify", run_dir, "--json")
    assert proof.returncode == 0, proof.stderr
    counted = json.loads(proof.stdout)
    assert counted["asked"] == trials == counted["told"] + counted["failed"]
