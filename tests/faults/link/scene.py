"""A control room with several hosts that are all the same box, each over a way of its own."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sovtui.adapters.links import _ssh_link
from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from sovtui.runtime.control import Control
from sovtui.runtime.links import Pace
from tests.faults.link.ground import NAME, Client, far
from tests.faults.link.lane import Lane
from tests.faults.link.proxy import Proxy

DIRECT, NAMED, JUMP = "direct", "named", "jump"
LEAKED_SECONDS = 60.0
"""What is still held after so long is held for good."""


@dataclass(frozen=True)
class Size:
    """What this process holds."""

    tasks: int
    descriptors: int
    rss_kib: int
    record_kib: int = 0
    """What the record of the last hour takes of it, which grows for an hour by intention."""

    @classmethod
    def now(cls, hub: Control | None = None) -> Size:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        rss_kib = pages * os.sysconf("SC_PAGE_SIZE") >> 10
        record_kib = hub.record.size_bytes >> 10 if hub is not None else 0
        return cls(len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")), rss_kib, record_kib)

    @classmethod
    async def at_rest(cls, before: Size | None = None) -> Size:
        """The least of a few looks: what measures a round trip just now is no leak.

        What is just being opened or closed is none either, however long a busy machine takes for it. So the first size is taken once
        it is the same twice; and what is more than `before` is looked at again for as long as `LEAKED_SECONDS`: a leak stays.
        """
        end = time.monotonic() + LEAKED_SECONDS
        last = await cls._least()
        while time.monotonic() < end:
            if before is not None and last.tasks <= before.tasks and last.descriptors <= before.descriptors:
                break
            now = await cls._least()
            same = (now.tasks, now.descriptors) == (last.tasks, last.descriptors)
            last = now
            if before is None and same:
                break
        return last

    @classmethod
    async def _least(cls) -> Size:
        looks = []
        for _ in range(10):
            looks.append(cls.now())
            await asyncio.sleep(0.3)
        return cls(min(x.tasks for x in looks), min(x.descriptors for x in looks), min(x.rss_kib for x in looks))

    def __str__(self) -> str:
        return f"{self.tasks} tasks, {self.descriptors} descriptors, {self.rss_kib / 1024:.1f} MiB"


class NameServer(asyncio.DatagramProtocol):
    """Knows no name; says so, or nothing."""

    silent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.silent:
            self.transport.sendto(data[:2] + b"\x81\x83" + data[4:6] + bytes(6) + data[12:], addr)


@dataclass
class Scene:
    hub: Control
    lanes: dict[str, Lane]
    client: Client

    async def live(self) -> bool:
        every = [lane.until(lane.live, 90) for lane in self.lanes.values()]
        return all(await asyncio.gather(*every))


def prepare(client: Client, folder: Path, proxies: dict[str, Proxy], names: list[str]) -> Path:
    """A home with keys and an ssh_config; the file."""
    box = client.box
    ssh = folder / "home" / ".ssh"
    ssh.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.copy(box.key_path, ssh / "id_ed25519")
    (ssh / "id_ed25519").chmod(0o600)
    key = " ".join(box.known_hosts_path.read_text().split()[1:3])
    (ssh / "known_hosts").write_text(f"thebox {key}\n")
    common = (
        f" User ops\n HostKeyAlias thebox\n IdentityFile {ssh}/id_ed25519\n IdentitiesOnly yes\n"
        f" UserKnownHostsFile {ssh}/known_hosts\n GlobalKnownHostsFile /dev/null\n"
    )
    text = ""
    for name in names:
        proxy = proxies.get(name)
        place = f" HostName 127.0.0.1\n Port {proxy.port}\n" if proxy else f" HostName {far(client.number)}\n"
        if name == NAMED:
            place = f" HostName {NAME}\n"
        elif name == JUMP and proxy is not None:
            text += f"Host hop\n HostName 127.0.0.1\n Port {proxy.port}\n{common}"
            place = " HostName 127.0.0.1\n Port 22\n ProxyJump hop\n"
        text += f"Host {name}\n{place}{common}"
    (ssh / "config").write_text(text)
    os.environ["HOME"] = str(folder / "home")
    return ssh / "config"


@contextlib.asynccontextmanager
async def scene(
    client: Client, folder: Path, names: list[str], seed: int, pace: Pace | None = None, text: str = ""
) -> AsyncIterator[Scene]:
    """All hosts of these names are up; the name says the way: `direct`, `named`, `jump`, else over a proxy. `text`: their configuration."""
    _ssh_link.LATENCY_EVERY_SECONDS = 3.0  # a link that turns slow is told of within half a minute otherwise
    proxies: dict[str, Proxy] = {}
    for name in names:
        if name not in (DIRECT, NAMED):
            proxies[name] = Proxy(far(client.number))
            await proxies[name].open()
    config = prepare(client, folder, proxies, names)
    # a metered link is asked less often whether it lives; lanes turn slow here, and would be taken for one
    words = 'link = "ssh"\nmetered = false\nwatch = ["ssh.service"]\n'
    hosts = "".join(f'[host.{name}]\naddress = "{name}"\n{words}' for name in names)
    hub = build_hub(loads(text or hosts), interactive=True, pace=pace)
    idle = Proxy("127.0.0.1")
    lanes = {name: Lane(name, hub, client, config, proxies.get(name, idle), random.Random(f"{seed} {name}")) for name in names}
    names_of: asyncio.DatagramTransport | None = None
    if NAMED in names:
        loop = asyncio.get_running_loop()
        names_of, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 53))
        lanes[NAMED].memory["server"] = server
    await hub.start()
    made = Scene(hub, lanes, client)
    try:
        if not await made.live():
            raise OSError("; ".join(f"{lane.name}: {lane.host.link.reason}" for lane in lanes.values() if not lane.live()))
        yield made
    finally:
        await hub.aclose()
        if names_of is not None:
            names_of.close()
        for proxy in proxies.values():
            await proxy.close()
