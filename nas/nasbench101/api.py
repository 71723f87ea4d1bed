"""A drop-in for ``from nasbench import api``: scripts written for the published reader run on archsweep's tables.

Change that one import to ``from nas import api``. ``NASBench(file)`` takes the published TFRecord, any other source
that `nas.table.importing` reads, or a table file, which opens at once; a source is imported anew each time, quietly, so
import the full one once. Names, arguments, dictionary keys and value types are those of google-research/nasbench
(``nasbench/api.py``, ``nasbench/lib/model_spec.py``), but this file needs no TensorFlow and trains nothing.

What differs, and why:

- A pruned spec of more than seven vertices raises `OutOfDomainError`; the published release raised TypeError.
- A cell of the space that the file lacks, a cell without the budget asked for, and a repeat that a cell lacks raise
  `OutOfDomainError`, not KeyError or IndexError. So does a matrix that holds anything but 0 and 1.
- ``seed`` seeds a generator of the object's own, which draws what the original drew; the global one of ``random`` was
  reseeded there and is left alone here. Seeding the global one therefore no longer repeats a run: pass ``seed``.
- A metric that the file lacks is NaN; the published reader made it 0. A budget counter to which an unknown training
  time was added is NaN, too: what was spent is not known.
- ``config["num_repeats"]`` is the file's number of repeats where that is below the published three.
- Operations may be a tuple, and a matrix may hold floats, which changed the published hash.
- Everything returned is a copy, and ``fixed_statistics`` and ``computed_statistics`` are read-only views of the table
  that make a record when it is asked for: no record per cell is held in memory. Hashes come in ascending order, as in
  the published file, and a cell has the vertex order of the published file.
"""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, KeysView, Mapping, Sequence
from importlib import import_module
from itertools import chain
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas.errors import ArchsweepError, DataError
from nas.nasbench101.catalogue import catalogue
from nas.nasbench101.cell import label_code
from nas.nasbench101.graph import INPUT, MAX_EDGES, MAX_VERTICES, OPERATIONS, OUTPUT, edge_bit, from_native
from nas.table.importing import READERS
from nas.table.table import METRICS, Table

PUBLISHED_REPEATS = 3
HALFWAY, FINAL = METRICS[:4], METRICS[4:]
MEASURED = tuple(name.removeprefix("final_") for name in FINAL)
LABEL_OF = {operation: label for label, operation in enumerate(OPERATIONS)}


class OutOfDomainError(ArchsweepError):
    """A spec, number of epochs or repeat that the dataset does not hold."""


class ModelSpec:
    """A cell as nasbench writes it, of any size and with any operations, and what is left of it after pruning.

    original_matrix, original_ops: copies of the arguments. matrix, ops: the same without the vertices that are on no
    path from the first vertex to the last, both None if no path joins these. valid_spec: whether one does.
    """

    def __init__(self, matrix: ArrayLike, ops: Sequence[str], data_format: str = "channels_last") -> None:
        """matrix: adjacency (vertices, vertices), upper triangular. data_format: kept for scripts that read it.

        Raises ValueError if the matrix is not square or not upper triangular, or if ``ops`` has another length.
        """
        self.original_matrix = _square(matrix)
        self.original_ops = list(ops)
        rows = self.original_matrix.tolist()
        if len(self.original_ops) != len(rows):
            raise ValueError(
                f"length of ops must match matrix dimensions, got {len(self.original_ops)} ops for {len(rows)} vertices"
            )
        if any(rows[x][y] != 0 for x in range(len(rows)) for y in range(x + 1)):
            raise ValueError("matrix must be upper triangular: edges go from a vertex to a later one")
        kept = _on_paths(rows)
        self.valid_spec = bool(kept)
        self.matrix: NDArray[Any] | None = self.original_matrix[kept][:, kept] if kept else None
        self.ops: list[str] | None = [self.original_ops[v] for v in kept] if kept else None
        self.data_format = data_format

    def hash_spec(self, canonical_ops: Sequence[str]) -> str:
        """The MD5 name of the pruned graph, equal for isomorphic specs.

        canonical_ops: the operations in the order that numbers them; ``NASBench.config["available_ops"]`` gives the
        names of the published file. Raises ValueError on an operation that is not among them, and TypeError if the
        spec is not valid.
        """
        matrix, ops = self._pruned()
        return _graph_hash(matrix.tolist(), [-1, *(canonical_ops.index(op) for op in ops[1:-1]), -2])

    def visualize(self) -> Any:
        """The pruned graph as a ``graphviz.Digraph``, for notebooks. Needs the graphviz package, which is optional."""
        matrix, ops = self._pruned()
        graph = import_module("graphviz").Digraph()
        for vertex, name in enumerate([INPUT, *ops[1:-1], OUTPUT]):
            graph.node(str(vertex), name)
        for source, target in np.argwhere(matrix).tolist():
            graph.edge(str(source), str(target))
        return graph

    def _pruned(self) -> tuple[NDArray[Any], list[str]]:
        if self.matrix is None or self.ops is None:
            raise TypeError("the spec is not valid: no path joins its first and last vertex; check valid_spec first")
        return self.matrix, self.ops


