"""Another user of this machine, who was before it wherever everybody may write."""

from __future__ import annotations

import json
import shlex
from typing import Any

from tests.hostile.case import NASTY
from tests.hostile.here import Here, nothing
from tests.hostile.world import DATA

LOCK, NEXT = "/run/lock/sovtui.lock", "/tmp/sovtui.lock"
BEGAN = "Switch to one failed: the box cannot be looked at"
"""The action had its lock and began: there is no systemd here, so it fails at its first look."""
HELD = json.dumps(dict.fromkeys(("who", "id", "kind", "target", "since", "step"), NASTY * 20))
NASTY_HELD = shlex.quote(HELD)


def lock(name: str, line: str, words: str = BEGAN, **more: Any) -> Here:
    """The other user has made something of the lock's name; then a switch is begun."""
    return Here(name, "neighbour", nothing, words=words, other=line.format(LOCK), keys=b"1", seconds=3.0, **more)


SOCKET = "/tmp/tailscale/tailscaled.sock"
WAIT = f"for i in $(seq 600); do [ -S {SOCKET} ] && exit; sleep 0.1; done; exit 1"


def daemon(name: str, answer: str, words: str = "is not believed") -> Here:
    """The other user listens where a tailnet daemon would; then it is asked how a host is reached."""
    code = (
        f"os.makedirs(os.path.dirname({SOCKET!r})); s = socket.socket(socket.AF_UNIX); s.bind({SOCKET!r}); s.listen(50)\n"
        f"while True:\n c = s.accept()[0]; c.recv(65536)\n{answer}"
    )
    return Here(name, "neighbour", nothing, words=words, daemon=code, wait=WAIT, command="--host far status", status=3)


REAL = (DATA / "tailscale" / "status.running.json").as_posix()
CASES = [
    lock("a pipe in the place of the lock", "mkfifo -m 666 {}", quick=True),
    lock("a pipe that is closed to us", "mkfifo -m 600 {}"),
    lock("a folder", "mkdir {}"),
    lock("a folder that is closed to us", "mkdir -m 700 {}"),
    lock("a file that is closed to us", "umask 077; touch {}"),
    lock("a file that is open to all", "umask 0; touch {}"),
    lock("a file of 500 kB", "umask 0; head -c 500000 /dev/zero > {}"),
    lock("a link to a file of root's", "ln -s /etc/passwd {}"),
    lock("a link to nowhere", "ln -s /nowhere/at/all {}"),
    lock("a link to itself", "ln -s {0} {0}"),
    lock("a link to a pipe", "mkfifo -m 666 {0}.pipe; ln -s {0}.pipe {0}"),
    lock("a link to what never ends", "ln -s /dev/zero {}"),
    lock("a file that the other holds", "umask 0; exec flock -x {} sleep 100", quick=True),
    lock("a file that the other reads", "umask 0; exec flock -s {} sleep 100"),
    lock("a file that the other holds and writes nasty bytes into", f"umask 0; printf %s {NASTY_HELD} > {LOCK}; exec flock -x {LOCK} sleep 100".replace("{", "{{").replace("}", "}}")),
    lock("a pipe here and at the next place", f"mkfifo -m 666 {{}}; mkfifo -m 666 {NEXT}"),
    lock("a pipe at the next place, and no first one", f"mkfifo -m 666 {NEXT}", before="chmod 755 /run/lock"),
    lock("no room where the lock lies", "cat /dev/zero > {}.fill 2> /dev/null"),
    lock("no room where the lock lies and at the next place", "cat /dev/zero > {}.fill 2> /dev/null; cat /dev/zero > /tmp/fill 2> /dev/null"),
    daemon("a tailnet daemon that vouches for itself", f" d = open({REAL!r}, 'rb').read(); c.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(d) + d); c.close()"),
    daemon("a tailnet daemon that never answers", " pass"),
    daemon("a tailnet daemon of random bytes", " c.sendall(bytes(range(256)) * 100); c.close()"),
]  # fmt: skip
