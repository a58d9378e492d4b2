"""Real ssh servers on loopback: asyncssh in this process, and OpenSSH's sshd where it is installed. HOME is a fresh folder."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sovtui.adapters.links import _ssh_config
from sovtui.adapters.links.ssh import Dialer
from sovtui.ports.link import Link
from tests.loopback import close_pipes


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing here reads or writes the developer's own ~/.ssh, nor asks his agent."""
    path = tmp_path / "home"
    path.mkdir()
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(_ssh_config, "SYSTEM_FILES", ())  # a distribution may say anything there
    return path


def write_key(path: Path, key: asyncssh.SSHKey, passphrase: str | None = None, kind: str = "openssh") -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    slow = {"rounds": 2} if passphrase and kind == "openssh" else {}  # bcrypt is slow on purpose; so few make it warn
    key.write_private_key(str(path), kind, passphrase, **slow)
    path.chmod(0o600)
    return path


class Gate:
    """A small TCP proxy whose line can be cut: nothing passes any more, and nobody is told."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.bytes_through = 0
        self.port = 0

    async def start(self) -> Gate:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def go_silent(self) -> None:
        self._open.clear()

    def abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        self._writers += [writer, there_writer]
        for source, sink in ((reader, there_writer), (there_reader, writer)):
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                await self._open.wait()
                self.bytes_through += len(data)
                sink.write(data)
                await sink.drain()
            sink.close()


@dataclass
class Server:
    """One ssh server, in this process."""

    port: int
    host_key: asyncssh.SSHKey
    user_key: asyncssh.SSHKey
    listener: Any
    home: Path
    children: list[asyncio.subprocess.Process] = field(default_factory=list)
    connections: list[Any] = field(default_factory=list)

    @property
    def known_line(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key.export_public_key('openssh').decode().strip()}\n"

    def trust(self) -> Path:
        path = self.home / ".ssh" / "known_hosts"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(self.known_line)
        return path

    def dialer(self, **words: Any) -> Dialer:
        return Dialer("spark", f"ops@127.0.0.1:{words.pop('port', self.port)}", **words)


async def pump(read: Callable[[int], Awaitable[bytes]], sink: Any) -> None:
    """Copy until the end, and pass the end on."""
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await read(1 << 16):
            sink.write(data)
            await sink.drain()
        if isinstance(sink, asyncio.StreamWriter):
            sink.write_eof()


ServerMaker = Callable[..., Awaitable[Server]]


@pytest.fixture
async def serve(home: Path) -> AsyncIterator[ServerMaker]:
    """Start servers: `await serve(password="x", forward=False, …)`. The user key is already in ~/.ssh/id_ed25519."""
    made: list[Server] = []
    user_key = asyncssh.generate_private_key("ssh-ed25519")
    write_key(home / ".ssh" / "id_ed25519", user_key)

    async def start(
        *,
        password: str | None = None,
        change_to: str | None = None,
        challenge: str | None = None,
        prompts: tuple[tuple[str, bool], ...] = (("Code: ", False),),
        forward: bool = True,
        sessions: bool = True,
        banner: str = "",
        host_key: asyncssh.SSHKey | None = None,
        accepted: list[asyncssh.SSHKey] | None = None,
        port: int = 0,
        **words: Any,
    ) -> Server:
        host_key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        allowed = [user_key] if accepted is None else accepted

        class Front(asyncssh.SSHServer):
            def connection_made(self, conn: Any) -> None:
                server.connections.append(conn)
                self.conn = conn

            def begin_auth(self, username: str) -> bool:
                if banner:
                    self.conn.send_auth_banner(banner)
                return True

            def public_key_auth_supported(self) -> bool:
                return True

            def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
                return any(key.public_data == one.public_data for one in allowed)

            def password_auth_supported(self) -> bool:
                return password is not None

            def validate_password(self, username: str, given: str) -> bool:
                if given == password and change_to is not None:
                    raise asyncssh.PasswordChangeRequired("It is too old.\nTake \x1b[31manother")
                return given == password

            def change_password(self, username: str, old: str, new: str) -> bool:
                return (old, new) == (password, change_to)

            def kbdint_auth_supported(self) -> bool:
                return challenge is not None

            def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> Any:
                return ("Two steps", "Look at \x1b[31myour phone", "", list(prompts))

            def validate_kbdint_response(self, username: str, responses: Any) -> bool:
                return " ".join(responses) == challenge

            def session_requested(self) -> bool:
                return sessions

            def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> Any:
                if not forward:
                    raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "not allowed")
                return True

        async def handle(process: asyncssh.SSHServerProcess[bytes]) -> None:
            pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
            command = f"exec {process.command}"  # as bash does by itself for one command
            session: Any = process
            early: list[str] = []
            session.signal_received = early.append  # it may come before the command is known here, as it runs
            child = await asyncio.create_subprocess_exec("sh", "-c", command, start_new_session=True, **pipes)
            server.children.append(child)
            session.signal_received = lambda name: os.killpg(child.pid, getattr(signal, f"SIG{name}"))
            for name in early:
                session.signal_received(name)
            assert child.stdin and child.stdout and child.stderr
            feeding = asyncio.create_task(pump(process.stdin.read, child.stdin))
            await asyncio.gather(pump(child.stdout.read, process.stdout), pump(child.stderr.read, process.stderr))
            status = await child.wait()
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            if status < 0:
                process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
            else:
                process.exit(status)

        if sessions:
            words["process_factory"] = handle
        words.setdefault("compression_algs", ["zlib@openssh.com", "none"])
        listener = await asyncssh.listen(
            "127.0.0.1", port, server_factory=Front, server_host_keys=[host_key], encoding=None, **words
        )
        server = Server(listener.get_port(), host_key, user_key, listener, home)
        made.append(server)
        return server

    yield start
    for server in made:
        server.listener.close()
        for conn in server.connections:
            conn.abort()
        for child in server.children:
            if child.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            await close_pipes(child)
        await asyncio.gather(*(conn.wait_closed() for conn in server.connections))
        await server.listener.wait_closed()


@dataclass
class Sshd:
    """OpenSSH, as a plain daemon on loopback."""

    port: int
    home: Path
    host_public: str

    def dialer(self, **words: Any) -> Dialer:
        return Dialer("spark", f"{getpass.getuser()}@127.0.0.1:{words.pop('port', self.port)}", **words)


SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@pytest.fixture
async def sshd(home: Path, request: pytest.FixtureRequest) -> AsyncIterator[Sshd]:
    """A real sshd that accepts ~/.ssh/id_ed25519; its key is already known. The parameter: further lines of its sshd_config, all keys RSA."""
    more = getattr(request, "param", "")
    if SSHD is None:
        pytest.skip("sshd is not installed")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    place = home / "sshd"
    place.mkdir()
    kind = "ssh-rsa" if more else "ssh-ed25519"
    host_key, user_key = (asyncssh.generate_private_key(kind) for _ in range(2))
    write_key(place / "host_key", host_key)
    write_key(home / ".ssh" / kind.replace("ssh-", "id_"), user_key)
    (place / "authorized_keys").write_bytes(user_key.export_public_key("openssh"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (place / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {place}/host_key\nAuthorizedKeysFile {place}/authorized_keys\n"
        f"PidFile {place}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nLogLevel ERROR\n{more}\n"
    )
    with (place / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            SSHD, "-D", "-e", "-f", str(place / "config"), stderr=log, start_new_session=True
        )
    try:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    break
                except OSError:
                    assert process.returncode is None, (place / "log").read_text()
                    await asyncio.sleep(0.02)
        writer.close()
        await writer.wait_closed()
        public = host_key.export_public_key("openssh").decode().strip()
        (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
        yield Sshd(port, home, public)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        await process.wait()


@contextlib.asynccontextmanager
async def linked(dialer: Any, ask: Any = None) -> AsyncIterator[Link]:
    link = await dialer.dial(ask)
    try:
        yield link
    finally:
        await link.aclose()


async def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it ended while we read
        return False
