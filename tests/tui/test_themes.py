"""Theme files: what is read, what is refused, what a change does, and that ours can be read by human eyes."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual.color import Color

from sovtui.config.paths import theme_dirs
from sovtui.tui import app as room_app
from sovtui.tui import themes
from sovtui.tui.themes import contrast

pytestmark = pytest.mark.screen

REPO = Path(__file__).resolve().parents[2]
SHIPPED = themes.load([REPO / "themes"])
TRUE = sorted(name for name, theme in SHIPPED.themes.items() if not theme.ansi)
OWN_PALETTE = sorted(name for name, theme in SHIPPED.themes.items() if theme.ansi)
LEAST = {"sovtui-high-contrast": 6.5}
PALETTES = {
    # The sixteen colours of xterm and of the Linux console, and what they call the default; on black, as both come.
    "xterm": "000000 cd0000 00cd00 cdcd00 0000ee cd00cd 00cdcd e5e5e5 7f7f7f ff0000 00ff00 ffff00 5c5cff ff00ff 00ffff ffffff",
    "linux": "000000 aa0000 00aa00 aa5500 0000aa aa00aa 00aaaa aaaaaa 555555 ff5555 55ff55 ffff55 5555ff ff55ff 55ffff ffffff",
}


def test_six_themes_are_shipped_and_nothing_is_wrong_with_them() -> None:
    assert len(SHIPPED.themes) >= 6 and not SHIPPED.problems
    assert all((REPO / "themes" / f"{name}.toml").is_file() for name in SHIPPED.themes)


def drawn(app: Any) -> Iterator[tuple[str, Style]]:
    """Every text that is on the screen now, with its style: pane, bar, dialog, whoever has drawn it. Not what a dialog dims."""
    screen = app.screen
    front = [screen.region] if screen is app.room else [child.region for child in screen.children if child.id]
    for y, strip in enumerate(screen._compositor.render_strips()):
        for region in front:
            if not region.y <= y < region.bottom:
                continue
            for segment in strip.crop(region.x, region.right):
                words = "".join(c for c in segment.text if not "\u2500" <= c <= "\u259f").strip()
                if words and segment.style is not None:
                    yield words, segment.style


async def everything(stage: Any, states: Any, theme: str, size: tuple[int, int]) -> list[tuple[str, Style]]:
    found: list[tuple[str, Style]] = []
    async with stage("healthy", size, theme=theme) as s:
        for name in ("alerting", "switching", "failed", "link-down"):
            s.hub.put(states(name))
            await s.press("tab", "tab")
            await s.pilot.pause()
            found += drawn(s.app)
        s.hub.put(states("healthy"))
        for keys in (["question_mark"], ["2"], ["colon"], ["slash", "a"], ["t"]):
            await s.press(*keys)
            await s.pilot.pause(0.1)
            found += drawn(s.app)
            await s.press("escape")
        s.room.tell("something is wrong", "error")
        await s.pilot.pause(0.1)
        found += drawn(s.app)
    return found


@pytest.mark.parametrize(
    ("theme", "size"), [*((name, (120, 40)) for name in TRUE), ("sovtui-dark", (44, 80)), ("sovtui-light", (44, 80))]
)
async def test_every_text_that_is_drawn_has_contrast(stage, states, theme, size) -> None:
    poor = {}
    texts = await everything(stage, states, theme, size)
    for words, style in texts:
        assert style.color is not None and style.bgcolor is not None, words
        fore, back = (Color.from_rich_color(c).hex for c in (style.color, style.bgcolor))
        if contrast(fore, back) < LEAST.get(theme, 4.5):
            poor[fore, back] = (round(contrast(fore, back), 2), words)
    assert len(texts) > 500 and not poor, (len(texts), poor)


@pytest.mark.parametrize("theme", OWN_PALETTE)
async def test_a_theme_of_the_terminals_own_colours_uses_no_others(stage, states, theme) -> None:
    for words, style in await everything(stage, states, theme, (120, 40)):
        for colour in (style.color, style.bgcolor):
            assert colour is None or colour.is_system_defined or colour.is_default, (words, style)
        assert style.bgcolor is None or style.bgcolor.is_default, (words, style)
        if theme == themes.MONO:
            assert style.color is None or style.color.is_default, (words, style)


@pytest.mark.parametrize("palette", PALETTES)
def test_the_sixteen_colours_have_contrast_on_usual_terminals(palette) -> None:
    theme = SHIPPED.themes["sovtui-ansi"]
    sixteen = [f"#{code}" for code in PALETTES[palette].split()]
    for colour in (theme.success, theme.warning, theme.error, theme.accent, theme.primary):
        number = Color.parse(str(colour)).ansi
        assert number is not None and contrast(sixteen[number], sixteen[0]) >= 4.5, colour


# The eyes of those who lack one kind of cone (Machado, Oliveira, Fernandes 2009, severity 1), on linear light.
EYES = {
    "red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def lab(colour: str, eye: tuple[tuple[float, float, float], ...]) -> tuple[float, float, float]:
    """CIE L*a*b* of a colour as such an eye sees it."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in Color.parse(colour).normalized]
    r, g, b = (min(1.0, max(0.0, sum(m * c for m, c in zip(line, linear, strict=True)))) for line in eye)
    xyz = (
        (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
        0.2126 * r + 0.7152 * g + 0.0722 * b,
        (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
    )
    x, y, z = (c ** (1 / 3) if c > 0.008856 else 7.787 * c + 16 / 116 for c in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("eye", EYES)
def test_the_colour_blind_theme_tells_states_apart(eye) -> None:
    theme = SHIPPED.themes["sovtui-colour-blind"]
    states = {"ok": theme.success, "warning": theme.warning, "bad": theme.error, "text": theme.foreground}
    for (one, first), (other, second) in itertools.combinations(states.items(), 2):
        apart = sum((a - b) ** 2 for a, b in zip(lab(str(first), EYES[eye]), lab(str(second), EYES[eye]), strict=True)) ** 0.5
        assert apart >= 20, f"{one} and {other}: {apart:.0f}"


async def test_the_chosen_row_is_marked_at_once(stage) -> None:
    async with stage(theme=themes.MONO) as s:
        await s.press("tab", "tab")
        await s.until(lambda: s.pane("services").shown[0].mark == "chosen")
        assert [style.reverse for words, style in drawn(s.app) if words.startswith("backup-nas")] == [True]


def test_the_first_directory_wins_and_bad_files_are_told(tmp_path) -> None:
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    mine.mkdir()
    ours.mkdir()
    (mine / "a.toml").write_text('primary = "#112233"\n')
    (ours / "a.toml").write_text('primary = "#445566"\n')
    bad = [
        b"primary = \n",
        b'primary = "#112233"\nsparkle = 1\n',
        b'primary = "no such colour"\n',
        b"dark = true\n",
        b"\xff\xfe",
        b'primary = "#112233"\n[variables]\nborder = 3\n',
        b'primary = "#112233"\n[variables]\nborder = "boldish"\n',
        b'primary = "#112233"\n[variables]\nbad-style = "loud"\n',
        b'primary = "#112233"\n[variables]\nfocus-border = "zigzag"\n',
        b'primary = "#112233"\n[variables]\nborder = "red; } Screen { display: none"\n',
        b"#" * 100_000,
    ]
    for number, content in enumerate(bad):
        (mine / f"bad{number}.toml").write_bytes(content)
    (mine / "bad-link.toml").symlink_to(tmp_path / "absent")
    found = themes.load([mine, ours, tmp_path / "absent"])
    assert found.themes["a"].primary == "#112233" and found.files["a"] == mine / "a.toml"
    assert set(found.themes) == {"a"}
    assert len(found.problems) == len(bad) + 1
    assert any("sparkle" in problem and "bad1.toml" in problem for problem in found.problems)
    assert any("bad-style" in problem and "loud" in problem for problem in found.problems)


async def test_a_theme_that_does_not_exist_is_told(stage) -> None:
    async with stage(theme="pink") as s:
        assert s.app.theme == themes.DEFAULT
        await s.until(lambda: any("pink" in words for words in s.toasts()))


@pytest.mark.parametrize("name", ["ansi-dark", "ansi-light", "textual-dark", "nord"])
async def test_every_kind_of_theme_draws(stage, name) -> None:
    async with stage("alerting", size=(80, 24), theme=name) as s:
        assert s.app.theme == name and s.text("inference")
        await s.press("question_mark")


@pytest.fixture
def mine(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(room_app, "THEME_SECONDS", 0.02)
    place = theme_dirs()[0]
    assert tmp_path in place.parents
    place.mkdir(parents=True)
    return place


def write(file: Path, text: str) -> None:
    """As an editor does: a new file in place of the old one."""
    other = file.with_suffix(".new")
    other.write_text(text)
    os.replace(other, file)


def ground(s: Any) -> str:
    return str(s.room.styles.background.hex)


async def test_a_changed_file_takes_effect_while_it_runs(stage, mine) -> None:
    write(mine / "own.toml", 'primary = "#ffffff"\nbackground = "#101010"\n')
    async with stage(theme="own") as s:
        assert ground(s) == "#101010"
        write(mine / "own.toml", 'primary = "#ffffff"\nbackground = "#202020"\n')
        await s.until(lambda: ground(s) == "#202020")
        # Broken: it is told once, and the colours stay.
        write(mine / "own.toml", 'primary = "#ffffff"\nbackground = "#30303\n')
        await s.until(lambda: any("own.toml" in words for words in s.toasts()))
        write(mine / "other.toml", 'primary = "#ffffff"\n')
        await s.until(lambda: "other" in s.app.available_themes)
        assert ground(s) == "#202020" and sum("own.toml" in words for words in s.toasts()) == 1
        # Whole again, and gone.
        write(mine / "own.toml", 'primary = "#ffffff"\nbackground = "#404040"\n')
        await s.until(lambda: ground(s) == "#404040")
        (mine / "own.toml").unlink()
        (mine / "other.toml").unlink()
        await s.until(lambda: "other" not in s.app.available_themes)
        assert ground(s) == "#404040" and s.app.theme == "own"


async def test_the_theme_that_was_asked_for_comes_as_soon_as_its_file_is_right(stage, mine) -> None:
    (mine / "own.toml").write_text("primary = \n")
    async with stage(theme="own") as s:
        assert s.app.theme == themes.DEFAULT
        write(mine / "own.toml", 'primary = "#ffffff"\nbackground = "#101010"\n')
        await s.until(lambda: s.app.theme == "own" and ground(s) == "#101010")


async def test_ones_own_file_hides_a_shipped_theme_while_it_is_there(stage, mine) -> None:
    async with stage(theme="sovtui-dark") as s:
        before = ground(s)
        write(mine / "sovtui-dark.toml", 'primary = "#ffffff"\nbackground = "#101010"\n')
        await s.until(lambda: ground(s) == "#101010")
        (mine / "sovtui-dark.toml").unlink()
        await s.until(lambda: ground(s) == before)


async def test_nothing_is_read_or_drawn_while_nothing_changes(stage, mine, monkeypatch) -> None:
    read: list[object] = []
    async with stage() as s:
        await s.pilot.pause(0.05)
        real = themes.load

        def load(*a: Any) -> themes.Found:
            read.append(a)
            return real(*a)

        monkeypatch.setattr(themes, "load", load)
        drawings: list[int] = []
        monkeypatch.setattr(s.app, "post_display_hook", lambda: drawings.append(1))
        await asyncio.sleep(0.2)
        assert not read and not drawings
