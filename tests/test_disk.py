"""Disks that are full, read-only, or give back other bytes; journals cut off or damaged anywhere."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import ArchsweepError, DataError
from nas.table.table import Table
from orchestrator.records.journal import Journal, Reading
from orchestrator.search.search import Search
from orchestrator.settings.config import parse

VALUES = {
    "trials": 40,
    "tracking": {"enabled": False},
    "pool": {"cluster": [{"count": 3, "preemptions": 5, "failures": 2}, {"count": 1, "joins": 0.1, "stragglers": 0.2}]},
}


def search(run_dir: Path, table: Path) -> bytes:
    """Runs a search to its end; its journal."""
    Search(parse({"table": table, **VALUES}, "test"), run_dir).run()
    return (run_dir / "journal.jsonl").read_bytes()


@pytest.fixture(scope="module")
def whole(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return search(tmp_path_factory.mktemp("disk") / "whole", small_table)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is used again and again, as a user's is."""
    made = tmp_path_factory.mktemp("disk") / "run"
    made.mkdir()
    return made


EXAMPLES = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EXAMPLES
@given(data=st.data())
def test_a_journal_cut_off_at_any_byte_resumes_to_the_same_bytes(
    data: st.DataObject, whole: bytes, run_dir: Path, small_table: Path
) -> None:
    (run_dir / "journal.jsonl").write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert search(run_dir, small_table) == whole


@EXAMPLES
@given(data=st.data())
def test_a_journal_with_any_one_byte_damaged_is_refused_or_resumes_to_the_same_bytes(
    data: st.DataObject, whole: bytes, run_dir: Path, small_table: Path
) -> None:
    place = data.draw(st.integers(0, len(whole) - 1) | st.just(len(whole) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
    (run_dir / "journal.jsonl").write_bytes(damaged)
    if place == len(whole) - 1:
        assert search(run_dir, small_table) == whole
    else:
        with pytest.raises(DataError, match=r"journal\.jsonl: line \d+ is damaged"):
            search(run_dir, small_table)
        assert (run_dir / "journal.jsonl").read_bytes() == damaged


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk on which every file is full at so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.1, 0.35, 0.6, 0.9, 0.999])
def test_a_disk_that_is_full_at_any_write_is_one_clear_error_and_the_search_goes_on_later(
    share: float, whole: bytes, small_table: Path, tmp_path: Path
) -> None:
    refused = pytest.raises(ArchsweepError, match=r"cannot write .*: File too large; make room")
    with refused as error, files_of_at_most(int(share * len(whole))):
        search(tmp_path / "run", small_table)
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "run" / "result.json").exists()
    assert search(tmp_path / "run", small_table) == whole
    assert not list((tmp_path / "run").glob(".*.part"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 kB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], check=False).returncode
    ):
        pytest.skip("needs the right to mount")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("room", [0, 4, 8, 12, 16, 24, 40])
def test_a_file_system_that_fills_up_is_one_clear_error(
    room: int, whole: bytes, small_table: Path, small_disk: Path
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes((256 - room) << 10))
    with pytest.raises(ArchsweepError, match="No space left on device") as error:
        search(small_disk / "run", small_table)
    assert len(str(error.value).splitlines()) == 1
    filler.unlink()
    assert search(small_disk / "run", small_table) == whole


def test_a_read_only_file_system_is_one_clear_error_and_keeps_what_it_has(
    whole: bytes, small_table: Path, small_disk: Path
) -> None:
    run_dir = small_disk / "run"
    run_dir.mkdir()
    (run_dir / "journal.jsonl").write_bytes(whole[:3_000])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(ArchsweepError, match=r"cannot write .*Read-only file system"):
        search(run_dir, small_table)
    assert [path.name for path in run_dir.iterdir()] == ["journal.jsonl"]
    assert (run_dir / "journal.jsonl").read_bytes() == whole[:3_000]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes that files had whenever the disk was waited for."""
    sizes: list[int] = []
    wait: Callable[[int], None] = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (wait(file), sizes.append(os.fstat(file).st_size)))
    return sizes


@pytest.mark.parametrize("durability", ["turn", "second", "end"])
def test_the_disk_has_the_journal_when_the_configuration_says(
    durability: str, whole: bytes, tmp_path: Path, synced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, path = tmp_path / "source.jsonl", tmp_path / "journal.jsonl"
    source.write_bytes(whole)
    events = list(Reading(source))
    journal = Journal.create(path, {"seed": 1})
    journal.close()
    synced.clear()
    clock = [0.0]
    monkeypatch.setattr("orchestrator.records.journal.time.monotonic", lambda: clock[0])
    journal = Journal(path, path.stat().st_size, durability)  # type: ignore[arg-type]  # one of them
    for event in events:
        journal.append(event)
        journal.commit()
        assert path.stat().st_size == journal._lines._file.tell()
        if durability == "turn" and event.finished is None:
            assert path.stat().st_size in synced
        clock[0] += 0.4
    journal.close()
    if durability == "second":
        assert 0 < len(synced) <= 0.4 * len(events) + 2
    if durability == "end":
        assert len(synced) == 1
    assert synced[-1] == path.stat().st_size


def test_a_flipped_bit_in_a_table_is_found_by_verifying_it(small_table: Path, tmp_path: Path) -> None:
    content = bytearray(small_table.read_bytes())
    Table(small_table).verify()
    found = 0
    for place in range(2_000, len(content), 501):
        content[place] ^= 1
        (tmp_path / "flipped.arrow").write_bytes(content)
        content[place] ^= 1
        try:
            Table(tmp_path / "flipped.arrow").verify()
        except DataError:
            found += 1
    assert found > 0.9 * len(range(2_000, len(content), 501))
