"""Images from files: whole, missing, damaged, dangerous."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest

from nas.errors import ArchsweepError, DataError
from workers import datasets
from workers.datasets import CIFAR_ARCHIVE, CIFAR_FILES, CIFAR_FOLDER, DataSpec, load, pooled
from workers.recipe import FULL, PRESETS, QUICK, SHAPES, preset

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NAMES = {"train": 60_000, "t10k": 10_000}


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of Fashion-MNIST's form: the real ones where they are installed, else noise."""
    if DEBIAN.is_dir():
        return DEBIAN
    folder = tmp_path_factory.mktemp("fashion")
    rng = np.random.default_rng(0)
    for prefix, count in NAMES.items():
        images = rng.integers(0, 256, count * 784, np.uint8)
        sizes = np.array([count, 28, 28], ">u4").tobytes()
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + sizes + images.tobytes())
        labels = rng.integers(0, 10, count, np.uint8).tobytes()
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + sizes[:4] + labels)
    return folder


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of CIFAR-10's binary form, unpacked; image n of every file is all n modulo 251."""
    folder = tmp_path_factory.mktemp("cifar")
    records = np.repeat(np.arange(10_000) % 251, 3_073).reshape(-1, 3_073).astype(np.uint8)
    records[:, 0] = np.arange(10_000) % 10
    for name in (*CIFAR_FILES[0], *CIFAR_FILES[1]):
        (folder / name).write_bytes(records.tobytes())
    return folder


def test_digits_are_there_and_their_parts_do_not_overlap() -> None:
    data = load(FULL["digits"])
    parts = (data.train, data.validation, data.test)
    assert [len(part) for part in parts] == [1_000, 398, 399]
    assert data.train.images.shape[1:] == (1, 8, 8)
    for part in parts:
        assert np.bincount(part.labels, minlength=10).min() > 25


def test_fashion_mnist_is_read_pooled_and_split(fashion: Path) -> None:
    data = load(DataSpec("fashion-mnist", 100, 50, 30, pool=2), fashion)
    whole = load(DataSpec("fashion-mnist", 100, 50, 30), fashion)
    assert data.train.images.shape == (100, 1, 14, 14)
    assert whole.train.images[7, 0, 2:4, 4:6].mean() == pytest.approx(data.train.images[7, 0, 1, 2], abs=0.5)
    last = load(DataSpec("fashion-mnist", 59_950, 50, 1), fashion)
    assert (last.validation.images == whole.validation.images).all()


def test_cifar10_is_read_unpacked_or_from_its_archive(cifar: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / CIFAR_ARCHIVE, "w:gz", compresslevel=1) as tar:
        tar.add(cifar, CIFAR_FOLDER)
    for folder in (cifar, tmp_path):
        data = load(QUICK["cifar-10"], folder)
        assert data.train.images.shape == (5_000, 3, 16, 16)
        assert (data.train.images[260] == 9).all()
        assert (data.validation.labels[-3:] == [7, 8, 9]).all()


def test_missing_files_say_where_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHSWEEP_DATA", str(tmp_path))
    with pytest.raises(DataError, match="install the Debian package dataset-fashion-mnist"):
        load(QUICK["fashion-mnist"], tmp_path)
    with pytest.raises(DataError, match=f"no CIFAR-10 in {tmp_path}/cifar-10; get cifar-10-binary.tar.gz"):
        load(QUICK["cifar-10"])


