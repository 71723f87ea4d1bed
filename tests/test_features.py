"""Features, against a straightforward reading of what they mean."""

from __future__ import annotations

import numpy as np

from nas.catalogue import CELLS
from nas.cell import Cell
from nas.features import PATHS, graph_features, path_encoding
from nas.graph import OPERATIONS
from nas.network import cost

SOME = np.random.default_rng(0).integers(0, CELLS, 150)


def paths_of(cell: Cell) -> list[tuple[int, ...]]:
    """The operations on every way from input to output, by depth-first search."""
    matrix, last = cell.matrix, len(cell.labels) + 1

    def onwards(vertex: int) -> list[tuple[int, ...]]:
        if vertex == last:
            return [()]
        own = () if vertex == 0 else (cell.labels[vertex - 1],)
        return [own + rest for target in np.flatnonzero(matrix[vertex]) for rest in onwards(int(target))]

    return onwards(0)


def place(path: tuple[int, ...]) -> int:
    """Shorter paths first, then by operations."""
    code = 0
    for label in path:
        code = code * len(OPERATIONS) + label
    return sum(3**shorter for shorter in range(len(path))) + code


def test_path_encoding_marks_exactly_the_paths_there_are() -> None:
    encoded = path_encoding(SOME)
    assert encoded.shape == (len(SOME), PATHS)
    for number, bits in zip(SOME, encoded, strict=True):
        expected = {place(path) for path in paths_of(Cell.numbered(int(number)).pruned)}
        assert set(np.flatnonzero(bits).tolist()) == expected


def test_a_shorter_encoding_is_the_beginning_of_the_whole_one() -> None:
    assert (path_encoding(SOME, 40) == path_encoding(SOME)[:, :40]).all()


def test_graph_features_say_what_they_claim() -> None:
    features = graph_features(SOME)
    assert features.shape == (len(SOME), 32)
    assert np.isfinite(features).all()
    for number, row in zip(SOME, features, strict=True):
        cell = Cell.numbered(int(number))
        paths = paths_of(cell)
        lengths = [len(path) for path in paths]
        assert row[:2].tolist() == [cell.vertices, cell.edges]
        assert row[2:5].tolist() == [cell.labels.count(label) for label in range(3)]
        assert row[5] == len(paths)
        assert row[[6, 10, 14]].tolist() == [min(lengths), max(lengths), np.float32(np.mean(lengths))]
        for label in range(3):
            counts = [path.count(label) for path in paths]
            found = row[[7 + label, 11 + label, 15 + label]].tolist()
            assert found == [min(counts), max(counts), np.float32(np.mean(counts))]
        for column, allowed in enumerate(({0}, {1}, {0, 1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}), 18):
            assert row[column] == any(set(path) <= allowed for path in paths)
        assert row[25:28].tolist() == [cell.matrix[0].sum(), cell.matrix[:, -1].sum(), cell.matrix[0, -1]]
        assert np.isclose(row[29], np.log(cost(cell).parameters))
        assert np.isclose(row[30], np.log(cost(cell).macs))
