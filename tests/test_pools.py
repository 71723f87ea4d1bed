"""What every pool owes the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from nas.errors import ArchsweepError, EvaluationError
from nas.nasbench101.cell import Cell
from nas.trial import Proposal, Result, Status, Trial
from workers.base import Pool
from workers.cluster import steady, worker_speeds
from workers.generation import GenerationPool
from workers.inline import InlinePool
from workers.ledger import Ledger, LedgerPool
from workers.ray_pool import RayPool
from workers.simulated import SimulatedPool


class Evaluator:
    """Takes as many seconds as the seed says; seed 13 fails, 14 has no number, 15 no training time."""

    def __call__(self, proposal: Proposal, seed: int) -> Result:
        if seed == 13:
            raise EvaluationError("thirteen")
        return Result(float("nan") if seed == 14 else 0.9, None if seed == 15 else float(seed))


POOLS: dict[str, Callable[[], Pool]] = {
    "simulated": lambda: SimulatedPool(Evaluator(), steady([1.0, 2.0, 0.5])),
    "inline": lambda: InlinePool(Evaluator()),
    "ray": lambda: RayPool(Evaluator, workers=3),
    "generation": lambda: GenerationPool(SimulatedPool(Evaluator(), steady([1.0, 2.0, 0.5]))),
    "ledger": lambda: LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 2.0, 0.5])), Ledger(), 3),
}


@pytest.fixture(params=POOLS)
def pool(request: pytest.FixtureRequest) -> Iterator[Pool]:
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    made = POOLS[request.param]()
    yield made
    made.close()


def trial(number: int, seed: int, pool: Pool, cell: int | None = None) -> Trial:
    slot = pool.idle()
    assert slot is not None
    return Trial(number, Proposal(Cell.numbered(number if cell is None else cell)), seed, slot, pool.now)


def run_all(pool: Pool, seeds: list[int]) -> list[Trial]:
    finished: list[Trial] = []
    for number, seed in enumerate(seeds):
        while pool.idle() is None:
            finished += pool.wait()
        pool.submit(trial(number, seed, pool))
    while len(finished) < len(seeds):
        finished += pool.wait()
    return finished


def test_every_trial_comes_back_once(pool: Pool) -> None:
    finished = run_all(pool, [5, 3, 13, 1, 8, 13, 2, 1, 9, 4])
    assert sorted(t.number for t in finished) == list(range(10))
    assert {t.number for t in finished if t.status is Status.FAILED} == {2, 5}


def test_failures_are_values_with_a_reason(pool: Pool) -> None:
    failed, nothing = sorted(run_all(pool, [13, 14]), key=lambda t: t.number)
    assert (failed.result, failed.failure) == (None, "thirteen")
    assert nothing.result is None
    assert "nan" in (nothing.failure or "")


def test_no_slot_is_given_twice(pool: Pool) -> None:
    taken = set()
    number = 0
    while (slot := pool.idle()) is not None:
        assert slot not in taken
        taken.add(slot)
        pool.submit(trial(number, 1, pool))
        number += 1
    assert number >= 1
    finished = pool.wait()
    while pool.idle() is None:  # a generation ends as one
        finished += pool.wait()
    assert pool.idle() in {t.worker for t in finished}


@pytest.mark.parametrize("same", [False, True])
def test_a_pool_takes_only_so_much_while_nobody_waits_for_it(pool: Pool, same: bool) -> None:
    """Back-pressure: however slow the searcher, the journal or the tracker, no more than this is under way."""
    taken = 0
    while pool.idle() is not None:
        pool.submit(trial(taken, seed=1, pool=pool, cell=7 if same else None))
        taken += 1
        assert taken <= 6  # three slots, and as many that wait for an isomorphic one
    finished: list[Trial] = []
    while len(finished) < taken:
        finished += pool.wait()
    assert sorted(one.number for one in finished) == list(range(taken))


def test_the_clock_never_goes_back(pool: Pool) -> None:
    times = [pool.now]
    for number in range(5):
        pool.submit(trial(number, number + 1, pool))
        finished = pool.wait()
        times += [pool.now]
        assert all(t.asked <= (t.started or 0) <= (t.finished or 0) <= pool.now for t in finished)
    assert times == sorted(times)


def test_closing_twice_is_allowed(pool: Pool) -> None:
    pool.close()


def test_simulated_workers_finish_by_their_speed() -> None:
    pool = SimulatedPool(Evaluator(), steady([1.0, 2.0, 0.5]))
    for number in range(3):
        pool.submit(trial(number, 12, pool))
    ends = [(t.number, t.finished) for _ in range(3) for t in pool.wait()]
    assert ends == [(1, 6.0), (0, 12.0), (2, 24.0)]


def test_a_pending_trial_of_a_resumed_simulation_ends_when_it_would_have() -> None:
    before = SimulatedPool(Evaluator(), steady([1.0, 2.0]))
    pending = [trial(0, 10, before)]
    before.submit(pending[0])
    pending.append(trial(1, 4, before))
    before.submit(pending[1])
    expected = [before.wait()[0], before.wait()[0]]
    after = SimulatedPool(Evaluator(), steady([1.0, 2.0]), now=1.5)
    for one in reversed(pending):
        after.submit(one)
    assert [after.wait()[0], after.wait()[0]] == expected


def test_a_simulation_needs_training_times() -> None:
    pool = SimulatedPool(Evaluator(), steady([1.0]))
    pool.submit(trial(0, 15, pool))
    assert "training time is unknown" in (pool.wait()[0].failure or "")


def test_speeds_are_seeded_and_positive() -> None:
    spreads = [0.3] * 8
    assert worker_speeds(spreads, 1) == worker_speeds(spreads, 1) != worker_speeds(spreads, 2)
    assert worker_speeds([0.0, 0.0, 0.0], 1) == [1.0, 1.0, 1.0]
    assert min(worker_speeds([1.0] * 1_000, 0)) > 0


def test_the_ledger_answers_isomorphic_cells_at_no_cost_and_before_anything_else() -> None:
    pool = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0])), Ledger(), 3)
    pool.submit(trial(0, 7, pool, cell=3))
    assert pool.wait()[0].finished == 7.0
    pool.submit(trial(1, 50, pool, cell=4))
    pool.submit(trial(2, 5, pool, cell=3))
    assert pool.idle() is None
    (answered,) = pool.wait()
    assert (answered.number, answered.finished) == (2, 7.0)
    assert answered.result == Result(0.9, 7.0, source="ledger")
    assert answered.result.paid == 0
    assert pool.idle() is not None


def test_proposals_isomorphic_to_one_in_flight_share_its_result_and_take_no_slot() -> None:
    pool = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0])), Ledger(), 2)
    for number, (seed, cell) in enumerate([(7, 3), (50, 3), (9, 4)]):
        pool.submit(trial(number, seed, pool, cell))
    first, twin = pool.wait()
    assert (first.number, twin.number, first.finished, twin.finished) == (0, 1, 7.0, 7.0)
    assert twin.result == Result(0.9, 7.0, source="ledger")
    assert twin.result.paid == 0
    assert [t.number for t in pool.wait()] == [2]


def test_proposals_isomorphic_to_one_in_flight_share_its_failure_and_later_ones_do_not() -> None:
    ledger = Ledger()
    pool = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0])), ledger, 2)
    for number, (seed, cell) in enumerate([(13, 3), (5, 3)]):
        pool.submit(trial(number, seed, pool, cell))
    assert [(t.number, t.failure) for t in pool.wait()] == [(0, "thirteen"), (1, "thirteen")]
    pool.submit(trial(2, 5, pool, 3))
    (again,) = pool.wait()
    assert again.result == Result(0.9, 5.0)


def test_no_more_proposals_wait_for_others_than_were_allowed() -> None:
    pool = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0])), Ledger(), 2)
    for number in range(3):
        assert pool.idle() == (1 if number else 0)
        pool.submit(trial(number, 7, pool, 3))
    assert pool.idle() is None
    assert len(pool.wait()) == 3
    assert pool.idle() == 0


@pytest.mark.parametrize("seed", [7, 13], ids=["result", "failure"])
def test_a_twin_has_the_same_answer_whether_the_first_was_told_before_a_resume_or_after(seed: int) -> None:
    before = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0])), Ledger(), 2)
    asked = []
    for number in range(2):
        asked.append(trial(number, seed, before, 3))
        before.submit(asked[-1])
    first, twin = before.wait()
    ledger = Ledger()
    for one in asked:
        ledger.ask(one)
    ledger.learn(first)
    resumed = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0]), now=first.finished or 0), ledger, 2)
    resumed.submit(asked[1])
    assert resumed.wait() == [twin]


def test_the_ledger_does_not_answer_for_other_epochs_or_failures() -> None:
    pool = LedgerPool(SimulatedPool(Evaluator(), steady([1.0, 1.0])), Ledger(), 3)
    cell = Cell.numbered(3)
    for number, (epochs, seed) in enumerate([(4, 13), (4, 2), (12, 2)]):
        pool.submit(Trial(number, Proposal(cell, epochs), seed, pool.idle() or 0, pool.now))
        (finished,) = pool.wait()
        assert finished.result is None or finished.result.source == "table"


def test_a_ray_cluster_that_is_not_there_is_one_clear_error(ray_down: None) -> None:
    with pytest.raises(ArchsweepError, match=r"cannot join the Ray cluster at 127\.0\.0\.1:1"):
        RayPool(Evaluator, 1, address="127.0.0.1:1")


class Broken:
    def __init__(self) -> None:
        raise ValueError("no such table here")


def test_an_evaluator_that_no_node_can_make_is_one_clear_error(ray_cluster: None) -> None:
    with pytest.raises(ArchsweepError, match=r"no node of the Ray cluster can evaluate: .*no such table here"):
        RayPool(Broken, 1)
