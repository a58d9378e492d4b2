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


_SHELL = frozenset("'`\"$\\;&<>|(){}[],*?!#~^")
"""What a shell gives a meaning to, or ssh_config a list or a pattern."""


def misread(word: str, *, user: bool = False) -> str:
    """What of a host's name or a user's another program could read as more than a name, in words; empty: nothing.

    Names become words of commands (ProxyCommand, `Match exec`) and of `known_hosts`. A bit stricter than OpenSSH 9.6 and later with
    what stands on its command line. A user may be `DOMAIN\\user`, and end with `$`.
    """
    if word.startswith("-"):
        return "it begins with a dash"
    for at, char in enumerate(word):
        if char.isspace() or not char.isprintable():
            return "it holds a space" if char == " " else "it holds a character that cannot be seen"
        last = at == len(word) - 1
        if char in _SHELL and not (user and ((char == "\\" and not last) or (char == "$" and last))):
            return f"it holds {char}"
    return ""
