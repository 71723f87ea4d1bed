"""What-if clusters: what befalls their workers, how busy they are, what they cost."""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Result, Status, Trial
from orchestrator.records.journal import Reading
from orchestrator.records.results import Summary
from orchestrator.records.state import State
from orchestrator.records.usage import Usage
from orchestrator.search.loop import Streams
from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from workers.cluster import HOUR, MOST_PREEMPTIONS, Cluster, WorkerClass, steady
from workers.generation import GenerationPool
from workers.simulated import SimulatedPool

Run = Callable[..., subprocess.CompletedProcess[str]]

CELL = Cell.numbered(3)
EPOCHS = 10


def cluster(*classes: WorkerClass, seed: int = 0) -> Cluster:
    return Cluster(classes, seed, Streams(seed), EPOCHS)


def trial(number: int, worker: int = 0, asked: float = 0.0) -> Trial:
    return Trial(number, Proposal(CELL), number, worker, asked)


def an_hour(proposal: Proposal, seed: int) -> Result:
    return Result(0.9, HOUR)


def durations(kind: WorkerClass, trials: int = 4_000) -> np.ndarray[Any, Any]:
    """Hours that trials of an hour take; NaN if they fail."""
    made = cluster(kind)
    ends = [made.run(trial(number), HOUR) for number in range(trials)]
    return np.array([math.nan if failure else end / HOUR for end, failure in ends])


CLASSES = st.builds(
    WorkerClass,
    count=st.just(1),
    speed=st.floats(0.1, 10),
    stragglers=st.floats(0, 1),
    slowdown=st.floats(1, 10),
    preemptions=st.floats(0, 20),
    restart=st.floats(0, 1),
    checkpoints=st.booleans(),
    failures=st.floats(0, 20),
)


@settings(deadline=None)
@given(kind=CLASSES, number=st.integers(0, 10**6), seconds=st.floats(0, 1e5), asked=st.floats(0, 1e6))
def test_what_befalls_a_trial_depends_on_nothing_but_the_trial(
    kind: WorkerClass, number: int, seconds: float, asked: float
) -> None:
    first, second = cluster(kind), cluster(kind)
    second.run(trial(number + 1), 1e4)
    here = trial(number, asked=asked)
    end, failure = first.run(here, seconds)
    assert (end, failure) == first.run(here, seconds) == second.run(here, seconds)
    assert end >= asked
    if failure is None:
        assert end >= (asked + seconds / kind.speed) * (1 - 1e-9)


def test_a_share_of_trials_straggles() -> None:
    hours = durations(WorkerClass(1, stragglers=0.2, slowdown=3.0))
    assert set(hours) == {1.0, 3.0}
    assert abs((hours == 3.0).mean() - 0.2) < 0.03


def test_workers_fail_at_their_rate() -> None:
    failed = np.isnan(durations(WorkerClass(1, failures=0.5))).mean()
    assert abs(failed - (1 - math.exp(-0.5))) < 0.03


def test_a_preempted_trial_goes_on_from_its_last_whole_epoch() -> None:
    hours = durations(WorkerClass(1, preemptions=2.0, restart=0.25))
    lost = hours[hours > 1] - 1
    assert abs((hours == 1).mean() - math.exp(-2)) < 0.03
    # Each preemption costs the restart and less than an epoch, on average half of one.
    assert lost.min() >= 0.25
    assert abs(hours.mean() - 1 - 2 * (0.25 + 0.05)) < 0.05


def test_a_preempted_trial_without_checkpoints_begins_again() -> None:
    hours = durations(WorkerClass(1, preemptions=1.0, restart=0.0, checkpoints=False))
    assert abs(hours.mean() - (math.e - 1)) < 0.1  # (e^(rate x time) - 1) / rate


def test_a_trial_that_no_worker_gets_done_fails() -> None:
    kind = WorkerClass(1, preemptions=1e6, checkpoints=False)
    _, failure = cluster(kind).run(trial(0), HOUR)
    assert failure == f"it was preempted {MOST_PREEMPTIONS:,} times"


