"""Looks at this machine for what could be shown without a configuration: with the survey of `sovtui init`, as far as it is quick.

Reads only: no request that could load, wake or bill a model. Looks again when other sockets listen than before, so that an engine
that starts later is shown too.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from sovtui.adapters.links.local import LocalLink
from sovtui.adapters.registry import engine_names
from sovtui.config.found import entries, found
from sovtui.config.schema import Config
from sovtui.core.clean import clean
from sovtui.core.serving import NAMES
from sovtui.core.survey import Facts, gather
from sovtui.onbox import lookserving
from sovtui.ports.errors import PortError
from sovtui.runtime import exchange

HURRY_SECONDS = 1.2
"""How long somebody in front of a screen waits for it at most; what has not answered by then comes later."""
QUIET_SECONDS = 0.4
"""Then nothing more is waited for after so long without an answer: what is left takes connections and says nothing."""
LOOK_SECONDS = 12.0
"""How long a look may take where nobody waits, or where there is no later."""
EVERY_SECONDS = 3.0
"""How often the listening sockets are compared: two files are read."""
AGAIN_SECONDS = (5.0, 15.0, 45.0, 180.0)
"""After a socket was new: when those are asked once more that did not say what they are. An engine may listen before it answers."""
END_SECONDS = 0.05
UNITS_SECONDS = 0.6
UNIT_PATTERNS = (
    "vllm*",
    "sglang*",
    "ollama*",
    "llama*",
    "litellm*",
    "comfyui*",
    "prometheus*",
    "alertmanager*",
    "docker",
    "tailscaled",
)

Sockets = Mapping[int, Collection[str]]
"""What listens: the sockets of each port."""
Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What is here, and the sentences that say what was looked for."""

    config: Config
    notes: tuple[str, ...]
    units: tuple[str, ...] = ()
    answers: Mapping[int, Line] = field(default_factory=dict)
    """What was told of each port."""
    sockets: Sockets = field(default_factory=dict)
    """Those that listened, as far as they were asked."""
    whole: bool = True
    """Everybody had time to answer."""
    path: str = ""
    """Where the configuration would be."""


async def look_around(config_path: str, *, hurry: bool = False) -> Found:
    """A configuration for this machine from what answers on it now. Never fails: what is not there is said."""
    sockets = await _sockets()
    looking = _look(HURRY_SECONDS, None, QUIET_SECONDS) if hurry else _look(LOOK_SECONDS, None)
    (lines, whole), units = await asyncio.gather(looking, _units())
    answers = _answers(lines)
    asked = sockets if whole else {port: sockets[port] for port in answers if port in sockets}
    return _made(Found(Config(), (), units, answers, asked, whole, config_path), lines, None)


async def changes(last: Found) -> AsyncGenerator[Found, None]:
    """What is here from now on, each time that it is something else than before. Ends only with whoever waits."""
    again: list[float] = []
    clock = asyncio.get_running_loop().time
    if not last.whole:
        again = [clock()]  # what had no time to answer
    while True:
        sockets = await _sockets()
        new = {port for port, numbers in sockets.items() if numbers != last.sockets.get(port)}
        if new:
            again = [clock() + seconds for seconds in AGAIN_SECONDS]
        elif again and clock() >= again[0]:
            again.pop(0)
            new = {port for port in sockets if last.answers.get(port, {}).get("state") or port not in last.answers}
        if new:
            lines, _ = await _look(LOOK_SECONDS, new)
            answers = {port: line for port, line in last.answers.items() if port not in new} | _answers(lines)
            answers = {port: line for port, line in answers.items() if port in sockets}
            told = [*(line for line in lines if line.get("t") != "answer"), *answers.values()]
            now = _made(replace(last, answers=answers, sockets=sockets, whole=True), told, last.config)
            changed, last = now.config != last.config, now
            if changed:
                yield now
        await asyncio.sleep(EVERY_SECONDS)


