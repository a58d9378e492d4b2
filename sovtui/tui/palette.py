"""Every action on every target, every pane and every host, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

from sovtui.tui.inert import inert


@dataclass(frozen=True, slots=True)
class Command:
    """One entry of the palette."""

    title: str
    help: str
    run: Callable[[], None]


@runtime_checkable
class Commander(Protocol):
    """A screen that has commands."""

    def commands(self) -> list[Command]: ...


class RoomProvider(Provider):
    """Offers what the screen below the palette can do."""

    def _commands(self) -> list[Command]:
        screen: object = self.screen
        return screen.commands() if isinstance(screen, Commander) else []

    async def discover(self) -> Hits:
        for command in self._commands():
            title = inert(command.title)
            yield DiscoveryHit(Content(title), command.run, text=title, help=_plain(command.help))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self._commands():
            title = inert(command.title)
            score = matcher.match(title)
            if score > 0:
                yield Hit(score, Content(title), command.run, text=title, help=_plain(command.help))


def _plain(words: str) -> str:
    """The palette parses help as markup; there is nothing to parse in ours."""
    return inert(words).replace("[", "(").replace("]", ")")
