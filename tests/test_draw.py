"""Cells and searches as pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from nas.errors import ArchsweepError
from nas.nasbench101.cell import Cell
from orchestrator.search.animation import frames, save_cell, save_frames
from orchestrator.search.search import Search
from orchestrator.settings.config import parse


@pytest.fixture(scope="module")
def search(small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> Search:
    told = {"table": str(small_table), "trials": 25, "tracking": {"enabled": False}}
    job = Search(parse(told, "test"), tmp_path_factory.mktemp("draw") / "s", pictures=False)
    job.run()
    return job


def test_a_search_moves_one_frame_a_finished_trial(search: Search, tmp_path: Path) -> None:
    shown = frames(search.run_dir, 5, 8)
    assert [frame.finished for frame in shown] == list(range(6, 14))
    with Image.open(save_frames(shown, tmp_path / "s.gif")) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == len({(frame.cell.key, frame.finished) for frame in shown})
    assert [path.name for path in tmp_path.iterdir()] == ["s.gif"]


def test_the_best_are_the_incumbents_in_order(search: Search) -> None:
    points = search.trajectory.points
    shown = frames(search.run_dir, 0, 100, only_best=True)
    assert [(frame.number, frame.objective) for frame in shown] == [(point.trial, point.objective) for point in points]
    assert all(frame.objective == frame.best for frame in shown)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_cells_stand_side_by_side(suffix: str, search: Search, tmp_path: Path) -> None:
    shown = frames(search.run_dir, 0, 5)
    first = save_frames(shown, tmp_path / f"a{suffix}").read_bytes()
    assert first == save_frames(shown, tmp_path / f"b{suffix}").read_bytes()
    if suffix == ".svg":
        assert all(f"trial {frame.number}: " in first.decode() for frame in shown)


def test_a_cell_is_drawn_with_its_name(tmp_path: Path) -> None:
    cell = Cell.numbered(1_234)
    assert cell.module_hash in save_cell(cell, tmp_path / "cell.svg").read_text()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda folder, _: frames(folder, 0, 1), "holds no search"),
        (lambda _, search: frames(search.run_dir, 99, 1), "no proposal from number 99"),
        (lambda folder, _: save_cell(Cell.numbered(5), folder / "c.gif"), "does not move"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, message: str, search: Search, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ArchsweepError, match=message):
        draw(tmp_path, search)
