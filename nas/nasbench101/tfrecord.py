"""Reads the file that NAS-Bench-101 was published as.

A TFRecord file is a sequence of (length: uint64, masked CRC-32C of the length, data, masked CRC-32C of the data),
little-endian. A record's data is JSON: [module_hash, epochs, adjacency, operations, base64 of ModelMetrics].
"""

from __future__ import annotations

import mmap
from binascii import a2b_base64
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import orjson
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from nas.errors import DataError, InvalidCellError
from nas.nasbench101.catalogue import catalogue
from nas.nasbench101.cell import frame_of, label_code, labels_of, sized
from nas.nasbench101.network import catalogue_costs
from nas.table.records import Progress, Records, concatenate, workers
from nas.table.table import METRICS

CHUNK = 16_384
PARALLEL = 1 << 22
"""Bytes above which a file is read by several processes, which take half a second to start."""
HEADER, FRAMING = 12, 16
ABSENT = -1
EVALUATION_FIELDS = ("current_epoch", "training_time", "train_accuracy", "validation_accuracy", "test_accuracy")


def read(path: Path, progress: Progress) -> Records:
    """All records of a file, CRCs checked, on all cores. Raises `DataError` naming a record that is wrong."""
    size = path.stat().st_size
    if not size:
        raise DataError(f"{path} is empty; give the published TFRecord file")
    parts: list[Records] = []
    ends: list[int] = []
    chunks = _chunks(path, size, ends)
    with workers(size > PARALLEL) as run:
        for part in run(_read_chunk, chunks):
            parts.append(part)  # type: ignore[arg-type]  # `workers` is typed for its other user
            progress("reading bytes", ends[len(parts) - 1], size)
    return concatenate(parts)


def _chunks(path: Path, size: int, ends: list[int]) -> Iterator[tuple[Path, int, list[int]]]:
    """(path, number of the first record, where each record starts and the last one ends), in the file's order.

    Yields while it reads, so that workers begin early; appends to ``ends`` where each chunk ends. Raises `DataError`
    where a length is damaged.
    """
    first, starts = 0, [0]
    known: dict[bytes, int] = {}  # a million records have a few dozen lengths
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while starts[-1] < size:
            start = starts[-1]
            header = data[start : start + HEADER]
            if header not in known:
                known[header] = _size(path, first + len(starts) - 1, start, header)
            starts.append(start + known[header])
            if len(starts) > CHUNK and starts[-1] <= size:
                ends.append(starts[-1])
                yield path, first, starts
                first, starts = first + CHUNK, starts[-1:]
    if starts[-1] > size:
        raise _cut_off(path, first + len(starts) - 2, size)
    if len(starts) > 1:
        ends.append(size)
        yield path, first, starts


def _size(path: Path, number: int, start: int, header: bytes) -> int:
    """The size of a record, framing included, from its first bytes."""
    if len(header) < HEADER:
        raise _cut_off(path, number, start + len(header))
    if google_crc32c.value(header[:8]) != _checksums(header, np.array([8]))[0]:
        raise _damaged(path, number, start, "length")
    return FRAMING + int.from_bytes(header[:8], "little")


def _cut_off(path: Path, number: int, size: int) -> DataError:
    return DataError(f"{path}: record {number} is cut off at byte {size}; fetch the file again")


def _damaged(path: Path, number: int, start: int, part: str) -> DataError:
    return DataError(
        f"{path}: record {number} (byte {start}): its {part} does not match its checksum; the file is damaged or no "
        "TFRecord, fetch it again"
    )


def _checksums(block: bytes, places: NDArray[np.integer[Any]]) -> list[int]:
    """The CRC-32Cs that stand, masked as TensorFlow does it, at these places of a block of bytes."""
    four = np.frombuffer(block, np.uint8)[places[:, None] + np.arange(4)]
    rotated = four.view("<u4").ravel() - np.uint32(0xA282EAD8)  # modulo 2**32
    checksums: list[int] = (rotated << 15 | rotated >> 17).tolist()
    return checksums


def _read_chunk(chunk: tuple[Path, int, list[int]]) -> Records:
    path, first, starts = chunk
    with path.open("rb") as file:
        file.seek(starts[0])
        block = file.read(starts[-1] - starts[0])
    checksums = _checksums(block, np.array(starts[1:]) - starts[0] - 4)
    cells, epochs, hashes, messages = [], [], [], []
    number = first
    try:
        for number, (start, end) in enumerate(pairwise(starts), first):
            data = block[start - starts[0] + HEADER : end - starts[0] - 4]
            if google_crc32c.value(data) != checksums[number - first]:
                raise _damaged(path, number, start, "data")
            cell, budget, module_hash, message = _parse(data)
            cells.append(cell)
            epochs.append(budget)
            hashes.append(module_hash)
            messages.append(message)
        metrics = np.empty((len(cells), len(METRICS)))
        parameters = np.empty(len(cells), np.int32)
        for i in _read_usual(messages, metrics, parameters):
            number = first + int(i)
            metrics[i], parameters[i] = _read_message(messages[i])
    except (ValueError, TypeError, DecodeError) as error:
        where = f"record {number} (byte {starts[number - first]})"
        raise DataError(f"{path}: {where}: {error}; is it NAS-Bench-101's?") from None
    numbers = np.array(cells, np.int32)
    absent = parameters == ABSENT
    if absent.any():
        parameters[absent] = catalogue_costs()[numbers[absent], 0]
    names = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 16)
    return Records(numbers, np.array(epochs, np.int32), metrics, parameters, names, None, "record")


