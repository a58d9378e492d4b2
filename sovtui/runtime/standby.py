"""A warm start: the on-box part of `start`, loaded and waiting, so that a key press costs half a round trip instead of three.

It holds one session of the link and does nothing until it is given a request; closing it does nothing either.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from sovtui.ports.errors import PortError, Unreachable
from sovtui.ports.link import Link, Patience
from sovtui.runtime import bundle, exchange

REST_SECONDS = 2.0
"""Pause before the next one is made ready, so that what was just started has the link for itself."""


class Standby:
    """One per host. `keep` is a task that lives as long as the link; `ask` uses up what it holds."""

    def __init__(self) -> None:
        self._run: exchange.Exchange | None = None
        self._used = asyncio.Event()

    async def keep(self, link: Link) -> None:
        """Have one ready at all times, until cancelled. Where that is not possible nothing is lost: `ask` says None."""
        while True:
            try:
                async with exchange.exchange(link, "start", None, Patience.STANDS_BY) as run:
                    self._used.clear()
                    self._run = run
                    await self._used.wait()
                    await asyncio.sleep(REST_SECONDS)
            except PortError:
                return
            finally:
                self._run = None

    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer to a start request; None if nothing stood by or it died. Asking again with the same id is harmless.

        Raises `PortError` with the box's own words.
        """
        run, self._run = self._run, None
        if run is None:
            return None
        try:
            await run.give(bundle.request_line(request))
            async with aclosing(run.lines()) as told:
                async for line in told:
                    return line
        except Unreachable:
            return None
        finally:
            self._used.set()
        return None
