"""What one ask + tell costs, at 100, 1,000 and 10,000 trials told.

    python benchmarks/bench_searchers.py [--searcher NAME] [--most 10000]

The trials are told first, untimed, then ten are asked and told, one at a time; the mean of these, in milliseconds. Fits
that fall due within the ten are counted, those before are not.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import optuna

from nas.errors import InvalidCellError
from nas.space import CellSpace, Encoding
from nas.trial import Proposal, Result, Trial
from orchestrator.loop import Streams
from searchers.registry import SEARCHERS, make_searcher

MARKS = (100, 1_000, 10_000)
TIMED = 10


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
    searches = name not in ("optuna", "bananas", "npenas", "weaknas")
    for mark in (mark for mark in MARKS if mark <= most):
        while number < mark:
            proposal = (searcher if searches else source).ask([], streams(number))
            searcher.tell(told(number, proposal))
            number += 1
        searcher.ask([], streams(number))  # fits what is due
        began = time.perf_counter()
        for _ in range(TIMED):
            searcher.tell(told(number, searcher.ask([], streams(number))))
            number += 1
        costs.append(f"{(time.perf_counter() - began) / TIMED * 1e3:.3f}")
    return costs


def bare_optuna(most: int) -> list[str]:
    """Optuna's own TPE on encoding A, without archsweep: what is asked, per valid cell, and told."""
    space, rng, costs = CellSpace(), np.random.default_rng(0), []
    distributions = {f"edge_{i:02d}": optuna.distributions.CategoricalDistribution((0, 1)) for i in range(21)}
    distributions |= {f"operation_{i}": optuna.distributions.CategoricalDistribution((0, 1, 2)) for i in range(5)}
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
    number = 0
    for mark in (mark for mark in MARKS if mark <= most):
        while number < mark:
            cell = space.sample(rng)
            values = space.encode(cell, Encoding.A).astype(int).tolist()
            params = dict(zip(distributions, values, strict=True))
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=accuracy(cell.key))
            )
            number += 1
        began = time.perf_counter()
        for _ in range(TIMED):
            while True:
                trial = study.ask(distributions)
                try:
                    cell = space.decode(list(trial.params.values()), Encoding.A)
                except InvalidCellError:
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                    continue
                study.tell(trial, accuracy(cell.key))
                break
            number += 1
        costs.append(f"{(time.perf_counter() - began) / TIMED * 1e3:.3f}")
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searcher", action="append", choices=SEARCHERS)
    parser.add_argument("--most", type=int, default=MARKS[-1], help="trials told at most")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print("| searcher | " + " | ".join(f"{mark:,}" for mark in MARKS if mark <= options.most) + " |")
    print("| --- |" + " ---: |" * sum(mark <= options.most for mark in MARKS))
    for name in options.searcher or SEARCHERS:
        print(f"| {name} | " + " | ".join(ours(name, {}, options.most)) + " |", flush=True)
    if not options.searcher or "optuna" in options.searcher:
        print("| bare Optuna TPE | " + " | ".join(bare_optuna(options.most)) + " |")


if __name__ == "__main__":
    main()