class NASBench:
    """The dataset behind nasbench's interface.

    config: the published settings, of which ``module_vertices``, ``max_edges``, ``available_ops`` and ``num_repeats``
    are obeyed. fixed_statistics: module_hash -> graph and parameters. computed_statistics: module_hash -> epochs ->
    repeats -> metrics. valid_epochs: the budgets of the file. training_time_spent (seconds), total_epochs_spent: what
    the queries so far would have cost. history: empty, for scripts that keep notes in it.
    """

    def __init__(self, dataset_file: Path | str, seed: int | float | str | bytes | bytearray | None = None) -> None:
        """dataset_file: a TFRecord, Parquet or CSV file, by its suffix; any other is opened as a table file.

        seed: objects of one seed answer one sequence of queries alike. Raises `DataError` if the file cannot be read.
        """
        self._dataset = Dataset(dataset_file)
        self._random = random.Random(seed)  # noqa: S311 - reproduces published draws, keeps no secrets
        self.config = _config(self._dataset.table.repeats)
        self.fixed_statistics = Statistics(self._dataset, self._dataset.fixed)
        self.computed_statistics = Statistics(self._dataset, self._dataset.computed)
        self.valid_epochs = set(self._dataset.table.budgets)
        self.history: dict[Any, Any] = {}
        self.reset_budget_counters()

    def query(self, model_spec: ModelSpec, epochs: int = 108, stop_halfway: bool = False) -> dict[str, Any]:
        """One training of the cell, drawn from its repeats, its cost added to the budget counters.

        Returns module_adjacency (int8 array), module_operations, trainable_parameters, training_time (seconds),
        train_accuracy, validation_accuracy and test_accuracy (fractions), the last four as they were halfway through
        the training if ``stop_halfway``. Raises `OutOfDomainError`.
        """
        if epochs not in self.valid_epochs:
            raise OutOfDomainError(f"invalid number of epochs: got {epochs}; choose from {sorted(self.valid_epochs)}")
        row = self._row(model_spec)
        repeat = self._random.randint(0, self.config["num_repeats"] - 1)
        measured = self._dataset.training(row, epochs, repeat, HALFWAY if stop_halfway else FINAL)
        data = self._dataset.fixed(row)
        data.update(zip(MEASURED, measured, strict=True))
        self.training_time_spent += data["training_time"]
        self.total_epochs_spent += epochs // 2 if stop_halfway else epochs
        return data

    def is_valid(self, model_spec: ModelSpec) -> bool:
        """Whether the spec is in the search space. Costs no budget."""
        try:
            self._check_spec(model_spec)
        except OutOfDomainError:
            return False
        return True

    def get_budget_counters(self) -> tuple[float, int]:
        """Training time (seconds) and epochs that the queries since the last reset would have cost."""
        return self.training_time_spent, self.total_epochs_spent

    def reset_budget_counters(self) -> None:
        """Sets both counters to zero."""
        self.training_time_spent = 0.0
        self.total_epochs_spent = 0

    def evaluate(self, model_spec: ModelSpec, model_dir: Path | str) -> NoReturn:
        """Training from scratch, which the original does with TensorFlow. Raises NotImplementedError."""
        raise NotImplementedError("archsweep reads finished trainings and trains nothing; use query instead")

    def hash_iterator(self) -> KeysView[str]:
        """The module_hash of every cell in the file, ascending."""
        return self.fixed_statistics.keys()

    def get_metrics_from_hash(self, module_hash: str) -> tuple[dict[str, Any], dict[int, list[dict[str, float]]]]:
        """All that is known of a cell: its entries of both statistics. Raises KeyError. Costs no budget."""
        return self.fixed_statistics[module_hash], self.computed_statistics[module_hash]

    def get_metrics_from_spec(self, model_spec: ModelSpec) -> tuple[dict[str, Any], dict[int, list[dict[str, float]]]]:
        """All that is known of a spec's cell. Raises `OutOfDomainError`. Costs no budget."""
        row = self._row(model_spec)
        return self._dataset.fixed(row), self._dataset.computed(row)

    def _row(self, spec: ModelSpec) -> int:
        self._check_spec(spec)
        assert spec.matrix is not None
        assert spec.ops is not None
        row = self._dataset.row(spec.matrix, spec.ops)
        if row < 0:
            raise OutOfDomainError(f"{self._dataset.path} does not hold this cell of {spec.ops}")
        return row

    def _check_spec(self, model_spec: ModelSpec) -> None:
        """Raises `OutOfDomainError`, naming the first rule of the search space that the spec breaks."""
        if not model_spec.valid_spec or model_spec.matrix is None or model_spec.ops is None:
            raise OutOfDomainError("invalid spec: the graph is disconnected; join its first and last vertex")
        rows, ops, config = model_spec.matrix.tolist(), model_spec.ops, self.config
        if len(ops) > config["module_vertices"]:
            raise OutOfDomainError(f"too many vertices: got {len(ops)}, at most {config['module_vertices']}")
        edges = sum(map(sum, rows))
        if edges > config["max_edges"]:
            raise OutOfDomainError(f"too many edges: got {edges}, at most {config['max_edges']}")
        if ops[0] != INPUT or ops[-1] != OUTPUT:
            raise OutOfDomainError(f"operations must start with '{INPUT}' and end with '{OUTPUT}', got {ops}")
        for operation in ops[1:-1]:
            if operation not in config["available_ops"]:
                raise OutOfDomainError(f"unsupported operation {operation!r}; choose from {config['available_ops']}")
        if len(rows) != len(ops) or not set(chain.from_iterable(rows)) <= {0, 1} or edges != _bits(rows).bit_count():
            raise OutOfDomainError(
                "the matrix must be upper triangular, hold only 0 and 1, and have a row per operation"
            )

    def _hash_spec(self, model_spec: ModelSpec) -> str:
        """The name of a spec in this dataset."""
        return model_spec.hash_spec(self.config["available_ops"])


