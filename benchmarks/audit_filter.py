"""The audit of a filter over many seeds: what it loses, beside filters that know nothing, little, or everything.

    python benchmarks/audit_filter.py --table nb101.arrow --out runs/audit --seeds 20 [--surrogate gp ...]

Evolution on eight simulated workers observes the test accuracy of repeat 0; of 20 candidates one passes. Every search
is a folder in --out that is finished where it was left; the command ends with a Markdown table, means over the seeds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from orchestrator.search.search import Search
from orchestrator.settings.config import parse
from orchestrator.studies.audit import audit_run, control_runs

COLUMNS = ("decisions", "rejected", "good", "false_rejects", "passed_over", "regret", "bias", "error", "tau", "best")
PERCENT = {"false_rejects", "passed_over", "regret", "bias", "error", "best"}


def audited(table: Path, out: Path, surrogates: Sequence[str], trials: int, seed: int) -> dict[str, dict[str, float]]:
    """Of one seed: the audit of every filter."""
    runs = {}
    for surrogate in surrogates:
        values = {
            "table": str(table),
            "trials": trials,
            "seed": seed,
            "objective": {"column": "test", "repeat": 0},
            "filter": {"policy": "top", "surrogate": surrogate, "labels": 20, "tau": -1.0},
            "tracking": {"enabled": False},
        }
        runs[surrogate] = out / f"seed{seed}-{surrogate}"
        Search(parse(values, "audit_filter"), runs[surrogate]).run()
    runs |= dict(control_runs(runs[surrogates[0]]))
    return {name: asdict(audit_run(run)) for name, run in runs.items()}


def markdown(audits: list[dict[str, dict[str, float]]]) -> str:
    lines = [
        "| filter | seeds | " + " | ".join(name.replace("_", " ") for name in COLUMNS) + " |",
        "| --- |" + " ---: |" * (len(COLUMNS) + 1),
    ]
    for label in audits[0]:
        means = {name: float(np.nanmean([audit[label][name] for audit in audits])) for name in COLUMNS}
        shown = [f"{100 * mean:.2f} %" if name in PERCENT else f"{mean:.3g}" for name, mean in means.items()]
        lines.append(f"| {label} | {len(audits)} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--surrogate", action="append", help="of a filter; gp by default")
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    audits = []
    for seed in range(options.seeds):
        audits.append(audited(options.table, options.out, options.surrogate or ["gp"], options.trials, seed))
        print(markdown(audits), flush=True)


if __name__ == "__main__":
    main()
