"""What went over a TCP connection, as the kernel counted it: payload with all of ssh's own, without TCP's and IP's headers."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

_LINUX = ("linux", "android")
_TCP_INFO = 11
_AT = 120
"""Of `tcpi_bytes_acked` and `tcpi_bytes_received` in `struct tcp_info`, since Linux 4.1."""


def counted(sock: Any) -> tuple[int, int] | None:
    """(bytes sent and acknowledged, bytes received); None where this system or this kind of way does not tell."""
    if sock is None or sys.platform not in _LINUX:
        return None
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _AT + 16)
    except (OSError, AttributeError):
        return None
    if len(told) < _AT + 16:
        return None
    sent, received = struct.unpack_from("=QQ", told, _AT)
    return sent, received