class Dataset:
    """A table, seen as the records of the published file. Pickles as its file's path, which is opened again."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).resolve()
        self.table = _open(self.path)
        self._metrics = [self.table.metric(name) for name in METRICS]

    def __reduce__(self) -> tuple[type[Dataset], tuple[Path]]:
        return Dataset, (self.path,)

    def row(self, matrix: NDArray[Any], ops: Sequence[str]) -> int:
        """The row of a pruned cell; -1 if the table or the space lacks it."""
        labels = [LABEL_OF.get(operation, -1) for operation in ops[1:-1]]
        if len(ops) > MAX_VERTICES or -1 in labels:
            return -1
        frame = from_native(_bits(matrix.tolist()), len(ops))
        return self.table.row(catalogue().number(frame, label_code(labels)))

    def fixed(self, row: int) -> dict[str, Any]:
        """What does not depend on training."""
        cell = self.table.cell(row)
        return {
            "module_adjacency": cell.matrix,
            "module_operations": list(cell.operations),
            "trainable_parameters": int(self.table.parameters[row]),
        }

    def computed(self, row: int) -> dict[int, list[dict[str, float]]]:
        """epochs -> repeat -> metric -> value, without budgets and final repeats of which the table has no metric."""
        values = [metric[row].tolist() for metric in self._metrics]
        records = {}
        for budget, epochs in enumerate(self.table.budgets):
            repeats = zip(*(metric[budget] for metric in values), strict=True)
            trainings = [dict(zip(METRICS, training, strict=True)) for training in repeats]
            while trainings and all(map(isnan, trainings[-1].values())):
                trainings.pop()
            if trainings:
                records[epochs] = trainings
        return records

    def training(self, row: int, epochs: int, repeat: int, names: Sequence[str]) -> list[float]:
        """These metrics of one training. Raises `OutOfDomainError` if the table does not hold the training."""
        table = self.table
        budget = table.budgets.index(epochs)
        if repeat < table.repeats:
            values = [table.value(name, row, budget, repeat) for name in names]
            if not all(map(isnan, values)) or not np.isnan([m[row, budget, repeat] for m in self._metrics]).all():
                return values
        raise OutOfDomainError(
            f"{self.path} does not hold repeat {repeat} of this cell at {epochs} epochs; choose other epochs, or lower "
            "config['num_repeats'] to draw from fewer repeats"
        )


class Statistics(Mapping[str, Any]):
    """module_hash -> record, ascending; a record is made anew at every look-up and can be changed freely."""

    def __init__(self, dataset: Dataset, record: Callable[[int], Any]) -> None:
        """record: makes the record of a row."""
        self._dataset, self._record = dataset, record

    def __len__(self) -> int:
        return len(self._dataset.table)

    def __iter__(self) -> Iterator[str]:
        return map(self._dataset.table.module_hash, range(len(self)))

    def __getitem__(self, module_hash: str) -> Any:
        row = self._row(module_hash)
        if row < 0:
            raise KeyError(module_hash)
        return self._record(row)

    def __contains__(self, module_hash: object) -> bool:
        return self._row(module_hash) >= 0

    def _row(self, module_hash: object) -> int:
        """-1 for what is no key, other spellings of a key included."""
        table = self._dataset.table
        try:
            row = table.row_of_hash(module_hash) if isinstance(module_hash, str) else -1
        except DataError:
            return -1
        return row if row >= 0 and table.module_hash(row) == module_hash else -1


IMPORT = """
import sys
source, out, *sys.path = sys.argv[1:]
from pathlib import Path
from nas.errors import DataError
from nas.table.importing import import_table
try:
    import_table(Path(source), Path(out))
