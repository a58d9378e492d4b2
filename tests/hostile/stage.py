"""One kind on the stage: what is asked, the screen that asks it, and a row for each case."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.remote import child
from tests.bench.terminal import environment
from tests.hostile.case import Case
from tests.hostile.screen import WAIT_SECONDS, Screen
from tests.hostile.world import MODEL

KEY_BAR_SECONDS = 0.100
MEMORY_BAR = 1.5
BACK_BAR, BACK_SECONDS = 1.25, 75.0
"""It gives back what is free every 45 s."""
WORDS_SECONDS = {True: 20.0, False: 90.0}
"""So long it is waited for the words, and without a bar on time."""
BROKE = "broke inside sovtui"
_ENGINES = tuple(MODEL)


@dataclass
class Row:
    """What was seen of one case."""

    kind: str
    name: str
    presses: int = 0
    key_seconds: float = 0.0
    """The longest time that a key waited."""
    idle_mib: float = 0.0
    peak_mib: float = 0.0
    back_seconds: float = 0.0
    words: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        return "; ".join(self.wrong) or "ok"


def config(kind: str, ports: dict[str, int], folder: Path) -> str:
    """An estate that has what the kind is about, and nothing else."""
    engines = "".join(
        f'\n[[host.here.engine]]\nname = "{name}"\nengine = "{name}"\nurl = "http://127.0.0.1:{ports[name]}"\nmodel = "{MODEL[name]}"\n'
        for name in _ENGINES
    )
    source = 'url = "http://127.0.0.1:{}"\ninterval = "1s"\ntimeout = "5s"\n'
    match kind:
        case "prometheus" | "alertmanager":
            return f'[host.here]\nlink = "local"\n[{kind}]\n{source.format(ports[kind])}'
        case "engines":
            return f'[host.here]\nlink = "local"\n{engines}'
        case "tailnet":
            return f'[host.far]\nlink = "ssh"\naddress = "ops@spark"\ntailnet = "spark"\n[tailnet]\nsocket = "{folder}/tailnet.sock"\n'
    raise ValueError(kind)


class Stage:
    """`play` each case. The screen goes on from one to the next, and has to be as before after each."""

    def __init__(self, kind: str, screen: Screen, world: subprocess.Popen[bytes] | None, *, timed: bool = True) -> None:
        self.kind, self.screen, self._world, self._timed = kind, screen, world, timed
        self.idle_mib = 0.0

    def settle(self) -> None:
        """The idle figure, once it has found everything."""
        assert self.screen.until("Host", 90.0), str(self.screen.look())
        time.sleep(8.0 if self._timed else 2.0)
        first = Row(self.kind, "")
        self._type(2, first)  # what typing needs is loaded
        assert first.key_seconds < WAIT_SECONDS, f"no answer to a key that is typed into the filter:\n{self.screen.look()}"
        time.sleep(1.0)
        self.screen.look()
        self.idle_mib = self.screen.resident()
        self.screen.peak()
        self.screen.logged()
        self.screen.picture.raw.clear()

    def _say(self, name: str) -> None:
        assert self._world is not None and self._world.stdin is not None and self._world.stdout is not None
        self._world.stdin.write(f"{name}\n".encode())
        self._world.stdin.flush()
        self._world.stdout.readline()

    def give(self, case: Case) -> None:
        self._say(case.name)

    def take_back(self) -> None:
        self._say("")

    def play(self, case: Case) -> Row:
        row = Row(self.kind, case.name, idle_mib=self.idle_mib)
        screen = self.screen
        screen.peak()
        if case.keys:
            screen.terminal.press(case.keys)
        self.give(case)
        try:
            end = time.monotonic() + (case.seconds if self._timed else 1.0)
            found = None
            while time.monotonic() < end or (
                case.words and found is None and time.monotonic() < end + WORDS_SECONDS[self._timed]
            ):
                self._type(6 if self._timed else 1, row)
                found = found or (re.search(case.words, str(screen.look())) if case.words else None)
            cells = (cell for line in screen.look().lines() for cell in re.split("[│┃]", line))
            notice = next((cell.strip() for cell in cells if re.search(NOTICE, cell)), "")
            row.words = " ".join((found[0] if found else notice).split())[:110]
            if case.words and found is None:
                row.wrong.append(f"{case.words!r} is not shown")
            if BROKE in str(screen.picture):
                row.wrong.append(BROKE)
        finally:
            self.take_back()
        row.peak_mib = screen.peak()
        self._back(row)
        if case.keys:
            screen.terminal.press(b"\x1b")
        if logged := screen.logged():
            row.wrong.append(f"logged: {logged.splitlines()[-1][:120]}")
        if screen.picture.raw:
            row.wrong.append(f"raw: {screen.picture.raw[0]}")
            screen.picture.raw.clear()
        self._judge(row)
        return row

    def _type(self, presses: int, row: Row) -> None:
        waits = [self.screen.begin_typing()]
        for _ in range(presses):
            time.sleep(0.07)
            waits.append(self.screen.type())
        self.screen.end_typing()
        row.presses += len(waits)
        row.key_seconds = max(row.key_seconds, *waits)

    def _back(self, row: Row) -> None:
        """Memory as before, and nothing told of what is over."""
        began = time.monotonic()
        while self._timed and time.monotonic() - began < BACK_SECONDS:
            if self.screen.resident() <= BACK_BAR * self.idle_mib and not re.search(TROUBLE, str(self.screen.look())):
                break
            time.sleep(0.2)
        else:
            if not self._timed:
                return
            row.wrong.append(f"not as before in time: {self.screen.resident():.0f} MiB")
        row.back_seconds = time.monotonic() - began
        self.screen.peak()

    def _judge(self, row: Row) -> None:
        if row.key_seconds >= (KEY_BAR_SECONDS if self._timed else WAIT_SECONDS):
            row.wrong.append(f"a key waited {row.key_seconds * 1000:.0f} ms")
        if row.peak_mib > MEMORY_BAR * row.idle_mib:
            row.wrong.append(f"memory {row.peak_mib / row.idle_mib:.2f} × idle")
        if not self.screen.alive:
            row.wrong.append("the screen has ended")


NOTICE = r"prometheus: |alertmanager: |probe: |tailnet: |history: |engines: |/metrics|is left out|answers on its port"
TROUBLE = r"(?:prometheus|alertmanager|history|engines): "


@contextlib.contextmanager
def stage(kind: str, *, timed: bool = True) -> Iterator[Stage]:
    """`timed`: a key has its bar; without it only that it is answered at all."""
    if kind == "box":
        from tests.hostile.box import box_stage

        with box_stage(timed=timed) as made:
            yield made
        return
    with TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        world = child(stack, [sys.executable, "-m", "tests.hostile.world", str(folder), kind], stdin=subprocess.PIPE)
        assert world.stdout is not None
        ports = json.loads(world.stdout.readline())
        home = folder / "home"
        place = home / ".config" / "sovtui" / "config.toml"
        place.parent.mkdir(parents=True)
        place.write_text(config(kind, ports, folder))
        screen = Screen(environment(home), home)
        stack.callback(screen.close)
        made = Stage(kind, screen, world, timed=timed)
        made.settle()
        yield made


def table(rows: Sequence[Row]) -> str:
    """As text, one line each."""
    lines = [f"{'input':<58} {'key ms':>7} {'MiB':>11}  words shown"]
    for row in rows:
        memory = f"{row.peak_mib:.0f}/{row.idle_mib:.0f}"
        lines.append(f"{f'{row.kind}: {row.name}'[:58]:<58} {row.key_seconds * 1000:7.0f} {memory:>11}  {row.words or '-'}")
        if row.wrong:
            lines.append(f"    ! {row.verdict}")
    return "\n".join(lines)


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
