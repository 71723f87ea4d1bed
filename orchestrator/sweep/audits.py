"""What the filters of a sweep rejected, group by group: the section of the report that a table makes possible."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from nas.errors import ArchsweepError
from orchestrator.statistics import mean_known
from orchestrator.studies.audit import Audit, audit_run


@dataclass(frozen=True)
class GroupAudit:
    """The mean of every field of the audits of a group's searches, see `Audit`; NaN where none can tell."""

    label: str
    seeds: int
    mean: Mapping[str, float]


def audited(groups: Iterator[tuple[str, Sequence[Path]]]) -> tuple[GroupAudit, ...]:
    """Of (label, folders of its searches that are done): those with a filter whose table is still there."""
    found = []
    for label, folders in groups:
        try:
            audits = [audit_run(folder) for folder in folders]
        except ArchsweepError:  # no filter, or no table to judge it by
            continue
        if audits:
            found.append(GroupAudit(label, len(audits), _mean(audits)))
    return tuple(found)


def _mean(audits: Sequence[Audit]) -> dict[str, float]:
    return {name: mean_known([asdict(one)[name] for one in audits]) for name in asdict(audits[0])}
