"""What every registered searcher owes the loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import orjson
import pytest

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from nas.nasbench101.space import CellSpace
from nas.trial import Proposal, Result, Trial
from orchestrator.search.loop import Streams
from searchers import registry
from searchers.base import Searcher
from searchers.optuna_search import SamplerName
from searchers.registry import SEARCHERS
from surrogate.controls import ParametersOnly

SMALL = range(91)  # every cell of up to four vertices
VARIANTS: list[tuple[str, dict]] = [
    *[(name, {}) for name in SEARCHERS if name not in ("bananas", "npenas", "weaknas", "optuna", "controller")],
    ("controller", {"hidden": 5}),
    ("random", {"sampling": "edges"}),
    ("evolution", {"variant": "paper", "population": 12, "tournament": 3}),
    ("evolution", {"population": 10, "tournament": 10, "mutation_rate": 2.5}),
    ("local", {"step": "best", "starts": 3}),
    ("bananas", {"members": 1, "initial": 20, "batch": 20}),
    ("bananas", {"model": "trees", "members": 2, "batch": 20}),
    ("npenas", {"members": 1, "candidates": 10, "batch": 20}),
    ("weaknas", {"initial": 6, "batch": 40}),
    ("nsga2", {"goals": ["accuracy", "macs"], "population": 10}),
    ("halving", {"promotion": "synchronous"}),
    ("hyperband", {"budgets": [36, 108], "eta": 2}),
    *[("optuna", {"sampler": name}) for name in SamplerName if name not in (SamplerName.GP, SamplerName.BRUTEFORCE)],
    ("optuna", {"sampler": "bruteforce", "encoding": "B"}),
    ("optuna", {"encoding": "C", "invalid": "pruned"}),
    ("evolution", {"population": 10, "tournament": 3, "filter": {"surrogate": "trees"}}),
    ("evolution", {"filter": {"policy": "quantile", "lag": 5}}),
    ("evolution", {"filter": {"policy": "space", "top": 5}}),
    ("npenas", {"members": 1, "candidates": 10, "batch": 20, "filter": {"policy": "ei"}}),
    ("local", {"filter": {"policy": "thompson", "tau": -1.0}}),
    ("reinforce", {"filter": {"tau": -1.0}}),
    ("nsga2", {"population": 10, "filter": {"policy": "space", "tau": -1.0}}),
    ("hyperband", {"filter": {"tau": -1.0}}),
    ("dehb", {"filter": {"policy": "space", "tau": -1.0}}),
    ("halving", {"filter": {"policy": "quantile", "tau": -1.0}}),
    ("optuna", {"sampler": "nsgaii", "filter": {"tau": -1.0}}),
    ("optuna", {"encoding": "C", "filter": {"policy": "quantile", "tau": -1.0}}),
]
QUICK_FILTER = {"policy": "top", "surrogate": ParametersOnly, "candidates": 3, "labels": 6}
LEARNS_WHAT_TO_AVOID = {"local", "bananas", "npenas", "weaknas"}
"""Searchers that never propose a cell that is pending or told while others are to be had."""
COSTLY = {"bananas", "npenas", "weaknas", "optuna", "controller"}


def called(parameters: dict) -> str:
    values = {**parameters, **{f"filter {key}": value for key, value in parameters.get("filter", {}).items()}}
    return "-".join("filter" if key == "filter" else str(value) for key, value in values.items())


every_searcher = pytest.mark.parametrize(
    ("name", "parameters"),
    VARIANTS,
    ids=lambda value: value if isinstance(value, str) else called(value) or "default",
)


def make_searcher(name: str, space: CellSpace, parameters: dict) -> Searcher:
    """What the registry makes of these, behind a filter if they say so."""
    parameters = dict(parameters)
    filtered = parameters.pop("filter", None)
    inner = registry.make_searcher(name, space, parameters)
    return inner if filtered is None else registry.make_filtered(space, inner, QUICK_FILTER | filtered)


@pytest.fixture(autouse=True, scope="module")
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def steps(name: str, parameters: dict, trials: int) -> int:
    """How many trials to play: fewer with the searchers that think long."""
    if (
        name in ("weaknas", "controller")
        or (name == "optuna" and "filter" in parameters)
        or parameters.get("sampler") in ("motpe", "bruteforce")
    ):
        return trials // 8
    fits = name in COSTLY or parameters.get("filter", {}).get("surrogate") == "trees"
    return trials // 4 if fits else trials


def accuracy(cell: Cell) -> float:
    """A made-up but fixed accuracy of every cell."""
    return 0.5 + np.random.default_rng(cell.key).random() / 2


def told(number: int, proposal: Proposal, fails: bool = False) -> Trial:
    trial = Trial(number, proposal, seed=0, worker=0, asked=float(number))
    if fails:
        return trial.failed("it was made to", number, number + 1)
    return trial.succeeded(Result(accuracy(proposal.cell), 1.0), number, number + 1)


def play(
    searcher: Searcher, trials: int, in_flight: int = 4, fails: Callable[[int], bool] = lambda _: False
) -> list[Proposal]:
    """A search of ``in_flight`` workers that finish first in, first out."""
    streams, pending, asked = Streams(7), [], []
    for number in range(trials):
        proposal = searcher.ask([p for _, p in pending], streams(number))
        asked.append(proposal)
        pending.append((number, proposal))
        if len(pending) == in_flight:
            first, oldest = pending.pop(0)
            searcher.tell(told(first, oldest, fails(first)))
    return asked


@every_searcher
def test_proposals_are_cells_of_the_space(name: str, parameters: dict) -> None:
    for space in (CellSpace(), CellSpace(SMALL), CellSpace([5, 17])):
        assert all(p.cell in space for p in play(make_searcher(name, space, parameters), steps(name, parameters, 100)))


@every_searcher
def test_asking_changes_nothing(name: str, parameters: dict) -> None:
    once, often = (make_searcher(name, CellSpace(), parameters) for _ in range(2))
    streams, pending = Streams(1), []
    for number in range(steps(name, parameters, 90)):
        for wrong in ([], pending, pending[1:]):
            often.ask(wrong, streams(number))
        proposal = once.ask(pending, streams(number))
        assert proposal == often.ask(pending, streams(number))
        pending.append(proposal)
        if len(pending) == 5:
            done = told(number - 4, pending.pop(0))
            once.tell(done)
            often.tell(done)


@every_searcher
def test_replayed_tells_give_the_same_searcher(name: str, parameters: dict) -> None:
    """Also from JSON: what a searcher needs to know of a proposal, the journal can hold."""
    space, trials = CellSpace(), steps(name, parameters, 150)
    asked = play(make_searcher(name, space, parameters), trials + 1, in_flight=1)
    again = make_searcher(name, space, parameters)
    for number, proposal in enumerate(asked[:trials]):
        read = Proposal(proposal.cell, proposal.epochs, orjson.loads(orjson.dumps(proposal.provenance)))
        again.tell(told(number, read))
    assert again.ask([], Streams(7)(trials)) == asked[trials]


@every_searcher
def test_failures_are_survived(name: str, parameters: dict) -> None:
    trials, space = steps(name, parameters, 100), CellSpace(SMALL)
    for fails in (lambda number: number % 3 > 0, lambda _: True):
        assert len(play(make_searcher(name, space, parameters), trials, fails=fails)) == trials


@every_searcher
def test_everything_pending_is_no_reason_to_stop(name: str, parameters: dict) -> None:
    trials = steps(name, parameters, 150)
    assert len(play(make_searcher(name, CellSpace(), parameters), trials, in_flight=1_000)) == trials


@every_searcher
def test_an_exhausted_space_is_no_reason_to_stop(name: str, parameters: dict) -> None:
    trials = steps(name, parameters, 100)
    assert len(play(make_searcher(name, CellSpace([5, 17, 40]), parameters), trials)) == trials


@every_searcher
def test_pending_cells_are_not_proposed_again(name: str, parameters: dict) -> None:
    if name not in LEARNS_WHAT_TO_AVOID:
        pytest.skip("published without such a rule")
    cells = [p.cell.key for p in play(make_searcher(name, CellSpace(), parameters), 60, in_flight=25)]
    assert len(set(cells)) == len(cells)


@every_searcher
def test_tells_in_another_order_leave_a_searcher_that_works(name: str, parameters: dict) -> None:
    space = CellSpace()
    asked = play(make_searcher(name, space, parameters), steps(name, parameters, 60))
    trials = [told(number, proposal) for number, proposal in enumerate(asked)]
    first, second = (make_searcher(name, space, parameters) for _ in range(2))
    for trial in trials:
        first.tell(trial)
    for trial in sorted(trials, key=lambda trial: trial.number ^ 3):  # as late as four workers would finish
        second.tell(trial)
    rng = Streams(3)
    here, there = first.ask([], rng(0)), second.ask([], rng(0))
    assert there.cell in space
    if name in ORDER_FREE:
        assert here == there


ORDER_FREE = {"random", "halving"}
"""Searchers that only care what was told, not when."""


def sequence(name: str, parameters: dict) -> list[Proposal]:
    return play(make_searcher(name, CellSpace(), parameters), steps(name, parameters, 90))


PLAYED = """
import sys, json; sys.path[:0] = ['tests']
from test_searchers import *
optuna.logging.set_verbosity(optuna.logging.WARNING)
print(json.dumps([
    [[p.cell.frame, p.cell.labels, p.epochs] for p in sequence(name, parameters)] for name, parameters in VARIANTS
]))
"""


@pytest.fixture(scope="module")
def played_elsewhere() -> list[list]:
    """What every variant proposes in two other processes of different hash seeds."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PLAYED], env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE
        )
        for seed in ("1", "2")
    ]
    return [json.loads(process.communicate()[0]) for process in processes]


