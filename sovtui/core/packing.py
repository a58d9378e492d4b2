"""Packs frozen values of this package into few bytes, each like the one before it, and gives them back. For this process alone.

What is told once a second differs little from the second before: each is compressed with an earlier one as the dictionary.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import zlib
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sovtui.core import model, reading, state

ALIKE = 60
"""So many are packed by one dictionary before the next one takes its place."""
LEVEL, NOTES = 2, 4
"""zlib's level and `memLevel`: a fifth less than with its usual ones at level 1, in no more time and half of the working memory."""
WINDOW_BYTES = 32768
"""More of a dictionary than that zlib does not look at."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One value. `key`: the dictionary, compressed by itself and shared; empty: none was used."""

    body: bytes
    key: bytes


class Packer:
    """Packs the values of one series, each of which is like the one before it."""

    def __init__(self) -> None:
        self._raw = self._key = b""
        self._left = 0

    def pack(self, value: object) -> Packed:
        raw = _dumps(value)
        if self._left:
            self._left -= 1
        else:
            self._left = ALIKE
            self._raw = raw[:WINDOW_BYTES]
            self._key = zlib.compress(self._raw, 1)
        packing = zlib.compressobj(LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, NOTES, zdict=self._raw)
        return Packed(packing.compress(raw) + packing.flush(), self._key)


def unpack(packed: Packed) -> Any:
    """The value again: equal, not the same."""
    unpacking = zlib.decompressobj(zdict=zlib.decompress(packed.key))
    return pickle.loads(unpacking.decompress(packed.body) + unpacking.flush())  # noqa: S301 - bytes of this process alone


def _dumps(value: object) -> bytes:
    found = io.BytesIO()
    _Pickler(found, pickle.HIGHEST_PROTOCOL).dump(value)
    return found.getvalue()


def _taker(kind: type) -> Callable[[Any], Any]:
    names = [field.name for field in fields(kind)]
    take = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return lambda value: (kind, take(value))


@lru_cache(maxsize=1)
def _table() -> dict[type, Callable[[Any], Any]]:
    """How our own values are taken apart: by their fields in C, twenty times faster than dataclasses do it for frozen ones."""
    kinds = {kind for module in (model, reading, state) for kind in vars(module).values() if isinstance(kind, type)}
    return {**copyreg.dispatch_table, **{kind: _taker(kind) for kind in kinds if is_dataclass(kind)}}


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.dispatch_table = _table()
