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