def _parse(data: bytes) -> tuple[int, int, bytes, bytes]:
    """Cell number, epochs, module_hash and ModelMetrics message of a record."""
    value = orjson.loads(data)
    if type(value) is not list or len(value) != 5 or type(value[1]) is not int:
        raise ValueError("expected [module_hash, epochs, adjacency, operations, metrics]")
    name, epochs, adjacency, operations, encoded = value
    if type(adjacency) is not str or type(operations) is not str:
        raise ValueError("expected adjacency and operations as texts")
    module_hash = bytes.fromhex(name)
    if len(module_hash) != 16 or not 0 < epochs < 1 << 31:
        raise ValueError(f"expected an MD5 and positive epochs, got {name!r} and {epochs}")
    return _cell(adjacency, operations), epochs, module_hash, a2b_base64(encoded)


def _read_usual(messages: list[bytes], metrics: NDArray[np.float64], parameters: NDArray[np.int32]) -> NDArray[np.intp]:
    """Reads at once all messages that are laid out as the published ones are; returns the places of the others.

    That is three evaluations of five doubles, a parameter count of three or four bytes, and the total time.
    """
    sizes = np.array([len(message) for message in messages])
    usual = np.zeros(len(messages), bool)
    for size in (COUNT + 3 + TIME_SIZE, COUNT + 4 + TIME_SIZE):
        places = np.flatnonzero(sizes == size)
        block = np.frombuffer(b"".join([messages[i] for i in places]), np.uint8).reshape(-1, size)
        digits = block[:, COUNT:-TIME_SIZE]
        fits = (block[:, [*TAG_PLACES, size - TIME_SIZE]] == TAGS).all(axis=1)
        fits &= (digits[:, :-1] > 0x7F).all(axis=1) & (digits[:, -1] <= 0x7F)
        places, block, digits = places[fits], block[fits], digits[fits]
        usual[places] = True
        values = block[:, EVALUATION_SIZE : 3 * EVALUATION_SIZE].reshape(-1, EVALUATION_SIZE)[:, -4 * TIME_SIZE :]
        doubles = np.ascontiguousarray(values.reshape(-1, TIME_SIZE)[:, 1:]).view("<f8")
        metrics[places] = doubles.reshape(-1, len(METRICS))
        parameters[places] = (digits & 0x7F).astype(np.int32) @ (1 << 7 * np.arange(digits.shape[1], dtype=np.int32))
    return np.flatnonzero(~usual)


EVALUATION_SIZE, TIME_SIZE = 47, 9
COUNT = 3 * EVALUATION_SIZE + 1
TAG_PLACES = [start * EVALUATION_SIZE + place for start in range(3) for place in (0, 1, 2, 11, 20, 29, 38)] + [
    COUNT - 1
]
TAGS = np.array([0x0A, EVALUATION_SIZE - 2, 0x09, 0x11, 0x19, 0x21, 0x29] * 3 + [0x10, 0x19], np.uint8)
"""Bytes that tell the fields of a usual message: the parameter count starts at COUNT, the total time at the end."""


def _read_message(message: bytes) -> tuple[tuple[float, ...], int]:
    """The eight metrics and the parameter count of any message."""
    parsed = _model_metrics().FromString(message)
    evaluations = parsed.evaluation_data
    if len(evaluations) < 3:
        raise ValueError(f"expected evaluations at the start, halfway and at the end, got {len(evaluations)}")
    values = tuple(
        getattr(evaluation, name) for evaluation in (evaluations[1], evaluations[2]) for name in EVALUATION_FIELDS[1:]
    )
    return values, parsed.trainable_parameters


@lru_cache(maxsize=64)  # a cell's trainings are neighbours in the file
def _cell(adjacency: str, operations: str) -> int:
    """The catalogue number of a cell. Raises `InvalidCellError`."""
    frame, size = frame_of(adjacency)
    cell = catalogue().number(frame, label_code(sized(size, labels_of(operations))))
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
    for number, name in enumerate(EVALUATION_FIELDS, 1):
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