@every_searcher
def test_a_stream_is_the_only_randomness(name: str, parameters: dict, played_elsewhere: list[list]) -> None:
    """Same tells and streams, other process, other hash seed: the same proposals."""
    here = [[p.cell.frame, list(p.cell.labels), p.epochs] for p in sequence(name, parameters)]
    assert [there[VARIANTS.index((name, parameters))] for there in played_elsewhere] == [here, here]


def test_the_example_of_the_docs_searches() -> None:
    page = (Path(__file__).parents[1] / "docs" / "searchers.md").read_text()
    names: dict = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    assert names["proposal"].provenance["by"] == "mutation"


def test_evolution_beats_random() -> None:
    best = {}
    for name in ("random", "evolution"):
        scores = []
        for seed in range(20):
            searcher, streams = make_searcher(name, CellSpace(), {}), Streams(seed)
            found = 0.0
            for number in range(200):
                proposal = searcher.ask([], streams(number))
                # Fewer parameters is better here: a smooth landscape that mutation can climb.
                value = 1 / (1 + 3 * proposal.cell.operations.count("conv3x3-bn-relu") + proposal.cell.edges)
                searcher.tell(Trial(number, proposal, 0, 0, 0.0).succeeded(Result(value, 1.0), 0.0, 1.0))
                found += value
            scores.append(found)
        best[name] = np.mean(scores)
    assert best["evolution"] > 1.5 * best["random"]


