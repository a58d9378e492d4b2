"""Faults in the box itself, in the network between and in this machine's own: with packets, a real sshd and real name servers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time

from sovtui.core.reach import Verdict
from tests.box.box import BoxError
from tests.faults.link.ground import far, near
from tests.faults.link.kinds import AWAY, HANGS, HELD, NONE, SHORT, only
from tests.faults.link.lane import LOSSES, Do, Kind, Lane

CONFIG = "/etc/ssh/sshd_config.d/fault.conf"
KEYS = "/home/ops/.ssh/authorized_keys"
DOWN = LOSSES | {Verdict.HOST_DOWN, Verdict.NO_ROUTE, Verdict.OFFLINE, Verdict.SSHD_DOWN, Verdict.TURNED_AWAY, Verdict.HANGS}


def inside(command: str) -> Do:
    """A shell line as root in the box."""

    async def do(lane: Lane) -> None:
        await root(lane, command)

    return do


async def root(lane: Lane, command: str) -> str:
    try:
        return (await asyncio.to_thread(lane.client.box.root, command, False, None, 60.0)).stdout
    except (BoxError, subprocess.SubprocessError) as problem:
        raise OSError(str(problem)) from None


async def here(command: str) -> None:
    """A shell line on this machine, in its own network."""
    process = await asyncio.create_subprocess_shell(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, errors = await process.communicate()
    if process.returncode:
        raise OSError(f"{command}: {errors.decode().strip()}")


SESSIONS = "pkill -9 -f '^sshd(-session)?: [^/]'"


async def listens(lane: Lane) -> None:
    """Until sshd greets."""
    for _ in range(1500):
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(far(lane.client.number), 22), 1)
            hello = await asyncio.wait_for(reader.read(4), 1)
            writer.close()
            if hello == b"SSH-":
                return
        except (OSError, TimeoutError):
            pass
        await asyncio.sleep(0.02)
    raise OSError("sshd does not greet any more")


async def start(lane: Lane) -> None:
    await root(lane, "systemctl start ssh")
    await listens(lane)


async def freeze(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.box.freeze)


async def thaw(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.box.thaw)


async def new_key(lane: Lane) -> None:
    await root(
        lane,
        "cd /etc/ssh && mkdir -p /run/keys && cp -p ssh_host_* /run/keys/ && rm ssh_host_* &&"
        f" ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key && systemctl restart ssh && {SESSIONS}",
    )


async def old_key(lane: Lane) -> None:
    await root(lane, "cp -p /run/keys/ssh_host_* /etc/ssh/ && systemctl restart ssh")
    await listens(lane)


async def full(lane: Lane) -> None:
    """No more logins than are in work, and one of those never ends."""
    await root(lane, f"echo 'MaxStartups 1:100:1' > {CONFIG} && systemctl restart ssh")
    await listens(lane)
    hello = b""
    while hello != b"SSH-":  # the one that looked whether sshd listens may still count
        reader, writer = await asyncio.open_connection(far(lane.client.number), 22)
        hello = await reader.read(4)
        await asyncio.sleep(0.05)
    lane.memory["hog"] = reader, writer
    await root(lane, SESSIONS.replace("[^/]", "ops"))


async def room(lane: Lane) -> None:
    lane.memory.pop("hog")[1].close()
    await root(lane, f"rm -f {CONFIG} && systemctl restart ssh")
    await listens(lane)


async def block(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.block)


async def unblock(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.unblock)


async def lossy(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.block, "numgen random mod 100 < 15 drop")


async def own_link_down(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.link, False)


async def own_link_up(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.link, True)


async def unplug(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.unplug, True)


async def plug(lane: Lane) -> None:
    await asyncio.to_thread(lane.client.unplug, False)


async def move(lane: Lane) -> None:
    await here(lane.client.move())


async def move_slowly(lane: Lane) -> None:
    await here(lane.client.move(lane.dice.uniform(1.5, 4.0)))


async def no_route(lane: Lane) -> None:
    await here(f"ip route add unreachable {far(lane.client.number)}/32")
    await root(lane, SESSIONS)


async def route(lane: Lane) -> None:
    await here(f"ip route del unreachable {far(lane.client.number)}/32")


async def default_gone(lane: Lane) -> None:
    """Out of the net altogether: no address, no default route."""
    client = lane.client
    await here(f"ip addr del {near(client.number, client.last)}/24 dev up0; ip route flush default || true")


async def default_back(lane: Lane) -> None:
    client = lane.client
    default = f"ip route replace default via {far(client.number)}"
    await here(f"ip addr add {near(client.number, client.last)}/24 dev up0 && {default}")


async def no_such_name(lane: Lane) -> None:
    lane.client.names(False)
    await root(lane, SESSIONS)


async def names_silent(lane: Lane) -> None:
    """The name server is gone too, as after a change of network: the address of before is good enough."""
    lane.memory["server"].silent = True
    await no_such_name(lane)


async def names_back(lane: Lane) -> None:
    lane.client.names(True)
    lane.memory["server"].silent = False


async def names_after(lane: Lane) -> None:
    if not lane.live():
        raise OSError(f"it should be back without a name server: {lane.host.link.reason}")
    await names_back(lane)


async def stopped(lane: Lane) -> None:
    """This program is stopped (Ctrl+Z, a phone's freezer), and meanwhile its connections are forgotten without a word."""
    client = lane.client
    pid, seconds = os.getpid(), lane.dice.uniform(5.0, 7.0)
    await asyncio.to_thread(client.block)
    await root(lane, SESSIONS)
    killer = subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {pid}"])
    os.kill(pid, signal.SIGSTOP)
    killer.wait()
    await asyncio.to_thread(client.unblock)
    lane.memory["woke"] = time.monotonic()


async def reboot(lane: Lane) -> None:
    lane.memory["boot"] = await asyncio.to_thread(lane.client.box.boot_id)
    await root(lane, "systemctl reboot")


async def booted(lane: Lane) -> None:
    for _ in range(1200):
        if await asyncio.to_thread(lane.client.box.boot_id, "") not in ("", lane.memory["boot"]):
            break
        await asyncio.sleep(0.1)
    await listens(lane)
    for _ in range(100):
        try:
            await lane.ssh()
            return
        except OSError:
            await asyncio.sleep(0.1)


BOX: tuple[Kind, ...] = (
    Kind("sessions killed", inside(SESSIONS)),
    Kind("sshd stopped", inside(f"systemctl stop ssh; {SESSIONS}"), start, only(Verdict.SSHD_DOWN), hold=SHORT),
    Kind("sshd restarted", inside("systemctl restart ssh"), right=NONE, loses=False, hold=(1.0, 2.0)),
    Kind("sshd restarted, all lost", inside(f"{SESSIONS}; systemctl restart ssh"), allowed=LOSSES | {Verdict.SSHD_DOWN} | AWAY),
    Kind("connections reset", inside("ss -K state established sport = :22 >&2")),
    Kind("box frozen", freeze, thaw, HANGS, hold=HELD),
    Kind("sshd frozen", inside("pkill -STOP sshd"), inside("pkill -CONT sshd"), HANGS, hold=HELD),
    Kind("MaxStartups", full, room, AWAY, LOSSES | {Verdict.SSHD_DOWN} | AWAY, hold=SHORT),
    Kind(
        "disk full",
        inside(
            "for d in /tmp /var/tmp /home/ops/.local; do mkdir -p $d; mount -t tmpfs -o size=16k,mode=1777 full $d;"
            f" head -c 64k /dev/zero > $d/full; done 2>/dev/null; {SESSIONS}"
        ),
        inside("umount /tmp /var/tmp /home/ops/.local"),
        hold=(4.0, 5.0),
        slow_back=True,
    ),
    Kind("key revoked", inside(f"mv {KEYS} {KEYS}.gone; {SESSIONS}"), inside(f"mv {KEYS}.gone {KEYS}"),
         only(Verdict.LOGIN_REFUSED), hold=SHORT, press=True),
    Kind("logins off", inside(f"echo soon > /run/nologin; {SESSIONS}"), inside("rm /run/nologin"),
         AWAY | {Verdict.LOGIN_REFUSED}, hold=SHORT, press=True),
    Kind("host key changed", new_key, old_key, only(Verdict.KEY_CHANGED), LOSSES | {Verdict.SSHD_DOWN}, hold=SHORT, press=True),
    Kind("packets dropped", block, unblock, only(Verdict.HOST_DOWN), hold=HELD),
    Kind("packets lost now and then", lossy, unblock, NONE, hold=(6.0, 9.0), loses=False),
    Kind("box unplugged", unplug, plug, only(Verdict.HOST_DOWN, Verdict.NO_ROUTE, Verdict.OFFLINE), hold=HELD),
    Kind("own link down", own_link_down, own_link_up, only(Verdict.OFFLINE), hold=(3.0, 8.0)),
    Kind("no address", default_gone, default_back, only(Verdict.OFFLINE), hold=(3.0, 8.0)),
    Kind("address changed", move),
    Kind("address changed slowly", move_slowly, right=LOSSES | {Verdict.OFFLINE}),
    Kind("no route", no_route, route, only(Verdict.NO_ROUTE), hold=SHORT),
    Kind("stopped and woken", stopped),
    Kind("reboot", reboot, booted, DOWN, DOWN | {Verdict.LOGIN_REFUSED}, slow_back=True),
)  # fmt: skip
NAMED: tuple[Kind, ...] = (
    Kind("name unknown", no_such_name, names_back, only(Verdict.NO_NAME), hold=SHORT),
    Kind("names fail", names_silent, names_after, hold=(6.0, 7.0)),
)
