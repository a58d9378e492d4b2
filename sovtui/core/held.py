"""What a record keeps by reference, each object counted once however many states share it, and about how many bytes that is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from functools import cache
from operator import attrgetter

from sovtui.core.packing import Packed

_OBJECT_BYTES, _SLOT_BYTES = 56, 8
_DEPTH = 3


class Held:
    """Objects by identity. Whoever holds one keeps it alive until it is released."""

    def __init__(self) -> None:
        self._known: dict[int, list[int]] = {}
        """How often it is held, and its bytes."""
        self.bytes = 0

    def hold(self, parts: Iterable[object]) -> None:
        """Once more. What is in a tuple is counted by itself: two lists of alerts share nearly all."""
        for part in parts:
            if part is None or part == ():
                continue
            known = self._known.get(id(part))
            if known is not None:
                known[0] += 1
                continue
            size = _size(part)
            self._known[id(part)] = [1, size]
            self.bytes += size
            if isinstance(part, tuple):
                self.hold(part)

    def release(self, parts: Iterable[object]) -> None:
        """Once less."""
        for part in parts:
            known = self._known.get(id(part))
            if known is None:
                continue
            known[0] -= 1
            if known[0]:
                continue
            del self._known[id(part)]
            self.bytes -= known[1]
            if isinstance(part, tuple):
                self.release(part)


def _size(part: object) -> int:
    if isinstance(part, Packed):
        return len(part.body) + _OBJECT_BYTES
    if isinstance(part, tuple):
        return _OBJECT_BYTES + _SLOT_BYTES * len(part)
    return _deep(part, _DEPTH)


def _deep(part: object, depth: int) -> int:
    """A value and what is in it, about."""
    if isinstance(part, str):
        return _OBJECT_BYTES + (len(part) if part.isascii() else 4 * len(part))
    if isinstance(part, tuple):
        inner: tuple[object, ...] = part
    elif is_dataclass(part):
        inner = _values(part.__class__)(part)
    else:
        return _OBJECT_BYTES
    size = _OBJECT_BYTES + _SLOT_BYTES * len(inner)
    return size + sum([_deep(one, depth - 1) for one in inner]) if depth else size


@cache
def _values(kind: type) -> Callable[[object], tuple[object, ...]]:
    """What reads all fields of a dataclass."""
    names = [field.name for field in fields(kind)]
    if len(names) > 1:
        return attrgetter(*names)
    return lambda one: tuple(getattr(one, name) for name in names)
