"""What the Ray pool does about workers that die, hang, raise or run out of memory."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from nas.errors import ArchsweepError, EvaluationError
from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Result, Trial
from workers.ray_fleet import HostSpec
from workers.ray_pool import RayPool

FINE, RAISES, DIES, HANGS, NAN, HUNGRY, REFUSES = range(7)
ALWAYS = 10
"""Added to a fault: it happens at every try, not only at the first."""


class Faulty:
    """An evaluator whose seed says what goes wrong; every try leaves a mark in a folder."""

    def __init__(self, marks: Path) -> None:
        self._marks = marks

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        first = not list(self._marks.glob(f"{proposal.cell.key}-*"))
        (self._marks / f"{proposal.cell.key}-{time.monotonic_ns()}-{os.getpid()}").touch()
        kind = seed % ALWAYS if first or seed >= ALWAYS else FINE
        if kind == RAISES:
            raise ZeroDivisionError("on purpose")
        if kind == DIES:
            os._exit(1)
        if kind == HANGS:
            time.sleep(1_000)
        if kind == HUNGRY:
            bytearray(1 << 30)
        if kind == REFUSES:
            raise EvaluationError("no such cell")
        return Result(float("nan") if kind == NAN else 0.9, 1.0, source=ray.get_runtime_context().get_node_id())


def of_trial(marks: Path, trial: Trial) -> list[Path]:
    """The marks of a trial's tries, in order."""
    return sorted(marks.glob(f"{trial.proposal.cell.key}-*"), key=lambda mark: int(mark.name.split("-")[1]))


def worker(mark: Path) -> str:
    """The process that made it."""
    return mark.name.split("-")[2]


def tries(marks: Path, trial: Trial) -> int:
    return len(of_trial(marks, trial))


def outcomes(pool: RayPool, seeds: Sequence[int]) -> list[Trial]:
    """The finished trials, by number."""
    waiting = [Trial(number, Proposal(Cell.numbered(number)), seed, number, 0.0) for number, seed in enumerate(seeds)]
    finished: list[Trial] = []
    while len(finished) < len(seeds):
        while waiting and (slot := pool.idle()) is not None:
            trial = waiting.pop(0)
            pool.submit(Trial(trial.number, trial.proposal, trial.seed, slot, pool.now))
        finished += pool.wait()
    assert [trial.number for trial in sorted(finished, key=lambda t: t.number)] == list(range(len(seeds)))
    return sorted(finished, key=lambda trial: trial.number)


@pytest.fixture
def cluster(ray_down: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without CPUs, on which nothing is evaluated, and one node; beside any other Ray of this machine."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="c") as folder:  # sockets have short names
        monkeypatch.setenv("RAY_TMPDIR", folder)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        made.add_node(num_cpus=1)
        yield made
        ray.shutdown()
        made.shutdown()


def drain(cluster: Cluster, node: Any) -> None:
    """Announces that a node will leave in a minute, as an autoscaler does."""
    client = ray._raylet.GcsClient(address=cluster.address)
    deadline = int((time.time() + 60) * 1_000)
    client.drain_node(node.node_id, autoscaler_pb2.DRAIN_NODE_REASON_PREEMPTION, "test", deadline)


@pytest.fixture
def marks(tmp_path: Path, ray_cluster: None) -> Path:
    return tmp_path


def test_a_batch_survives_its_culprit(marks: Path) -> None:
    seeds = [FINE, FINE, RAISES, DIES, HANGS, DIES + ALWAYS, FINE, FINE, RAISES + ALWAYS, REFUSES, FINE, FINE]
    pool = RayPool(partial(Faulty, marks), len(seeds), retries=1, hosts=HostSpec(seconds=0.25))
    finished = outcomes(pool, seeds)
    pool.close()
    reasons = {trial.number: trial.failure for trial in finished if trial.failure}
    assert reasons == {
        5: "its worker died (ActorDiedError) (tried 2 times)",
        8: "ZeroDivisionError: on purpose (tried 2 times)",
        9: "no such cell",
    }
    assert tries(marks, finished[9]) == 1
    assert tries(marks, finished[8]) == 2
    assert tries(marks, finished[5]) <= 3  # once among others, twice alone


def test_a_worker_of_one_trial_is_replaced_and_the_trial_tried_again_elsewhere(marks: Path) -> None:
    spec = HostSpec(trials=1, cpus=0.5, memory=200 << 20, seconds=1.5)
    seeds = [HANGS + ALWAYS, HUNGRY + ALWAYS, DIES, HUNGRY, FINE, FINE]
    pool = RayPool(partial(Faulty, marks), 2, retries=1, hosts=spec)
    finished = outcomes(pool, seeds)
    pool.close()
    reasons = {trial.number: trial.failure for trial in finished if trial.failure}
    assert reasons == {0: "it took longer than 1.5 s (tried 2 times)", 1: "MemoryError (tried 2 times)"}
    assert [tries(marks, trial) for trial in finished] == [2, 2, 2, 2, 1, 1]


def test_an_objective_that_is_no_number_is_tried_again_elsewhere_and_fails(marks: Path) -> None:
    pool = RayPool(partial(Faulty, marks), 2, retries=2, hosts=HostSpec(trials=1, cpus=0.5))
    while len({worker(mark) for mark in marks.iterdir()}) < 2:
        outcomes(pool, [FINE, FINE])
    finished, other = outcomes(pool, [NAN + ALWAYS, FINE])
    pool.close()
    assert finished.failure == "the objective is nan (tried 3 times)"
    tried = [worker(mark) for mark in of_trial(marks, finished)][-3:]
    assert tried[0] == tried[2] != tried[1]
    assert other.result is not None


def test_slots_without_a_worker_are_not_given_away(marks: Path) -> None:
    pool = RayPool(partial(Faulty, marks), 50, hosts=HostSpec(trials=1, cpus=1.0))
    given = 0
    while (slot := pool.idle()) is not None:
        pool.submit(Trial(given, Proposal(Cell.numbered(given)), FINE, slot, pool.now))
        given += 1
    assert 1 <= given <= 2, "the cluster has two CPUs"
    while given:
        given -= len(pool.wait())
    pool.close()


def nodes_of(pool: RayPool) -> set[str]:
    """Where some more trials are evaluated."""
    return {trial.result.source for trial in outcomes(pool, [FINE] * 4) if trial.result}


def test_nodes_that_join_are_used_and_those_that_leave_are_not(cluster: Cluster, tmp_path: Path) -> None:
    a_node = RayPool(partial(Faulty, tmp_path), 2, cluster.address)
    a_slot = RayPool(partial(Faulty, tmp_path), 2, cluster.address, hosts=HostSpec(trials=1, cpus=1.0))
    (first,) = cluster.worker_nodes
    second = cluster.add_node(num_cpus=1)
    for pool in (a_node, a_slot):
        while nodes_of(pool) != {first.node_id, second.node_id}:
            pass
    drain(cluster, first)
    for pool in (a_node, a_slot):
        while nodes_of(pool) != {second.node_id}:
            pass
        assert nodes_of(pool) == {second.node_id}, "and it stays so"
    cluster.remove_node(first, allow_graceful=False)
    for pool in (a_slot, a_node):
        assert nodes_of(pool) == {second.node_id}
        pool.close()
    cluster.remove_node(second, allow_graceful=False)
    with pytest.raises(ArchsweepError, match=r"had no worker for 0 s .*; run the same command again to go on"):
        RayPool(partial(Faulty, tmp_path), 2, patience=0.0)
