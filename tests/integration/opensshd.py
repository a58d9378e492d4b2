"""OpenSSH's own server on loopback, with users, shells and PAM of the test's choosing: nothing of this machine is changed.

Its files are mounted over the machine's in a mount namespace that only this server lives in. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sovtui.adapters.links.ssh import Dialer

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PASSWORD = "correct horse"


def why_not() -> str:
    """Why there can be no such server here; empty if there can."""
    if os.getuid() != 0:
        return "not root"
    if SSHD is None or shutil.which("ssh") is None:
        return "OpenSSH is not installed"
    done = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return "" if done.returncode == 0 else "mount namespaces are not allowed here"


def keygen(path: Path, kind: str = "ed25519", passphrase: str = "", *words: str) -> Path:
    """A key as its owner makes it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path), *words], check=True)
    return path


def public(path: Path) -> str:
    """`TYPE BASE64` of a key."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


@dataclass
class Sshd:
    """One running server."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    address: str = "127.0.0.1"

    @property
    def host_key(self) -> Path:
        return self.folder / "host_ed25519"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def known_line(self) -> str:
        return f"[{self.address}]:{self.port} {public(self.host_key)}\n"

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(60)


@dataclass
class Site:
    """Servers and one operator with a home of his own."""

    folder: Path
    home: Path
    servers: list[Sshd] = field(default_factory=list)
    agents: list[int] = field(default_factory=list)

    @property
    def key(self) -> Path:
        """The operator's key: every server takes it, unless told otherwise."""
        path = self.home / ".ssh" / "id_ed25519"
        return path if path.exists() else keygen(path)

    def server(
        self,
        lines: str = "",
        *,
        shell: str = "/bin/bash",
        pam: str = "",
        accepted: str | None = None,
        rc: dict[str, str] | None = None,
        address: str = "127.0.0.1",
        host_keys: tuple[str, ...] = ("ed25519",),
        prepare: Callable[[Path], None] = lambda place: None,
        mounts: tuple[str, ...] = (),
    ) -> Sshd:
        """Start one. Users: `root`, and `ops` with this shell and with these files in his home. `pam`: the service's file.

        Both have a home of their own in the server's folder: what this machine's root has done and set is not seen.
        `mounts`: commands that change what only this server sees. `prepare` is called with the server's folder once its host keys (`host_TYPE`) are there.
        """
        place = self.folder / f"sshd{len(self.servers)}"
        home = place / "ops"
        home.mkdir(parents=True)
        for name, text in (rc or {}).items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        for path in (home, *home.rglob("*")):
            os.chown(path, 5000, 5000)
        superuser = place / "root"
        superuser.mkdir(mode=0o700)
        keys = [keygen(place / f"host_{kind}", kind) for kind in host_keys]
        prepare(place)
        (place / "authorized_keys").write_text(public(self.key) + "\n" if accepted is None else accepted)
        hashed = subprocess.run(
            ["openssl", "passwd", "-6", "-salt", "sovtui", PASSWORD], capture_output=True, text=True, check=True
        ).stdout.strip()
        users = re.sub(r"(?m)^(root:.*):[^:]*:([^:]*)$", rf"\1:{superuser}:\2", Path("/etc/passwd").read_text())
        (place / "passwd").write_text(users + f"ops:x:5000:5000::{home}:{shell}\n")
        (place / "group").write_text(Path("/etc/group").read_text() + "ops:x:5000:\n")
        (place / "shadow").write_text(Path("/etc/shadow").read_text() + f"ops:{hashed}:19000:0:99999:7:::\n")
        (place / "shells").write_text(Path("/etc/shells").read_text() + f"{shell}\n")
        (place / "pam").write_text(pam)
        port = free_port(address)
        (place / "config").write_text(
            f"Port {port}\nListenAddress {address}\nPidFile none\nStrictModes no\nLogLevel VERBOSE\nUseDNS no\n"
            f"AuthorizedKeysFile {place}/authorized_keys\nUsePAM {'yes' if pam else 'no'}\nPermitRootLogin yes\n"
            + "".join(f"HostKey {path}\n" for path in keys)
            + (lines if "PasswordAuthentication" in lines else f"PasswordAuthentication no\n{lines}")
        )
        over = [(place / name, f"/etc/{name}") for name in ("passwd", "group", "shadow", "shells")]
        if pam:
            over.append((place / "pam", "/etc/pam.d/sshd"))
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        script = " && ".join([*mounts, *(f"mount --bind {source} {target}" for source, target in over)])
        with (place / "log").open("wb") as log:
            process = subprocess.Popen(
                ["unshare", "-m", "--propagation", "private", "sh", "-c", f"{script} && exec {SSHD} -D -e -f {place}/config"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        made = Sshd(place, port, process, address)
        self.servers.append(made)
        wait_for(lambda: process.poll() is not None or answers(address, port), made)
        assert process.poll() is None, made.log
        return made

    def trust(self, *servers: Sshd) -> Path:
        """Their keys are known."""
        path = self.home / ".ssh" / "known_hosts"
        path.write_text("".join(server.known_line for server in servers))
        return path

    def config(self, text: str) -> None:
        (self.home / ".ssh" / "config").write_text(text)

    def agent(self, *keys: Path) -> str:
        """A real ssh-agent with these keys. Returns its socket."""
        path = self.folder / f"agent{len(self.agents)}"
        said = subprocess.run(["ssh-agent", "-a", str(path)], capture_output=True, text=True, check=True).stdout
        self.agents.append(int(said.split("SSH_AGENT_PID=")[1].split(";")[0]))
        for key in keys:
            environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
            subprocess.run(["ssh-add", "-q", str(key)], env=environment, check=True, capture_output=True)
        return str(path)

    def dialer(self, server: Sshd, user: str = "ops", **words: Any) -> Dialer:
        name = f"[{server.address}]" if ":" in server.address else server.address
        return Dialer("spark", f"{user}@{name}:{server.port}", **words)

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        for pid in self.agents:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def free_port(address: str = "127.0.0.1") -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), 1):
            return True
    except OSError:
        return False


def wait_for(condition: Any, server: Sshd, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, server.log
        time.sleep(0.02)


@contextlib.contextmanager
def site() -> Iterator[Site]:
    """Everything in a folder that other users may enter; taken away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sovtui-sshd-", dir="/var/tmp"))
    folder.chmod(0o755)
    home = folder / "operator"
    (home / ".ssh").mkdir(mode=0o700, parents=True)
    made = Site(folder, home)
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
