"""One box with an operator, and what a fault may do there: the truth by systemd and HTTP, the agent inside, the reset."""

from __future__ import annotations

import contextlib
import json
import queue
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sovtui.config.schema import SwitchConfig
from tests.box.box import Box, BoxError, boot, wait_for
from tests.integration.operator import ENGINES, Operator

CONFIG = """\
[host.testbox]
link = "ssh"
address = "testbox"
memory = "unified"

[[host.testbox.mode]]
name = "qwen"
key = "1"
engine = "vllm"
url = "http://127.0.0.1:30001"
model = "qwen36"
services = ["vllm-qwen36.service"]

[[host.testbox.mode]]
name = "mistral"
key = "2"
engine = "sglang"
url = "http://127.0.0.1:30000"
model = "mistral4"
services = ["sglang-mistral4.service"]

[host.testbox.switch]
ready_timeout = "READY"
stop_timeout = "20s"
floor = ["restartme.service"]
"""
FLOOR = "restartme.service"
HELD = "backup-nas.timer"
HOLDS = any(field.name == "hold" for field in fields(SwitchConfig))
"""Whether this sovtui holds services during a switch."""
PORTS = {"qwen": (30001, "qwen36"), "mistral": (30000, "mistral4")}
SUDOERS = "/etc/sudoers.d/sovtui"
STATE = "/home/ops/.local/state/sovtui"
AGENT = Path(__file__).with_name("agent.py")
TUNED = {"load_seconds": 0.5, "warmup_seconds": 0.1, "health_seconds": 0.1}
_NOISE = "prometheus prometheus-alertmanager prometheus-node-exporter"


def configuration(ready_timeout: str) -> str:
    return CONFIG.replace("READY", ready_timeout) + (f'hold = ["{HELD}"]\n' if HOLDS else "")


@dataclass(frozen=True)
class Truth:
    """What each mode is, as systemd and the engine's own HTTP say: `hot`, `loaded` (runs, not ready), `moving` or `cold`."""

    modes: dict[str, str]
    failed: tuple[str, ...] = ()

    @property
    def hot(self) -> list[str]:
        return [m for m, state in self.modes.items() if state == "hot"]

    @property
    def up(self) -> list[str]:
        return [m for m, state in self.modes.items() if state != "cold"]

    def __str__(self) -> str:
        return ", ".join(f"{m} {state}" for m, state in self.modes.items())


