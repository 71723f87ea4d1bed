"""One arm of a sweep: a search in its folder, whose failure is a value."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path

from nas.errors import ArchsweepError
from nas.files import replacing
from orchestrator.records.folder import RESULT
from orchestrator.search.search import Search
from orchestrator.settings.config import Config


@dataclass(frozen=True)
class Task:
    """What a launcher is handed. folder: of the arm, which every process that may run it sees."""

    config: Config
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """What became of an arm. failure: why it has no result; None if it has."""

    trials: int = 0
    best_objective: float | None = None
    regret: float | None = None
    failure: str | None = None


def run_arm(task: Task) -> Outcome:
    """Searches, or goes on where the folder's search was; an exception becomes a failure."""
    note = failure_file(task.folder)
    try:
        note.unlink(missing_ok=True)
        summary = Search(task.config, task.folder, pictures=False).run()
    except ArchsweepError as error:
        return failed(task, str(error))
    except Exception as error:  # whatever it is, the other arms go on
        return failed(task, "".join(traceback.format_exception_only(error)).strip(), traceback.format_exc())
    return Outcome(summary.trials, summary.best_objective, summary.regret)


def failed(task: Task, reason: str, details: str = "") -> Outcome:
    """Writes down beside the arm's folder why it failed; the next run of the sweep tries it again."""
    note = failure_file(task.folder)
    note.parent.mkdir(parents=True, exist_ok=True)
    with replacing(note) as temporary:
        temporary.write_text(f"{reason}\n{details}", encoding="utf-8")
    return Outcome(failure=reason)


def failure_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.failure")


def is_done(folder: Path) -> bool:
    return (folder / RESULT).is_file()
