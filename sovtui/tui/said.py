"""What servers say while one logs in (banners), shown once. Pure but for what it has shown."""

from __future__ import annotations

from sovtui.core.model import Link, LinkPhase
from sovtui.core.state import State

MAX_LINES = 8
_OVER = (LinkPhase.UP, LinkPhase.DOWN, LinkPhase.REFUSED)


class Said:
    """Tells each host's banner when its login is over, and again only if it is another one."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[str, ...]] = {}

    def news(self, state: State) -> list[str]:
        """Texts to show now."""
        found = []
        for name, host in state.hosts.items():
            said = host.link.said
            if said and host.link.phase in _OVER and said != self._shown.get(name):
                self._shown[name] = said
                more = ["…"] if len(said) > MAX_LINES else []
                found.append("\n".join([f"{name} says:", *said[:MAX_LINES], *more]))
        return found


def in_a_line(link: Link) -> str:
    """The same while the login goes on, or where it has failed; empty if the reason tells it already."""
    said = " ".join(line.strip() for line in link.said)
    first = next((line.strip() for line in link.said if line.strip()), "")
    return "" if first and first in link.reason else said
