"""What single searchers claim beyond the contract of all."""

from __future__ import annotations

import math
from collections import Counter
from typing import NoReturn

import moocore
import numpy as np
import pytest

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from nas.nasbench101.network import catalogue_costs, cost
from nas.nasbench101.space import CellSpace
from nas.table.table import Table
from nas.trial import Proposal, Result, Trial
from orchestrator.search.loop import Streams
from searchers.base import Searcher
from searchers.brackets import hyperband_shapes
from searchers.controller import END, PRESENT, Controller, Draft, Policy, tokens
from searchers.learned import Learned
from searchers.local_search import LocalSearch
from searchers.nsga2 import Nsga2, crowding, fronts, ranked
from searchers.registry import make_searcher
from searchers.reinforce import Reinforce
from searchers.weaknas import WeakNas
from surrogate.ensemble import Ensemble, Model
from workers.table import Objective, TableEvaluator

SPACE = CellSpace()


def smooth(cell: Cell) -> float:
    """Fewer operations 3x3 and fewer edges are better."""
    return 1 / (1 + 3 * cell.pruned.operations.count("conv3x3-bn-relu") + cell.edges)


def outcome(number: int, proposal: Proposal, objective: float | None) -> Trial:
    trial = Trial(number, proposal, 0, 0, 0.0)
    return trial.failed("", 0, 1) if objective is None else trial.succeeded(Result(objective, 1.0), 0, 1)


def search(searcher: Searcher, trials: int, workers: int = 1, seed: int = 0) -> list[Proposal]:
    streams, asked, pending = Streams(seed), [], []
    for number in range(trials):
        asked.append(searcher.ask(pending, streams(number)))
        pending.append(asked[-1])
        if len(pending) == workers:
            proposal = pending.pop(0)
            searcher.tell(outcome(number, proposal, smooth(proposal.cell)))
    return asked


@pytest.mark.parametrize("name", ["local", "reinforce", "controller", "bananas", "npenas", "weaknas", "dehb", "bohb"])
def test_better_than_random_where_there_is_something_to_learn(name: str) -> None:
    parameters = {
        "local": {"starts": 2},
        "reinforce": {"learning_rate": 5.0},
        "controller": {"learning_rate": 0.01, "hidden": 20},
        "bananas": {"model": "trees", "members": 2},
        "npenas": {"members": 1},
        "weaknas": {"initial": 60, "batch": 100},
    }
    asked = search(make_searcher(name, SPACE, parameters.get(name, {})), 200)
    drawn = search(make_searcher("random", SPACE, {}), 200)
    late = [smooth(proposal.cell) for proposal in asked[100:]]
    assert np.mean(late) > 1.25 * np.mean([smooth(proposal.cell) for proposal in drawn])


def test_local_search_stops_at_minima_only() -> None:
    """When it starts anew, every neighbour of the cell it last walked to is known and none is better."""
    walked: list[Cell] = []

    class Watched(LocalSearch):
        def _go(self, cell: Cell) -> None:
            walked.append(cell)
            super()._go(cell)

    searcher, streams, minima = Watched(CellSpace(range(91)), starts=1), Streams(0), 0
    known: dict[int, float] = {}
    for number in range(200):
        proposal = searcher.ask([], streams(number))
        if proposal.provenance["by"] == "start" and walked:
            neighbours = searcher.space.neighbours(walked[-1])
            assert all(known[cell.key] <= smooth(walked[-1]) for cell in neighbours)
            minima += 1
        known[proposal.cell.key] = smooth(proposal.cell)
        searcher.tell(outcome(number, proposal, smooth(proposal.cell)))
    assert minima > 2


