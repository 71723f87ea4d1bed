"""NATS-Bench's published files: what they give, and that no file can do more than be refused."""

from __future__ import annotations

import bz2
import io
import os
import pickle
import shutil
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.errors import DataError
from nas.nasbench201 import plain, wire
from nas.nasbench201.plain import loads

NAS_DATA = Path(os.environ.get("NAS_DATA", Path(__file__).parents[2] / "shared" / "data")) / "spaces"
WIRE = NAS_DATA / "nb201" / "nats_wire"


@pytest.fixture(scope="module")
def archive() -> Path:
    folder = WIRE / "NATS-tss-v1_0-3ffb9-simple"
    if not folder.is_dir():
        pytest.skip(f"no NATS-Bench files at {folder}; set NAS_DATA")
    return folder


@pytest.fixture(scope="module")
def names(archive: Path) -> list[str]:
    return wire.strings(archive)


@pytest.fixture
def copy(archive: Path, tmp_path: Path) -> Path:
    """A folder of the published files that a test may damage."""
    folder = tmp_path / archive.name
    shutil.copytree(archive, folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


class Trusting(pickle.Unpickler):
    """Python's own reader with the three real names, to compare with."""

    def find_class(self, module: str, name: str) -> Any:
        return {"OrderedDict": OrderedDict, "dtype": np.dtype, "scalar": np.float64(0).__reduce__()[0]}[name]


@pytest.mark.parametrize("name", ["meta", "000000", "000011", "000284"])
def test_published_files_are_read_as_python_reads_them(archive: Path, name: str) -> None:
    data = bz2.decompress((archive / f"{name}.pickle.pbz2").read_bytes())
    assert loads(data) == Trusting(io.BytesIO(data)).load()


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        [1, 255, 256, 70_000, -1, -(1 << 40), 2**62],
        {"a": 1.5, ("cifar10", 777): [{}, (), (1,), (1, 2, 3, 4)], 7: {"x", "y"}, "ü": "a" * 300},
        OrderedDict({0: 1.0, 1: 2.0}),
        [np.float64(0.1), np.int64(-5), np.float32(0.5)],
        {"empty": set(), "more": [[], {}]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_comes_back(value: Any, protocol: int) -> None:
    if isinstance(value, dict) and {"x", "y"} in value.values() and protocol < 4:
        value = {key: part for key, part in value.items() if not isinstance(part, set)}
    if isinstance(value, dict) and "empty" in value and protocol < 4:
        return  # older protocols call `set`
    assert loads(pickle.dumps(value, protocol)) == value


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.how = function, arguments

    def __reduce__(self) -> Any:
        return self.how


def sneaking_state() -> bytes:
    """Gives numpy's dtype another state, which is how a file could forge a pointer."""
    return pickle.dumps(np.dtype("f8"), 4).replace(b"K\x03\x8c\x01<", b"K\x03\x8c\x01>")


HOSTILE = {
    "os.system": pickle.dumps(Calls(os.system, "touch hostile")),
    "builtins.eval": pickle.dumps(Calls(eval, "open('hostile', 'w')")),
    "builtins.getattr": pickle.dumps(Calls(getattr, "", "join")),
    "numpy.load": pickle.dumps(Calls(np.load, "x.npy")),
    "nested": pickle.dumps({"12": [Calls(os.system, "touch hostile")], "200": {}}),
    "in a key": pickle.dumps({(1, Calls(os.system, "touch hostile")): 1}),
    "by text": b"cos\nsystem\n(S'touch hostile'\ntR.",
    "an old instance": b"(ios\nsystem\n(S'x'\nt.",
    "a dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.__class__\x93.",
    "a name that is no text": b"\x80\x04K\x01K\x02\x93.",
    "a persistent id": b"\x80\x04X\x01\x00\x00\x00xQ.",
    "an old persistent id": b"Px\n.",
    "an extension": b"\x80\x04\x82\x01.",
    "an object's class": pickle.dumps(Path("x")),
    "a dtype of objects": pickle.dumps(np.dtype("O")),
    "an array": pickle.dumps(np.zeros(3)),
    "a scalar of objects": pickle.dumps(Calls(np.float64(0).__reduce__()[0], np.dtype("O"), b"\0" * 8)),
    "another byte order": sneaking_state(),
    "a state of a name": b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93}\x8c\x01xK\x01sb.",
    "a state of a dictionary": b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R}\x8c\x01xK\x01sb.",
    "arguments of a dictionary": b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict\x93](K\x01e\x85R.",
    "a number too few": pickle.dumps(np.float64(0), 4).replace(b"\0" * 8, b""),
    "a text of 4 GB": b"\x80\x04X\xff\xff\xff\xff.",
    "a text of 16 EB": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "a memo of 16 GB": b"\x80\x04Nr\xff\xff\xff\x7fa.",
    "a number of 4 GB": b"\x80\x04\x8b\xff\xff\xff\x7f.",
    "a number of 255 bytes": b"\x80\x04\x8a\xff" + b"\x01" * 255 + b".",
    "a million dictionaries": b"\x80\x04(" + b"}" * 1_000_000 + b"t.",
    "a million marks": b"\x80\x04" + b"(" * 1_000_000 + b".",
    "a million memories": b"\x80\x04N" + b"\x94" * 1_000_000 + b".",
    "a deep key": b"\x80\x04}" + b")" + b"\x85" * 100_000 + b"K\x01s.",
    "a list as a key": b"\x80\x04}]K\x01s.",
    "adds to a number": b"\x80\x04K\x01K\x02a.",
    "half a pair": b"\x80\x04}(K\x01u.",
    "no mark": b"\x80\x04}K\x01K\x02u.",
    "two values": b"\x80\x04K\x01K\x02.",
    "nothing": b"",
    "no end": b"\x80\x04K\x01",
    "a memory that was never made": b"\x80\x04h\x05.",
    "no UTF-8": b"\x80\x04\x8c\x01\xff.",
    "protocol 0": pickle.dumps([1], 0),
    "protocol 9": b"\x80\x09K\x01.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        loads(HOSTILE[name])
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_by_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "000011.pickle.pbz2"
    path.write_bytes(bz2.compress(HOSTILE[name]))
    with pytest.raises(DataError, match=r"000011\.pickle\.pbz2.*fetch the archive again"):
        wire.read_cell(path, [""] * 12, "cifar10")


def test_a_structure_that_holds_itself_is_no_endless_loop() -> None:
    value = loads(b"\x80\x04]\x94h\x00a.")
    assert value[0] is value


def test_each_name_of_each_step_is_one_of_the_three() -> None:
    assert set(plain.NAMES.values()) == set(plain.Name)
    assert {name for _, name in plain.NAMES} == {"OrderedDict", "dtype", "scalar"}


@given(st.binary(max_size=200))
def test_random_bytes_never_raise_anything_else(data: bytes) -> None:
    for start in (b"", b"\x80\x04"):
        with suppress(DataError):
            loads(start + data)


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_refused_or_read(
    archive: Path, names: list[str], tmp_path: Path, data: st.DataObject
) -> None:
    whole = bytearray(bz2.decompress((archive / "000011.pickle.pbz2").read_bytes()))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, 4_000))] = data.draw(st.integers(0, 255))
    path = tmp_path / "000011.pickle.pbz2"
    path.write_bytes(bz2.compress(bytes(whole), 1))
    with suppress(DataError):
        wire.read_cell(path, names, "cifar10-valid")


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "000000.pickle.pbz2"
    path.write_bytes(bz2.compress(b"\0" * (wire.LARGEST + 1)))
    with pytest.raises(DataError, match="holds more than 8 MiB"):
        wire.read_cell(path, [""], "cifar10")
    path.write_bytes(bz2.compress(b"\x80\x04N" + b"0" * 1000) + b"".join([bz2.compress(b"\0" * 1_000_000)] * 9))
    with pytest.raises(DataError, match="holds more than 8 MiB"):
        wire.read_cell(path, [""], "cifar10")


