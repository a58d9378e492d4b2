"""Every kind of fault: at which steps of a switch it can strike, how, and how it is taken back."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.scene import HOLDS, PORTS, STATE, SUDOERS, Scene

STEPS = ("preflight", "stop", "gone", "memory", "drop-caches", "start", "ready", "verify")
ALL = (*STEPS, "hold", "release") if HOLDS else STEPS
UNDO = ("undo-stop", "undo-start", "undo-ready")
EARLY = ("preflight", "stop", "gone", "memory", "drop-caches")
BEFORE = "before"
"""Not a step: the fault is there before the client starts."""
Do = Callable[[Scene], None]


def nothing(_: Scene) -> None:
    return


@dataclass(frozen=True)
class Kind:
    name: str
    steps: tuple[str, ...]
    strike: Do
    mend: Do = nothing
    """What the operator would do about it, after the next client has looked."""
    before: Do = nothing
    needs_target: bool = False
    """Only where a mode is to be started."""
    needs_origin: bool = False
    ready_timeout: str = "20s"
    reboots: bool = False
    loses: bool = False
    """It takes the runner away, so that the action may be lost."""
    foreign_start: bool = False
    """The fault itself starts an engine: two loaded by that start are counted apart."""
    ends_after: bool = False
    """What it does goes on after the action's end, so that the end need not hold any more."""


# -- what strikes ------------------------------------------------------------------------------------


def _client(number: signal.Signals) -> Do:
    def strike(s: Scene) -> None:
        assert s.client
        s.client.send_signal(number)

    return strike


def _runner(number: signal.Signals) -> Do:
    def strike(s: Scene) -> None:
        assert s.agent
        s.agent.order("kill", "killed", signal=int(number))

    return strike


def _cut(s: Scene) -> None:
    s.box.cut_network()
    s.later(3.0, s.box.restore_network)


def _freeze(s: Scene) -> None:
    s.box.freeze()
    time.sleep(3.0)
    s.box.thaw()


def _kill_new(s: Scene) -> None:
    assert s.agent
    hit = s.agent.order("strike", "struck", unit=s.unit(s.target), seconds=6.0)
    s.fault["struck"] = hit["step"] if hit["pid"] else "nothing"


def _kill_old(s: Scene) -> None:
    s.box.systemctl("kill", "--signal=KILL", s.unit(s.origin), check=False)


def _fails(word: str) -> Do:
    return lambda s: s.box.fail(s.unit(s.target).removesuffix(".service"), word)


def _stubborn(s: Scene) -> None:
    """The old engine is started again as one that ignores SIGTERM; systemd kills it after its TimeoutStopSec of 10 s."""
    unit = s.unit(s.origin)
    s.box.fail(unit.removesuffix(".service"), "ignore-term")
    s.box.systemctl("restart", unit)
    s.steady()
    s.box.fail(unit.removesuffix(".service"))


def _foreign(s: Scene, code: str, name: str) -> None:
    """A process of somebody else; known to stand before the switch goes on."""
    s.box.root(f"setsid python3 -c {shlex.quote(f'{code} # {name}')} > /dev/null 2>&1 < /dev/null &")
    time.sleep(0.2)
    if s.box.root(["pgrep", "-f", f"[{name[0]}]{name[1:]}"], check=False).returncode:
        s.fault["struck"] = "nothing"


def _memory(s: Scene) -> None:
    _foreign(s, "import mmap,time; m=mmap.mmap(-1,200<<20); m[:]=b'x'*(200<<20); time.sleep(600)", "foreign-memory")


def _port(s: Scene) -> None:
    """Takes the target's port, accepts and never answers."""
    port = PORTS[s.target][0]
    listen = f"s.setsockopt(1,2,1); s.bind(('127.0.0.1',{port})); s.listen(); time.sleep(600)"
    _foreign(s, f"import socket,time; s=socket.socket(); {listen}", "foreign-port")


def _no_foreign(s: Scene) -> None:
    alive = s.box.root("pkill -9 -f '[f]oreign-memory|[f]oreign-port'", check=False).returncode == 0
    s.fault["foreign killed"] = not alive


def _without(words: str, of: str = "") -> Do:
    """Takes lines out of the sudoers file; `of` is `target`, `origin` or empty for both."""

    def strike(s: Scene) -> None:
        unit = s.unit({"target": s.target, "origin": s.origin}[of]) if of else ""
        kept = [line for line in s.sudoers.splitlines(True) if not (words in line and unit in line)]
        s.box.write(SUDOERS, "".join(kept), mode="440")

    return strike


def _rights_back(s: Scene) -> None:
    s.box.write(SUDOERS, s.sudoers, mode="440")


def _small_disk(s: Scene) -> None:
    """The receipts' file system: a megabyte of its own, so that the machine is never filled."""
    own = "uid=$(id -u ops),gid=$(id -g ops)"
    s.box.root(f"runuser -u ops -- mkdir -p {STATE} && mount -t tmpfs -o size=1m,mode=700,{own} tmpfs {STATE}")
    assert s.agent
    s.agent.actions = set()


