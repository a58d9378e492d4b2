"""Every text that comes from outside, made as nasty as can be, through the real screen: nothing but its own cells changes.

Each state is drawn twice: with the hostile text, and with a harmless one that is as wide. Every cell that the harmless one does not
hold must be the same, and the style of every cell. The seeds are fixed; a failure names its own.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len

from sovtui.core.clean import clean
from sovtui.core.model import (
    ActionRun,
    Alert,
    AlertState,
    Backup,
    Engine,
    EnginePhase,
    LinkPhase,
    Service,
    Silence,
    Source,
    Step,
)
from sovtui.core.reading import unknown
from sovtui.core.state import Host, State
from sovtui.ports.link import Question
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import ORDER
from sovtui.tui.inert import inert
from sovtui.tui.screens.acknowledge import AcknowledgeScreen
from sovtui.tui.screens.ask import AskScreen
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.confirm import ConfirmScreen
from sovtui.tui.screens.detail import DetailScreen
from tests.snapshots import _cells

from .conftest import SIZES, Stage

pytestmark = pytest.mark.screen

NASTY = [
    "\x1b[2J", "\x1b[31;1m", "\x1b[0m", "\x1b[999;999H", "\x1b[?1049l", "\x1b[?25h", "\x1bc", "\x1b(0", "\x9b31m", "\x9d0;t\x9c",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "\x1b]52;c;aGFjaw==\x07", "\x1b]0;owned\x07", "\x1bP1;2|0a\x1b\\", "\x1b_x\x1b\\",
    "[red]", "[/red]", "[/]", "[bold on red]", "[@click=app.quit]", "[link=http://evil.example]", "[$error]", "\\[", "[", "]]", ":smile:",
    "{{ x }}", "$(reboot)", "`id`", "%s%n", "\u202e", "\u202d", "\u2066", "\u2069", "\u200f", "\u061c", "\u200b", "\u200d", "\ufeff",
    "\u00ad", "\u2028", "\u2029", "\x00", "\x07", "\x08\x08\x08", "\x7f", "\t", "\r", "\n", "\r\n", "\x0b", "\x0c", "\x85",
    "e\u0301", "Z\u0351\u036b\u0343\u036a\u0302\u036b", "\u0301", "\u20dd", "漢字", "한글", "\u1100\u1161\u11a8", "ｆｕｌｌ", "😀", "👨\u200d👩\u200d👧", "👍🏽", "🇩🇪",
    "❤\ufe0f", "\u3000", "\xa0", "\u2003", "שלום", "مرحبا", "नमस्ते", "ไทย", "\ud800", "\udfff", "\ue000", "\U000e0041", "\U0010ffff", "\ufffe",
    "plain", "words", " ", "  ", "x" * 90,
]  # fmt: skip
WIDE, NARROW = "漢", "¤"
"""What the harmless text is made of; nothing else on the screen holds them."""
BOTH = pytest.mark.parametrize("size", [SIZES["wide"], SIZES["phone"], (40, 20)], ids=lambda s: f"{s[0]}x{s[1]}")
SEEDS = range(int(os.environ.get("FUZZ_SEEDS", "2")))
"""How many states; more of them: `FUZZ_SEEDS=100 pytest tests/tui/test_hostile.py`."""


class Author:
    """Writes hostile texts, or in their place harmless ones as wide."""

    def __init__(self, seed: int, *, harmless: bool) -> None:
        self._random = random.Random(seed)
        self._harmless = harmless

    def text(self, limit: int = 2000) -> str:
        """As an adapter passes it on."""
        raw = "".join(self._random.choice(NASTY) for _ in range(self._random.randint(1, 14)))
        words = clean(raw, limit).strip()
        if not inert(words).strip():
            words = "plain"  # nothing is left of it: that there is a text at all must not depend on who writes it
        if not self._harmless:
            return words
        words = "".join(NARROW * cell_len(c) if c.isspace() and c != " " else c for c in words)  # lines break at the space alone
        return "".join(map(_harmless, inert(words)))


def _harmless(char: str) -> str:
    return char if char == " " else ("", NARROW, WIDE)[cell_len(char)]


def hostile(state: State, author: Author) -> tuple[State, list[LogLine]]:
    """The state with every text from outside replaced."""
    name, host = next(iter(state.hosts.items()))
    now, text = state.now, author.text
    services = {s.name: replace(s, description=text(200)) for s in host.services.values()}
    for index, active in enumerate(("failed", "missing", text(32) or "?", "activating")):
        unit = f"u{index} {text(256)}.service"
        services[unit] = Service(
            unit, active, text(32), text(32), now, 3, description=text(200), at=now, source=text(20), reason=text()
        )
    steps = tuple(Step(text(60), word, now, 1.0, text()) for word in ("done", "failed", "skipped", text(10)))
    run = ActionRun("id" + text(20), text(20), text(60), text(60), now, steps, (text(), text()), "failed", text(), 3.0)
    backup = Backup(f"b {text(40)}", "x.service", 60.0, now, text(20), now, text(20), text())
    backups = {backup.name: backup}
    engines = {
        mode.name: Engine(EnginePhase.READY, (text(200),), 4096, text(40), text(), text(), now) for mode in host.spec.modes
    }
    figures = {key: unknown(text(), text(20)) if i % 5 == 0 else reading for i, (key, reading) in enumerate(host.figures.items())}
    link = replace(host.link, phase=LinkPhase.DOWN, reason=text(), address=text(60), retry_at=None)
    new = Host(host.spec, link, figures, host.curves, services, engines, backups, run, "", (run, replace(run, id="r2")))
    alerts = tuple(
        Alert(
            f"f{i}", text(200) or "a", text(40), state_, now, text(400), (("x", text()), (text(40), text(60))),
            (Silence("s", text(100), text(500), now),) if state_ is AlertState.ACKNOWLEDGED else (), (("note", text()), (text(60), text())),
        )
        for i, state_ in enumerate((AlertState.ACTIVE, AlertState.ACKNOWLEDGED, AlertState.PENDING))
    )  # fmt: skip
    source = Source("prometheus", "", False, text(), None, text(60))
    state = replace(
        state, hosts={name: new}, alerts=alerts, alerts_at=now, sources={("prometheus", ""): source}, notes=(text(), text())
    )
    return state, [LogLine(now, text(), level) for level in ("error", "warning", "info", "debug", "", "error")]


def grid(s: Stage) -> list[list[tuple[str, str]]]:
    """(character, style) of every cell; the second half of a wide character is empty."""
    rows = []
    for strip in s.app.screen._compositor.render_strips():
        chars: list[str] = []
        for segment in strip:
            for char in segment.text:
                cells = cell_len(char)
                if cells == 0 and chars:
                    chars[-1] += char
                chars += [char, ""][:cells]
        rows.append(list(zip(chars, _cells(strip), strict=True)))
    return rows


def compare(bad: list[list[tuple[str, str]]], good: list[list[tuple[str, str]]], where: str) -> None:
    assert len(bad) == len(good), where
    for y, (one, other) in enumerate(zip(bad, good, strict=True)):
        assert len(one) == len(other), f"{where}: row {y} is another width"
        for x, ((char, look), (right, right_look)) in enumerate(zip(one, other, strict=True)):
            assert look == right_look, f"{where}: the style of {x},{y}: {look} instead of {right_look}"
            if right not in (NARROW, WIDE, ""):
                told = "\n".join(ascii("".join(char for char, _ in row)) for row in (one, other))
                assert char == right, f"{where}: the cell {x},{y}: {char!r} instead of {right!r}\n{told}"


_SEQUENCE = re.compile(r"\x1b\[[0-9;:]*m|\x1b\[\d+;\d+H|\x1b\[\d*[A-D]")


def sent(s: Stage) -> str:
    """What the terminal would be sent for the whole screen, without the sequences that Textual writes itself."""
    raw = s.app.screen._compositor.render_full_update().render_segments(s.app.console)
    return _SEQUENCE.sub("", raw).replace("\n", "")


def controls(words: Iterable[str]) -> set[str]:
    return {
        char for char in words if ord(char) < 32 or 127 <= ord(char) < 160 or char in "\u202e\u202d\u2066\u2069\u200b\u200d\u2028"
    }


async def settle(s: Stage) -> None:
    await s.pilot.pause()
    await s.pilot.pause(0.01)


@BOTH
async def test_every_pane_keeps_to_its_cells(stage: Any, states: Any, size: tuple[int, int]) -> None:
    async with stage(size=size) as s:
        log = s.pane("log")
        await s.pilot.pause(0.25)
        for seed in SEEDS:
            pictures: list[dict[str, Any]] = []
            for harmless in (False, True):
                state, lines = hostile(states("troubled"), Author(seed, harmless=harmless))
                s.hub.put(state)
                seen: dict[str, Any] = {}
                for pane in ORDER:
                    s.room.show_pane(pane)
                    log._stop()
                    log.ring.lines.clear()
                    log.service, log._trouble = "x.service", ""
                    for line in lines:
                        log.ring.add(line)
                    s.pane(pane).redraw()
                    log.redraw()
                    await settle(s)
                    seen[pane] = grid(s)
                    assert not controls(sent(s)), f"seed {seed}, {pane}"
                pictures.append(seen)
            for pane in ORDER:
                compare(pictures[0][pane], pictures[1][pane], f"seed {seed}, {pane}")


async def test_dialogs_keep_to_their_cells(stage: Any, states: Any) -> None:
    async with stage(size=(40, 20)) as s:
        for seed in SEEDS:
            pictures: list[list[Any]] = []
            for harmless in (False, True):
                author = Author(1000 + seed, harmless=harmless)
                state, lines = hostile(states("troubled"), author)
                name, host = next(iter(state.hosts.items()))
                for pane in ("services", "alerts", "backups", "actions"):
                    s.pane(pane)._held, s.pane(pane)._top = False, 0
                s.hub.put(replace(state, hosts={name: replace(host, link=replace(host.link, phase=LinkPhase.UP))}))
                s.hub.log_lines = lines
                seen = []
                for pane, keys, kind in (
                    ("services", ("enter",), DetailScreen),
                    ("actions", ("enter",), DetailScreen),
                    ("alerts", ("enter",), DetailScreen),
                    ("backups", ("enter",), DetailScreen),
                    ("alerts", ("a",), AcknowledgeScreen),
                    ("alerts", ("y",), ChooseScreen),
                    ("services", ("r",), ConfirmScreen),
                ):
                    s.room.show_pane(pane)
                    await s.read()
                    await settle(s)
                    await s.press(*keys)
                    await s.until(lambda kind=kind: isinstance(s.screen, kind))
                    await s.pilot.pause(0.05)
                    seen.append(grid(s))
                    assert not controls(sent(s)), f"seed {seed}, {pane} {keys}"
                    await s.press("escape")
                    await s.until(lambda: s.screen is s.room)
                asked = asyncio.create_task(s.hub.ask(Question("host-key", author.text(100), author.text())))
                await s.until(lambda: isinstance(s.screen, AskScreen))
                await settle(s)
                seen.append(grid(s))
                asked.cancel()
                await s.until(lambda: s.screen is s.room)
                pictures.append(seen)
            for index, (bad, good) in enumerate(zip(*pictures, strict=True)):
                compare(bad, good, f"seed {seed}, dialog {index}")


async def test_what_no_adapter_cleaned_does_not_reach_the_terminal_either(stage: Any, states: Any) -> None:
    class Raw(Author):
        def text(self, limit: int = 2000) -> str:
            return "".join(self._random.choice(NASTY) for _ in range(12)) + "x" * 5_000

    state, lines = hostile(states("troubled"), Raw(5, harmless=False))
    async with stage(state, lines=lines) as s:
        for pane in ORDER:
            s.room.show_pane(pane)
            s.room.tell(state.alerts[0].summary[:4000], "error")
            for line in lines:
                s.pane("log").add(line)
            await s.pilot.pause(0.05)
            assert not controls(sent(s)), pane
            assert all(line.cells <= s.pane(pane).size.width for line in s.pane(pane).shown)
        s.room.run_screen("palette")
        await s.pilot.pause(0.1)
        assert not controls(sent(s))
