"""A search on a real Ray cluster of several nodes, through a storm of faults; not a test, but what one runs.

    python tests/chaos.py TABLE RUN_DIR --trials 2000

starts a cluster, searches on it, and meanwhile kills workers, nodes and the driver, drains nodes and lets all be gone
for a while, while evaluations raise, hang, return NaN, exit, are killed or run out of memory: all of it drawn from a
seed, and at counts of evaluations, not at times. Prints what was done as JSON; `archsweep verify RUN_DIR` says what it
did to the search.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nas.trial import Proposal, Result
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from workers.base import Pool
from workers.ledger import Ledger, LedgerPool
from workers.ray_fleet import HostSpec
from workers.ray_pool import RayPool
from workers.table import Objective, open_evaluator

SEED, WORKERS, NODES, CPUS = 11, 6, 3, 2
SECONDS = 0.15
"""What an evaluation takes."""
LIMIT, MEMORY = 5.0, 400 << 20
SHARES = {"raises": 0.02, "nan": 0.015, "hungry": 0.015, "exits": 0.015, "killed": 0.015, "hangs": 0.01}
"""Of the trials, that meet this fault at their first try."""
POISON = 0.005
"""Of the trials, that raise at every try."""


def fault_of(seed: int) -> tuple[str, bool]:
    """The fault that a trial of this seed meets, "" for none, and whether it does at every try."""
    at = np.random.default_rng([SEED, seed]).random()
    if at > 1 - POISON:
        return "raises", True
    for kind, share in SHARES.items():
        at -= share
        if at < 0:
            return kind, False
    return "", False


class Chaotic:
    """A table that takes its time and has faults, as a function of the trial's seed; they are noted in a folder."""

    def __init__(self, table: str, objective: Objective, notes: Path) -> None:
        self._look_up, self._notes = open_evaluator(table, objective), notes

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        (self._notes / f"try.{seed}.{time.monotonic_ns()}").touch()
        time.sleep(SECONDS)
        kind, always = fault_of(seed)
        if kind and (self._is_first(kind, seed) or always):
            suffer(kind)
            return Result(float("nan"), 1.0)
        return self._look_up(proposal, seed)

    def _is_first(self, kind: str, seed: int) -> bool:
        try:
            (self._notes / f"fault.{kind}.{seed}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def suffer(kind: str) -> None:
    match kind:
        case "raises":
            raise ZeroDivisionError("as the chaos has it")
        case "hungry":
            bytearray(MEMORY * 2)
        case "exits":
            os._exit(3)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
        case "hangs":
            time.sleep(10_000)


class Stormy(Search):
    """A search whose evaluations are chaotic, on hosts that take batches and, every second time, one trial each."""

    def __init__(self, table: Path, run_dir: Path, trials: int, notes: Path, address: str, single: bool) -> None:
        settings: dict[str, Any] = {
            "table": table,
            "trials": trials,
            "searcher": {"name": "random"},
            "pool": {"kind": "ray", "workers": WORKERS, "address": address},
            "tracking": {"enabled": False},
        }
        super().__init__(parse(settings, "chaos"), run_dir)
        self._make = partial(Chaotic, str(table), self.config.objective, notes)
        self._spec = HostSpec(1 if single else None, 1.0 if single else 0.0, memory=MEMORY, seconds=LIMIT)

    def _pool(self, ledger: Ledger | None, generation_ends: bool) -> Pool:
        assert ledger is not None
        pool = RayPool(self._make, WORKERS, self.config.pool.address, self.state.clock, 6, self._spec, 120.0)
        return LedgerPool(pool, ledger, WORKERS)


class Storm:
    """The cluster, the search's driver, and what is done to them."""

    def __init__(self, arguments: argparse.Namespace, notes: Path) -> None:
        from ray.cluster_utils import Cluster

        self._arguments, self._notes = arguments, notes
        self._rng = np.random.default_rng(SEED)
        self.done = Counter[str]()
        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        for _ in range(arguments.nodes):
            self._cluster.add_node(num_cpus=CPUS)
        self._drivers = 0
        self._drive()

    def run(self) -> None:
        """Does what is to be done, spread over the search's evaluations, until the search has ended."""
        plan = [kind for kind, count in self._arguments.storm.items() for _ in range(count)]
        self._rng.shuffle(plan)
        moments = np.sort(self._rng.uniform(0.02, 0.9, len(plan))) * self._arguments.trials
        for moment, kind in zip(moments, plan, strict=True):
            while len(list(self._notes.glob("try.*"))) < moment and self._driver.poll() is None:
                time.sleep(0.05)
            if self._driver.poll() is not None:
                break
            getattr(self, f"_{kind}")()
            self.done[kind] += 1
        code = self._driver.wait()
        if code:
            raise SystemExit(f"the search ended with {code}")

    def close(self) -> None:
        self._driver.kill()
        self._cluster.shutdown()

    def faults(self) -> Counter[str]:
        """What happened, by kind."""
        return self.done + Counter(note.name.split(".")[1] for note in self._notes.glob("fault.*"))

    def _drive(self) -> None:
        arguments = self._arguments
        command = [sys.executable, __file__, arguments.table, arguments.run_dir, "--trials", arguments.trials]
        self._driver = subprocess.Popen(
            [*map(str, command), "--drive", self._cluster.address, "--notes", str(self._notes)]
            + ["--single"] * (self._drivers % 2)
        )
        self._drivers += 1

    def _driver_killed(self) -> None:
        self._driver.kill()
        self._driver.wait()
        self._drive()

    def _worker_killed(self) -> None:
        hosts = [pid for node in self._cluster.worker_nodes for pid in hosts_of(node)]
        if hosts:
            os.kill(int(self._rng.choice(hosts)), signal.SIGKILL)

    def _node_killed(self) -> None:
        self._cluster.remove_node(self._some_node(), allow_graceful=False)
        self._cluster.add_node(num_cpus=CPUS)

    def _node_drained(self) -> None:
        import ray
        from ray.core.generated import autoscaler_pb2

        node = self._some_node()
        client = ray._raylet.GcsClient(address=self._cluster.address)
        deadline = int((time.time() + 30) * 1_000)
        client.drain_node(node.node_id, autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, "chaos", deadline)
        time.sleep(2.0)
        self._cluster.remove_node(node)
        self._cluster.add_node(num_cpus=CPUS)

    def _all_gone(self) -> None:
        for node in list(self._cluster.worker_nodes):
            self._cluster.remove_node(node, allow_graceful=False)
        time.sleep(3.0)
        for _ in range(self._arguments.nodes):
            self._cluster.add_node(num_cpus=CPUS)

    def _some_node(self) -> Any:
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id))
        return nodes[self._rng.integers(len(nodes))]