class Agent:
    """The process inside the box; dies with it."""

    def __init__(self, box: Box) -> None:
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        what = json.dumps([list(ENGINES.values()), FLOOR])
        self._process = subprocess.Popen(
            [*box.inside(), *environment, "python3", "-I", "-u", "-c", AGENT.read_text(), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: list[dict[str, Any]] = []
        self._answers: dict[str, queue.Queue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self.dead = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        hello = self.wait("hello", 10)
        self.actions = set(hello["actions"])
        self.floor: list[int] = hello["floor"]

    def _queue(self, t: str) -> queue.Queue[dict[str, Any]]:
        with self._lock:
            return self._answers.setdefault(t, queue.Queue())

    def _read(self) -> None:
        assert self._process.stdout
        for raw in self._process.stdout:
            line = json.loads(raw)
            if line["t"] in ("two", "two-over", "floor"):
                self.seen.append(line)
            else:
                self._queue(line["t"]).put(line)
        self.dead.set()

    def wait(self, t: str, seconds: float) -> dict[str, Any]:
        """The next line of that kind. BoxError if none comes or the agent is dead."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self._queue(t).get(timeout=0.1)
            except queue.Empty:
                if self.dead.is_set() or time.monotonic() > end:
                    raise BoxError(f"the agent in the box did not say {t}") from None

    def order(self, do: str, answer: str, patience: float = 10, **fields: Any) -> dict[str, Any]:
        self.send(do, **fields)
        return self.wait(answer, patience)

    def send(self, do: str, **fields: Any) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):
            raise BoxError("the agent in the box is dead") from None

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Scene:
    """A box in use. `fault` keeps what the fault of the running case needs to remember."""

    box: Box
    folder: Path
    operator: Operator
    second: Operator
    sudoers: str
    agent: Agent | None = None
    client: subprocess.Popen[str] | None = None
    origin: str = "none"
    target: str = "none"
    fault: dict[str, Any] = field(default_factory=dict)
    timers: list[threading.Thread] = field(default_factory=list)

    @classmethod
    def open(cls) -> Scene:
        box = boot()
        folder = Path(tempfile.mkdtemp(prefix="faults-"))
        text = configuration("20s")
        first, second = (Operator.at(box, folder / name, config=text) for name in ("first", "second"))
        rights = box.read(SUDOERS)
        if HOLDS:
            rights += "".join(f"ops ALL=(root) NOPASSWD: /usr/bin/systemctl {verb} {HELD}\n" for verb in ("start", "stop"))
            box.write(SUDOERS, rights, mode="440")
            box.systemctl("enable", "-q", "--now", HELD)
        scene = cls(box, folder, first, second, rights)
        box.root(f"systemctl disable -q --now {_NOISE} crashloop.service backup-broken.service || true", check=False)
        scene.tune()
        return scene

    def close(self) -> None:
        if self.agent:
            self.agent.close()
        self.box.down()
        shutil.rmtree(self.folder, ignore_errors=True)

    def tune(self) -> None:
        for unit in ENGINES.values():
            self.box.tune(unit.removesuffix(".service"), **TUNED)

    def configure(self, ready_timeout: str) -> None:
        for operator in (self.operator, self.second):
            operator.config_path.write_text(configuration(ready_timeout))

    # -- truth --------------------------------------------------------------------------------------

    def truth(self) -> Truth:
        units = " ".join(ENGINES.values())
        asked = "; ".join(
            f"systemctl is-active -q {unit} && {{ curl -s -m 1 http://127.0.0.1:{PORTS[mode][0]}/v1/models; }}; echo; echo '==';"
            f"systemctl is-active -q {unit} && {{ curl -s -o /dev/null -m 2 -w '%{{http_code}}'"
            f" http://127.0.0.1:{PORTS[mode][0]}/health; }}; echo; echo '=='"
            for mode, unit in ENGINES.items()
        )
        shown, *answers = self.box.root(
            f"systemctl show {units} -p ActiveState -p Job -p MainPID; echo '=='; {asked}", check=False
        ).stdout.split("==\n")
        blocks = [dict(x.split("=", 1) for x in b.splitlines() if "=" in x) for b in shown.split("\n\n") if b.strip()]
        modes, failed = {}, []
        for i, (mode, (_, model)) in enumerate(PORTS.items()):
            active = blocks[i].get("ActiveState", "?")
            serves, health = model in answers[2 * i], answers[2 * i + 1].strip() == "200"
            if active in ("inactive", "failed"):
                modes[mode] = "moving" if blocks[i].get("Job", "0") not in ("", "0") else "cold"
                failed += [mode] if active == "failed" else []
            elif active == "active":
                modes[mode] = "hot" if serves and health else "loaded"
            else:
                modes[mode] = "moving"
        return Truth(modes, tuple(failed))

    def steady(self, seconds: float = 15.0) -> Truth:
        """The truth once nothing moves any more; an engine that is merely loaded for 3 s stays so."""
        end, since = time.monotonic() + seconds, time.monotonic()
        before: Truth | None = None
        while True:
            now = self.truth()
            if before is None or now.modes != before.modes:
                since = time.monotonic()
            still = "moving" not in now.modes.values()
            waited = time.monotonic() - since
            if (still and "loaded" not in now.modes.values() and waited > 0.2) or (still and waited > 3.0):
                return now
            if time.monotonic() > end:
                return now
            before = now
            time.sleep(0.1)

    # -- between runs -------------------------------------------------------------------------------

    def reset(self, origin: str, target: str) -> None:
        """Every fault taken back, the box at `origin`; BoxError if it cannot be brought there."""
        self.join()
        self.origin, self.target, self.client, self.fault = origin, target, None, {}
        self.configure("20s")
        self.box.root(
            f"pkill -9 -f '[f]oreign-memory|[f]oreign-port'; systemctl stop reviver 2>/dev/null;"
            f"umount -l {STATE} 2>/dev/null; rm -f /etc/pretend/*.fail; systemctl is-active -q {FLOOR} || systemctl start {FLOOR}",
            check=False,
        )
        if HOLDS:
            self.box.systemctl("start", HELD)
        if self.box.read(SUDOERS) != self.sudoers:
            self.box.write(SUDOERS, self.sudoers, mode="440")
        now = self.steady()
        wanted = [] if origin == "none" else [origin]
        if now.up != wanted or now.hot != wanted:
            for mode, unit in ENGINES.items():
                if mode != origin:
                    self.box.systemctl("stop", unit)
            self.box.root("systemctl reset-failed vllm-qwen36 sglang-mistral4", check=False)
            if wanted and now.modes[origin] != "hot":
                self.box.systemctl("restart", ENGINES[origin])
            wait_for(lambda: (t := self.truth()).hot == wanted == t.up, 60, f"{origin} to be hot")
        else:
            self.box.root("systemctl reset-failed vllm-qwen36 sglang-mistral4", check=False)
        if self.agent is None or self.agent.dead.is_set():
            self.new_agent()
        assert self.agent
        self.agent.seen.clear()
        self.agent.actions = set(self.agent.order("look", "looked", known=[])["new"])

    def held(self) -> bool:
        """Whether what a switch holds is still held, a moment for the guard allowed."""
        if not HOLDS:
            return False
        try:
            wait_for(
                lambda: self.box.systemctl("is-active", "-q", HELD, check=False).returncode == 0, 4, f"{HELD} to be released"
            )
        except BoxError:
            return True
        return False

    def new_agent(self) -> Agent:
        if self.agent:
            self.agent.close()
        self.agent = Agent(self.box)
        return self.agent

    def join(self) -> None:
        for timer in self.timers:
            timer.join(60)
        self.timers.clear()

    def later(self, seconds: float, do: Any) -> None:
        """Does it in the background after so many seconds; `join` waits for it."""

        def wait() -> None:
            time.sleep(seconds)
            with contextlib.suppress(BoxError, OSError, subprocess.SubprocessError):
                do()

        self.timers.append(threading.Thread(target=wait, daemon=True))
        self.timers[-1].start()

    def unit(self, mode: str) -> str:
        return ENGINES[mode]

    def wait_booted(self, before: str) -> None:
        """The box has booted anew and lets ops in."""
        wait_for(lambda: self.box.boot_id(missing="") not in ("", before), 200, "the box to boot again")
        self.box.root(["systemctl", "is-system-running", "--wait"], check=False, timeout=60)
        self.box.wait_for_ssh()
