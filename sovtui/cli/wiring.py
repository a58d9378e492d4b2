"""What `__main__` passes to the command line, so that it knows neither adapters nor Textual. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sovtui.config.schema import Config
    from sovtui.config.surroundings import Glyphs
    from sovtui.ports.link import Ask, Link, Tell
    from sovtui.runtime.hub import Hub


class BuildHub(Protocol):
    """`bootstrap.build_hub`: opens nothing before `start`. `only_host` leaves out what is not needed for that host.

    `history`: the last minutes of the curves are asked for, also where nobody sits in front of it.
    """

    def __call__(
        self,
        config: Config,
        *,
        read_only: bool,
        ask: Ask | None,
        only_host: str | None,
        interactive: bool,
        notes: tuple[str, ...],
        found: Local | None,
        history: bool = False,
    ) -> Hub: ...


class Local(Protocol):
    """This machine, where nobody has configured anything. For the command line to pass on."""

    @property
    def config(self) -> Config: ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that say what was looked for."""
        ...


@dataclass(frozen=True, slots=True)
class Wiring:
    """What `__main__` passes in, so that the command line knows neither adapters nor Textual. Each imports only when called."""

    build_hub: BuildHub
    local: Callable[[str, bool], Local]
    """Where there is no configuration at the usual place: this machine, from what is found on it, in a hurry or not."""
    dial: Callable[[str, str, Ask | None, Tell], Awaitable[Link]]
    """A link by its kind (`ssh`, `local`) and address, for a host that is not configured. Raises `PortError`, `ValueError`."""
    control_room: Callable[[Callable[[], Hub], str | None, Glyphs], int]
    """`tui.app.run(open_hub, theme, glyphs)`: the first frame comes before the hub."""
    demo: Callable[[str, str], Hub]
    """`demo.build(estate, scenario)`."""
    engines: Callable[[], Collection[str]]
    """Names that `engine = ` may have."""
    actions: Callable[[], Mapping[str, str]]
    """Names that `[screen.keys]` may have, with their usual keys; names in brackets stand for keys that are taken for good."""
    themes: Callable[[], tuple[list[tuple[str, str]], tuple[str, ...]]]
    """Name and origin of every theme, and what is wrong with files."""
    serve: Callable[[Sequence[str], int, Collection[str], Callable[[str], None]], None]
    """`tui.serve.run(command, port, allow, tell)`. ImportError where textual-serve is missing, OSError where the port is."""
