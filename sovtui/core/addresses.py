"""Whether a word is an IP address or a name. Asks nobody."""

from __future__ import annotations

import ipaddress


def is_address(word: str) -> bool:
    """An IPv4 or IPv6 address, without brackets and port."""
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True


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
