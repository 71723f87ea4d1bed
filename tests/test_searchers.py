"""What every registered searcher owes the loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from nas.cell import Cell
from nas.errors import ArchsweepError
from nas.space import CellSpace
from nas.trial import Proposal, Result, Trial
from orchestrator.loop import Streams
from searchers.base import Searcher
from searchers.registry import SEARCHERS, make_searcher

SMALL = range(91)  # every cell of up to four vertices
VARIANTS = [
    *[(name, {}) for name in SEARCHERS],
    ("random", {"sampling": "edges"}),
    ("evolution", {"variant": "paper", "population": 12, "tournament": 3}),
    ("evolution", {"population": 10, "tournament": 10, "mutation_rate": 2.5}),
]
every_searcher = pytest.mark.parametrize(
    ("name", "parameters"),
    VARIANTS,
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)) or "default",
)


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
        assert all(p.cell in space for p in play(make_searcher(name, space, parameters), 150))


@every_searcher
def test_asking_changes_nothing(name: str, parameters: dict) -> None:
    once, often = (make_searcher(name, CellSpace(), parameters) for _ in range(2))
    streams = Streams(1)
    for number in range(120):
        for _ in range(3):
            repeated = often.ask([], streams(number))
        proposal = once.ask([], streams(number))
        assert proposal == repeated
        once.tell(told(number, proposal))
        often.tell(told(number, proposal))


@every_searcher
def test_replayed_tells_give_the_same_searcher(name: str, parameters: dict) -> None:
    space = CellSpace()
    asked = play(make_searcher(name, space, parameters), 200, in_flight=1)
    again = make_searcher(name, space, parameters)
    for number, proposal in enumerate(asked):
        again.tell(told(number, proposal))
    first = make_searcher(name, space, parameters)
    assert play(first, 201, in_flight=1)[200] == again.ask([], Streams(7)(200))


@every_searcher
def test_failures_are_survived(name: str, parameters: dict) -> None:
    assert len(play(make_searcher(name, CellSpace(SMALL), parameters), 150, fails=lambda number: number % 3 > 0)) == 150
    assert len(play(make_searcher(name, CellSpace(SMALL), parameters), 150, fails=lambda _: True)) == 150


@every_searcher
def test_everything_pending_is_no_reason_to_stop(name: str, parameters: dict) -> None:
    assert len(play(make_searcher(name, CellSpace(), parameters), 300, in_flight=1_000)) == 300


@every_searcher
def test_a_stream_is_the_only_randomness(name: str, parameters: dict) -> None:
    """Same tells and streams, other process, other hash seed: the same proposals."""
    script = (
        "import sys; sys.path[:0] = ['tests']; from test_searchers import *\n"
        f"print([(p.cell.frame, p.cell.labels) for p in "
        f"play(make_searcher({name!r}, CellSpace(), {parameters!r}), 150)])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    here = str([(p.cell.frame, p.cell.labels) for p in play(make_searcher(name, CellSpace(), parameters), 150)])
    assert outputs == {here + "\n"}


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
