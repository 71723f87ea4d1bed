"""MLflow's store: where it is, a client of it, and the files that say what it has of a search."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from filelock import FileLock

from nas.files import replacing

POLL, PAUSE, PATIENCE = 0.2, 2.0, 60.0
SQLITE = "sqlite:///"
RUN_ID_FILE, KEY_FILE, LOCK_FILE, LOG_FILE = "mlflow_run_id", ".tracking.key", ".tracking.lock", "tracking.log"


def default_uri(folder: Path) -> str:
    """The tracking store of the runs in a folder: MLFLOW_TRACKING_URI if it is set, else SQLite in that folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{folder.absolute() / 'mlflow.db'}"


def connect(uri: str) -> Any:
    """A client whose store is ready, and was reached."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # we try again ourselves
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # with the password in it
    from mlflow import MlflowClient

    for noisy in ("mlflow", "alembic"):  # after the import, which sets its own level
        logging.getLogger(noisy).setLevel(logging.ERROR)
    if uri.startswith(SQLITE):
        _create_store(Path(uri.removeprefix(SQLITE)))
    client = MlflowClient(tracking_uri=uri)
    client.search_experiments(max_results=1)
    return client


def is_new(uri: str) -> bool:
    """Whether it is a SQLite store that is not there yet."""
    return uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file()


def _create_store(path: Path) -> None:
    """A SQLite store with MLflow's schema, unless it exists; whole or absent, since MLflow refuses one half made."""
    from mlflow import MlflowClient

    with FileLock(f"{path}.lock"):
        if not path.exists():
            for leftover in path.parent.glob(f".{path.name}.*.part*"):  # of a process that was killed here
                leftover.unlink(missing_ok=True)
            with replacing(path) as temporary:
                MlflowClient(tracking_uri=f"{SQLITE}{temporary}").search_experiments(max_results=1)
