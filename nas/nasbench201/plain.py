"""Reads pickles that hold plain data, as a small machine of its own: nothing is imported, nothing is called.

It knows the instructions that build numbers, texts, lists, tuples, dictionaries and sets, and three names, for which it
has stand-ins of its own: ``collections.OrderedDict`` (a dict), ``numpy.dtype`` and numpy's ``scalar`` (a float or int).
Anything else is refused. Python's own `pickle` with a list of allowed names would not do: ``dtype.__setstate__`` and
``scalar`` let a file forge pointers, and one instruction can allocate gigabytes.

The instructions are those of https://github.com/python/cpython/blob/main/Lib/pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nas.errors import DataError

MOST_OBJECTS = 1 << 18
"""Containers, and remembered objects, that one pickle may have; published files have 16 thousand."""
KEY_PARTS = 8
"""The longest tuple that may be a key."""


class Name(Enum):
    """What a pickle may name."""

    ORDERED_DICT = "OrderedDict"
    DTYPE = "dtype"
    SCALAR = "scalar"


NAMES = {
    ("collections", "OrderedDict"): Name.ORDERED_DICT,
    ("numpy", "dtype"): Name.DTYPE,
    ("numpy.core.multiarray", "scalar"): Name.SCALAR,
    ("numpy._core.multiarray", "scalar"): Name.SCALAR,
}
SCALARS = {"f8": "d", "i8": "q", "f4": "f", "i4": "i"}
"""Kinds of numpy scalars, and how `struct` calls them."""


@dataclass(frozen=True)
class Kind:
    """A kind of numpy scalars: ``f8`` for example."""

    code: str


def loads(data: bytes) -> Any:
    """Returns the value of a pickle of plain data. Raises `DataError`, saying at which byte, on any other."""
    machine = _Machine(data)
    try:
        return machine.run()
    except (IndexError, struct.error):
        reason = "it ends too early or is no pickle"
    except _RefusalError as error:
        reason = str(error)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        reason = f"{type(error).__name__} in what it builds"
    raise DataError(f"{reason} (byte {machine.place:,})")


class _RefusalError(Exception):
    """An instruction or a value that plain data does not need."""


class _Machine:
    """A stack, the stacks below the marks, and what is remembered."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.containers = 0

    def run(self) -> Any:
        data, steps = self.data, STEPS
        while True:
            code = data[self.place]
            self.place += 1
            step = steps[code]
            if step is None:
                if code == STOP:
                    return self._result()
                raise _RefusalError(f"it holds instruction {code:#04x}, which plain data does not need")
            step(self)

    def _result(self) -> Any:
        if len(self.stack) != 1 or self.below:
            raise _RefusalError("it leaves more or less than one value")
        return self.stack[0]

    def take(self, size: int) -> bytes:
        start, self.place = self.place, self.place + size
        if self.place > len(self.data):
            raise IndexError
        return self.data[start : self.place]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def popped(self) -> list[Any]:
        """What lies above the last mark."""
        above, self.stack = self.stack, self.below.pop()
        return above

    def push_container(self, value: Any) -> None:
        self.containers += 1
        if self.containers > MOST_OBJECTS:
            raise _RefusalError(f"it holds more than {MOST_OBJECTS:,} containers")
        self.stack.append(value)

    def remember(self, index: int) -> None:
        if len(self.memo) >= MOST_OBJECTS:
            raise _RefusalError(f"it remembers more than {MOST_OBJECTS:,} objects")
        self.memo[index] = self.stack[-1]


def _key(value: Any) -> Any:
    """A value that may be a key. Tuples are flat: to hash nested ones can overflow the stack."""
    kind = type(value)
    if kind is str or kind is int or (kind is tuple and len(value) <= KEY_PARTS and all(map(_is_atom, value))):
        return value
    raise _RefusalError(f"it has a {kind.__name__} as a key")


def _is_atom(value: Any) -> bool:
    return type(value) in (str, int)


def _target(machine: _Machine, kind: type) -> Any:
    target = machine.stack[-1]
    if type(target) is not kind:
        raise _RefusalError(f"it adds to a {type(target).__name__} as if that were a {kind.__name__}")
    return target


def _append(machine: _Machine) -> None:
    value = machine.stack.pop()
    _target(machine, list).append(value)


def _appends(machine: _Machine) -> None:
    values = machine.popped()
    _target(machine, list).extend(values)


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _target(machine, dict)[_key(key)] = value


def _set_items(machine: _Machine) -> None:
    values = machine.popped()
    _target(machine, dict).update(zip(map(_key, values[::2]), values[1::2], strict=True))


