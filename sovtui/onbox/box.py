"""Small reads of this machine: environment for commands, clock, memory, processor, user. No commands are run here."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from sovtui.onbox.deadline import within


def environment() -> dict[str, str]:
    """The environment for commands: no locale, no pager, UTC, and the way to the user's own manager."""
    env = dict(os.environ)
    for name in list(env):
        if name.startswith("LC_") or name in ("LANGUAGE", "SYSTEMD_PAGER", "SYSTEMD_LESS", "DOCKER_CLI_HINTS"):
            del env[name]
    env.update(LC_ALL="C", LANG="C", TZ="UTC", SYSTEMD_COLORS="0", SYSTEMD_PAGER="", PAGER="cat")
    env.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    runtime = f"/run/user/{os.getuid()}"
    if "XDG_RUNTIME_DIR" not in env and os.path.isdir(runtime):
        env["XDG_RUNTIME_DIR"] = runtime
    return env


def command(argv: Sequence[str], timeout: float | None = 20.0, stdin: bytes = b"") -> tuple[int, str, str]:
    """Run one command: exit status, output, errors. 127 where there is no such program, 124 where it took too long.

    It is killed then, with what it has started; sudo, which nobody but root may kill, is left to itself.
    """
    begun: list[subprocess.Popen[bytes]] = []
    pipe = subprocess.PIPE

    def run() -> tuple[bytes, bytes]:
        begun.append(
            subprocess.Popen(list(argv), stdin=pipe, stdout=pipe, stderr=pipe, env=environment(), start_new_session=True)
        )
        return begun[0].communicate(stdin)

    def end() -> None:
        for one in begun:
            with contextlib.suppress(OSError):
                os.killpg(one.pid, signal.SIGKILL)

    try:
        out, err = within(timeout, run, end)
    except FileNotFoundError:
        return 127, "", f"{argv[0]}: not found"
    except PermissionError:
        return 126, "", f"{argv[0]}: permission denied"
    except TimeoutError as late:
        return 124, "", f"{argv[0]} {late}"
    return begun[0].returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def docker() -> str:
    """The docker-compatible command line that is here. `docker` may be a script that runs podman and says so on every call."""
    tool = shutil.which("docker")
    return "podman" if shutil.which("podman") and (not tool or "podman" in read(tool, 512)) else "docker"


def last_line(text: str, limit: int = 300) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else ""


def user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def state() -> str:
    """Where this user's actions and his lock are kept."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not state.startswith("/"):
        state = os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(state, "sovtui")


def is_root() -> bool:
    return os.geteuid() == 0


def systemctl(kind: str, *args: str) -> list[str]:
    """Asks a manager: `kind` is `system` or `user`."""
    return ["systemctl", *(["--user"] if kind == "user" else []), "--no-pager", *args]


def journal_unreadable() -> str:
    """Why this user does not see the journal of system units; empty where he does.

    journalctl ends well for such a user and shows his own lines only; its hint is not always there.
    """
    files = glob.glob("/var/log/journal/*/system.journal") + glob.glob("/run/log/journal/*/system.journal")
    if is_root() or any(os.access(file, os.R_OK) for file in files):
        return ""
    if not files and all(
        os.access(folder, os.X_OK) for folder in glob.glob("/var/log/journal/*") + glob.glob("/run/log/journal/*")
    ):
        return ""  # no journal here at all: journalctl says so itself
    return f"{user()} may not read the journal: add {user()} to group systemd-journal"


def read(path: str, limit: int = 1 << 20) -> str:
    """The text of a small file; empty where it cannot be read, or is none: to open another user's pipe would wait for him."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return ""
        with open(descriptor, "rb") as file:
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def boot_id() -> str:
    return read("/proc/sys/kernel/random/boot_id").strip()


