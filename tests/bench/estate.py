"""Fifty boxes with two hundred services each, all telling news every second: the room's processor, memory, and its keys.

Everything on the client's side is real: fifty ssh connections, the parser, the store, the record, the screen. The boxes are one
process (`tests.bench.many`): an ssh server that says what fifty probes would. There is no Prometheus and no engine.
"""

from __future__ import annotations

import contextlib
import select
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh

from tests.bench.keys import _presses
from tests.bench.many import host, service
from tests.bench.remote import child
from tests.bench.row import Row
from tests.bench.terminal import Terminal, environment, reference_seconds

HOSTS, SERVICES = 50, 200
CPU_BAR_PERCENT = 25.0
KEY_BAR_SECONDS = 0.050
SETTLE_SECONDS = 15.0
ALL_UP_SECONDS = 90.0


def measure(seconds: float) -> list[Row]:
    with estate() as (home, ready), Terminal.python(["-m", "sovtui"], environment(home)) as terminal:
        began = time.monotonic()
        ready()
        up = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        reference = reference_seconds()
        at, used = time.monotonic(), terminal.cpu_seconds()
        time.sleep(seconds)
        percent = (terminal.cpu_seconds() - used) / (time.monotonic() - at) * 100
        times, _ = _presses(terminal, b"\t")
        resident = terminal.resident_mib()
    late = statistics.quantiles(times, n=20)[-1]
    details = {
        "cpu_percent": percent,
        "reference_cpu_s": reference,
        "reaction_s": times,
        "resident_mib": resident,
        "all_up_s": up,
    }
    what = f"{HOSTS} hosts x {SERVICES} services at 1 Hz over {HOSTS} ssh links"
    return [
        Row(
            "estate",
            f"processor, {what}",
            f"<= {CPU_BAR_PERCENT:.0f} % of one core",
            f"{percent:.1f} % over {seconds:.0f} s; importing Textual took {reference * 1000:.0f} ms meanwhile",
            percent <= CPU_BAR_PERCENT,
            details,
        ),
        Row(
            "estate",
            "the same, key press to visible reaction, 95th percentile",
            f"<= {KEY_BAR_SECONDS * 1000:.0f} ms",
            f"{late * 1000:.0f} ms; median {statistics.median(times) * 1000:.1f} ms, worst of {len(times)} {max(times) * 1000:.0f} ms",
            late <= KEY_BAR_SECONDS,
        ),
        Row("estate", "the same, resident memory; all links up", "", f"{resident:.0f} MiB; after {up:.0f} s", None),
    ]


@contextlib.contextmanager
def estate(hosts: int = HOSTS, services: int = SERVICES) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The home of a client of that many boxes, and what waits until each has its probe."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        home = folder / "home"
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        for path, key in ((folder / "host_key", host_key), (home / ".ssh" / "id_ed25519", user_key)):
            key.write_private_key(str(path))
            path.chmod(0o600)
        (folder / "authorized_keys").write_bytes(user_key.export_public_key("openssh"))
        boxes = child(stack, [sys.executable, "-m", "tests.bench.many", str(folder), str(hosts)])
        assert boxes.stdout is not None
        port = int(boxes.stdout.readline())
        public = host_key.export_public_key("openssh").decode().strip()
        (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {public}\n")
        (home / ".ssh" / "config").write_text(f"Host box*\n HostName 127.0.0.1\n Port {port}\n User ops\n")
        watched = ", ".join(f'"{service(n)}"' for n in range(services))
        config = home / ".config" / "sovtui" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(
            "".join(
                f'[host.{host(n)}]\nlink = "ssh"\naddress = "{host(n)}"\nwatch = [{watched}]\n\n'
                f'[[host.{host(n)}.mode]]\nname = "hot"\nkey = "1"\nservices = ["{service(0)}"]\n\n'
                for n in range(hosts)
            )
        )

        def ready() -> None:
            assert boxes.stdout is not None
            assert select.select([boxes.stdout], [], [], ALL_UP_SECONDS)[0], f"not all were up within {ALL_UP_SECONDS:g} s"
            assert boxes.stdout.readline().strip() == b"all"

        yield home, ready