def finished_in_order(pool: SimulatedPool | GenerationPool, trials: int) -> list[Trial]:
    """What a search of so many trials that asks whenever it may would see."""
    asked, done = 0, list[Trial]()
    while len(done) < trials:
        while asked < trials and (slot := pool.idle()) is not None:
            pool.submit(Trial(asked, Proposal(CELL), asked, slot, pool.now))
            asked += 1
        done += pool.wait()
    return done


def test_workers_begin_when_they_join_and_take_nothing_once_they_leave() -> None:
    classes = (WorkerClass(1), WorkerClass(2, joins=0.5), WorkerClass(1, leaves=1.5))
    done = finished_in_order(SimulatedPool(an_hour, cluster(*classes)), 20)
    begun: dict[int, list[float]] = {}
    for one in sorted(done, key=lambda one: one.number):
        begun.setdefault(one.worker, []).append(one.asked / HOUR)
    assert begun[1][0] == begun[2][0] == 0.5
    assert begun[3] == [0, 1]
    assert begun[0][:3] == [0, 1, 2]


def test_trials_that_are_submitted_again_in_any_order_leave_the_workers_as_they_were() -> None:
    made = cluster(WorkerClass(3), WorkerClass(2, joins=0.5), WorkerClass(1, leaves=0.2))
    before = SimulatedPool(an_hour, made)
    pending = []
    for number in range(4):
        pending.append(Trial(number, Proposal(CELL), number, before.idle() or 0, before.now))
        before.submit(pending[-1])
    after = SimulatedPool(an_hour, made)
    for one in reversed(pending):
        after.submit(one)
    for number in range(4, 40):
        assert before.idle() == after.idle()
        if (slot := before.idle()) is None:
            assert before.wait() == after.wait()
            continue
        for pool in (before, after):
            pool.submit(Trial(number, Proposal(CELL), number, slot, pool.now))


def test_a_generation_begins_when_the_last_one_has_ended() -> None:
    pool = GenerationPool(SimulatedPool(an_hour, steady([1.0, 0.5, 0.25])))
    done = finished_in_order(pool, 9)
    assert [one.asked / HOUR for one in sorted(done, key=lambda one: one.number)] == [0] * 3 + [4] * 3 + [8] * 3


def test_usage_is_what_the_workers_had_to_do() -> None:
    classes = (WorkerClass(2, price=3.0), WorkerClass(1, joins=0.5, leaves=1.0, price=10.0))
    usage, state = Usage(classes), State()
    assert usage.utilisation(0.0) is None
    for number, (worker, asked, finished) in enumerate([(0, 0.0, 2.0), (1, 0.0, 1.0), (2, 0.5, 1.5)]):
        result = Result(0.9, 1.0)
        usage(trial(number, worker, asked * HOUR).succeeded(result, asked * HOUR, finished * HOUR), state)
    # Two workers for two hours, and the third, which leaves after 0.5 but finishes what it has, for one.
    assert usage.utilisation(2 * HOUR) == pytest.approx(4 / 5)
    assert usage.cost(2 * HOUR) == pytest.approx(2 * 2 * 3 + 1 * 10)
    assert Usage((WorkerClass(1),)).cost(HOUR) is None


def search(run_dir: Path, table: Path, **values: Any) -> Summary:
    described = {"table": table, "trials": 60, "tracking": {"enabled": False}, "duplicates": "evaluate", **values}
    return Search(parse(described, "test"), run_dir).run()


def test_a_steady_cluster_is_the_plain_pool(small_table: Path, tmp_path: Path) -> None:
    search(tmp_path / "plain", small_table, pool={"workers": 5, "speed_spread": 0.3})
    search(tmp_path / "cluster", small_table, pool={"cluster": [{"count": 5, "speed_spread": 0.3}]})
    events = [list(Reading(tmp_path / name / "journal.jsonl")) for name in ("plain", "cluster")]
    assert events[0] == events[1]


def test_a_cluster_slows_a_search_down_and_shows_in_its_summary(small_table: Path, tmp_path: Path) -> None:
    quiet = search(tmp_path / "quiet", small_table, pool={"cluster": [{"count": 4, "price": 2}]})
    rough = search(
        tmp_path / "rough",
        small_table,
        pool={"cluster": [{"count": 4, "price": 2, "preemptions": 8, "stragglers": 0.2, "failures": 0.1}]},
    )
    assert quiet.cost == pytest.approx(4 * 2 * quiet.clock_seconds / HOUR)
    assert (rough.cost or 0) > (quiet.cost or 0) * 1.2
    assert rough.failed > 0 == quiet.failed
    reasons = Counter(t.failure for t in Reading(tmp_path / "rough" / "journal.jsonl") if t.status is Status.FAILED)
    assert set(reasons) == {"its worker failed"}


