"""Features, against a straightforward reading of what they mean."""

from __future__ import annotations

import numpy as np

from nas.nasbench101.catalogue import CELLS
from nas.nasbench101.cell import Cell
from nas.nasbench101.features import PATHS, graph_features, path_encoding
from nas.nasbench101.flow import flow_features, path_moments
from nas.nasbench101.graph import OPERATIONS
from nas.nasbench101.network import cost

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


def walks_of(cell: Cell) -> list[tuple[tuple[int, ...], float, float]]:
    """Every way from input to output: its interior vertices, how likely a walk backwards takes it, and one forwards."""
    matrix, last = cell.matrix, len(cell.labels) + 1

    def onwards(vertex: int) -> list[tuple[tuple[int, ...], float, float]]:
        if vertex == last:
            return [((), 1.0, 1.0)]
        own = () if vertex == 0 else (vertex,)
        targets = [int(target) for target in np.flatnonzero(matrix[vertex])]
        return [
            ((*own, *rest), back / matrix[:, target].sum(), ahead / len(targets))
            for target in targets
            for rest, back, ahead in onwards(target)
        ]

    return onwards(0)


def test_flow_features_say_what_they_claim() -> None:
    features = flow_features(SOME)
    assert features.shape == (len(SOME), 58)
    assert np.isfinite(features).all()
    for number, row in zip(SOME, features, strict=True):
        cell = Cell.numbered(int(number)).pruned
        walks, labels, matrix = walks_of(cell), (None, *cell.labels), cell.matrix
        for label in range(3):
            having = [v for v in range(1, len(labels)) if labels[v] == label]
            met = np.array([sum(labels[v] == label for v in path) for path, _, _ in walks])
            back, ahead = (np.array([walk[which] for walk in walks]) for which in (1, 2))
            expected = [(back * met).sum(), (ahead * met).sum(), met.sum()]
            np.testing.assert_allclose(row[[label, 3 + label, 6 + label]], expected, rtol=1e-4)
            before = [max(path.index(v) + 1 for path, _, _ in walks if v in path) for v in having]
            after = [max(len(path) - path.index(v) for path, _, _ in walks if v in path) for v in having]
            for first, longest in ((9, before), (15, after)):
                assert row[first + label] == max(longest, default=-1)
                assert np.isclose(row[first + 3 + label], np.mean(longest) if longest else 0)
            for first, axis in ((21, 0), (27, 1)):
                degrees = [matrix.sum(axis)[v] for v in having]
                assert row[[first + label, first + 3 + label]].tolist() == [max(degrees, default=0), sum(degrees)]
        kinds = ["in", *labels[1:], "out"]
        sources, targets = ("in", 0, 1, 2), ("out", 0, 1, 2)
        edges = [(kinds[x], kinds[y]) for x, y in np.argwhere(matrix)]
        assert row[42:].tolist() == [edges.count((x, y)) for x in sources for y in targets]


def test_path_moments_say_what_they_claim() -> None:
    moments = path_moments(SOME)
    assert moments.shape == (len(SOME), 37)
    for number, row in zip(SOME, moments, strict=True):
        cell = Cell.numbered(int(number)).pruned
        walks, labels = walks_of(cell), (None, *cell.labels)
        counts = np.array([[sum(labels[v] == label for v in path) for label in range(3)] for path, _, _ in walks])
        lengths = counts.sum(1)
        for first, which in ((0, 1), (15, 2)):
            likely = np.array([walk[which] for walk in walks])
            assert np.isclose(likely.sum(), 1)
            mean = (likely * lengths).sum()
            expected = [
                mean,
                (likely * (lengths - mean) ** 2).sum(),
                (likely * (counts[:, 0] - (likely * counts[:, 0]).sum()) ** 2).sum(),
                (likely * 0.5 ** counts[:, 0]).sum(),
                (likely * 0.5 ** counts[:, :2].sum(1)).sum(),
                likely[counts[:, 0] == 0].sum(),
                likely[counts[:, 0] >= 2].sum(),
            ]
            np.testing.assert_allclose(row[first : first + 7], expected, rtol=1e-4, atol=1e-5)
        assert np.isclose(row[30], np.log(len(walks)))
        assert row[33:].tolist() == [(lacking == 0).sum() for lacking in (counts[:, :2].sum(1), *counts.T[[0, 2, 1]])]
