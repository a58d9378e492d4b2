"""One kind on the stage: what is asked, the screen that asks it, and a row for each case."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.remote import SSHD, child
from tests.bench.terminal import environment
from tests.hostile.case import Case
from tests.hostile.pulse import BUSY_SECONDS
from tests.hostile.screen import WAIT_SECONDS, Screen, Wait
from tests.hostile.world import ASKED, MODEL

KEY_BAR_SECONDS = 0.100
MEMORY_BAR = 1.5
BACK_BAR, BACK_SECONDS = 1.25, 60.0
"""It gives back what is free every 45 s."""
WORDS_SECONDS = {True: 20.0, False: 90.0}
"""So long it is waited for the words, and without a bar on time."""
ASKED_SECONDS = 180.0
"""So long it may take until what the case answers is asked for: a source that failed is left alone for a while."""
TRIES = 3
"""So often a case is played that missed nothing but the time of a key while the machine had other work."""
BROKE = "broke inside sovtui"
_ENGINES = tuple(MODEL)


@dataclass
class Row:
    """What was seen of one case."""

    kind: str
    name: str
    presses: int = 0
    key_seconds: float = 0.0
    """The longest time that a key waited, by the clock."""
    own_seconds: float = 0.0
    """The same without the time for which there was no processor. The bar is for this."""
    beside_seconds: float = 0.0
    """How much longer a trivial program beside the screen waited at most than it does on an idle machine."""
    earlier: list[str] = field(default_factory=list)
    """What earlier tries missed, while the machine had other work."""
    seconds: float = 0.0
    """All of it."""
    idle_mib: float = 0.0
    peak_mib: float = 0.0
    back_seconds: float = 0.0
    words: str = ""
    wrong: list[str] = field(default_factory=list)
    late: bool = False
    """A key waited too long."""

    @property
    def busy(self) -> bool:
        """The machine had other work."""
        return max(self.beside_seconds, self.key_seconds - self.own_seconds) > BUSY_SECONDS

    @property
    def verdict(self) -> str:
        return "; ".join(self.wrong) or "ok"

    @property
    def judged(self) -> str:
        """How the time of its keys was judged, where that was not just by the clock."""
        said = []
        if self.key_seconds >= KEY_BAR_SECONDS > self.own_seconds:
            said.append(f"{self.own_seconds * 1000:.0f} ms without the wait for a processor")
        if self.earlier:
            said.append(f"try {len(self.earlier) + 1}: on a busy machine {', '.join(self.earlier)}")
        return ", ".join(said)


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

    def __init__(
        self, kind: str, screen: Screen, folder: Path, world: subprocess.Popen[bytes] | None = None, *, timed: bool = True
    ) -> None:
        self.kind, self.screen, self._world, self._timed = kind, screen, world, timed
        self.folder = folder
        self.idle_mib = 0.0

    def settle(self) -> None:
        """The idle figure, once it has found everything."""
        assert self.screen.until("Host|Services", 90.0), str(self.screen.look())
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

    def shown(self) -> str:
        """All that a user reads now."""
        return str(self.screen.look())

    def asked(self, case: Case) -> bool:
        """Whether the case has reached the screen."""
        return (self.folder / ASKED).exists()

    def healthy(self) -> bool:
        """Whether all is as before the case."""
        return not re.search(TROUBLE, str(self.screen.look()))

    def over(self) -> bool:
        """Whether what was begun for the case has ended."""
        return True

    def check(self, case: Case, row: Row) -> None:
        """What else has to be so, before the case is taken back."""

    def play(self, case: Case) -> Row:
        """Its row: the first that misses nothing, or that misses more than time, or that is late on a machine without other work."""
        earlier: list[str] = []
        while True:
            began = time.monotonic()
            row = self._play(case)
            row.earlier, row.seconds = earlier, time.monotonic() - began
            if not (row.late and len(row.wrong) == 1 and row.busy) or len(earlier) + 1 == TRIES:
                return row
            earlier = [*earlier, row.verdict]

    def _play(self, case: Case) -> Row:
        row = Row(self.kind, case.name, idle_mib=self.idle_mib)
        screen = self.screen
        screen.peak()
        screen.pulse.waited()
        (self.folder / ASKED).unlink(missing_ok=True)
        self.give(case)
        if case.keys:
            time.sleep(1.0)  # after an Escape: right behind it a key would be another one
            screen.terminal.press(case.keys)
            time.sleep(0.2)
        found: list[str] = []

        def look() -> None:
            """A notice may stay for seconds only."""
            if case.words and not found:
                found.extend(match[0] for match in re.finditer(case.words, self.shown()))

        try:
            late = time.monotonic() + ASKED_SECONDS
            while not self.asked(case) and time.monotonic() < late:
                self._type(2 if self._timed else 1, row, look)
            if not self.asked(case):
                row.wrong.append("it was not asked for")
            end = time.monotonic() + (case.seconds if self._timed else 1.0)
            while time.monotonic() < end or (
                ((case.words and not found) or not self.over()) and time.monotonic() < end + WORDS_SECONDS[self._timed]
            ):
                self._type(6 if self._timed else 1, row, look)
            cells = (cell for line in screen.look().lines() for cell in re.split("[│┃]", line))
            notice = next((cell.strip() for cell in cells if re.search(NOTICE, cell)), "")
            row.words = " ".join((found[0] if found else notice).split())[:110]
            if case.words and not found:
                row.wrong.append(f"{case.words!r} is not shown")
            if BROKE in self.shown():
                row.wrong.append(BROKE)
            self.check(case, row)
        finally:
            self.take_back()
        row.peak_mib = screen.peak()
        self._back(row)
        if logged := screen.logged():
            row.wrong.append(f"logged: {logged.splitlines()[-1][:120]}")
        if screen.picture.raw:
            row.wrong.append(f"raw: {screen.picture.raw[0]}")
            screen.picture.raw.clear()
        self._judge(row)
        return row

    def _type(self, presses: int, row: Row, look: Callable[[], None] = lambda: None) -> None:
        waits: list[Wait] = [self.screen.begin_typing()]
        for _ in range(presses):
            time.sleep(0.07)
            waits.append(self.screen.type())
            look()
        self.screen.end_typing()
        row.presses += len(waits)
        row.own_seconds = max(row.own_seconds, *(wait.own for wait in waits))
        row.key_seconds = max(row.key_seconds, *(wait.clock for wait in waits))
        row.beside_seconds = max(row.beside_seconds, self.screen.pulse.waited() - self.screen.pulse.best)

    def _back(self, row: Row) -> None:
        """Memory as before, and nothing told of what is over."""
        began = time.monotonic()
        while self._timed and time.monotonic() - began < BACK_SECONDS:
            if self.screen.resident() <= BACK_BAR * self.idle_mib and self.healthy():
                break
            time.sleep(0.2)
        else:
            if not self._timed:
                return
            held = self.screen.resident()
            if held > BACK_BAR * self.idle_mib:
                row.wrong.append(f"memory is not back in time: {held:.0f} MiB")
            if not self.healthy():
                row.wrong.append("it has not come back in time")
        row.back_seconds = time.monotonic() - began
        self.screen.peak()

    def _judge(self, row: Row) -> None:
        if row.own_seconds >= (KEY_BAR_SECONDS if self._timed else WAIT_SECONDS):
            row.late = True
            row.wrong.append(f"a key waited {row.own_seconds * 1000:.0f} ms")
        if row.peak_mib > MEMORY_BAR * row.idle_mib:
            row.wrong.append(f"memory {row.peak_mib / row.idle_mib:.2f} × idle")
        if not self.screen.alive:
            row.wrong.append("the screen has ended")


NOTICE = r"prometheus: |alertmanager: |probe: |tailnet: |history: |engines: |/metrics|is left out|answers on its port"
HERE = ("disks", "neighbour")
"""Kinds that are played on this machine, in mounts of their own."""
TROUBLE = r"(?:prometheus|alertmanager|history|engines): "


def why_not(kind: str) -> str:
    """Why this kind cannot be played here; empty where it can."""
    if kind == "box" and SSHD is None:
        return "there is no sshd here"
    return "only root may mount" if kind in HERE and os.geteuid() else ""


@contextlib.contextmanager
def stage(kind: str, *, timed: bool = True) -> Iterator[Stage]:
    """`timed`: a key has its bar; without it only that it is answered at all."""
    if kind == "box":
        from tests.hostile.box import box_stage

        with box_stage(timed=timed) as made:
            yield made
        return
    if kind in HERE:
        from tests.hostile.here import here_stage

        with here_stage(kind, timed=timed) as made:
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
        made = Stage(kind, screen, folder, world, timed=timed)
        made.settle()
        yield made


def table(rows: Sequence[Row]) -> str:
    """As text, one line each."""
    lines = [f"{'input':<58} {'key ms':>7} {'MiB':>11}  words shown"]
    for row in rows:
        memory = f"{row.peak_mib:.0f}/{row.idle_mib:.0f}"
        judged = f"  [{row.judged}]" if row.judged else ""
        lines.append(
            f"{f'{row.kind}: {row.name}'[:58]:<58} {row.key_seconds * 1000:7.0f} {memory:>11}  {row.words or '-'}{judged}"
        )
        if row.wrong:
            lines.append(f"    ! {row.verdict}")
    return "\n".join(lines)