def test_a_seed_gives_the_same_bytes_whatever_befalls_the_workers(small_table: Path, tmp_path: Path) -> None:
    rough = [
        {"count": 4, "preemptions": 8, "stragglers": 0.2, "speed_spread": 0.5},
        {"count": 2, "failures": 0.1, "joins": 0.5, "leaves": 3, "checkpoints": False, "preemptions": 2},
    ]
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        search(tmp_path / name, small_table, seed=seed, trials=200, pool={"cluster": rough})
    one, again, other = (tmp_path.joinpath(name, "journal.jsonl").read_bytes() for name in ("one", "again", "other"))
    assert one == again != other


def test_asynchronous_dispatch_keeps_workers_busier_than_generations(small_table: Path, tmp_path: Path) -> None:
    pools = {name: {"workers": 8, "dispatch": name} for name in ("async", "generation")}
    runs = {name: search(tmp_path / name, small_table, pool=pool) for name, pool in pools.items()}
    assert (runs["async"].utilisation or 0) > (runs["generation"].utilisation or 0) + 0.1
    assert runs["async"].clock_seconds < runs["generation"].clock_seconds


@pytest.mark.parametrize(
    ("pool", "named"),
    [
        ({"kind": "ray", "cluster": [{"count": 1}]}, "pool: only the simulated pool takes a cluster"),
        ({"workers": 3, "cluster": [{"count": 4}]}, "the classes have 4 workers, not 3; leave workers out"),
        ({"speed_spread": 0.1, "cluster": [{"count": 4}]}, "the spread of speeds belongs into the classes"),
        ({"cluster": [{"count": 4, "leaves": 2}]}, "one class at least must not leave"),
        ({"cluster": [{"count": 1}, {"count": 1, "joins": 2, "leaves": 1}]}, "it leaves before it joins"),
        ({"cluster": [{"count": 60_000}, {"count": 60_000}]}, "120,000 workers are more than 100,000"),
        ({"cluster": [{"count": 0}]}, "pool.cluster.0.count = 0"),
        ({"cluster": [{"count": 1, "speed": 0}]}, "pool.cluster.0.speed = 0"),
        ({"cluster": [{"count": 1, "stragglers": 1.5}]}, "pool.cluster.0.stragglers = 1.5"),
        ({"cluster": [{"count": 1, "preemptions": -1}]}, "pool.cluster.0.preemptions = -1"),
        ({"cluster": [{"count": 1, "colour": 1}]}, "unknown key 'pool.cluster.0.colour'"),
        ({"cluster": [{"speed": 1}]}, "key 'pool.cluster.0.count' is missing"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(pool: dict[str, Any], named: str) -> None:
    with pytest.raises(ArchsweepError) as error:
        parse({"table": "t", "pool": pool}, "c.toml")
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_the_command_line_takes_classes_and_resumes_them(archsweep: Run, small_table: Path, tmp_path: Path) -> None:
    flags = ("--cluster", "count=3,preemptions=2.5,checkpoints=false", "--cluster", "count=1,price=2")
    run = ("search", "--no-track", "--json", "--out", tmp_path / "run")
    done = archsweep(*run, "--table", small_table, "--trials", 50, *flags)
    assert (done.returncode, done.stderr) == (0, "")
    whole = (tmp_path / "run" / "journal.jsonl").read_bytes()
    (tmp_path / "run" / "journal.jsonl").write_bytes(whole[:5_000])
    again = archsweep(*run)
    assert (again.returncode, again.stderr) == (0, "")
    assert (tmp_path / "run" / "journal.jsonl").read_bytes() == whole
    one, other = json.loads(done.stdout), json.loads(again.stdout)
    assert one["cost"] == other["cost"] > 0
    assert one["utilisation"] == other["utilisation"] < 1
