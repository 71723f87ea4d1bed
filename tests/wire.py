"""The published file format, read and written a second time, from its description and without the product's libraries.

A TFRecord is (length: uint64, masked CRC-32C of it, data, masked CRC-32C of it), little-endian; the data is JSON,
[module_hash, epochs, adjacency, operations, base64 of a ModelMetrics message]. In ModelMetrics, field 1 is a repeated
evaluation (fields 1 to 5, doubles: epoch, training time, train, validation and test accuracy), field 2 an int32.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a training; None is a field that is absent. extra: bytes of further fields."""

    epoch: float | None = None
    time: float | None = None
    train: float | None = None
    validation: float | None = None
    test: float | None = None
    extra: bytes = b""

    @property
    def values(self) -> tuple[float | None, ...]:
        """What a table keeps of an evaluation, in the order of its columns."""
        return (self.time, self.train, self.validation, self.test)


@dataclass(frozen=True)
class Training:
    """One record. evaluations: at the start, halfway, at the end. extra: bytes of further fields of ModelMetrics."""

    module_hash: str
    epochs: int
    adjacency: str
    operations: str
    evaluations: tuple[Evaluation, ...]
    parameters: int | None
    extra: bytes = b""


def decode(data: bytes) -> Training:
    """The training of one record's data; fields that the format does not have are dropped."""
    name, epochs, adjacency, operations, encoded = json.loads(data)
    evaluations: list[Evaluation] = []
    parameters = None
    for number, value in fields(base64.decodebytes(encoded.encode())):
        if number == 1 and isinstance(value, bytes):
            known = {spot: double(part) for spot, part in fields(value) if spot <= 5}
            evaluations.append(Evaluation(*(known.get(spot) for spot in range(1, 6))))
        elif number == 2:
            parameters = value
    assert parameters is None or isinstance(parameters, int)
    return Training(name, epochs, adjacency, operations, tuple(evaluations), parameters)


def encode(training: Training) -> bytes:
    """The data of one record; the inverse of `decode`."""
    message = b"".join(field(1, _evaluation(evaluation)) for evaluation in training.evaluations)
    message += b"" if training.parameters is None else field(2, training.parameters)
    return record_data(training, base64.b64encode(message + training.extra).decode())


def record_data(training: Training, metrics: object) -> bytes:
    """The data of one record whose metrics are already text, or anything else that JSON can hold."""
    return json.dumps(
        [training.module_hash, training.epochs, training.adjacency, training.operations, metrics]
    ).encode()


def tfrecord(trainings: Iterable[Training]) -> bytes:
    """A TFRecord file of trainings."""
    return b"".join(framed(encode(training)) for training in trainings)


def framed(data: bytes) -> bytes:
    """One record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + masked_crc(length) + data + masked_crc(data)


def records(raw: bytes) -> Iterator[bytes]:
    """The data of every record of a TFRecord file, checksums checked."""
    start = 0
    while start < len(raw):
        (length,) = struct.unpack_from("<Q", raw, start)
        end = start + 12 + length
        data = raw[start + 12 : end]
        assert raw[start + 8 : start + 12] == masked_crc(raw[start : start + 8])
        assert raw[end : end + 4] == masked_crc(data)
        yield data
        start = end + 4


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of every field of a protobuf message: an int for varints, else the field's bytes."""
    at = 0
    while at < len(message):
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        length, at = _read_varint(message, at) if kind == BYTES else ({DOUBLE: 8, FLOAT: 4}[kind], at)
        yield number, message[at : at + length]
        at += length


def field(number: int, value: float | bytes) -> bytes:
    """One field of a protobuf message: a varint, a double, or length-delimited bytes, by the value's type."""
    match value:
        case bytes():
            return varint(number << 3 | BYTES) + varint(len(value)) + value
        case int():
            return varint(number << 3 | VARINT) + varint(value % (1 << 64))
        case _:
            return varint(number << 3 | DOUBLE) + struct.pack("<d", value)


def varint(value: int) -> bytes:
    """A non-negative number, seven bits a byte, least significant first."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def double(value: int | bytes) -> float:
    """The number in a field of eight bytes."""
    assert isinstance(value, bytes)
    return float(struct.unpack("<d", value)[0])


def masked_crc(data: bytes) -> bytes:
    """CRC-32C (Castagnoli), rotated and offset as TensorFlow does it, four bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_OF_BYTE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _evaluation(evaluation: Evaluation) -> bytes:
    numbers = (evaluation.epoch, *evaluation.values)
    return b"".join(field(n, float(v)) for n, v in enumerate(numbers, 1) if v is not None) + evaluation.extra


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _crc_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC_OF_BYTE = [_crc_of_byte(byte) for byte in range(256)]