def test_reinforce_makes_a_good_choice_likelier_and_a_bad_one_less_likely() -> None:
    searcher = Reinforce(SPACE, learning_rate=0.5)
    first, second = (SPACE.sample(np.random.default_rng(seed)) for seed in (1, 2))
    searcher.tell(outcome(0, Proposal(first), 0.5))
    assert not searcher._edges.any()  # at the baseline there is nothing to learn
    searcher.tell(outcome(1, Proposal(second), 0.9))
    present = [bool(second.frame >> bit & 1) for bit in range(21)]
    assert ((searcher._edges[:, 1] > searcher._edges[:, 0]) == present).all()


def test_a_cell_is_written_as_a_string_and_read_back() -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(300):
        cell, draft = SPACE.sample(rng).pruned, Draft()
        string = tokens(cell)
        lengths.add(len(string))
        for token in string:
            assert not draft.done
            assert token in draft.allowed
            draft.add(token)
        assert draft.done
        assert (draft.frame, tuple(draft.labels)) == (cell.frame, cell.labels)
    assert len(lengths) > 2


def test_a_policy_gives_every_string_its_probability() -> None:
    """How often strings are written is what they are scored: of the shortest ones, often enough to count."""
    policy, rng = Policy(5), np.random.default_rng(0)
    written = Counter((draft.frame, tuple(draft.labels)) for _ in range(150) for draft in policy.write(rng))
    scored = float(policy.score([END, PRESENT])[0].exp().detach())
    expected, found = scored * written.total(), written[1 << 15, ()]
    assert abs(found - expected) < 4 * expected**0.5


def test_a_controller_writes_rewarded_strings_more_often() -> None:
    searcher = Controller(SPACE, hidden=10, learning_rate=0.01)
    good, bad = (SPACE.sample(np.random.default_rng(seed)) for seed in (1, 2))

    def likelihood(cell: Cell) -> float:
        return float(searcher._policy.score(tokens(cell.pruned))[0].detach())

    before = likelihood(good), likelihood(bad)
    for number in range(20):
        cell, objective = ((bad, 0.5), (good, 0.9))[number % 2]
        searcher.tell(outcome(number, Proposal(cell), objective))
    assert likelihood(good) > before[0]
    assert likelihood(bad) < likelihood(good)


def test_a_model_is_due_at_told_counts_that_grow_with_the_search() -> None:
    learned = Learned(lambda: Ensemble(Model.TREES, 1), initial=10, every=10)
    due = set()
    for number in range(600):
        learned.tell(outcome(number, Proposal(Cell.numbered(number * 7)), 0.9))
        due.add(learned.fitted)
    assert sorted(due)[:22] == [*range(0, 201, 10), 210]
    assert len(due) < 50


def test_failed_and_repeated_cells_do_not_teach_a_model() -> None:
    learned = Learned(lambda: Ensemble(Model.TREES, 1), initial=2, every=1)
    learned.tell(outcome(0, Proposal(Cell.numbered(5)), 0.9))
    learned.tell(outcome(1, Proposal(Cell.numbered(5)), 0.1))
    learned.tell(outcome(2, Proposal(Cell.numbered(6)), None))
    assert learned.values == [0.9]
    assert learned.known == {5, 6}
    assert learned.model() is None


@pytest.mark.parametrize("model", Model)
def test_an_ensemble_predicts_what_it_can_and_says_where_it_is_sure(model: Model) -> None:
    cells = np.random.default_rng(0).permutation(len(SPACE))[:400]
    accuracies = np.array([0.9 + 0.05 * smooth(Cell.numbered(int(cell))) for cell in cells])
    ensemble = Ensemble(model, 3)
    ensemble.fit(cells[:200], accuracies[:200], seed=1)
    predicted = ensemble.predict(cells[200:])
    assert np.corrcoef(predicted.mean, accuracies[200:])[0, 1] > 0.7
    assert (predicted.low <= predicted.mean).all()
    assert (predicted.mean <= predicted.high).all()
    again = Ensemble(model, 3)
    again.fit(cells[:200], accuracies[:200], seed=1)
    assert (again.predict(cells[200:]).mean == predicted.mean).all()


