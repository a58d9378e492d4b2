"""Where a tailnet daemon can be asked on this machine: sockets, the port of the macOS app, the command. Opens no connection."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sovtui.adapters.ownership import stranger
from sovtui.core.clean import clean

SOCKETS = (
    "/var/run/tailscale/tailscaled.sock",  # Linux, the BSDs
    "/var/run/tailscaled.socket",  # macOS, the open-source daemon
    "/var/packages/Tailscale/var/tailscaled.sock",  # Synology
    "/tmp/tailscale/tailscaled.sock",  # noqa: S108 - QNAP
)
MAC_LIBRARY = "/Library/Tailscale"
MAC_COMMAND = "/Applications/Tailscale.app/Contents/MacOS/Tailscale"


@dataclass(frozen=True, slots=True)
class Door:
    """How LocalAPI is reached: a Unix socket, or a port on loopback with its token."""

    socket: str = ""
    port: int = 0
    token: str = ""

    def __str__(self) -> str:
        return self.socket or f"port {self.port}"


@dataclass(frozen=True, slots=True)
class Places:
    """All that is looked for; tests give their own."""

    sockets: tuple[str, ...] = SOCKETS
    mac_library: str = MAC_LIBRARY
    commands: tuple[str, ...] = ("tailscale", MAC_COMMAND)
    find: Callable[[str], str | None] = shutil.which

    def doors(self) -> list[Door]:
        """Those that exist now and are believed, whether or not somebody listens."""
        found = [Door(socket=path) for path in self.sockets if _is_socket(path) and not _wrong(path)]
        return found + _mac_app(Path(self.mac_library))

    def command(self) -> str | None:
        """It speaks to the same sockets: not where the only one is another's."""
        if len(self.sockets) == 1 and _is_socket(self.sockets[0]) and _wrong(self.sockets[0]):
            return None
        return next((found for word in self.commands if (found := self.find(word)) is not None and not _wrong(found)), None)

    def refused(self) -> str:
        """What is there and is not believed, with the reason: another user could have made it. Empty: nothing."""
        sockets = [path for path in self.sockets if _is_socket(path)]
        found = [path for path in [*sockets, *map(self.find, self.commands)] if path is not None]
        words = [f"{clean(path, 200)} is not believed: {wrong}" for path in found if (wrong := _wrong(path))]
        return "; ".join(words[:2])


def places(own_socket: str = "") -> Places:
    """The usual ones, or just the socket that the configuration names."""
    return Places(sockets=(own_socket,)) if own_socket else Places()


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(Path(path).stat().st_mode)
    except OSError:
        return False


def _wrong(path: str) -> str:
    try:
        return stranger(path)
    except OSError as error:
        return clean(f"it cannot be looked at ({error.strerror})")


def _mac_app(library: Path) -> list[Door]:
    """The standalone app, where its folder is believed: the port is where a link points to, the token is in a file that admins may read."""
    try:
        port = int(str((library / "ipnport").readlink()))
        token = (library / f"sameuserproof-{port}").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return []
    if any(_wrong(str(library / name)) for name in ("", f"sameuserproof-{port}")):
        return []
    return [Door(port=port, token=token)] if 0 < port < 65536 and token.isalnum() else []