@pytest.mark.parametrize("content", [b"", b"BZh9", b"no bz2 file", b"\0" * 100, bz2.compress(b"N" * 1000)[:-3]])
def test_what_cannot_be_unpacked_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "000000.pickle.pbz2"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"000000\.pickle\.pbz2 is not what NATS-Bench published"):
        wire.read_cell(path, [""], "cifar10")


def test_a_file_cut_off_anywhere_is_refused(copy: Path, names: list[str]) -> None:
    path = copy / "000011.pickle.pbz2"
    whole = path.read_bytes()
    for size in range(0, len(whole), len(whole) // 20):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="000011"):
            wire.read_cell(path, names, "cifar10")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "no NATS-Bench cell"),
        ({}, "KeyError: '12'"),
        ({"12": None}, "TypeError"),
        ({"12": {"arch_index": 10, "arch_str": "x", "all_results": {}}}, "it is of cell 10, x"),
        ({"12": {"arch_index": 11, "arch_str": "x", "all_results": []}}, "AttributeError"),
        ({"12": {"arch_index": 11, "arch_str": "x", "all_results": {"cifar10": {}}}}, "ValueError"),
        ({"12": {"arch_index": 11, "arch_str": "x", "all_results": {("cifar10", 1): {}}}}, "KeyError: 'epochs'"),
    ],
    ids=str,
)
def test_another_structure_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "000011.pickle.pbz2"
    path.write_bytes(bz2.compress(pickle.dumps(content)))
    with pytest.raises(DataError, match=message):
        wire.read_cell(path, ["x"] * 12, "cifar10")


@pytest.mark.parametrize("value", [101.0, -1.0, float("inf"), "62.5", [62.5], True])
def test_a_value_that_cannot_be_is_refused(copy: Path, names: list[str], value: Any) -> None:
    path = copy / "000011.pickle.pbz2"
    content = Trusting(io.BytesIO(bz2.decompress(path.read_bytes()))).load()
    content["12"]["all_results"]["cifar10", 111]["train_acc1es"][11] = value
    path.write_bytes(bz2.compress(pickle.dumps(content)))
    with pytest.raises(DataError, match="000011"):
        wire.read_cell(path, names, "cifar10")
    assert wire.read_cell(path, names, "cifar100")