def test_fronts_are_what_domination_says() -> None:
    values = np.random.default_rng(0).random((60, 3)).round(1)
    found = fronts(values)
    assert sorted(i for front in found for i in front) == list(range(60))

    def dominates(a: int, b: int) -> bool:
        return bool((values[a] >= values[b]).all() and (values[a] > values[b]).any())

    for level, front in enumerate(found):
        later = [i for rest in found[level:] for i in rest]
        assert not any(dominates(a, b) for a in later for b in front)
        if level:
            assert all(any(dominates(a, b) for a in found[level - 1]) for b in front)


def test_crowding_prefers_the_ends_and_the_lonely() -> None:
    values = np.array([[0.0, 1.0], [0.1, 0.9], [0.5, 0.5], [1.0, 0.0]])
    assert np.isinf(crowding(values)[[0, 3]]).all()
    assert ranked(values) == [0, 3, 2, 1]


def test_nsga2_covers_more_of_two_goals_at_odds_than_who_knows_one_or_none() -> None:
    largest = math.log(catalogue_costs()[:, 0].max())

    def size(cell: Cell) -> float:
        return math.log(cost(cell).parameters) / largest

    def accuracy(cell: Cell) -> float:
        return size(cell) - cell.edges / 50

    def covered(searcher: Searcher) -> float:
        streams, lacking = Streams(0), []
        for number in range(400):
            proposal = searcher.ask([], streams(number))
            result = Result(accuracy(proposal.cell), 1.0, parameters=cost(proposal.cell).parameters)
            searcher.tell(Trial(number, proposal, 0, 0, 0.0).succeeded(result, 0, 1))
            lacking.append((1 - result.objective, size(proposal.cell)))
        return moocore.hypervolume(np.array(lacking), ref=[1, 1])

    one = covered(make_searcher("evolution", SPACE, {"population": 20, "tournament": 5}))
    none = covered(make_searcher("random", SPACE, {}))
    assert covered(Nsga2(SPACE, goals=make_goals(), population=20)) > max(one, none)


def make_goals() -> tuple:
    searcher = make_searcher("nsga2", SPACE, {"goals": ["accuracy", "parameters"]})
    assert isinstance(searcher, Nsga2)
    return searcher.goals


def test_hyperband_runs_the_published_brackets() -> None:
    """Table 1 of Li et al. (R = 81, eta = 3) and the table's four budgets."""
    assert hyperband_shapes(5, 3) == [
        (0, [81, 27, 9, 3, 1]),
        (1, [34, 11, 3, 1]),
        (2, [15, 5, 1]),
        (3, [8, 2]),
        (4, [5]),
    ]
    assert hyperband_shapes(4, 3) == [(0, [27, 9, 3, 1]), (1, [12, 4, 1]), (2, [6, 2]), (3, [4])]


@pytest.mark.parametrize("name", ["hyperband", "bohb", "dehb"])
@pytest.mark.parametrize("workers", [1, 8])
def test_brackets_are_filled_in_turn(name: str, workers: int) -> None:
    asked = search(make_searcher(name, SPACE, {}), 3 * 69, workers)
    places = Counter((p.provenance["bracket"], p.provenance["rung"], p.epochs) for p in asked)
    assert places[0, 0, 4] == 27
    assert places[0, 3, 108] == 1
    assert places[1, 0, 12] == 12
    assert places[3, 0, 108] == 4
    assert places[4, 0, 4] == 27
    promoted = [p for p in asked if p.provenance["by"] == "promotion"]
    assert promoted
    lower = {(p.provenance["bracket"], p.provenance["rung"], p.cell.key) for p in asked}
    assert all((p.provenance["bracket"], p.provenance["rung"] - 1, p.cell.key) in lower for p in promoted)