except DataError as error:
    print(error)
    sys.exit(2)
"""


def _open(path: Path) -> Table:
    """The table of a file; a source's is written to a temporary file that only the memory map keeps."""
    if path.suffix not in READERS:
        return Table(path)
    with TemporaryDirectory(prefix="archsweep-") as folder:
        table = Path(folder) / "table"
        _import(path, table)
        return Table(table)


def _import(source: Path, table: Path) -> None:
    """Imports in a process of its own: the importer's workers run the main script anew, which must be guarded for that.

    Scripts for the published reader are not: https://docs.python.org/3/library/multiprocessing.html#the-spawn-and-forkserver-start-methods
    """
    command = [sys.executable, "-c", IMPORT, str(source), str(table), *sys.path]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own code and interpreter
    if done.returncode == 2:
        raise DataError(done.stdout.strip())
    done.check_returncode()


def _config(repeats: int) -> dict[str, Any]:
    """The settings under which the dataset was made. Source: ``nasbench/lib/config.py`` of google-research/nasbench."""
    return {
        "train_data_files": [],
        "valid_data_file": "",
        "test_data_file": "",
        "sample_data_file": "",
        "data_format": "channels_last",
        "num_labels": 10,
        "module_vertices": MAX_VERTICES,
        "max_edges": MAX_EDGES,
        "available_ops": list(OPERATIONS),
        "stem_filter_size": 128,
        "num_stacks": 3,
        "num_modules_per_stack": 3,
        "batch_size": 256,
        "train_epochs": 108,
        "train_seconds": 14_400.0,
        "learning_rate": 0.1,
        "lr_decay_method": "COSINE_BY_STEP",
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "max_attempts": 5,
        "intermediate_evaluations": ["0.5"],
        "num_repeats": min(repeats, PUBLISHED_REPEATS),
        "use_tpu": True,
        "tpu_iterations_per_loop": 100,
        "tpu_num_shards": 2,
    }


def _square(matrix: ArrayLike) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.array(matrix)
    except ValueError:
        raise ValueError("matrix must be square, got rows of different lengths") from None
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"matrix must be square, got shape {array.shape}")
    return array


def _on_paths(rows: list[list[Any]]) -> list[int]:
    """The vertices on a path from the first to the last of an upper-triangular graph, ascending; empty without one."""
    size = len(rows)
    from_input, to_output = {0}, {size - 1}
    for x in range(size):
        if x in from_input:
            from_input.update(y for y in range(x + 1, size) if rows[x][y])
    for x in reversed(range(size)):
        if any(rows[x][y] and y in to_output for y in range(x + 1, size)):
            to_output.add(x)
    kept = sorted(from_input & to_output)
    return kept if len(kept) > 1 else []


def _bits(rows: list[list[Any]]) -> int:
    """The edges of an upper-triangular graph of any size, in the bit order of `nas.nasbench101.graph`."""
    return sum(1 << edge_bit(x, y) for y in range(len(rows)) for x in range(y) if rows[x][y])


def _graph_hash(rows: list[list[Any]], labels: list[int]) -> str:
    """`nas.nasbench101.cell.module_hash` for graphs of any size.

    Source: ``graph_util.hash_module`` of google-research/nasbench.
    """
    vertices = range(len(rows))
    into = [[x for x in vertices if rows[x][y]] for y in vertices]
    out_of = [[y for y in vertices if rows[x][y]] for x in vertices]
    digests = [_md5(str((len(out_of[v]), len(into[v]), labels[v]))) for v in vertices]
    for _ in vertices:
        around = [["".join(sorted(digests[w] for w in side[v])) for side in (into, out_of)] for v in vertices]
        digests = [_md5("|".join([*around[v], digests[v]])) for v in vertices]
    return _md5(str(sorted(digests)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
