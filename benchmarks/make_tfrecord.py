"""Writes a TFRecord as large as NAS-Bench-101's 108-epoch file, to measure imports with: never for results.

    python benchmarks/make_tfrecord.py OUT.tfrecord [--cells N]

423,624 cells x 3 repeats in the published wire format and order, about 510 MB. Real, from `NB101_DATA`: graphs, hashes,
parameter counts, final test accuracies as test108.parquet has them, and training times (for 30,001 cells measured, for
the others its regression). Synthetic, because no source at hand has them: the evaluation before training (0.1), final
training accuracies (1.0), final validation accuracies (test + 0.003), and the whole halfway evaluation (0.8 of each
final accuracy, half the time).
"""

from __future__ import annotations

import argparse
import json
import os
import struct
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import numpy as np
import pyarrow.parquet as pq

DATA = Path(os.environ.get("NB101_DATA", Path(__file__).parents[2] / "shared" / "data" / "nb101"))
EPOCHS, REPEATS = 108, 3
EVALUATION = struct.Struct("<BB" + "Bd" * 5)
EVALUATION_TAG, DOUBLE_TAGS, PARAMETERS_TAG, TOTAL_TIME_TAG = 0x0A, (0x09, 0x11, 0x19, 0x21, 0x29), 0x10, 0x19


def write(path: Path, cells: int | None = None) -> None:
    """Writes the records of the first cells by hash, or of all."""
    with path.open("wb") as file:
        for data in _records(cells):
            length = struct.pack("<Q", len(data))
            file.write(b"".join((length, _masked_crc(length), data, _masked_crc(data))))


def _records(cells: int | None) -> Iterator[bytes]:
    names = pq.read_table(DATA / "hashes.parquet", columns=["module_hash", "adjacency", "operations"])
    trainings = pq.read_table(DATA / "test108.parquet")
    names = names.slice(0, cells)
    rows = REPEATS * len(names)
    # Both files are in the published order, ascending by hash.
    assert trainings["adjacency"].slice(0, rows).to_pylist()[::REPEATS] == names["adjacency"].to_pylist()
    assert np.array_equal(trainings["repeat"].to_numpy()[:rows], np.tile(np.arange(REPEATS), len(names)))
    heads = zip(*(names[name].to_pylist() for name in names.column_names), strict=True)
    values = zip(
        *(
            trainings[name].to_numpy()[:rows].tolist()
            for name in ("trainable_parameters", "test_accuracy", "training_time")
        ),
        strict=True,
    )
    for module_hash, adjacency, operations in heads:
        for _ in range(REPEATS):
            metrics = b64encode(_metrics(*next(values))).decode()
            yield json.dumps([module_hash.hex(), EPOCHS, adjacency, operations, metrics]).encode()


def _metrics(parameters: int, test: float, seconds: float) -> bytes:
    """A ModelMetrics message."""
    validation = min(test + 0.003, 1.0)
    return b"".join(
        (
            _evaluation(0, 0, 0.1, 0.1, 0.1),
            _evaluation(EPOCHS / 2, seconds / 2, 0.8, 0.8 * validation, 0.8 * test),
            _evaluation(EPOCHS, seconds, 1.0, validation, test),
            bytes([PARAMETERS_TAG, *_varint(parameters), TOTAL_TIME_TAG]),
            struct.pack("<d", seconds),
        )
    )


def _evaluation(*numbers: float) -> bytes:
    """An EvaluationData message as a field: epoch, training time, train, validation and test accuracy."""
    tagged = (part for tag, number in zip(DOUBLE_TAGS, numbers, strict=True) for part in (tag, number))
    return EVALUATION.pack(EVALUATION_TAG, EVALUATION.size - 2, *tagged)


def _varint(value: int) -> list[int]:
    digits = []
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return [*digits, value]


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=int, help="only the first N cells by hash")
    arguments = parser.parse_args()
    write(arguments.out, arguments.cells)
