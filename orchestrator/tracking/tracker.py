"""Starts the process that follows a search."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from orchestrator.tracking.store import LOG_FILE, PATIENCE, RUN_ID_FILE, is_new

MEEK, GRACE, FIRST_GRACE = 19, 5.0, 15.0
"""MLflow takes four seconds of a core to start. So the process that follows a search has the lowest priority, and gets
so many seconds to catch up once the search has ended; then one of full priority takes over, lest it starve. It makes a
new store before it takes the low priority, and gets more seconds then.
"""


class Tracker:
    """The process that follows a search. The URI travels in its environment, never in a file or a command line."""

    def __init__(self, run_dir: Path, uri: str) -> None:
        self._run_dir, self._uri = run_dir, uri
        (run_dir / LOG_FILE).unlink(missing_ok=True)
        self._grace = FIRST_GRACE if is_new(uri) else GRACE
        self._process = self._started(MEEK)

    def _started(self, niceness: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", "orchestrator.tracking.follow", str(self._run_dir), str(os.getpid()), str(niceness)],
            env={**os.environ, "MLFLOW_TRACKING_URI": self._uri},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,  # ctrl-C is for the search; niceness counts only within the search's session
        )

    def join(self, patience: float = PATIENCE) -> str | None:
        """Waits, once the metrics file has ended, until all is logged; the reason if it was not."""
        code = self._waited(min(self._grace, patience))
        if code is None and patience > self._grace:
            self._process = self._started(0)
            code = self._waited(patience - self._grace)
        if code == 0:
            return None
        log = self._run_dir / LOG_FILE
        reason = log.read_text(encoding="utf-8").strip() if log.exists() else "the server did not answer in time"
        return f"{reason}; `archsweep track {self._run_dir}` catches up"

    def _waited(self, seconds: float) -> int | None:
        """The exit code; None if the process had to be ended after so many seconds."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    @property
    def run_id(self) -> str | None:
        """The id of the MLflow run, once there is one."""
        file = self._run_dir / RUN_ID_FILE
        return file.read_text().strip() if file.exists() else None