def _fill(s: Scene) -> None:
    s.box.root(f"cat /dev/zero > {STATE}/fill", check=False)


def _second(s: Scene) -> None:
    """Another operator wants another mode in the middle."""
    other = next((m for m in PORTS if m not in (s.target, s.origin)), s.origin)
    s.fault["second"] = s.second.start("switch", other, "--yes")


def _revive(s: Scene) -> None:
    s.box.systemctl("start", "--no-block", s.unit(s.origin), check=False)


def _revive_loop(s: Scene) -> None:
    line = f"while :; do systemctl start {s.unit(s.origin)}; sleep 0.4; done"
    s.box.root(["systemd-run", "-q", "--collect", "--unit=reviver", "sh", "-c", line])


def _no_reviver(s: Scene) -> None:
    s.box.systemctl("stop", "reviver", check=False)


def _reboot(s: Scene) -> None:
    before = s.box.boot_id()
    s.box.root(["systemctl", "reboot"], check=False)
    s.fault["boot"] = before


def _power(s: Scene) -> None:
    """Every process gone at one instant, no goodbye on the wire; then it boots again."""
    before = s.box.boot_id()
    s.box.cut_network()
    s.box.root(["reboot", "-f", "-f", "--no-wtmp"], check=False, timeout=20)
    s.fault["boot"] = before
    s.later(0.5, s.box.restore_network)


def _user_manager(s: Scene) -> None:
    s.box.root("systemctl kill --kill-whom=main --signal=KILL user@$(id -u ops).service", check=False)


def _reload(s: Scene) -> None:
    s.box.root("systemctl daemon-reload; systemctl --user -M ops@ daemon-reload", check=False)


_WITH_UNDO = (*ALL, *UNDO)
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("client-kill", _WITH_UNDO, _client(signal.SIGKILL)),
        Kind("client-term", ALL, _client(signal.SIGTERM)),
        Kind("runner-kill", _WITH_UNDO, _runner(signal.SIGKILL), loses=True),
        Kind("runner-term", _WITH_UNDO, _runner(signal.SIGTERM)),
        Kind("sshd-kill", ALL, lambda s: s.box.kill_sessions()),
        Kind("reset", ALL, lambda s: s.box.reset_connections()),
        Kind("cut-3s", ALL, _cut),
        Kind("freeze-3s", ALL, _freeze),
        Kind("new-engine-kill", ("start", "ready", "verify"), _kill_new, needs_target=True),
        Kind("old-engine-kill", ("preflight", "stop"), _kill_old, needs_origin=True),
        Kind("engine-oom", EARLY, _fails("oom"), needs_target=True),
        Kind("engine-badflag", EARLY, _fails("badflag"), needs_target=True),
        Kind("engine-weights", EARLY, _fails("missing-weights"), needs_target=True),
        Kind("engine-port", EARLY, _fails("port"), needs_target=True),
        Kind("engine-hang", EARLY, _fails("hang"), needs_target=True, ready_timeout="4s"),
        Kind("engine-crash", EARLY, _fails("crash-after-load"), needs_target=True),
        Kind("engine-wrong-model", EARLY, _fails("wrong-model"), needs_target=True, ready_timeout="6s"),
        Kind("engine-ignore-term", ("stop",), nothing, before=_stubborn, needs_origin=True),
        Kind("foreign-memory", (*EARLY, "start", "ready"), _memory, mend=_no_foreign),
        Kind("foreign-port", (BEFORE, *EARLY, "start"), _port, mend=_no_foreign, needs_target=True),
        Kind("no-sudo-start", (BEFORE, *EARLY), _without("systemctl start ", "target"), mend=_rights_back, needs_target=True),
        Kind("no-sudo-any-start", EARLY, _without("systemctl start "), mend=_rights_back, needs_target=True),
        Kind("no-sudo-stop", (BEFORE, "preflight", "stop"), _without("systemctl stop "), mend=_rights_back, needs_origin=True),
        Kind("no-sudo-tee", (BEFORE, *EARLY), _without("/usr/bin/tee"), mend=_rights_back),
        Kind("disk-full", (BEFORE, *ALL), _fill, before=_small_disk, mend=lambda s: s.box.remove(f"{STATE}/fill")),
        Kind("second-operator", (*EARLY, "start", "ready"), _second),
        Kind("revive-once", STEPS[1:], _revive, needs_origin=True, foreign_start=True, ends_after=True),
        Kind("revive-loop", STEPS[1:], _revive_loop, mend=_no_reviver, needs_origin=True, foreign_start=True, ends_after=True),
        Kind("reboot", _WITH_UNDO, _reboot, reboots=True, loses=True),
        Kind("power-cut", _WITH_UNDO, _power, reboots=True, loses=True),
        Kind("user-manager-kill", ALL, _user_manager, loses=True),
        Kind("daemon-reload", ALL, _reload),
    )
}
