"""sovtui as a whole, looking at a real server: the real hub, the local link, the probe on it; nothing pretended."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import httpx

from sovtui.adapters.links._http_transport import LinkTransport
from sovtui.config.schema import Config, HostConfig, ModeConfig
from sovtui.core.model import Engine
from sovtui.core.modes import ModeView, mode_view
from sovtui.core.reading import Reading
from sovtui.core.state import Host, State
from sovtui.runtime.hub import Hub

HOST = "here"


@dataclass
class Whole:
    """What sovtui shows of one engine."""

    hub: Hub
    mode: str
    shown: dict[str, list[tuple[float, float | None]]] = field(default_factory=dict)
    """By figure: monotonic time of the look and value of each reading, None where there was none that is fresh."""
    asked: list[tuple[float, str]] = field(default_factory=list)
    """Every question: monotonic time and path."""

    @property
    def host(self) -> Host:
        return self.hub.state.hosts[HOST]

    @property
    def engine(self) -> Engine:
        return self.host.engines.get(self.mode, Engine())

    @property
    def view(self) -> ModeView:
        return mode_view(self.host, next(m for m in self.host.spec.modes if m.name == self.mode))

    def reading(self, figure: str) -> Reading:
        return self.host.reading(f"engine.{figure}", self.mode)

    def looks(self, figure: str, since: float, seconds: float) -> list[tuple[float, float, float]]:
        """Begin, end and figure of each look in some `seconds` from `since` on that showed one: it tells of the time since the last."""
        kept = [(at, value) for at, value in self.shown.get(figure, []) if at >= since]
        kept = [look for look in kept if look[0] <= kept[0][0] + seconds + 0.5]
        return [(begin, end, value) for (begin, _), (end, value) in itertools.pairwise(kept) if value is not None]

    async def until(self, holds: Callable[[Whole], bool], seconds: float) -> float:
        """Seconds until it is so; AssertionError with what is shown where it was not in time."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if holds(self):
                return time.monotonic() - began
            await asyncio.sleep(0.05)
        figures = {k[0]: (r.value, str(r.status), r.reason) for k, r in self.host.figures.items() if k[1] == self.mode}
        raise AssertionError(f"not within {seconds} s: {self.engine}, {figures}, {self.host.activity}")


@asynccontextmanager
async def whole(folder: Path, url: str, engine: str = "llamacpp", model: str = "", **words: object) -> AsyncIterator[Whole]:
    """sovtui with this one mode; `words` are keys of the mode."""
    from sovtui.bootstrap import build_hub

    mode = ModeConfig(name="mine", engine=engine, url=url, model=model, **words)  # type: ignore[arg-type]
    config = Config(host={HOST: HostConfig(link="local", mode=(mode,))})
    with patch.dict(os.environ, {"XDG_STATE_HOME": str(folder / "state")}):
        hub = build_hub(config, read_only=True)
        one, ahead = Whole(hub, "mine"), time.time() - time.monotonic()

        def note(state: State) -> None:
            for (figure, subject), reading in state.hosts[HOST].figures.items():
                if subject == "mine" and figure.startswith("engine."):
                    kept = one.shown.setdefault(figure.removeprefix("engine."), [])
                    at = reading.at.timestamp() - ahead if reading.at is not None else time.monotonic()
                    if not kept or kept[-1] != (at, reading.fresh_value):
                        kept.append((at, reading.fresh_value))

        ask = LinkTransport.handle_async_request

        async def counted(self: LinkTransport, request: httpx.Request) -> httpx.Response:
            one.asked.append((time.monotonic(), request.url.path))
            return await ask(self, request)

        unsubscribe = hub.subscribe(lambda state: state, note)
        try:
            with patch.object(LinkTransport, "handle_async_request", counted):
                await hub.start()
                await hub.settle(15)
                yield one
        finally:
            unsubscribe()
            await hub.aclose()