def test_the_oldest_dies_first_and_a_mutant_names_its_parent() -> None:
    searcher = make_searcher("evolution", CellSpace(), {"population": 5, "tournament": 5})
    streams = Streams(0)
    for number in range(40):
        proposal = searcher.ask([], streams(number))
        if number < 5:
            assert proposal.provenance == {"by": "random"}
        else:
            assert number - 5 <= proposal.provenance["parent"] < number
        searcher.tell(told(number, proposal))


def test_paper_variant_makes_exactly_one_change() -> None:
    space = CellSpace()
    searcher = make_searcher("evolution", space, {"variant": "paper", "population": 1, "tournament": 1})
    streams = Streams(0)
    parent = searcher.ask([], streams(0))
    searcher.tell(told(0, parent))
    assert searcher.ask([], streams(1)).cell.key in {cell.key for cell in space.neighbours(parent.cell)}


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("evolutoin", {}, "unknown searcher 'evolutoin'; did you mean 'evolution'"),
        ("evolution", {"populaton": 3}, "unknown parameter of searcher 'evolution': 'populaton'; did you mean"),
        ("evolution", {"population": "many"}, "population = 'many'"),
        ("evolution", {"population": 3, "tournament": 4}, "tournament must be 1 to population"),
        ("evolution", {"mutation_rate": -1.0}, "mutation_rate must be above 0"),
        ("random", {"sampling": "nonsense"}, "sampling = 'nonsense'"),
    ],
)
def test_wrong_parameters_are_named(name: str, parameters: dict, message: str) -> None:
    with pytest.raises(ArchsweepError, match=message.replace("(", r"\(")):
        make_searcher(name, CellSpace(), parameters)