def test_the_values_are_the_published_ones(archive: Path, names: list[str]) -> None:
    """Cell 11 by the files themselves; percent become fractions without losing a digit."""
    path = archive / "000011.pickle.pbz2"
    published = Trusting(io.BytesIO(bz2.decompress(path.read_bytes()))).load()
    for dataset, splits in wire.SPLITS.items():
        trainings = wire.read_cell(path, names, dataset)
        assert len(trainings) == sum(key[0] == dataset for hp in published for key in published[hp]["all_results"])
        for training in trainings:
            result = published[str(training.epochs)]["all_results"][dataset, training.seed]
            values = dict(zip(wire.METRICS, training.metrics, strict=True))
            last = training.epochs - 1
            expected = {"train": result["train_acc1es"][last]} | {
                split: result["eval_acc1es"][f"{name}@{last}"] for split, name in splits.items()
            }
            for split, percent in expected.items():
                assert round(values[f"{split}_accuracy"] * 100, 12) == round(percent, 12)
                losses = result["train_losses"] if split == "train" else result["eval_losses"]
                assert values[f"loss/{split}"] == losses[last if split == "train" else f"{splits[split]}@{last}"]
            assert ("validation" in splits) == (values["validation_accuracy"] == values["validation_accuracy"])
            assert values["training_seconds"] == pytest.approx(sum(result["train_times"].values()), rel=1e-12)
            assert (training.parameters, training.flops) == (round(result["params"] * 1e6), round(result["flop"] * 1e6))


def test_the_test_accuracy_of_seed_888_is_what_naslib_calls_validation(archive: Path, names: list[str]) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    rows = pq.read_table(NAS_DATA / "nb201" / "trainings.parquet", filters=[("epochs", "==", 200)]).to_pylist()
    others = {(row["index"], row["dataset"]): row["test_accuracy_run888"] for row in rows}
    for path in wire.cell_files(archive):
        for dataset, other in (("cifar10-valid", "cifar10"), ("cifar100",) * 2, ("ImageNet16-120",) * 2):
            trainings = wire.read_cell(path, names, dataset)
            [run] = [one for one in trainings if (one.epochs, one.seed) == (200, 888)]
            assert 100 * run.metrics[3] == pytest.approx(others[run.cell, other], abs=6e-3)


def test_repeats_are_the_seeds_of_a_number_of_epochs(archive: Path, names: list[str]) -> None:
    trainings = [one for path in wire.cell_files(archive) for one in wire.read_cell(path, names, "cifar10-valid")]
    repeats, seeds = wire.repeats_of(trainings)
    assert seeds == {12: [111, 777], 200: [777, 888, 999]}
    assert [seeds[one.epochs][repeat] for one, repeat in zip(trainings, repeats, strict=True)] == [
        one.seed for one in trainings
    ]


def test_a_curve_is_the_long_training_on_its_way(archive: Path, names: list[str]) -> None:
    read = wire.reader(names, "cifar10-valid", [1, 12, 200])
    at = {(one.epochs, one.seed): one for one in read(archive / "000284.pickle.pbz2")}
    ends = {(one.epochs, one.seed): one for one in wire.reader(names, "cifar10-valid")(archive / "000284.pickle.pbz2")}
    assert set(at) == {(epochs, seed) for epochs in (1, 12, 200) for seed in (777, 888, 999)}
    assert at[200, 888] == ends[200, 888]
    assert at[12, 777].metrics[1:] != ends[12, 777].metrics[1:]
    assert at[1, 777].metrics[0] < at[12, 777].metrics[0] < at[200, 777].metrics[0]


def test_unknown_data_sets_and_epochs_are_refused(names: list[str]) -> None:
    with pytest.raises(DataError, match="no data set 'cifar'; choose from cifar10-valid, cifar10"):
        wire.reader(names, "cifar")
    for epoch in (0, 201):
        with pytest.raises(DataError, match="trained for 200 epochs"):
            wire.reader(names, "cifar10", [epoch])


def test_only_the_topology_space_is_read(archive: Path, tmp_path: Path) -> None:
    assert wire.is_archive(archive)
    assert not wire.is_archive(archive / "000000.pickle.pbz2")
    assert not wire.is_archive(tmp_path)
    with pytest.raises(DataError, match="only NATS-Bench's topology space"):
        wire.strings(WIRE / "NATS-sss-v1_0-50262-simple")
    contents: list[Any] = [{}, [], {"meta_archs": 5}, {"meta_archs": [1]}, {"meta_archs": []}]
    for content in contents:
        (tmp_path / wire.META).write_bytes(bz2.compress(pickle.dumps(content)))
        with pytest.raises(DataError, match=str(tmp_path)):
            wire.strings(tmp_path)
    with pytest.raises(DataError, match="no file of a cell"):
        wire.cell_files(tmp_path)
    with pytest.raises(DataError, match="cannot read"):
        wire.strings(tmp_path / "missing")
