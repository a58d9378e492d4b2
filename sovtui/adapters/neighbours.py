"""Which user of this machine holds the other end of a connection on the loopback, as Linux's kernel tells it (sock_diag).

An address says nothing there: any process may take any of 127.0.0.0/8. One question for one connection, also among thousands.
"""

from __future__ import annotations

import contextlib
import socket
import struct

_SOCK_DIAG = 4
"""NETLINK_SOCK_DIAG, linux/netlink.h."""
_BY_FAMILY = 20
"""SOCK_DIAG_BY_FAMILY, linux/sock_diag.h: the kind of the question and of its answer."""
_REQUEST = 1
_ESTABLISHED = 1
_HEADER = struct.Struct("=IHHII")
"""nlmsghdr: length, kind, flags, sequence, port."""
_QUESTION = struct.Struct("=BBBxI")
"""inet_diag_req_v2 up to the connection: family, protocol, extensions, states."""
_ENDS = struct.Struct("!HH16s16s")
_NO_COOKIE = struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF)
"""Any interface; no cookie is known (INET_DIAG_NOCOOKIE)."""
_ANSWER = struct.Struct("=BBxx48xIIII")
"""inet_diag_msg: family, state, the connection, expires, two queues, user."""


def user_of(connection: socket.socket) -> int | None:
    """User id of the process at the other end of `connection` (IPv4, on this machine). None where it cannot be told:
    another system, Android, a peer that is gone or in another network namespace."""
    with contextlib.suppress(OSError, AttributeError, struct.error):
        (far, far_port), (near, near_port) = connection.getpeername(), connection.getsockname()
        ends = _ENDS.pack(far_port, near_port, socket.inet_aton(far), socket.inet_aton(near))
        question = _QUESTION.pack(socket.AF_INET, socket.IPPROTO_TCP, 0, 0xFFFFFFFF) + ends + _NO_COOKIE
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _SOCK_DIAG) as kernel:
            kernel.send(_HEADER.pack(_HEADER.size + len(question), _BY_FAMILY, _REQUEST, 1, 0) + question)
            told = kernel.recv(4096)  # the kernel answers within send
        if _HEADER.unpack_from(told)[1] != _BY_FAMILY:
            return None
        _, state, _, _, _, user = _ANSWER.unpack_from(told, _HEADER.size)
        return int(user) if state == _ESTABLISHED else None  # a socket that nobody holds any more counts as root's
    return None
