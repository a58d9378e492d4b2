"""What every headless command begins with: the hub opened, the host chosen, and enough known to go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sovtui.cli.asking import ask_operator, can_ask
from sovtui.cli.diagnostics import say, sentence
from sovtui.cli.exits import Exit, Failure
from sovtui.cli.wiring import BuildHub, Local
from sovtui.config.schema import Config, HostConfig
from sovtui.config.specs import watched, with_engines
from sovtui.config.words import nearest
from sovtui.core.model import EnginePhase, LinkPhase
from sovtui.core.state import Host, State
from sovtui.core.told import figures_told, services_told
from sovtui.runtime.hub import Hub

SETTLE_SECONDS = 12.0
"""How long a command waits for links and sources before it does what it is to do."""
WHOLE_SECONDS = 30.0
"""How long a command that tells how things are waits for all of them: an engine is hung only after four questions of five seconds."""
KNOWN_SECONDS = 6.0
"""How long an action waits to hear of the services that it touches; then its plan says what is not known."""
MODES_NONE = "none"


@dataclass(frozen=True, slots=True)
class Session:
    """One headless command's view: the configuration, and how to open a hub."""

    config: Config
    build: BuildHub
    host: str | None
    """`--host`."""
    read_only: bool
    found: Local | None = None
    """What this machine has, where nobody has configured anything."""

    @asynccontextmanager
    async def hub(
        self, only_host: str | None = None, *, settle: float = SETTLE_SECONDS, whole: bool = False
    ) -> AsyncIterator[Hub]:
        """A started hub that has settled; closed at the end, whatever happens.

        `whole`: one that knows all that there is to tell, the last minutes of the curves included; who was too slow is named.
        """
        terminal = can_ask()
        ask = ask_operator if terminal else None
        hub = self.build(
            self.config,
            read_only=self.read_only,
            ask=ask,
            only_host=only_host,
            interactive=False,
            notes=(),
            history=whole,
            found=self.found,
        )
        settle = WHOLE_SECONDS if whole else settle
        unsubscribe = hub.subscribe(_told, _tell_new(hub))
        try:
            await hub.start()
            slow = await hub.settle(settle, whole=whole)
            if terminal and any(_asking(h) for h in hub.state.hosts.values()):
                await until(hub, lambda state: not any(_asking(h) for h in state.hosts.values()), None)
                slow = await hub.settle(settle, whole=whole)
            if whole and slow:
                say(sentence(f"Not waited for any longer after {settle:g} s: {', '.join(slow)}"))
            yield hub
        finally:
            unsubscribe()
            with contextlib.suppress(TimeoutError):  # a dead link must not keep the command from ending
                await asyncio.wait_for(hub.aclose(), 5.0)

    def named_host(self) -> str | None:
        """`--host`, checked."""
        if self.host is not None and self.host not in self.config.host:
            raise Failure(Exit.USAGE, unknown("host", self.host, self.config.host))
        return self.host

    def choose(
        self, what: str, target: str, find: Callable[[HostConfig, str], str | None], all_of: Callable[[HostConfig], Iterable[str]]
    ) -> tuple[str, str]:
        """The host that has this mode, service or backup, and its full name there. Failure with the nearest name if none has."""
        named = self.named_host()
        hosts = {named: self.config.host[named]} if named is not None else self.config.host
        found = [(name, full) for name, host in hosts.items() if (full := find(host, target)) is not None]
        if not found:
            names = dict.fromkeys(name for host in hosts.values() for name in all_of(host))
            raise Failure(Exit.USAGE, unknown(what, target, names))
        if len(found) > 1:
            boxes = [f for f in found if self.config.host[f[0]].role == "box"]
            if len(boxes) != 1:
                places = ", ".join(name for name, _ in found)
                raise Failure(Exit.USAGE, f"{what.capitalize()} `{target}` is on several hosts: {places}. Say which with --host.")
            found = boxes
        return found[0]

    def box(self) -> str:
        """`--host`, else the first box, else the first host."""
        named = self.named_host()
        if named is not None:
            return named
        boxes = [name for name, host in self.config.host.items() if host.role == "box"]
        if not boxes and not self.config.host:
            raise Failure(Exit.USAGE, "No host is configured.")
        return boxes[0] if boxes else next(iter(self.config.host))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """``No mode is named `qwn`; did you mean `qwen`?``"""
    words = list(known)
    hint = nearest(name, words)
    if not hint:
        hint = f"; there are: {', '.join(words)}." if words else "; none is configured."
    return f"No {what} is named `{name}`{hint}"


def find_service(host: HostConfig, target: str) -> str | None:
    """A watched service by its name, or by its name without prefix or suffix if that is clear."""
    names = watched(host)
    if target in names:
        return target
    short = [n for n in names if target in (n.rpartition(":")[2], n.rpartition(":")[2].removesuffix(".service"))]
    return short[0] if len(short) == 1 else None


def _told(state: State) -> dict[str, tuple[str, ...]]:
    """What each host's server said in its last login."""
    return {name: host.link.said for name, host in state.hosts.items()}


def _tell_new(hub: Hub) -> Callable[[dict[str, tuple[str, ...]]], None]:
    """Tells what servers say as they say it, and what a later login repeats only once."""
    known: dict[str, tuple[str, ...]] = {}

    def tell(told: dict[str, tuple[str, ...]]) -> None:
        for name, lines in told.items():
            old = known.get(name, ())
            if lines == old[: len(lines)]:
                continue
            goes_on = bool(old) and lines[: len(old)] == old
            if not goes_on:
                say(f"{name} says:")
            for line in lines[len(old) :] if goes_on else lines:
                say(f"  {line}")
            known[name] = lines

    return tell


def _asking(host: Host) -> bool:
    return host.link.phase is LinkPhase.ASKING


async def until(hub: Hub, holds: Callable[[State], bool], seconds: float | None) -> bool:
    """Waits until the state is so; False if it was not in time."""
    happened = asyncio.Event()
    unsubscribe = hub.subscribe(lambda state: state, lambda state: happened.set() if holds(state) else None)
    try:
        if not holds(hub.state):
            async with asyncio.timeout(seconds):
                await happened.wait()
        return True
    except TimeoutError:
        return holds(hub.state)
    finally:
        unsubscribe()


async def reach(hub: Hub, host: str, need: Iterable[str] = (), seconds: float = SETTLE_SECONDS) -> None:
    """Waits until the host's link is up and the services in `need` are known. Failure 3 if it cannot be reached."""

    def settled(state: State) -> bool:
        return state.hosts[host].link.phase in (LinkPhase.UP, LinkPhase.DOWN, LinkPhase.REFUSED)

    await until(hub, settled, seconds)
    link = hub.state.hosts[host].link
    if link.phase is not LinkPhase.UP:
        why = link.reason or ("it asks something, and there is no terminal" if link.phase is LinkPhase.ASKING else "no answer")
        raise Failure(Exit.UNREACHABLE, sentence(f"{host} cannot be reached: {why}"))
    wanted = set(need)
    await until(hub, lambda state: services_told(state, host, wanted) and figures_told(state, host), KNOWN_SECONDS)


async def engine_known(hub: Hub, settings: HostConfig, host: str, engine: str) -> None:
    """Waits until the host's link is up and it is known what this engine says of itself."""
    mine = next(one for one in with_engines(settings) if one.name == engine)
    await reach(hub, host, mine.services)

    def told(state: State) -> bool:
        known = state.hosts[host].engines.get(engine)
        return known is not None and known.phase is not EnginePhase.UNKNOWN

    await until(hub, told, KNOWN_SECONDS)
