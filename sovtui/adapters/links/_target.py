"""An ssh address in parts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sovtui.core.addresses import misread

_BRACKETED = re.compile(r"\[(?P<name>[^\[\]]+)\](?::(?P<port>\d+))?")
_PLAIN = re.compile(r"(?P<name>[^:\[\]]+)(?::(?P<port>\d+))?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in. What is None is left to ssh_config."""

    name: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name and self.port else self.name
        return f"{self.user + '@' if self.user else ''}{name}{f':{self.port}' if self.port else ''}"


def parse(address: str) -> Target:
    """Read `USER@NAME`, `NAME`, `USER@NAME:PORT`, `[IPV6]:PORT` or a bare IPv6 address. Raises `ValueError`."""
    user, at, place = address.strip().rpartition("@")
    name = place[1:].replace("]", "", 1) if place.startswith("[") else place
    wrong = (user and misread(user, user=True)) or misread(name)
    if wrong or (at and not user):
        raise ValueError(
            f"{address!r} is not an address{f' ({wrong})' if wrong else ''}; write USER@NAME, NAME or USER@NAME:PORT"
        )
    if place.count(":") > 1 and not place.startswith("["):
        return Target(place, user or None)
    found = _BRACKETED.fullmatch(place) or _PLAIN.fullmatch(place)
    port = int(found["port"]) if found and found["port"] else None
    if not found or (port is not None and not 0 < port < 65536):
        raise ValueError(f"{address!r} is not an address; write USER@NAME, NAME or USER@NAME:PORT")
    return Target(found["name"], user or None, port)
