"""A host over ssh: the operator's own ssh_config, agent, keys and known_hosts, one connection.

asyncssh takes a while to import, so it lives in `_ssh_login` and what that imports, at the first dial.
"""

from __future__ import annotations

import asyncio
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sovtui.adapters.links._ssh_way import Choose
from sovtui.adapters.links._target import Target, parse
from sovtui.core.reach import Evidence
from sovtui.ports.link import Ask, Link, Tell

if TYPE_CHECKING:
    from sovtui.adapters.links._ssh_course import Course


NOTICE_SECONDS = 5.0
AHEAD = 0.9
"""Part of the time to notice in which a link must have answered: the rest is for telling it."""


@dataclass(slots=True)
class Settings:
    """What a login needs to know."""

    host: str
    address: str
    target: Target
    known_hosts: Path | None
    config: list[Path] | None
    keepalive_seconds: float
    keepalive_count: int
    connect_timeout_seconds: float
    on_banner: Tell | None
    choose: Choose | None = None
    """Asked for the way to the host itself, where ssh_config names neither a jump host nor a ProxyCommand."""
    lost_before: bool = False
    """There was a link already: what a login waits for now is the network rather than the server."""
    round_trip_seconds: float = 0.0
    """Of the last link, when it was lost."""
    course: Course | None = None
    """The dial under way."""
    unlocked: dict[str, Any] = field(default_factory=dict)
    """Private keys whose passphrase was given, by path, for the next dial; as an agent does, in memory only."""
    told: set[str] = field(default_factory=set)
    """What was said once and need not be said at every dial."""


def load() -> None:
    """What speaks SSH. asyncssh looks for optional libraries, for which Python may write a temporary file: no room means none of them."""
    import ctypes.util

    find = ctypes.util.find_library

    def found(name: str) -> str | None:
        try:
            return find(name)
        except OSError:
            return None

    ctypes.util.find_library = found
    try:
        importlib.import_module("sovtui.adapters.links._ssh_login")
    finally:
        ctypes.util.find_library = find


class Dialer:
    """Makes ssh links to one host."""

    kind = "ssh"

    def __init__(
        self,
        host: str,
        address: str = "",
        *,
        known_hosts: Path | None = None,
        config: list[Path] | None = None,
        notice_seconds: float = NOTICE_SECONDS,
        keepalive_seconds: float | None = None,
        keepalive_count: int = 2,
        connect_timeout_seconds: float = 15.0,
        on_banner: Tell | None = None,
        choose: Choose | None = None,
    ) -> None:
        """Nothing is read or imported yet. `known_hosts` and `config` replace what ssh would use; raises `ValueError`.

        A link is lost after `notice_seconds` of silence at the latest: after `keepalive_seconds` (default: what follows from that) times
        `keepalive_count` + 1; any packet starts that anew.
        `on_banner` gets each line that the server says before the login is through (a login URL, for example).
        `choose` may know another way to the host than TCP to its name; ssh_config's ProxyJump and ProxyCommand come first.
        """
        self.host = host
        self.address = address or host
        self._settings = Settings(
            host,
            self.address,
            parse(self.address),
            known_hosts,
            config,
            keepalive_seconds or max(0.3, AHEAD * notice_seconds / (keepalive_count + 1)),
            keepalive_count,
            connect_timeout_seconds,
            on_banner,
            choose,
        )

    @property
    def seen(self) -> Evidence | None:
        course = self._settings.course
        return course.evidence() if course is not None and course.waiting else None

    @property
    def on_banner(self) -> Tell | None:
        """Whoever hears what is said during a login."""
        return self._settings.on_banner

    @on_banner.setter
    def on_banner(self, tell: Tell | None) -> None:
        self._settings.on_banner = tell

    async def dial(self, ask: Ask | None) -> Link:
        """Log in. While a question is open the clock stands still."""
        await asyncio.to_thread(load)
        from sovtui.adapters.links import _ssh_login

        return await _ssh_login.dial(self._settings, ask)
