"""What one ask + tell costs, at 100, 1,000 and 10,000 trials told, and whether it keeps 32 workers waiting.

    python benchmarks/bench_searchers.py [--searcher NAME] [--most 10000]

The trials are told first, untimed, then a hundred are asked and told, one at a time; the mean of these, in milliseconds
of CPU time. Fits that fall due within the hundred are counted, those before are not. Optuna alone is measured in turn
with the adapter, five times ten trials each, so that their ratio does not depend on who else uses the machine.

Utilisation: 320 trials on 32 workers of a simulated clock to which every ask and tell adds the CPU time that it took,
one after another, fits included; the share of the workers' time in which they train, up to the last ask. A training
takes 500 to 3,500 seconds, what NAS-Bench-101's take.
"""

from __future__ import annotations

import argparse
import time
from heapq import heappop, heappush
from typing import Any

import optuna

from nas.errors import InvalidCellError
from nas.nasbench101.space import CellSpace, Encoding
from nas.trial import Proposal, Result, Trial
from orchestrator.search.loop import Streams
from searchers.registry import SEARCHERS, make_searcher

MARKS = (100, 1_000, 10_000)
TIMED, TURN, ROUNDS = 100, 10, 5
WORKERS, TRIALS = 32, 320


def accuracy(key: int) -> float:
    return 0.9 + (key * 2654435761 % 2**32) / 2**32 / 20


def told(number: int, proposal: Proposal) -> Trial:
    result = Result(accuracy(proposal.cell.key), 1.0)
    return Trial(number, proposal, 0, 0, float(number)).succeeded(result, float(number), number + 1.0)


def ours(name: str, parameters: dict[str, Any], most: int) -> list[str]:
    searcher, streams, costs = make_searcher(name, CellSpace(), parameters), Streams(0), []
    source = make_searcher("random", CellSpace(), {})
    number = 0
    # Models are told random cells, as asking for 10,000 takes them hours; the others search from the start.
    searches = name not in ("optuna", "bananas", "npenas", "weaknas", "controller")
    for mark in (mark for mark in MARKS if mark <= most):
        while number < mark:
            proposal = (searcher if searches else source).ask([], streams(number))
            searcher.tell(told(number, proposal))
            number += 1
        searcher.ask([], streams(number))  # fits what is due
        began = time.process_time()
        for _ in range(TIMED):
            searcher.tell(told(number, searcher.ask([], streams(number))))
            number += 1
        costs.append(f"{(time.process_time() - began) / TIMED * 1e3:.3f}")
    return costs


def utilisation(name: str) -> float:
    """Share of the time that workers train while one process decides for all of them."""
    searcher, streams = make_searcher(name, CellSpace(), {}), Streams(0)
    running: list[tuple[float, int, Proposal]] = []
    decider = busy = 0.0
    for number in range(TRIALS):
        if number >= WORKERS:
            free, finished, proposal = heappop(running)
            began = time.process_time()
            searcher.tell(told(finished, proposal))
            decider = max(decider, free) + time.process_time() - began
        began = time.process_time()
        proposal = searcher.ask([p for _, _, p in sorted(running, key=lambda one: one[1])], streams(number))
        decider += time.process_time() - began
        seconds = 500 + 3_000 * (accuracy(proposal.cell.key) - 0.9) * 20
        busy += seconds
        heappush(running, (decider + seconds, number, proposal))
    return (busy - sum(end - decider for end, _, _ in running)) / (WORKERS * decider)


class BareOptuna:
    """Optuna's own TPE on encoding A, without archsweep: what is asked, per valid cell, and told."""

    def __init__(self) -> None:
        self.space = CellSpace()
        choice = optuna.distributions.CategoricalDistribution
        self.of = {f"edge_{i:02d}": choice((0, 1)) for i in range(21)}
        self.of |= {f"operation_{i}": choice((0, 1, 2)) for i in range(5)}
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))

    def tell(self, trial: Trial) -> None:
        values = self.space.encode(trial.proposal.cell, Encoding.A).astype(int).tolist()
        params = dict(zip(self.of, values, strict=True))
        value = accuracy(trial.proposal.cell.key)
        self.study.add_trial(optuna.trial.create_trial(params=params, distributions=self.of, value=value))

    def ask_and_tell(self, _: int) -> None:
        while True:
            trial = self.study.ask(self.of)
            try:
                cell = self.space.decode(list(trial.params.values()), Encoding.A)
            except InvalidCellError:
                self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            self.study.tell(trial, accuracy(cell.key))
            return


def against_optuna(told_first: int) -> tuple[float, float]:
    """Milliseconds of one ask + tell of the adapter and of Optuna alone, after the same trials, measured in turn."""
    adapter, source = (make_searcher(name, CellSpace(), {}) for name in ("optuna", "random"))
    bare, streams = BareOptuna(), Streams(0)
    for number in range(told_first):
        trial = told(number, source.ask([], streams(number)))
        bare.tell(trial)
        adapter.tell(trial)

    def ours(number: int) -> None:
        adapter.tell(told(number, adapter.ask([], streams(number))))

    costs = {ours: 0.0, bare.ask_and_tell: 0.0}
    for turn in range(ROUNDS):
        for step in costs:
            began = time.process_time()
            for number in range(TURN):
                step(told_first + turn * TURN + number)
            costs[step] += (time.process_time() - began) / TURN / ROUNDS * 1e3
    return costs[ours], costs[bare.ask_and_tell]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searcher", action="append", choices=SEARCHERS)
    parser.add_argument("--most", type=int, default=MARKS[-1], help="trials told at most")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    marks = [mark for mark in MARKS if mark <= options.most]
    print("| searcher | " + " | ".join(f"{mark:,}" for mark in marks) + " | utilisation |")
    print("| --- |" + " ---: |" * (len(marks) + 1))
    for name in options.searcher or SEARCHERS:
        print(f"| {name} | " + " | ".join(ours(name, {}, options.most)) + f" | {utilisation(name):.2%} |", flush=True)
    if not options.searcher or "optuna" in options.searcher:
        for mark in (mark for mark in marks if mark <= 1_000):
            adapter, bare = against_optuna(mark)
            print(
                f"Optuna's TPE after {mark:,} trials: {adapter:.2f} ms here, {bare:.2f} ms bare, {adapter / bare:.2f}"
            )


if __name__ == "__main__":
    main()
