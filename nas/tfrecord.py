"""Reads the file that NAS-Bench-101 was published as.

A TFRecord file is a sequence of (length: uint64, masked CRC-32C of the length, data, masked CRC-32C of the data),
little-endian. A record's data is JSON: [module_hash, epochs, adjacency, operations, base64 of ModelMetrics].
"""

from __future__ import annotations

import mmap
from binascii import Error as Base64Error
from binascii import a2b_base64
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from nas.catalogue import catalogue
from nas.cell import frame_of, label_code, labels_of
from nas.errors import DataError, InvalidCellError
from nas.network import catalogue_costs
from nas.records import Progress, Records, concatenate, workers

CHUNK = 16_384
HEADER, FRAMING = 12, 16
ABSENT = -1


def read(path: Path, progress: Progress) -> Records:
    """All records of a file, CRCs checked, on all cores. Raises `DataError` naming the first record that is wrong."""
    starts = _scan(path)
    records = len(starts) - 1
    if not records:
        raise DataError(f"{path} is empty; give the published TFRecord file")
    chunks = [(path, first, starts[first : first + CHUNK + 1]) for first in range(0, records, CHUNK)]
    parts: list[Records] = []
    with workers(len(chunks) > 1) as run:
        for part in run(_read_chunk, chunks):
            parts.append(part)  # type: ignore[arg-type]  # `workers` is typed for its other user
            progress("reading records", min(CHUNK * len(parts), records), records)
    return concatenate(parts)


def _scan(path: Path) -> list[int]:
    """Where each record starts, and the end of the file. Raises `DataError` where a length is damaged."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if not size:
            return [0]
        starts, start = [0], 0
        known: dict[bytes, int] = {}  # a million records have a few dozen lengths
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            while start < size:
                header = data[start : start + HEADER]
                if header not in known:
                    known[header] = _size(path, len(starts) - 1, start, header)
                start += known[header]
                starts.append(start)
    if start > size:
        raise _cut_off(path, len(starts) - 2, size)
    return starts


def _size(path: Path, number: int, start: int, header: bytes) -> int:
    """The size of a record, framing included, from its first bytes."""
    if len(header) < HEADER:
        raise _cut_off(path, number, start + len(header))
    _check(path, number, start, "length", header[:8], header[8:])
    return FRAMING + int.from_bytes(header[:8], "little")


def _cut_off(path: Path, number: int, size: int) -> DataError:
    return DataError(f"{path}: record {number} is cut off at byte {size}; fetch the file again")


def _check(path: Path, number: int, start: int, part: str, data: bytes, claimed: bytes) -> None:
    crc = google_crc32c.value(data)
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
    if masked != int.from_bytes(claimed, "little"):
        raise DataError(
            f"{path}: record {number} (byte {start}): its {part} does not match its checksum; the file is damaged or "
            "no TFRecord, fetch it again"
        )


def _read_chunk(chunk: tuple[Path, int, list[int]]) -> Records:
    path, first, starts = chunk
    with path.open("rb") as file:
        file.seek(starts[0])
        block = file.read(starts[-1] - starts[0])
    rows, hashes = [], []
    for i, (start, end) in enumerate(pairwise(starts)):
        record = block[start - starts[0] : end - starts[0]]
        data = record[HEADER:-4]
        _check(path, first + i, start, "data", data, record[-4:])
        try:
            module_hash, row = _parse(data)
        except (ValueError, TypeError, DecodeError, Base64Error) as error:
            raise DataError(f"{path}: record {first + i} (byte {start}): {error}; is it NAS-Bench-101's?") from None
        hashes.append(module_hash)
        rows.append(row)
    numbers = np.array(rows, np.float64)
    cells = numbers[:, 0].astype(np.int32)
    parameters = numbers[:, 2].astype(np.int32)
    absent = parameters == ABSENT
    if absent.any():
        parameters[absent] = catalogue_costs()[cells[absent], 0]
    return Records(
        cells,
        numbers[:, 1].astype(np.int32),
        numbers[:, 3:],
        parameters,
        np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16),
        None,
        "record",
    )


def _parse(data: bytes) -> tuple[bytes, tuple[float, ...]]:
    """module_hash, and (cell number, epochs, parameters, eight metrics) of a record."""
    value = orjson.loads(data)
    match value:
        case [str() as name, int() as epochs, str() as adjacency, str() as operations, str() as encoded]:
            pass
        case _:
            raise ValueError("expected [module_hash, epochs, adjacency, operations, metrics]")
    module_hash = bytes.fromhex(name)
    if len(module_hash) != 16 or not 0 < epochs < 1 << 31:
        raise ValueError(f"expected an MD5 and positive epochs, got {name!r} and {epochs}")
    cell = _cell(adjacency, operations)
    metrics = _model_metrics().FromString(a2b_base64(encoded))
    evaluations = metrics.evaluation_data
    if len(evaluations) < 3:
        raise ValueError(f"expected evaluations at the start, halfway and at the end, got {len(evaluations)}")
    halfway, final = evaluations[1], evaluations[2]
    return module_hash, (
        cell,
        epochs,
        metrics.trainable_parameters,
        halfway.training_time,
        halfway.train_accuracy,
        halfway.validation_accuracy,
        halfway.test_accuracy,
        final.training_time,
        final.train_accuracy,
        final.validation_accuracy,
        final.test_accuracy,
    )


@lru_cache(maxsize=64)  # a cell's trainings are neighbours in the file
def _cell(adjacency: str, operations: str) -> int:
    """The catalogue number of a cell. Raises `InvalidCellError`."""
    frame, size = frame_of(adjacency)
    labels = labels_of(operations)
    if size != len(labels) + 2:
        raise InvalidCellError(f"the matrix has {size} vertices but there are {len(labels) + 2} operations")
    cell = catalogue().number(frame, label_code(labels))
    if cell < 0:
        raise InvalidCellError("the graph is not connected or has more than nine edges")
    return cell


@cache
def _model_metrics() -> Any:
    """The message class of ``model_metrics.proto``, with NaN as the default of every metric: absent is not zero."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="archsweep/model_metrics.proto", package="archsweep", syntax="proto2"
    )
    evaluation = file.message_type.add(name="EvaluationData")
    names = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy")
    for number, name in enumerate(names, 1):
        evaluation.field.add(
            name=name, number=number, type=field.TYPE_DOUBLE, label=field.LABEL_OPTIONAL, default_value="nan"
        )
    metrics = file.message_type.add(name="ModelMetrics")
    metrics.field.add(
        name="evaluation_data",
        number=1,
        type=field.TYPE_MESSAGE,
        label=field.LABEL_REPEATED,
        type_name=".archsweep.EvaluationData",
    )
    metrics.field.add(
        name="trainable_parameters",
        number=2,
        type=field.TYPE_INT32,
        label=field.LABEL_OPTIONAL,
        default_value=str(ABSENT),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("archsweep.ModelMetrics"))
