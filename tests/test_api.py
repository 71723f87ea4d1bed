"""`nas.api` against the published files, decoded by `tests.wire`, which shares nothing with the product."""

from __future__ import annotations

import collections
import csv
import pickle
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from itertools import permutations
from math import isnan
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from nas import api
from nas.errors import DataError
from nas.table.importing import import_table
from tests import wire

CONV3X3, CONV1X1, MAXPOOL = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
METRICS = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
FILES = ("only108_30cells.tfrecord", "ecnas_4v9e.tfrecord")
CHAIN = [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
CHAIN_OPS = ["input", CONV3X3, "output"]

Decoded = dict[str, tuple[dict[str, Any], dict[int, list[dict[str, float]]]]]


def decode(path: Path) -> Decoded:
    """module_hash -> (fixed statistics, computed statistics), as the published reader makes them, epochs ascending."""
    decoded: Decoded = {}
    for training in map(wire.decode, wire.records(path.read_bytes())):
        size = int(len(training.adjacency) ** 0.5)
        fixed = {
            "module_adjacency": np.array([int(bit) for bit in training.adjacency], np.int8).reshape(size, size),
            "module_operations": training.operations.split(","),
            "trainable_parameters": training.parameters,
        }
        measured = {
            f"{moment}_{metric}": value
            for moment, evaluation in zip(("halfway", "final"), training.evaluations[1:3], strict=True)
            for metric, value in zip(METRICS, evaluation.values, strict=True)
        }
        decoded.setdefault(training.module_hash, (fixed, {}))[1].setdefault(training.epochs, []).append(measured)
    return {name: (fixed, dict(sorted(computed.items()))) for name, (fixed, computed) in decoded.items()}


def same(left: Any, right: Any) -> bool:
    """Equal in value and type, all the way down, and in the order of keys."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    return bool(left == right)


def spec_of(fixed: dict[str, Any]) -> api.ModelSpec:
    return api.ModelSpec(fixed["module_adjacency"], fixed["module_operations"])


def run_script(text: str, *arguments: Path) -> str:
    """What a script prints. Its own folder is not the project's, and any warning on stderr fails the test."""
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture(scope="module", params=FILES)
def published(request: pytest.FixtureRequest, data: Path) -> tuple[api.NASBench, Decoded]:
    return api.NASBench(data / request.param), decode(data / request.param)


@pytest.fixture
def bench(small_table: Path) -> api.NASBench:
    """91 cells, four budgets, three repeats."""
    return api.NASBench(small_table, seed=0)


@pytest.fixture(scope="module")
def partial(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real trainings with gaps: the chain of one 3x3 convolution has one repeat at 108 epochs and none at 4 and 12."""
    path = tmp_path_factory.mktemp("partial") / "partial.csv"
    final = [f"final_{metric}" for metric in METRICS]
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["adjacency", "operations", "epochs", "repeat", "trainable_parameters", *final])
        for fixed, computed in decode(data / FILES[1]).values():
            chain = fixed["module_operations"] == CHAIN_OPS and fixed["module_adjacency"][0, 2] == 0
            for epochs, trainings in computed.items():
                for repeat, training in enumerate(trainings):
                    if not chain or epochs == 36 or (epochs == 108 and repeat == 1):
                        bits = "".join(map(str, fixed["module_adjacency"].ravel()))
                        shown = [training[name] for name in final]
                        shown[0] = "" if chain and epochs == 36 else shown[0]
                        operations = ",".join(fixed["module_operations"])
                        rows.writerow([bits, operations, epochs, repeat, fixed["trainable_parameters"], *shown])
    return path


def test_every_value_of_the_published_files_is_read(published: tuple[api.NASBench, Decoded]) -> None:
    bench, decoded = published
    assert list(bench.hash_iterator()) == sorted(decoded)
    assert bench.valid_epochs == {epochs for _, computed in decoded.values() for epochs in computed}
    for module_hash, (fixed, computed) in decoded.items():
        assert same(bench.fixed_statistics[module_hash], fixed)
        assert same(bench.computed_statistics[module_hash], computed)
        assert same(bench.get_metrics_from_hash(module_hash)[0], fixed)
        assert same(bench.get_metrics_from_hash(module_hash)[1], computed)
        assert same(bench.get_metrics_from_spec(spec_of(fixed))[0], fixed)
        assert same(bench.get_metrics_from_spec(spec_of(fixed))[1], computed)


def test_every_spec_hashes_to_its_published_name(published: tuple[api.NASBench, Decoded]) -> None:
    bench, decoded = published
    for module_hash, (fixed, _) in decoded.items():
        spec = spec_of(fixed)
        assert spec.hash_spec(bench.config["available_ops"]) == bench._hash_spec(spec) == module_hash


@pytest.mark.parametrize("stop_halfway", [False, True])
def test_queries_draw_what_the_published_reader_drew_and_count_its_budget(
    published: tuple[api.NASBench, Decoded], stop_halfway: bool
) -> None:
    bench, decoded = published
    bench.reset_budget_counters()
    bench._random.seed(7)
    expected_draws = random.Random(7)
    seconds, spent = 0.0, 0
    for fixed, computed in decoded.values():
        for epochs in sorted(bench.valid_epochs):
            training = computed[epochs][expected_draws.randint(0, 2)]
            moment = "halfway" if stop_halfway else "final"
            expected = fixed | {metric: training[f"{moment}_{metric}"] for metric in METRICS}
            assert same(bench.query(spec_of(fixed), epochs=epochs, stop_halfway=stop_halfway), expected)
            seconds += expected["training_time"]
            spent += epochs // 2 if stop_halfway else epochs
            assert bench.get_budget_counters() == (seconds, spent)
            assert (bench.training_time_spent, bench.total_epochs_spent) == (seconds, spent)
    bench.reset_budget_counters()
    assert bench.get_budget_counters() == (0.0, 0)


def test_a_tfrecord_and_its_table_file_answer_alike(data: Path, bench: api.NASBench) -> None:
    source = api.NASBench(data / FILES[1], seed=0)
    assert list(source.fixed_statistics) == list(bench.fixed_statistics)
    for of_source, of_table in (
        (source.fixed_statistics, bench.fixed_statistics),
        (source.computed_statistics, bench.computed_statistics),
    ):
        assert same(dict(of_source), dict(of_table))
    for fixed in source.fixed_statistics.values():
        assert same(source.query(spec_of(fixed)), bench.query(spec_of(fixed)))


def test_one_seed_gives_one_sequence_and_leaves_the_global_generator_alone(small_table: Path) -> None:
    before = random.getstate()
    spec = api.ModelSpec(CHAIN, CHAIN_OPS)
    first, second, third = (api.NASBench(small_table, seed=seed) for seed in (3, 3, 4))
    answers = [[bench.query(spec)["test_accuracy"] for _ in range(30)] for bench in (first, second, third)]
    assert random.getstate() == before
    assert answers[0] == answers[1] != answers[2]
    assert len(set(answers[0])) == 3


def test_isomorphic_specs_share_hash_and_answer(bench: api.NASBench) -> None:
    diamond = np.array([[0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]])
    left = api.ModelSpec(diamond, ["input", CONV3X3, MAXPOOL, "output"])
    right = api.ModelSpec(diamond, ["input", MAXPOOL, CONV3X3, "output"])
    assert bench._hash_spec(left) == bench._hash_spec(right)
    assert same(list(bench.get_metrics_from_spec(left)), list(bench.get_metrics_from_spec(right)))


def test_a_hash_ignores_the_order_of_vertices_even_of_graphs_beyond_the_space() -> None:
    rng = np.random.default_rng(0)
    ops = ["input", "a", "b", "c", "a", "b", "c", "a", "output"]
    matrix = np.triu(rng.random((9, 9)) < 0.5, 1).astype(int)
    matrix[np.arange(8), np.arange(1, 9)] = 1
    matrix[1:5, 1:5] = 0
    matrix[1:5, 5] = 1
    matrix[0, 1:5] = 1
    names = set()
    for order in permutations(range(1, 5)):
        index = [0, *order, 5, 6, 7, 8]
        names.add(api.ModelSpec(matrix[np.ix_(index, index)], [ops[v] for v in index]).hash_spec(["a", "b", "c"]))
    assert len(names) == 1
    assert api.ModelSpec(matrix, ops).hash_spec(["c", "b", "a"]) not in names


def test_a_spec_of_more_vertices_that_prunes_into_the_space_is_answered(bench: api.NASBench) -> None:
    matrix = np.zeros((9, 9), int)
    matrix[0, 4] = matrix[4, 8] = matrix[0, 2] = matrix[3, 8] = 1
    spec = api.ModelSpec(matrix, ["input", "x", "y", "z", CONV3X3, "x", "y", "z", "output"])
    assert spec.valid_spec
    assert np.array_equal(spec.matrix, CHAIN)
    assert spec.ops == CHAIN_OPS
    assert spec.original_matrix.shape == (9, 9)
    assert len(spec.original_ops) == 9
    assert bench.is_valid(spec)
    chain = bench.get_metrics_from_spec(api.ModelSpec(CHAIN, CHAIN_OPS))
    assert same(list(bench.get_metrics_from_spec(spec)), list(chain))


@pytest.mark.parametrize("convert", [list, tuple, np.array])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float64, bool, object])
def test_any_kind_of_matrix_and_operations_names_the_same_cell(
    bench: api.NASBench, convert: Callable[[Any], Any], dtype: Any
) -> None:
    spec = api.ModelSpec(np.array(CHAIN, dtype), convert(CHAIN_OPS))
    assert bench._hash_spec(spec) == bench._hash_spec(api.ModelSpec(CHAIN, CHAIN_OPS))
    assert bench.query(spec)["module_operations"] == CHAIN_OPS


def chain_of(interior: int, operation: str = CONV3X3) -> api.ModelSpec:
    return api.ModelSpec(np.eye(interior + 2, k=1, dtype=int), ["input", *[operation] * interior, "output"])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (api.ModelSpec([[0, 1, 0], [0, 0, 0], [0, 0, 0]], CHAIN_OPS), "disconnected"),
        (chain_of(6), "too many vertices: got 8, at most 7"),
        (
            api.ModelSpec(np.triu(np.ones((5, 5), int), 1), ["input", *[CONV3X3] * 3, "output"]),
            "too many edges: got 10",
        ),
        (api.ModelSpec(CHAIN, [CONV3X3, CONV3X3, "output"]), "must start with 'input'"),
        (api.ModelSpec(CHAIN, ["input", CONV3X3, CONV3X3]), "end with 'output'"),
        (chain_of(1, "conv5x5-bn-relu"), "unsupported operation 'conv5x5-bn-relu'"),
        (api.ModelSpec([[0, 2, 0], [0, 0, 1], [0, 0, 0]], CHAIN_OPS), "hold only 0 and 1"),
    ],
)
def test_a_spec_outside_the_space_is_refused(bench: api.NASBench, spec: api.ModelSpec, message: str) -> None:
    assert not bench.is_valid(spec)
    for ask in (bench._check_spec, bench.query, bench.get_metrics_from_spec):
        with pytest.raises(api.OutOfDomainError, match=message):
            ask(spec)
    assert bench.get_budget_counters() == (0.0, 0)


def test_changes_to_a_spec_after_it_was_made_count(bench: api.NASBench) -> None:
    spec = chain_of(2)
    assert spec.matrix is not None
    assert spec.ops is not None
    spec.ops[1] = MAXPOOL
    assert bench.query(spec)["module_operations"][1:3] == [MAXPOOL, CONV3X3]
    spec.matrix[2, 0] = 1
    assert not bench.is_valid(spec)
    spec.ops.pop()
    assert not bench.is_valid(spec)


def test_a_cell_of_the_space_that_the_file_lacks_is_refused(bench: api.NASBench) -> None:
    assert bench.is_valid(chain_of(5))
    for ask in (bench.query, bench.get_metrics_from_spec):
        with pytest.raises(api.OutOfDomainError, match="does not hold this cell"):
            ask(chain_of(5))


def test_limits_widened_in_config_still_end_in_a_refusal(bench: api.NASBench) -> None:
    bench.config.update(module_vertices=9, available_ops=[*bench.config["available_ops"], "new"], num_repeats=50)
    for spec in (chain_of(7), chain_of(1, "new")):
        assert bench.is_valid(spec)
        with pytest.raises(api.OutOfDomainError, match="does not hold this cell"):
            bench.query(spec)
    with pytest.raises(api.OutOfDomainError, match="does not hold repeat"):
        collections.deque(bench.query(chain_of(1)) for _ in range(100))


def test_an_epoch_number_that_was_not_trained_is_refused(bench: api.NASBench) -> None:
    with pytest.raises(api.OutOfDomainError, match=r"got 5; choose from \[4, 12, 36, 108\]"):
        bench.query(chain_of(1), epochs=5)


@pytest.mark.parametrize(
    ("matrix", "ops", "message"),
    [
        ([[0, 1, 0], [0, 0, 1]], CHAIN_OPS, "square"),
        ([[0, 1, 0], [0, 0], [0, 0, 0]], CHAIN_OPS, "square"),
        ([0, 1, 0], CHAIN_OPS, "square"),
        (CHAIN, ["input", "output"], "length of ops"),
        ([[0, 1, 0], [1, 0, 1], [0, 0, 0]], CHAIN_OPS, "upper triangular"),
        ([[0, 1, 0], [0, 1, 1], [0, 0, 0]], CHAIN_OPS, "upper triangular"),
    ],
)
def test_a_malformed_spec_is_a_value_error(matrix: Any, ops: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        api.ModelSpec(matrix, ops)


def test_an_operation_without_a_number_has_no_hash(bench: api.NASBench) -> None:
    with pytest.raises(ValueError, match="not in list"):
        bench._hash_spec(chain_of(1, "conv5x5-bn-relu"))


def test_a_disconnected_spec_is_made_but_has_no_graph() -> None:
    spec = api.ModelSpec([[0, 0], [0, 0]], ["input", "output"], data_format="channels_first")
    assert (spec.valid_spec, spec.matrix, spec.ops, spec.data_format) == (False, None, None, "channels_first")
    with pytest.raises(TypeError, match="not valid"):
        spec.hash_spec([])


def test_a_training_that_a_partial_file_lacks_is_refused_and_the_rest_is_answered(partial: Path) -> None:
    bench, chain = api.NASBench(partial, seed=0), chain_of(1)
    _, computed = bench.get_metrics_from_spec(chain)
    assert {epochs: len(trainings) for epochs, trainings in computed.items()} == {36: 3, 108: 2}
    assert all(map(isnan, computed[108][0].values()))
    with pytest.raises(api.OutOfDomainError, match="at 4 epochs"):
        bench.query(chain, epochs=4)
    outcomes = set()
    for _ in range(40):
        try:
            outcomes.add(bench.query(chain)["test_accuracy"])
        except api.OutOfDomainError as error:
            outcomes.add(str(error).split(" of this cell")[0].rsplit(" ", 1)[1])
    assert outcomes == {"0", computed[108][1]["final_test_accuracy"], "2"}
    assert bench.query(chain_of(2), epochs=4)["module_operations"] == chain_of(2).ops


def test_a_value_that_the_file_lacks_is_nan_and_never_zero(partial: Path) -> None:
    bench = api.NASBench(partial)
    answer = bench.query(chain_of(1), epochs=36)
    assert isnan(answer["training_time"])
    assert 0 < answer["test_accuracy"] < 1
    assert isnan(bench.training_time_spent)
    bench.reset_budget_counters()
    halfway = bench.query(chain_of(2), epochs=36, stop_halfway=True)
    assert all(isnan(halfway[metric]) for metric in METRICS)


def test_repeats_are_drawn_only_from_those_that_a_smaller_file_has(curves_table: Path) -> None:
    bench = api.NASBench(curves_table, seed=0)
    assert bench.config["num_repeats"] == 1
    spec = spec_of(next(iter(bench.fixed_statistics.values())))
    assert len({bench.query(spec)["validation_accuracy"] for _ in range(20)}) == 1


def test_results_are_copies(bench: api.NASBench) -> None:
    spec = chain_of(1)
    first = bench.query(spec)
    first["module_adjacency"][:] = 9
    first["module_operations"].append("x")
    fixed, computed = bench.get_metrics_from_spec(spec)
    assert same([fixed["module_adjacency"], fixed["module_operations"]], [np.array(CHAIN, np.int8), CHAIN_OPS])
    computed[108].clear()
    assert len(bench.get_metrics_from_spec(spec)[1][108]) == 3
    matrix, ops = np.array(CHAIN), list(CHAIN_OPS)
    copied = api.ModelSpec(matrix, ops)
    matrix[:] = 0
    ops.clear()
    assert np.array_equal(copied.original_matrix, CHAIN)
    assert copied.original_ops == CHAIN_OPS


def test_the_statistics_are_mappings_of_the_published_hashes(bench: api.NASBench) -> None:
    names = list(bench.hash_iterator())
    assert len(names) == len(bench.fixed_statistics) == len(bench.computed_statistics) == 91
    assert list(bench.computed_statistics) == names == sorted(names)
    assert names[0] in bench.hash_iterator()
    for absent in ("0" * 32, names[0].upper(), f" {names[0]}", "no hash", 5, None):
        assert absent not in bench.fixed_statistics
        assert bench.computed_statistics.get(absent) is None
    with pytest.raises(KeyError, match="no hash"):
        bench.get_metrics_from_hash("no hash")


def test_no_record_per_cell_is_held_in_memory(curves_table: Path) -> None:
    tracemalloc.start()
    bench = api.NASBench(curves_table)
    for module_hash in list(bench.hash_iterator())[::20]:
        bench.get_metrics_from_hash(module_hash)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 200 * len(bench.fixed_statistics)  # one dictionary of eight floats takes 500 bytes


def test_a_pickled_dataset_goes_on_where_it_was(bench: api.NASBench) -> None:
    bench.query(chain_of(1))
    copy = pickle.loads(pickle.dumps(bench))
    assert copy.get_budget_counters() == bench.get_budget_counters()
    assert [copy.query(chain_of(2)) == bench.query(chain_of(2)) for _ in range(0)] == []
    for _ in range(10):
        assert same(copy.query(chain_of(2)), bench.query(chain_of(2)))
    assert list(copy.fixed_statistics) == list(bench.fixed_statistics)


def test_training_is_refused_by_name(bench: api.NASBench, tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="trains nothing"):
        bench.evaluate(chain_of(1), tmp_path)


def test_config_and_bookkeeping_are_those_of_the_published_reader(bench: api.NASBench) -> None:
    assert bench.config["available_ops"] == [CONV3X3, CONV1X1, MAXPOOL]
    assert (bench.config["module_vertices"], bench.config["max_edges"], bench.config["num_repeats"]) == (7, 9, 3)
    assert len(bench.config) == 25
    assert bench.history == {}
    assert bench.valid_epochs == {4, 12, 36, 108}


def test_a_file_that_cannot_be_read_is_named(data: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tfrecord"
    damaged.write_bytes((data / FILES[0]).read_bytes()[:1_000])
    for path in (damaged, tmp_path / "missing.tfrecord", tmp_path / "missing.arrow", data / "README.md"):
        with pytest.raises(DataError, match=path.name):
            api.NASBench(path)


def test_visualize_draws_the_pruned_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    class Digraph:
        def __init__(self) -> None:
            self.drawn: list[tuple[str, ...]] = []

        def node(self, *what: str) -> None:
            self.drawn.append(what)

        edge = node

    fake = ModuleType("graphviz")
    fake.Digraph = Digraph  # type: ignore[attr-defined]  # a module made by hand
    monkeypatch.setitem(sys.modules, "graphviz", fake)
    spec = api.ModelSpec(
        [[0, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]], ["input", CONV3X3, MAXPOOL, "output"]
    )
    nodes = [("0", "input"), ("1", CONV3X3), ("2", "output")]
    assert spec.visualize().drawn == [*nodes, ("0", "1"), ("0", "2"), ("1", "2")]


EXAMPLE = """
import random, sys
from nas import api

INPUT, OUTPUT = 'input', 'output'
OPS = ['conv3x3-bn-relu', 'conv1x1-bn-relu', 'maxpool3x3']

nasbench = api.NASBench(sys.argv[1], seed=1)
spec = api.ModelSpec(
    matrix=[[0, 1, 1, 0],
            [0, 0, 0, 1],
            [0, 0, 0, 1],
            [0, 0, 0, 0]],
    ops=[INPUT, OPS[1], OPS[2], OUTPUT])
print(sorted(nasbench.query(spec)))
print(nasbench.get_budget_counters()[1])

fixed, computed = nasbench.get_metrics_from_spec(spec)
for epochs in sorted(nasbench.valid_epochs):
    print(epochs, len(computed[epochs]), len(computed[epochs][0]))

best = max(nasbench.hash_iterator(), key=lambda h: nasbench.get_metrics_from_hash(h)[1][108][0]['final_test_accuracy'])
print(best in nasbench.fixed_statistics)

def random_spec():
    while True:
        matrix = [[int(y > x and random.random() < 0.5) for y in range(4)] for x in range(4)]
        candidate = api.ModelSpec(matrix=matrix, ops=[INPUT, random.choice(OPS), random.choice(OPS), OUTPUT])
        if nasbench.is_valid(candidate):
            return candidate

nasbench.reset_budget_counters()
while nasbench.get_budget_counters()[1] < 1080:
    nasbench.query(random_spec())
try:
    nasbench.query(spec, epochs=50)
except api.OutOfDomainError:
    print('out of domain', nasbench.total_epochs_spent)
"""


def test_a_script_for_the_published_reader_runs_with_one_import_changed(data: Path) -> None:
    printed = run_script(EXAMPLE, data / FILES[1]).splitlines()
    assert printed == [
        str(sorted(["module_adjacency", "module_operations", "trainable_parameters", *METRICS])),
        "108",
        *(f"{epochs} 3 8" for epochs in (4, 12, 36, 108)),
        "True",
        "out of domain 1080",
    ]


def test_an_unguarded_script_may_open_a_file_that_is_read_in_parallel(data: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.tfrecord"
    large.write_bytes((data / FILES[1]).read_bytes() * 16)
    script = tmp_path / "unguarded.py"
    script.write_text("import sys\nfrom nas import api\nprint(len(api.NASBench(sys.argv[1]).fixed_statistics))\n")
    runner = f"import runpy, sys; sys.argv[0] = {str(script)!r}; runpy.run_path({str(script)!r}, run_name='__main__')"
    assert run_script(runner, large) == "91\n"


def test_an_imported_source_leaves_no_file_behind(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bench = api.NASBench(data / FILES[0])
    assert list(tmp_path.iterdir()) == []
    assert len(list(bench.fixed_statistics.items())) == 30


def test_a_table_imported_by_hand_is_opened_whatever_its_suffix(data: Path, tmp_path: Path) -> None:
    table = tmp_path / "cells"
    import_table(data / FILES[0], table)
    assert api.NASBench(str(table)).valid_epochs == {108}