def now_text(at: float | None = None) -> str:
    """ISO 8601 in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def has_systemd() -> bool:
    return os.path.isdir("/run/systemd/system")


def meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found = {}
    for line in read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * (1024 if words[-1] == "kB" else 1)
    return found


_MEMORY = {
    "total": ("MemTotal",),
    "available": ("MemAvailable",),
    "free": ("MemFree",),
    "droppable": ("Active(file)", "Inactive(file)", "SReclaimable"),
    "cached": ("Cached", "Buffers", "SReclaimable"),
    "buffers": ("Buffers",),
    "shared": ("Shmem",),
    "swap_total": ("SwapTotal",),
}
"""What of /proc/meminfo makes each."""


def memory() -> dict[str, int]:
    """What the memory is used for, in bytes; what this kernel does not tell is left out."""
    m = meminfo()
    found = {name: sum(m[key] for key in keys) for name, keys in _MEMORY.items() if all(key in m for key in keys)}
    if "SwapTotal" in m and "SwapFree" in m:
        found["swap_used"] = m["SwapTotal"] - m["SwapFree"]
    return found


def figures() -> tuple[tuple[str, float], ...]:
    """Figures for a receipt."""
    m = meminfo()
    names = (
        ("memory.total_bytes", "MemTotal"),
        ("memory.available_bytes", "MemAvailable"),
        ("memory.free_bytes", "MemFree"),
        ("memory.cached_bytes", "Cached"),
        ("memory.buffers_bytes", "Buffers"),
        ("memory.reclaimable_bytes", "SReclaimable"),
    )
    found = [(name, float(m[key])) for name, key in names if key in m]
    return (*found, *_gpu())


def _gpu() -> tuple[tuple[str, float], ...]:
    """Free memory of discrete GPUs together, where nvidia-smi tells it (it does not for unified memory)."""
    code, out, _ = command(["nvidia-smi", "--query-gpu=memory.free,memory.used", "--format=csv,noheader,nounits"], 5.0)
    rows = [line.split(",") for line in out.splitlines()] if code == 0 else []
    if not rows or not all(len(row) == 2 and all(cell.strip().isdigit() for cell in row) for row in rows):
        return ()
    free, used = (float(sum(int(row[i]) for row in rows) << 20) for i in (0, 1))
    return (("gpu.memory.free_bytes", free), ("gpu.memory.used_bytes", used))


def cpu_times() -> tuple[float, float]:
    """Busy and total ticks of all processors since boot."""
    words = read("/proc/stat", 4096).split("\n", 1)[0].split()[1:9]
    ticks = [float(word) for word in words]
    if len(ticks) < 5:
        return 0.0, 0.0
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


_out = threading.Lock()
_mark = ""


def mark(marker: str) -> None:
    """What each line that is said begins with from now on: other programs may write to the same standard output."""
    global _mark
    _mark = marker


def say(*lines: dict[str, Any]) -> None:
    """JSON lines on standard output, at once, whole, in one piece: each piece costs a packet. A client that has gone is no error."""
    data = "".join(_mark + json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode("ascii", "backslashreplace")
    with _out:
        try:
            while data:
                data = data[os.write(1, data) :]
        except OSError:
            os._exit(0)


def read_line() -> bytes:
    """One line from standard input, unbuffered."""
    line = bytearray()
    while True:
        byte = os.read(0, 1)
        if not byte or byte == b"\n":
            return bytes(line)
        line += byte
        if len(line) > 1 << 20:
            raise ValueError("the request is too long")


def end_with_client(hear: Callable[[bytes], None] | None = None) -> threading.Event:
    """Watch standard input: when it closes the client has gone. The event is set, and half a second later the process ends.

    `hear` gets every line that comes meanwhile.
    """
    gone = threading.Event()

    def watch() -> None:
        rest = b""
        try:
            while part := os.read(0, 65536):
                *lines, rest = (rest + part).split(b"\n")
                if hear is not None:
                    for line in lines:
                        hear(line)
                rest = rest[-65536:]
        except OSError:
            pass
        gone.set()
        time.sleep(0.5)
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()
    return gone


def python() -> str:
    return sys.executable or "python3"