def hosts_of(node: Any) -> list[int]:
    """The processes of our actors on a node: children of its raylet."""
    raylet = node.all_processes["raylet"][0].process.pid
    found = []
    for children in Path(f"/proc/{raylet}/task").glob("*/children"):
        for pid in children.read_text().split():
            command = Path(f"/proc/{pid}/cmdline")
            if command.exists() and command.read_text().startswith("ray::Host"):
                found.append(int(pid))
    return sorted(found)


STORM = {"worker_killed": 30, "node_killed": 8, "node_drained": 6, "driver_killed": 4, "all_gone": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--trials", type=int, default=2_000)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--storm", type=json.loads, default=STORM, help="How often what is done, as JSON.")
    parser.add_argument("--drive", metavar="ADDRESS", help="Search on this cluster, and do nothing else.")
    parser.add_argument("--notes", type=Path)
    parser.add_argument("--single", action="store_true")
    arguments = parser.parse_args()
    if arguments.drive:
        values = (arguments.table, arguments.run_dir, arguments.trials, arguments.notes)
        Stormy(*values, arguments.drive, arguments.single).run()
        return
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="c") as folder:  # sockets have short names
        os.environ["RAY_TMPDIR"] = folder  # beside any other Ray of this machine
        notes = Path(folder) / "notes"
        notes.mkdir()
        storm = Storm(arguments, notes)
        try:
            storm.run()
        finally:
            storm.close()
        tries = len(list(notes.glob("try.*")))
        print(json.dumps({"faults": storm.faults(), "evaluations": tries}))


if __name__ == "__main__":
    main()