def _answers(lines: Iterable[Line]) -> dict[int, Line]:
    """By port."""
    return {int(line["port"]): line for line in lines if line.get("t") == "answer"}


def _made(of: Found, lines: Iterable[Line], before: Config | None) -> Found:
    parts = {port for line in of.answers.values() for port in line.get("children", ())}
    facts = gather(line for line in lines if line.get("t") != "answer" or line.get("port") not in parts)
    config = found(facts, of.units, socket.gethostname(), engine_names(), before)
    return replace(of, config=config, notes=_notes(facts, config, of))


def _notes(facts: Facts, config: Config, of: Found) -> tuple[str, ...]:
    engines = [entry for host in config.host.values() for entry in entries(host)]
    shown = [f"{NAMES.get(entry.engine, 'OpenAI API')}: {entry.title}" for entry in engines]
    sources = {"Prometheus": config.prometheus, "Alertmanager": config.alertmanager}
    asked = "; ".join(f"{name}: {source.url if source else 'not there'}" for name, source in sources.items())
    kinds = ", ".join(NAMES.values())
    return (
        f"No configuration at {of.path}: this is this machine, as found.",
        f"Engines: {'; '.join(shown)}."
        if shown
        else f"No engine answers on any port here: looked for {kinds} and OpenAI's protocol.",
        f"{asked}.",
        f"systemd units that serve models: {', '.join(of.units) if of.units else 'none'}.",
        "Next: `sovtui init` proposes a configuration, `sovtui init USER@HOST` one for another machine; `sovtui demo` shows an estate.",
    )


async def _sockets() -> Sockets:
    """What listens now; where the system does not tell, the usual ports that are open."""
    told = await asyncio.to_thread(lookserving.sockets)
    if told is not None:
        return told
    return {int(line["port"]): frozenset[str]() for line in await asyncio.to_thread(lookserving.usual)}


async def _look(seconds: float, only: Collection[int] | None, quiet: float = LOOK_SECONDS) -> tuple[list[Line], bool]:
    """A survey's lines of what serves now, as far as they came in time, and whether that is all."""
    lines: list[Line] = []
    came = asyncio.Event()
    request = {"only": sorted(only)} if only is not None else {}

    async def read() -> None:
        async with aclosing(exchange.lines(LocalLink("this machine"), "serving", request)) as told:
            async for line in told:
                lines.append(line)
                came.set()

    reading = asyncio.create_task(read(), name="look around")
    clock = asyncio.get_running_loop().time
    limit = clock() + seconds
    try:
        while not reading.done() and clock() < limit:
            came.clear()
            arrived = asyncio.create_task(came.wait())
            wait = min(limit - clock(), quiet if lines else seconds)
            await asyncio.wait({reading, arrived}, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            arrived.cancel()
            if lines and not came.is_set():
                break
        whole = reading.done() and not reading.cancelled() and reading.exception() is None
        return list(lines), whole
    finally:
        for _ in range(2):  # it only reads: once more, and it need not end by itself
            reading.cancel()
            await asyncio.wait({reading}, timeout=END_SECONDS)
        await asyncio.gather(reading, return_exceptions=True)


async def _units() -> tuple[str, ...]:
    """Units of the usual names, and whatever has failed, as systemd lists them."""
    if shutil.which("systemctl") is None:
        return ()
    argv = ["systemctl", "list-units", "--type=service", "--all", "--plain", "--no-legend", "--no-pager"]
    link, named = LocalLink("this machine"), list[str]()
    for more in ([*(f"{p}.service" for p in UNIT_PATTERNS)], ["--state=failed"]):
        try:
            told = await link.run([*argv, *more], timeout_seconds=UNITS_SECONDS)
        except PortError:
            continue
        for line in told.stdout.decode("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) >= 2 and words[1] != "not-found" and words[0].endswith(".service"):
                named.append(clean(words[0], 200))
    return tuple(dict.fromkeys(named))
