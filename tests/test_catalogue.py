"""The catalogue of unique cells against the published list, and its cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import nas.nasbench101.catalogue
from nas.nasbench101.catalogue import CELLS, LABEL_CODES, LABELS, Catalogue, build, catalogue
from nas.nasbench101.cell import Cell, frame_of, label_code, labels_of
from nas.nasbench101.graph import FRAMES

Published = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def per_row(path: Path, column: str, parse: Callable[[str], Any]) -> NDArray[np.int64]:
    encoded = pq.read_table(path, columns=[column])[column].cast("string").combine_chunks().dictionary_encode()
    return np.array([parse(text) for text in encoded.dictionary.to_pylist()])[encoded.indices.to_numpy()]


@pytest.fixture(scope="module")
def published(data: Path) -> Published:
    """Frame, number of vertices and label code of every cell, in the published order."""
    frames, vertices = per_row(data / "hashes.parquet", "adjacency", frame_of).T
    return frames, vertices, per_row(data / "hashes.parquet", "operations", lambda text: label_code(labels_of(text)))


def test_every_published_cell_has_its_own_number(published: Published) -> None:
    frames, _, codes = published
    numbers = catalogue().numbers(frames, codes)
    assert np.array_equal(np.sort(numbers), np.arange(423_624))


def test_the_published_form_of_every_cell_is_the_published_one(published: Published) -> None:
    frames, vertices, codes = published
    known = catalogue()
    numbers = known.numbers(frames, codes)
    graphs = known.graph[numbers]
    assert np.array_equal(known.frame[graphs], frames)
    assert np.array_equal(known.vertices[graphs], vertices)
    assert np.array_equal(known.labels[numbers].astype(int) * LABELS ** (7 - vertices), codes)


def test_a_numbered_cell_is_written_as_published(data: Path) -> None:
    for row in pq.read_table(data / "hashes.parquet").to_pylist()[::500]:
        texts = {"adjacency": row["adjacency"], "operations": row["operations"]}
        assert Cell.numbered(Cell.from_json(texts).key).to_json() == texts


def test_there_are_as_many_cells_of_each_size_as_published() -> None:
    known = catalogue()
    assert len(known) == CELLS == 423_624
    assert np.bincount(known.vertices[known.graph])[2:].tolist() == [1, 6, 84, 2_441, 62_010, 359_082]


@given(st.lists(st.tuples(st.integers(0, FRAMES - 1), st.integers(0, LABEL_CODES - 1)), min_size=1))
def test_many_cells_are_numbered_as_one_is(cells: list[tuple[int, int]]) -> None:
    frames, codes = np.array(cells).T
    assert catalogue().numbers(frames, codes).tolist() == [catalogue().number(*cell) for cell in cells]


def damaged(whole: bytes, how: str) -> bytes:
    flipped = bytearray(whole)
    match how:
        case "empty":
            return b""
        case "three bytes":
            return whole[:3]
        case "truncated":
            return whole[:-1]
        case "longer":
            return whole + b"\0"
        case "another file":
            return b"#!/bin/sh\n" * 1_000
        case "flipped at the start":
            flipped[0] ^= 1
        case "flipped inside":
            flipped[len(whole) // 2] ^= 64
        case "flipped checksum":
            flipped[-1] ^= 128
    return bytes(flipped)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the catalogue is cached, an empty folder that does not exist yet."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache" / "archsweep" / "nasbench101-v1.catalogue"


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An entry for every time that the catalogue is built, which then takes no time."""
    record, entries = catalogue().record, []

    def known() -> NDArray[Any]:
        entries.append("built")
        return record

    monkeypatch.setattr(nas.nasbench101.catalogue, "build", known)
    return entries


def same(one: Catalogue, other: NDArray[Any]) -> bool:
    return one.record.tobytes() == other.tobytes()


def test_what_is_loaded_from_the_cache_is_what_is_built(cache: Path) -> None:
    built = build()
    assert same(catalogue.__wrapped__(), built)
    assert cache.stat().st_size == built.nbytes + 4
    loaded = catalogue.__wrapped__()
    assert same(loaded, built)


def test_the_cache_is_read_instead_of_building(cache: Path, builds: list[str]) -> None:
    for _ in range(3):
        assert same(catalogue.__wrapped__(), catalogue().record)
    assert builds == ["built"]
    assert list(cache.parent.iterdir()) == [cache]


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "three bytes",
        "truncated",
        "longer",
        "another file",
        "flipped at the start",
        "flipped inside",
        "flipped checksum",
    ],
)
def test_a_damaged_cache_is_rebuilt(cache: Path, builds: list[str], how: str) -> None:
    catalogue.__wrapped__()
    whole = cache.read_bytes()
    cache.write_bytes(damaged(whole, how))
    assert same(catalogue.__wrapped__(), catalogue().record)
    assert builds == ["built", "built"]
    assert cache.read_bytes() == whole


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path, builds: list[str]) -> None:
    cache.mkdir(parents=True)
    assert same(catalogue.__wrapped__(), catalogue().record)
    cache.rmdir()
    cache.parent.rmdir()
    cache.parent.write_text("a file where the folder should be")
    assert same(catalogue.__wrapped__(), catalogue().record)
    assert builds == ["built", "built"]
