"""A warm start: the on-box part of `start`, loaded and waiting, so that a key press costs half a round trip instead of three.

It holds one session of the link and does nothing until it is given a request; closing it does nothing either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from sovtui.ports.errors import PortError
from sovtui.ports.link import LineStream, Link, Patience
from sovtui.runtime import box, bundle

REST_SECONDS = 2.0
"""Pause before the next one is made ready, so that what was just started has the link for itself."""


class Standby:
    """One per host. `keep` is a task that lives as long as the link; `ask` uses up what it holds."""

    def __init__(self) -> None:
        self._stream: LineStream | None = None
        self._used = asyncio.Event()

    async def keep(self, link: Link) -> None:
        """Have one ready at all times, until cancelled. Where that is not possible nothing is lost: `ask` says None."""
        argv, head = await asyncio.to_thread(bundle.opening, "start", box.python_for(link))
        while True:
            try:
                async with link.stream(argv, stdin=head, patience=Patience.STANDS_BY) as stream:
                    self._used.clear()
                    self._stream = stream
                    await self._used.wait()
                    await asyncio.sleep(REST_SECONDS)
            except PortError:
                return
            finally:
                self._stream = None

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a start request; None if nothing stood by or it died. Asking again with the same id is harmless."""
        stream, self._stream = self._stream, None
        if stream is None:
            return None
        try:
            await stream.write(bundle.request_line(request))
            async for raw in stream.lines():
                line = box.parsed(raw)
                if line is not None:
                    return line
        except PortError:
            return None
        finally:
            self._used.set()
        return None
