"""Theme files: what is read, what is refused, and that ours can be read by human eyes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sovtui.tui import themes
from sovtui.tui.themes import contrast

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["sovtui-dark", "sovtui-light"])
def test_text_keeps_its_contrast_on_every_ground(name):
    theme = themes.load([REPO / "themes"]).themes[name]
    assert theme.foreground and theme.background and theme.surface and theme.panel
    texts = {
        "foreground": theme.foreground,
        "muted": theme.variables["foreground-muted"],
        "success": theme.success,
        "warning": theme.warning,
        "error": theme.error,
        "accent": theme.accent,
        "primary": theme.primary,
    }
    grounds = {
        "background": theme.background,
        "surface": theme.surface,
        "panel": theme.panel,
        "cursor": theme.variables["block-cursor-background"],
        "cursor, not focused": theme.variables["block-cursor-blurred-background"],
    }
    for text, colour in texts.items():
        for ground, behind in grounds.items():
            assert colour is not None
            least = 3.0 if ground == "cursor" and text not in ("foreground",) else 4.5
            assert contrast(colour, behind) >= least, f"{name}: {text} on {ground}: {contrast(colour, behind):.2f}"


def test_the_first_directory_wins_and_bad_files_are_told(tmp_path):
    mine, ours = tmp_path / "mine", tmp_path / "ours"
    mine.mkdir()
    ours.mkdir()
    (mine / "a.toml").write_text('primary = "#112233"\n')
    (ours / "a.toml").write_text('primary = "#445566"\n')
    (mine / "bad1.toml").write_text("primary = \n")
    (mine / "bad2.toml").write_text('primary = "#112233"\nsparkle = 1\n')
    (mine / "bad3.toml").write_text('primary = "no such colour"\n')
    (mine / "bad4.toml").write_text("dark = true\n")
    (mine / "bad5.toml").write_bytes(b"\xff\xfe")
    (mine / "bad6.toml").write_text('primary = "#112233"\n[variables]\nborder = 3\n')
    found = themes.load([mine, ours, tmp_path / "absent"])
    assert found.themes["a"].primary == "#112233"
    assert set(found.themes) == {"a"}
    assert len(found.problems) == 6
    assert any("sparkle" in problem and "bad2.toml" in problem for problem in found.problems)


async def test_a_theme_that_does_not_exist_is_told(stage):
    async with stage(theme="pink") as s:
        assert s.app.theme == themes.DEFAULT
        await s.until(lambda: any("pink" in words for words in s.toasts()))


@pytest.mark.parametrize("name", ["sovtui-light", "ansi-dark", "ansi-light", "textual-dark", "nord"])
async def test_every_kind_of_theme_draws(stage, name):
    async with stage("alerting", size=(80, 24), theme=name) as s:
        assert s.app.theme == name and s.text("inference")
        await s.press("question_mark")
