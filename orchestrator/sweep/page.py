"""A sweep's report as one page that needs nothing else: styles and pictures stand in it, no script, no network."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from nas.files import replacing
from orchestrator.pictures import plots
from orchestrator.pictures.page import render
from orchestrator.pictures.plots import Series
from orchestrator.statistics import least_p
from orchestrator.sweep.report import Curve, Front, GroupReport, Report

PAGE = "report.html"
ALPHA = 0.05
HOUR = 3_600


def save_page(report: Report, folder: Path) -> Path:
    """Writes ``report.html`` into a folder; equal reports give equal bytes."""
    path = folder / PAGE
    with replacing(path) as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    return path


def page(report: Report) -> str:
    """The page."""
    pairs = report.comparisons
    return render(
        "report.html.jinja",
        report=report,
        rows=[_row(report, place) for place in range(len(report.groups))],
        loss="Regret" if report.known_regret else "1 - objective",
        figures=_figures(report),
        cells=[(best, plots.cell(best.cell)) for best in report.cells],
        comparisons=[
            (report.groups[pair.a].group.label, report.groups[pair.b].group.label, pair) for pair in report.comparisons
        ],
        alpha=ALPHA,
        priced=any(not np.isnan(group.cost) for group in report.groups),
        too_few=bool(pairs) and least_p(max(pair.seeds for pair in pairs), len(pairs)) >= ALPHA,
    )


def _figures(report: Report) -> list[tuple[str, str]]:
    """(caption, SVG) of every plot."""
    loss = "regret (percentage points)" if report.known_regret else "1 - objective (percentage points)"
    found = [
        (
            "Against queries: mean over seeds of the incumbent's loss, with its 95 % interval.",
            plots.lines(_curves(report, lambda group: group.by_queries, 1), "finished trials", loss),
        )
    ]
    timed = _curves(report, lambda group: group.by_clock, HOUR)
    if any(len(series.x) > 1 for series in timed):
        found.append(("Against the pool's clock, in hours.", plots.lines(timed, "hours on the clock", loss)))
    for caption, cost, unit, name in (
        ("Accuracy against parameters: cells that no other cell found by the searcher beats in both.",
         lambda group: group.parameters, 1e6, "parameters (millions)"),
        ("Accuracy against training time.", lambda group: group.seconds, HOUR, "training time (hours)"),
    ):  # fmt: skip
        series = _fronts(report, cost, unit)
        if any(len(one.x) for one in series):
            found.append((caption, plots.fronts(series, name, "test accuracy (%)")))
    return found


def _curves(report: Report, of: Any, unit: float) -> list[Series]:
    curves: Iterable[tuple[GroupReport, Curve]] = ((group, of(group)) for group in report.groups)
    return [
        Series(group.group.label, curve.at / unit, curve.mean * 100, curve.half * 100)
        for group, curve in curves
        if len(curve.at)
    ]


def _fronts(report: Report, of: Any, unit: float) -> list[Series]:
    found: Iterable[tuple[GroupReport, Front]] = ((group, of(group)) for group in report.groups)
    return [
        Series(group.group.label, front.cost / unit, front.accuracy * 100) for group, front in found if len(front.cost)
    ]


def _row(report: Report, place: int) -> dict[str, Any]:
    """What the ranking says of a group. like: ranks of those from which it cannot be told apart."""
    near = [
        pair.b if pair.a == place else pair.a
        for pair in report.comparisons
        if place in (pair.a, pair.b) and pair.p >= ALPHA
    ]
    return {"rank": place + 1, "group": report.groups[place], "like": sorted(other + 1 for other in near)}
