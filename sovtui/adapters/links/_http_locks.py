"""What httpcore needs of anyio, from asyncio: anyio is 1.5 MiB, and each of its locks takes another turn of the event loop.

Whoever uses httpx with a network of its own, not through a link, still gets the real one: see `sovtui.adapters`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

from httpcore import _synchronization


class _FailAfter:
    """`asyncio.timeout` for a plain `with`: neither of its ends waits for anything."""

    def __init__(self, seconds: float | None) -> None:
        self._timeout = asyncio.timeout(seconds)

    def __enter__(self) -> None:
        _run(self._timeout.__aenter__())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _run(self._timeout.__aexit__(kind, error, trace))


def _run(coroutine: Coroutine[Any, Any, Any]) -> None:
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
        coroutine.close()  # it did wait
        raise RuntimeError("asyncio.timeout waits")


def _cancel_scope(*, shield: bool) -> contextlib.AbstractContextManager[None]:
    """No shield: anyio's is one against its own scopes only, and here tasks are cancelled by asyncio."""
    return contextlib.nullcontext()


class Waits:
    """As much of the module `anyio` as `httpcore._synchronization` uses for HTTP/1.1."""

    Lock = asyncio.Lock
    Event = asyncio.Event
    CancelScope = staticmethod(_cancel_scope)
    fail_after = _FailAfter


def take_over() -> None:
    """From now on httpcore waits by asyncio alone."""
    if importlib.util.find_spec("sniffio") is None:
        sys.modules["sniffio"] = None  # type: ignore[assignment]  # it is searched for on the disk at every request otherwise
    vars(_synchronization)["anyio"] = Waits
