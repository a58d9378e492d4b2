"""Every action on every target, every pane and every host, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content


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
            yield DiscoveryHit(Content(command.title), command.run, text=command.title, help=_plain(command.help))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in self._commands():
            score = matcher.match(command.title)
            if score > 0:
                yield Hit(score, Content(command.title), command.run, text=command.title, help=_plain(command.help))


def _plain(words: str) -> str:
    """The palette parses help as markup; there is nothing to parse in ours."""
    return words.replace("[", "(").replace("]", ")")