def test_the_best_third_of_a_complete_rung_goes_up() -> None:
    asked = search(make_searcher("halving", SPACE, {"promotion": "synchronous"}), 40)
    first = sorted(asked[:27], key=lambda p: -smooth(p.cell))
    assert sorted(smooth(p.cell) for p in asked[27:36]) == sorted(smooth(p.cell) for p in first[:9])
    assert asked[39].epochs == 108


@pytest.mark.parametrize("workers", [1, 16])
def test_asha_promotes_about_one_in_eta_and_none_twice(workers: int) -> None:
    asked = search(make_searcher("halving", SPACE, {"eta": 3.0}), 400, workers)
    count = Counter(p.epochs for p in asked)
    # What went up early may have fallen out of the best third since.
    assert count[12] <= 1.3 * count[4] / 3
    assert count[36] <= 1.3 * count[12] / 3
    assert count[108] >= 1
    ups = [(p.epochs, p.cell.key) for p in asked if p.epochs != 4]
    assert len(set(ups)) == len(ups)


def test_budgets_come_from_the_table(small_table, data) -> None:
    evaluator = TableEvaluator(Table(small_table), Objective(epochs=36))
    searcher = make_searcher("hyperband", SPACE, {}, evaluator.budgets)
    assert {p.epochs for p in search(searcher, 30)} == {4, 12, 36}
    chosen = make_searcher("hyperband", SPACE, {"budgets": [12, 36]}, evaluator.budgets)
    assert {p.epochs for p in search(chosen, 30)} == {12, 36}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("local", {"starts": 0}, "starts must be at least 1"),
        ("reinforce", {"momentum": 1.0}, "momentum in"),
        ("controller", {"hidden": 0}, "hidden must be at least 1"),
        ("bananas", {"initial": 1}, "initial must be at least 2"),
        ("npenas", {"candidates": 0}, "candidates and parents"),
        ("weaknas", {"top": 0}, "top must be at least 1"),
        ("nsga2", {"population": 1}, "population must be at least 2"),
        ("nsga2", {"goals": ["speed"]}, "goals"),
        ("hyperband", {"budgets": [12, 4]}, "must be positive and ascend"),
        ("dehb", {"eta": 1.0}, "eta must be above 1"),
        ("bohb", {"random_share": 2.0}, "random_share"),
    ],
)
def test_wrong_parameters_are_named(name: str, parameters: dict, message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        make_searcher(name, SPACE, parameters)


class Uncopied(set[int]):
    """Cells that may be looked up, one by one."""

    def _refuse(self, *_: object) -> NoReturn:
        raise AssertionError("an ask walks through all that is known")

    __or__ = __ror__ = __and__ = __sub__ = __iter__ = copy = union = _refuse  # type: ignore[assignment]


@pytest.mark.parametrize("name", ["bananas", "npenas", "weaknas"])
def test_an_ask_does_not_walk_through_all_that_is_known(name: str) -> None:
    parameters = {"bananas": {"model": "trees", "members": 2}, "npenas": {"members": 1}, "weaknas": {"initial": 20}}
    searcher, streams = make_searcher(name, SPACE, parameters[name]), Streams(0)
    learned: Learned = searcher._learned  # type: ignore[attr-defined]
    learned.known = Uncopied()
    for number in range(40):
        proposal = searcher.ask([], streams(number))
        searcher.tell(outcome(number, proposal, smooth(proposal.cell)))
    assert proposal.provenance["by"] == "model"
    assert len(learned.known) == 40


def test_weaknas_follows_its_model_though_that_is_older_than_its_best_hundred_last() -> None:
    searcher, streams = WeakNas(SPACE, initial=20, batch=60, top=10), Streams(0)
    by = []
    for number in range(70):
        proposal = searcher.ask([], streams(number))
        by.append(proposal.provenance["by"])
        searcher.tell(outcome(number, proposal, smooth(proposal.cell)))
    assert by == ["random"] * 20 + ["model"] * 50
    assert len(searcher._learned.known) == 70