def test_pickles_are_refused_with_a_word_on_what_to_get_instead(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(DataError, match="pickles, which are unsafe to read; get cifar-10-binary"):
        load(QUICK["cifar-10"], tmp_path)


@pytest.mark.parametrize("damage", ["cut", "magic", "size", "gzip", "label"])
def test_damaged_idx_files_are_named(fashion: Path, tmp_path: Path, damage: str) -> None:
    prefix = "train-labels-idx1-ubyte"
    for path in fashion.iterdir():
        if not path.name.startswith(prefix):
            (tmp_path / path.name).symlink_to(path)
    raw = next(fashion.glob(f"{prefix}*"))
    whole = gzip.decompress(raw.read_bytes()) if raw.suffix == ".gz" else raw.read_bytes()
    bad = {
        "cut": whole[:-1],
        "magic": b"\1" + whole[1:],
        "size": whole[:7] + b"\0" + whole[8:],
        "gzip": gzip.compress(whole)[:-9],
        "label": whole[:-1] + b"\x0a",
    }[damage]
    path = tmp_path / (prefix + (".gz" if damage == "gzip" else ""))
    path.write_bytes(bad)
    with pytest.raises(DataError, match=f"{path} is damaged.*dataset-fashion-mnist"):
        load(QUICK["fashion-mnist"], tmp_path)


@pytest.mark.parametrize("damage", ["cut", "missing", "label", "archive"])
def test_damaged_cifar_files_are_named(cifar: Path, tmp_path: Path, damage: str) -> None:
    name = "data_batch_3.bin"
    if damage == "archive":
        (tmp_path / CIFAR_ARCHIVE).write_bytes(gzip.compress(b"no tar")[:-4])
        name = CIFAR_ARCHIVE
    else:
        for path in cifar.iterdir():
            (tmp_path / path.name).symlink_to(path)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        if damage != "missing":
            (tmp_path / name).write_bytes(whole[:-1] if damage == "cut" else b"\x0a" + whole[1:])
    with pytest.raises(DataError, match=f"{name}.*get cifar-10-binary"):
        load(QUICK["cifar-10"], tmp_path)


def test_an_archive_of_another_compression_or_of_links_is_damaged(tmp_path: Path) -> None:
    archive = tmp_path / CIFAR_ARCHIVE
    archive.write_bytes(lzma.compress(b"x" * 10_000)[:-40])
    with pytest.raises(DataError, match=r"is damaged.*get cifar-10-binary"):
        load(QUICK["cifar-10"], tmp_path)
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo(f"{CIFAR_FOLDER}/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "data_batch_1.bin"
        tar.addfile(link)
    with pytest.raises(DataError, match=r"data_batch_1\.bin is damaged.*get cifar-10-binary"):
        load(QUICK["cifar-10"], tmp_path)


def test_an_archive_without_a_file_names_it(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / CIFAR_ARCHIVE, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo(f"{CIFAR_FOLDER}/other"), io.BytesIO())
    with pytest.raises(DataError, match=r"cannot read data_batch_1\.bin"):
        load(QUICK["cifar-10"], tmp_path)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (DataSpec("mnist", 1, 1, 1), "unknown data set 'mnist'; choose from digits"),
        (DataSpec("digits", 1_390, 9, 1), "1,398 images for training and validation; 1,399 were asked for"),
        (DataSpec("digits", 1, 1, 400), "399 images for test; 400"),
        (DataSpec("digits", 1, 1, 1, pool=3), "side 8 cannot be pooled by 3"),
    ],
)
def test_what_a_data_set_cannot_give_is_refused(spec: DataSpec, message: str) -> None:
    with pytest.raises(ArchsweepError, match=message):
        load(spec)


def test_every_preset_fits_its_images() -> None:
    assert set(SHAPES) == set(datasets.READERS)
    for name in PRESETS:
        for dataset in (None, *SHAPES):
            setting = preset(name, dataset)
            assert setting.skeleton.image_size * setting.data.pool == SHAPES[setting.data.dataset][1]
    for arguments in (("fast",), ("cpu", "mnist")):
        with pytest.raises(ArchsweepError, match="unknown"):
            preset(*arguments)


def test_pooling_averages() -> None:
    image = np.array([[0, 2, 5, 5], [4, 6, 5, 6], [0, 0, 255, 255], [0, 0, 255, 255]], np.uint8)
    assert pooled(image[None, None], 2).tolist() == [[[[3, 5], [0, 255]]]]
    assert pooled(image[None, None], 1).tolist() == [[image.tolist()]]
