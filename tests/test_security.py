"""Secrets stay where they were put, and what is started here is heard here only."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nas.errors import ArchsweepError
from orchestrator.settings.config import parse
from orchestrator.settings.secrets import without_secrets
from orchestrator.tracking.follow import track

Start = Callable[..., subprocess.Popen[str]]
Until = Callable[[Callable[[], object]], None]

SECRET = "sesame"
URIS = (
    "http://user:sesame@127.0.0.1:5000",
    "https://sesame@mlflow.example/",
    "http://user:se/sesame@127.0.0.1:5000/a",
    "http://127.0.0.1:5000/?token=sesame",
    "postgresql://user:sesame@db/mlflow",
    "mysql://db/mlflow?ssl=1&password=sesame",
)


@pytest.mark.parametrize("uri", URIS)
def test_a_secret_in_a_configuration_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(ArchsweepError, match="does not belong in a file") as error:
        parse({"table": "t", "tracking": {"uri": uri}}, "c.toml")
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "sqlite:////a/b.db", "postgresql://user@db/mlflow", "file:///m"]
)
def test_a_uri_without_a_secret_is_taken(uri: str) -> None:
    assert parse({"table": "t", "tracking": {"uri": uri}}, "c.toml").tracking.uri == uri


@pytest.mark.parametrize("uri", URIS)
def test_a_secret_is_taken_out_of_messages(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SECRET not in without_secrets(f"no answer from {uri}: try again")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:se%20same@host")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abracadabra")
    said = without_secrets("401 for 'se same' and abracadabra")
    assert "se same" not in said
    assert "abracadabra" not in said


def test_what_tracking_logs_has_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "nosuchstore://user:sesame@127.0.0.1/?token=sesame"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (tmp_path / "metrics.jsonl").write_text('{"run": {}}\n')
    with pytest.raises(ArchsweepError, match="not tracked") as error:
        track(tmp_path, uri)
    assert SECRET not in str(error.value)
    assert SECRET not in (tmp_path / "tracking.log").read_text()


def command_lines() -> list[bytes]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_bytes())
    return found


def test_the_process_list_and_the_folder_show_no_secret(
    start: Start, until: Until, small_table: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    secret = "sesame-of-this-test"
    search = start(
        *("search", "--table", small_table, "--trials", 10_000_000, "--out", tmp_path / "runs" / "a"),
        env={"MLFLOW_TRACKING_URI": f"http://user:{secret}@127.0.0.1:{port}", "MLFLOW_TRACKING_TOKEN": secret},
    )
    log = tmp_path / "runs" / "a" / "tracking.log"
    until(lambda: any(b"orchestrator.tracking.follow" in line and bytes(tmp_path) in line for line in command_lines()))
    until(lambda: log.exists() and log.stat().st_size)
    assert not [line for line in command_lines() if secret.encode() in line]
    search.kill()
    search.wait()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
