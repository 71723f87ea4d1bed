"""The files in a search's folder."""

from __future__ import annotations

from pathlib import Path

from nas.errors import ArchsweepError

CONFIG, JOURNAL = "config.toml", "journal.jsonl"
LOCK = ".lock"
OWN_FILES = (LOCK, CONFIG, f".{CONFIG}.")
"""How the names begin that a search leaves if it is killed before its journal is there."""
RESULT, TRIALS = "result.json", "trajectory.parquet"
"""Their files in a search's folder; where the first is, the search is finished."""
METRICS_FILE = "metrics.jsonl"


def refuse_other_files(run_dir: Path) -> None:
    """Raises `ArchsweepError` if the folder holds anything but a search, before anything is written there."""
    names = [entry.name for entry in run_dir.iterdir()] if run_dir.is_dir() else []
    others = sorted(name for name in names if not name.startswith(OWN_FILES))
    if others and JOURNAL not in names:
        raise ArchsweepError(f"{run_dir} holds no search but other files ({others[0]}); choose a new folder")