def _add_items(machine: _Machine) -> None:
    values = machine.popped()
    _target(machine, set).update(map(_key, values))


def _tuple(size: int) -> Callable[[_Machine], None]:
    def build(machine: _Machine) -> None:
        parts = [machine.stack.pop() for _ in range(size)]
        machine.push_container(tuple(reversed(parts)))

    return build


def _name(machine: _Machine, module: Any, name: Any) -> None:
    known = NAMES.get((module, name)) if type(module) is str and type(name) is str else None
    if known is None:
        raise _RefusalError(f"it names {str(module)[:40]}.{str(name)[:40]}, which is not read")
    machine.stack.append(known)


def _global(machine: _Machine) -> None:
    words = []
    for _ in range(2):
        end = machine.data.find(b"\n", machine.place, machine.place + 100)
        if end < 0:
            raise _RefusalError("it names something without an end")
        words.append(machine.take(end - machine.place).decode())
        machine.place += 1
    _name(machine, *words)


def _stack_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    _name(machine, module, name)


def _reduce(machine: _Machine) -> None:
    arguments, name = machine.stack.pop(), machine.stack.pop()
    match name, arguments:
        case Name.ORDERED_DICT, ():
            machine.push_container({})
        case Name.DTYPE, (str(code), *_) if code in SCALARS:
            machine.push_container(Kind(code))
        case Name.SCALAR, (Kind(code), bytes(raw)):
            machine.stack.append(struct.unpack(f"<{SCALARS[code]}", raw)[0])
        case _:
            raise _RefusalError("it builds something other than a number or a dictionary")


def _build(machine: _Machine) -> None:
    """The byte order of a kind of scalars, which must be the usual one; nothing else has a state."""
    state = machine.stack.pop()
    if type(machine.stack[-1]) is not Kind or type(state) is not tuple or state[:2] != (3, "<"):
        raise _RefusalError("it sets the state of something other than a little-endian numpy type")


def _push(value: Any) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(value)


def _push_new(make: type) -> Callable[[_Machine], None]:
    return lambda machine: machine.push_container(make())


def _push_number(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.number(size))


def _push_text(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.take(machine.number(size)).decode())


def _push_bytes(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.take(machine.number(size)))


def _push_float(machine: _Machine) -> None:
    machine.stack.append(struct.unpack(">d", machine.take(8))[0])


def _push_signed(machine: _Machine) -> None:
    machine.stack.append(struct.unpack("<i", machine.take(4))[0])


def _push_long(machine: _Machine) -> None:
    size = machine.number(1)
    if size > 8:
        raise _RefusalError("it holds a number of more than 64 bits")
    machine.stack.append(int.from_bytes(machine.take(size), "little", signed=True))


def _mark(machine: _Machine) -> None:
    machine.below.append(machine.stack)
    machine.stack = []
    machine.containers += 1
    if machine.containers > MOST_OBJECTS:
        raise _RefusalError(f"it holds more than {MOST_OBJECTS:,} containers")


def _remember_at(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.remember(machine.number(size))


def _recall(size: int) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(machine.memo[machine.number(size)])


def _protocol(machine: _Machine) -> None:
    if not 3 <= machine.number(1) <= 5:
        raise _RefusalError("it is written in another protocol than 3 to 5")


def _frame(machine: _Machine) -> None:
    machine.take(8)  # how much to read at once, for readers of streams


STOP = ord(".")
STEPS: list[Callable[[_Machine], None] | None] = [None] * 256
for _code, _step in {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": _mark,
    b"N": _push(None),
    b"\x88": _push(True),
    b"\x89": _push(False),
    b"J": _push_signed,
    b"K": _push_number(1),
    b"M": _push_number(2),
    b"\x8a": _push_long,
    b"G": _push_float,
    b"\x8c": _push_text(1),
    b"X": _push_text(4),
    b"C": _push_bytes(1),
    b"]": _push_new(list),
    b"}": _push_new(dict),
    b"\x8f": _push_new(set),
    b")": _push(()),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"t": lambda machine: machine.push_container(tuple(machine.popped())),
    b"a": _append,
    b"e": _appends,
    b"s": _set_item,
    b"u": _set_items,
    b"\x90": _add_items,
    b"\x94": lambda machine: machine.remember(len(machine.memo)),
    b"q": _remember_at(1),
    b"r": _remember_at(4),
    b"h": _recall(1),
    b"j": _recall(4),
    b"c": _global,
    b"\x93": _stack_global,
    b"R": _reduce,
    b"b": _build,
}.items():
    STEPS[_code[0]] = _step
