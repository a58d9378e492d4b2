"""What an action file exports: one SPEC, from which key, footer, palette, help, command and README row come."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sovtui.config.schema import Config
from sovtui.core.state import Host, State


class Verdict(StrEnum):
    GO = "go"
    """At once."""
    ASK = "ask"
    """Only after the operator has read `reason` and said yes."""
    NO = "no"
    """Not now; `reason` says why and what to do."""


class Where(StrEnum):
    BOX = "box"
    """An on-box machine does it, with a receipt."""
    ALERTS = "alerts"
    """Alertmanager's silences."""
    RUNNING = "running"
    """The action that runs there: it is asked to end."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wants."""

    host: str
    target: str = ""
    """Mode, backup, service, alert fingerprint, engine, `ENGINE/MODEL` or an action's id, by the action."""
    options: Mapping[str, str] = field(default_factory=dict)
    """`comment`, `for` (seconds: of a silence, or how long a model stays), `consent` (`all`: the operator has said yes beforehand to whatever may be lost)."""
    agreed: Mapping[str, bool | tuple[str, ...]] = field(default_factory=dict)
    """What the operator has said yes to after the box had named it; as `onbox.plan.Consent`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done, decided from the state without waiting for anything."""

    action: str
    wish: Wish
    title: str
    """`Switch spark to Qwen 3.6`."""
    verdict: Verdict
    reason: str = ""
    """For ASK what would be lost, for NO why not: whole sentences."""
    names: tuple[str, ...] = ()
    """What of the reason the request's consent does not name, each always by the same word: what is new is asked about."""
    steps: tuple[str, ...] = ()
    """What will happen, in words, in order."""
    commands: tuple[str, ...] = ()
    """The commands that need rights on the host."""
    where: Where = Where.BOX
    request: Mapping[str, Any] = field(default_factory=dict)
    """For the box: `kind`, `target` and `plan` of `onbox.machine`; empty for other places."""
    exit_code: int = 4
    """What a headless command exits with if the verdict is NO."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One action."""

    id: str
    """Its name as a command and in the key map: `drop-caches`."""
    title: str
    key: str
    """Default key; empty where the keys come from the configuration (modes)."""
    help: str
    """One sentence."""
    target: str
    """What it applies to: `mode`, `service`, `backup`, `alert`, `model` (`ENGINE/MODEL`), `engine`, `run` (an action's id), or empty for the host itself."""
    plan: Callable[[State, Config, Wish], Plan]
    dangerous: bool = True
    """Changes something: not offered in read-only mode."""
    order: int = 50
    """Place in footer and help."""
    targets: Callable[[Host], tuple[str, ...]] | None = None
    """What it can be applied to now, where no pane lists that: asked for in a menu, and all of it in the palette."""
    engines: tuple[str, ...] = ()
    """Kinds of engine that it asks; without one of them on any host nothing is said of it. Empty: it needs none."""

    def served(self, hosts: Iterable[Host]) -> bool:
        """Whether one of these hosts has what it asks."""
        return not self.engines or any(
            engine.engine in self.engines for host in hosts for engine in (*host.spec.modes, *host.spec.beside)
        )
