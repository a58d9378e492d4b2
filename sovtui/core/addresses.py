"""Whether a word is an IP address, a name, or either with a port. Asks nobody."""

from __future__ import annotations

import ipaddress
import re

_AUTHORITY = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{0,5}))?", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_-]{1,63}", re.ASCII)
_LONGEST_NAME = 253
"""RFC 1035."""


def is_address(word: str) -> bool:
    """An IPv4 or IPv6 address, without brackets and port."""
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


def authority(text: str) -> tuple[str, int | None] | None:
    """Name and port of a `Host` field (RFC 9110 §7.2), in one form: lower case, no final dot, IPv6 without brackets and shortened.

    None for what is no such field: empty, a user part, a zone, a path, white space, two of them. An empty port is none.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and not 0 < port <= 65535:
        return None
    if found["six"] is not None:
        try:
            return ipaddress.IPv6Address(found["six"]).compressed, port
        except ValueError:
            return None
    name = found["name"].removesuffix(".").lower()
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, name.split("."))):
        return None
    return name, port
