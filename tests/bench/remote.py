"""A box at the other end of an ssh connection, on loopback: a plain sshd of our own, and pretended services behind it."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncssh

from tests.bench.pretend import MODEL, SERVICES, service
from tests.bench.terminal import environment

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
_SYSTEMCTL = '#!/bin/sh\nwhile [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done; shift\ncd {folder}/units && exec cat "$@"\n'
_JOURNALCTL = "#!/bin/sh\nexec {python} {flood} {folder}/lines_per_second\n"


@dataclass
class Remote:
    """A configured home of a client, and what it is connected to."""

    home: Path
    folder: Path
    sshd: subprocess.Popen[bytes]
    port: int
    """Where sshd listens."""
    web: int
    """Where the pretended services listen."""
    frozen: list[int] = field(default_factory=list)
    """Processes at the far end that are stopped."""

    def through(self, port: int) -> None:
        """The client goes to this port from now on: something there leads to sshd."""
        for name in ("config", "known_hosts"):
            path = self.home / ".ssh" / name
            words = path.read_text().replace(f"Port {self.port}\n", f"Port {port}\n")
            path.write_text(words.replace(f"]:{self.port} ", f"]:{port} "))

    @property
    def env(self) -> dict[str, str]:
        return environment(self.home)

    def log_rate(self, lines_per_second: int) -> None:
        """How fast every journal grows from now on."""
        (self.folder / "lines_per_second").write_text(str(lines_per_second))

    def freeze(self) -> None:
        """The far end answers nothing any more, and tells nobody."""
        for pid in family(self.sshd.pid):
            os.kill(pid, signal.SIGSTOP)
            self.frozen.append(pid)

    def thaw(self) -> None:
        """All that were stopped: a session whose parent has ended is nobody's child, and would stay so for ever."""
        while self.frozen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.frozen.pop(), signal.SIGCONT)


@contextlib.contextmanager
def remote(*, engines: int = 1, still: bool = False) -> Iterator[Remote]:
    """`engines`: how many; all but the first run beside the modes. `still`: nothing that is pretended moves.

    Raises RuntimeError where there is no sshd.
    """
    if SSHD is None:
        raise RuntimeError("sshd is not installed here")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        home = folder / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        pretend = child(stack, [sys.executable, "-m", "tests.bench.pretend", str(folder), *(["still"] if still else [])])
        assert pretend.stdout is not None
        web = int(pretend.stdout.readline())
        port, sshd = _sshd(stack, folder, home)
        _client(home, port, web, engines)
        made = Remote(home, folder, sshd, port, web)
        made.log_rate(1)
        try:
            yield made
        finally:
            made.thaw()


def child(stack: contextlib.ExitStack, argv: list[str], stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A process that ends with the stack, its descendants too."""
    process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])

    def end() -> None:
        for pid in [*family(process.pid)][::-1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        process.wait(10)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    stack.callback(end)
    return process


def _sshd(stack: contextlib.ExitStack, folder: Path, home: Path) -> tuple[int, subprocess.Popen[bytes]]:
    assert SSHD is not None
    programs = folder / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text(_SYSTEMCTL.format(folder=folder))
    flood = Path(__file__).with_name("flood.py")
    (programs / "journalctl").write_text(_JOURNALCTL.format(folder=folder, python=sys.executable, flood=flood))
    for program in programs.iterdir():
        program.chmod(0o755)
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    for path, key in ((folder / "host_key", host_key), (home / ".ssh" / "id_ed25519", user_key)):
        key.write_private_key(str(path))
        path.chmod(0o600)
    (folder / "authorized_keys").write_bytes(user_key.export_public_key("openssh"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host_key\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n"
        f"SetEnv PATH={programs}:/usr/local/bin:/usr/bin:/bin HOME={folder}\n"
    )
    sshd = child(stack, [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")])
    public = host_key.export_public_key("openssh").decode().strip()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return port, sshd
        time.sleep(0.02)
    raise RuntimeError("the pretended box's sshd does not listen")


def _client(home: Path, port: int, web: int, engines: int) -> None:
    beside = "".join(
        f'\n[[host.bench.engine]]\nname = "beside{n}"\nengine = "vllm"\nurl = "http://127.0.0.1:{web}"\nmodel = "{MODEL}"\n'
        f'services = ["{service(n)}"]\n'
        for n in range(1, engines)
    )
    (home / ".ssh" / "config").write_text(
        f"Host bench\n HostName 127.0.0.1\n Port {port}\n User {getpass.getuser()}\n"
        f" IdentityFile {home}/.ssh/id_ed25519\n IdentitiesOnly yes\n"
    )
    watched = ", ".join(f'"{service(number)}"' for number in range(1, SERVICES))
    config = home / ".config" / "sovtui" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f"""
[host.bench]
link = "ssh"
address = "bench"
watch = [{watched}]

[[host.bench.mode]]
name = "hot"
key = "1"
title = "The hot one"
engine = "vllm"
url = "http://127.0.0.1:{web}"
model = "{MODEL}"
services = ["{service(0)}"]
needs = "22 GB"
expect_tok_s = 57
{beside}
[[host.bench.backup]]
name = "nas"
service = "{service(1)}"
max_age = "26h"
metric = "backup_last_success_timestamp_seconds"

[prometheus]
url = "http://127.0.0.1:{web}"
via = "bench"
interval = "1s"

[alertmanager]
url = "http://127.0.0.1:{web}"
via = "bench"
"""
    )


def family(pid: int) -> Iterator[int]:
    """A process and all its descendants."""
    yield pid
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                yield from family(int(entry.name))
