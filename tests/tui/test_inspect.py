"""Reading closely: an entry in full, copying, jumping by letter, the log that holds still."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sovtui.actions import all_specs
from sovtui.core.model import LinkPhase
from sovtui.core.receipts import step_word
from sovtui.demo import PICTURE_TIME
from sovtui.ports.errors import Unreachable
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import ORDER
from sovtui.tui.jump import letters
from sovtui.tui.keymap import LOCAL, SCREEN, default_keys
from sovtui.tui.logring import LATER
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.confirm import ConfirmScreen
from sovtui.tui.screens.detail import DetailScreen
from sovtui.tui.screens.dialog import Written
from sovtui.tui.screens.help import help_rows

from .conftest import SIZES, Stage

pytestmark = pytest.mark.screen

ERRORS = [
    LogLine(PICTURE_TIME, "Starting", "info"),
    LogLine(PICTURE_TIME, "mount: busy", "error"),
    LogLine(PICTURE_TIME, "nothing was copied", "error"),
]


def written(s: Stage) -> str:
    return str(s.screen.query_one(Written).plain)


def flat(words: str) -> str:
    return " ".join(words.split())


def noted(count: int, *, level: str = "", begin: int = 0) -> list[LogLine]:
    return [LogLine(PICTURE_TIME + timedelta(seconds=i), f"line {i}", level) for i in range(begin, begin + count)]


# an entry in full


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_failed_unit_says_why(stage: Any, size: tuple[int, int]) -> None:
    async with stage(size=size, lines=ERRORS) as s:
        s.room.show_pane("services")
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen) and "mount: busy" in written(s))
        told = flat(written(s))
        for part in ("failed: exit-code, status 32", "backup nas", "is busy", "last errors", "log of backup-nas.service"):
            assert part in told
        assert told.index("last errors") < told.index("description")
        await s.press("escape")
        assert s.screen is s.room and s.room.current == "services"


async def test_what_is_open_follows_the_state_and_its_keys_act(stage: Any) -> None:
    async with stage(lines=ERRORS) as s:
        s.room.show_pane("services")
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        name, host = next(iter(s.hub.state.hosts.items()))
        better = replace(host.services["backup-nas.service"], active="active", sub="running", result="success")
        s.hub.put(replace(s.hub.state, hosts={name: replace(host, services={**host.services, better.name: better})}))
        await s.until(lambda: written(s).startswith("● active"))
        await s.press("r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        assert s.screen.plan.wish.target == "backup-nas.service", "though another unit is the worst now"
        await s.press("escape")


async def test_an_entry_that_goes_while_it_is_open_says_so(stage: Any) -> None:
    async with stage() as s:
        s.room.show_pane("alerts")
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        assert "labels" in written(s) and "instance" in written(s)
        s.hub.put(replace(s.hub.state, alerts=()))
        await s.until(lambda: "no longer exists" in written(s))


async def test_a_log_that_cannot_be_read_says_why(stage: Any, monkeypatch: Any) -> None:
    async with stage() as s:

        async def lost(*args: Any, **options: Any) -> Any:
            raise Unreachable("spark cannot be reached", "Try again when the link is up")
            yield

        monkeypatch.setattr(s.hub, "logs", lost)
        s.room.show_pane("backups")
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen) and "cannot be reached" in written(s))


async def test_a_receipt_shows_every_step_and_figures_before_and_after(stage: Any) -> None:
    async with stage("failed") as s:
        s.room.show_pane("actions")
        await s.press("o")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        told = flat(written(s))
        run = next(iter(s.hub.state.hosts.values())).action
        assert run is not None and run.id in told and run.who in told
        for step in run.steps:
            assert step_word(step.name) in told and flat(step.detail) in told
        assert flat(run.reason) in told


async def test_a_pane_without_entries_is_zoomed_by_enter(stage: Any) -> None:
    async with stage() as s:
        s.room.show_pane("memory")
        await s.press("enter")
        await s.until(lambda: s.room.zoomed)
        await s.press("escape")
        assert not s.room.zoomed


async def test_a_detail_can_be_read_to_its_end_by_taps(stage: Any) -> None:
    async with stage("failed", size=(40, 20)) as s:
        s.room.show_pane("actions")
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        await s.read()
        text, answers = s.screen.query_one("#text"), s.screen.query_one("#answers")
        for _ in range(30):
            places = {id: region for region, id in answers._places}
            assert "leave" in places
            if "down" not in places:
                break
            await s.pilot.click("#answers", offset=(places["down"].x + 2, 0))
            await s.pilot.pause(0.05)
        assert text.scroll_y == text.max_scroll_y > 0 and "down" not in places


# copying


async def test_copy_offers_what_is_worth_it_and_says_what_it_took(stage: Any) -> None:
    async with stage(lines=ERRORS) as s:
        for pane, key, part in (
            ("services", "1", "backup-nas.service"),
            ("services", "2", "backup-nas.service on spark: failed: exit-code, status 32 since 2026-11-19"),
            ("services", "3", "nothing was copied"),
            ("inference", "2", "qwen3.6-prismaquant"),
            ("inference", "3", "decode: 57.7 tok/s"),
            ("memory", "2", "total: 122 GiB"),
            ("alerts", "1", "ServiceRestarting (warning, active, since"),
            ("backups", "1", "backup local on spark: ok, last success 2026-11-20"),
            ("actions", "1", "switch qwen on spark"),
        ):
            s.room.show_pane(pane)
            await s.press("y")
            await s.until(lambda: isinstance(s.screen, ChooseScreen))
            await s.press(key)
            await s.until(lambda part=part: part in (s.app.clipboard or ""))
            await s.until(lambda: s.screen is s.room)
        assert any("Copied: backup local on spark" in words for words in s.toasts())


async def test_copy_of_log_lines_is_clean_and_goes_out_by_osc_52(stage: Any, monkeypatch: Any) -> None:
    sent: list[str] = []
    async with stage(lines=[LogLine(PICTURE_TIME, "one"), LogLine(PICTURE_TIME, "two\x1b]52;c;eA==\x07\nthree")]) as s:
        monkeypatch.setattr(s.app._driver, "write", sent.append)
        s.room.show_pane("log")
        await s.until(lambda: "one" in s.text("log"))
        await s.press("y")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        await s.press("2")
        await s.until(lambda: bool(s.app.clipboard))
        assert s.app.clipboard == "two · three"
        assert [words for words in sent if "52;" in words] == [f"\x1b]52;c;{b64encode('two · three'.encode()).decode()}\a"]
        for words in ("one\r\ntwo\x1b[31m\u202e", "\nrm -rf x\n", "a\u2028b\x85c"):
            s.app.copy_to_clipboard(words)  # from wherever
            assert s.app.clipboard.isprintable() and "\n" not in s.app.clipboard


async def test_tmux_is_told_what_it_needs(stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("TMUX", "/tmp/x,1,0")
    async with stage() as s:
        s.room.show_pane("services")
        await s.press("y")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        await s.press("1")
        await s.until(lambda: any("set-clipboard" in words for words in s.toasts()))


# jumping


def test_letters_are_one_per_pane_and_leave_the_key_free() -> None:
    found = letters(ORDER, taken="g")
    assert sorted(found.values()) == sorted(ORDER) and "g" not in found
    assert {found[c] for c in "imsabl"} == {"inference", "memory", "services", "alerts", "backups", "log"}
    assert letters(["gamma", "gemma", "g"], taken="g") == {"a": "gamma", "e": "gemma", "x": "g"}


@pytest.mark.parametrize("size", [*SIZES.values(), (40, 20)])
async def test_a_letter_goes_to_every_pane_and_escape_stays(stage: Any, size: tuple[int, int]) -> None:
    async with stage(size=size) as s:
        for letter, name in s.room.letters.items():
            await s.press("g", letter)
            assert s.room.current == name and s.pane(name).has_focus and s.pane(name).region.area > 0
        await s.press("g")
        assert s.room.jumping and "esc" in s.bar("keys")
        assert any(pane.letter for pane in s.room._panes.values())
        await s.press("escape")
        assert not s.room.jumping and s.room.current == ORDER[-1] and not any(p.letter for p in s.room._panes.values())
        await s.press("g", "2")
        assert s.screen is s.room and s.hub.executed == [], "while a letter is asked for nothing else happens"


async def test_g_twice_is_the_first_entry(stage: Any) -> None:
    async with stage() as s:
        s.room.show_pane("services")
        await s.press("G")
        assert s.pane("services").cursor != "backup-nas.service"
        await s.press("g", "g")
        assert s.pane("services").cursor == "backup-nas.service"


# the log


async def test_a_held_log_stands_still_and_counts_what_it_could_not_keep(stage: Any) -> None:
    async with stage(size=(80, 24), lines=noted(50)) as s:
        s.room.show_pane("log")
        await s.until(lambda: "line 49" in s.text("log"))
        await s.press("space")
        before = s.text("log")
        for line in noted(LATER + 812, begin=50):
            s.pane("log").add(line)
        await s.pilot.pause(0.3)
        assert s.text("log") == before and f"PAUSED, {LATER + 812:,} new" in s.pane("log")._title
        await s.press("space")
        await s.until(lambda: f"line {LATER + 861}" in s.text("log"))
        assert any(line.text == "812 lines skipped" for line in s.pane("log").lines)
        assert [line.text for line in s.pane("log").lines][:2] == ["line 0", "line 1"], "what was looked at is still there"


async def test_scrolling_back_holds_and_scrolling_on_takes_in_what_came(stage: Any) -> None:
    async with stage(size=(80, 24), lines=noted(100)) as s:
        s.room.show_pane("log")
        await s.until(lambda: "line 99" in s.text("log"))
        await s.press("up", "up", "up")
        before = s.text("log")
        for line in noted(5, begin=100):
            s.pane("log").add(line)
        await s.pilot.pause(0.3)
        assert s.text("log") == before and "scrolled back, 5 new" in s.pane("log")._title
        await s.press("down", "down", "down")
        assert "line 99" in s.text("log").splitlines()[-1] and "new" not in s.pane("log")._title
        await s.press("G")
        assert "line 104" in s.text("log") and not s.pane("log").held


async def test_the_log_goes_to_errors_and_to_the_actions_start(stage: Any) -> None:
    async with stage("switching", size=(120, 40)) as s:
        run = next(iter(s.hub.state.hosts.values())).action
        assert run is not None
        lines = [
            LogLine(run.began_at + timedelta(seconds=i - 300), f"line {i}", "error" if i in (20, 40) else "") for i in range(600)
        ]
        s.room.show_pane("log")
        await s.press("z")
        await s.until(lambda: s.pane("log")._reader is not None)
        for line in lines:
            s.pane("log").add(line)
        await s.pilot.pause(0.3)
        await s.press("s")
        shown = s.text("log").splitlines()
        assert "switch mistral began" in shown[0] and "line 300" in shown[1]
        s.pane("log").add(LogLine(run.began_at + timedelta(seconds=400), "later"))
        await s.pilot.pause(0.3)
        assert "line 300" in s.text("log").splitlines()[1], "it stays there whatever comes"
        await s.press("e")
        assert "line 40" in s.text("log").splitlines()[-1]
        await s.press("e")
        assert "line 20" in s.text("log").splitlines()[-1] and "✖" in s.text("log").splitlines()[-1]
        await s.press("e")
        assert any("No error before this" in words for words in s.toasts())


async def test_lines_from_the_actions_start_are_asked_for_if_they_are_not_here(stage: Any) -> None:
    async with stage("switching", lines=[LogLine(PICTURE_TIME, "only this")]) as s:
        asked: list[str] = []
        real = s.pane("log").open_log

        def open_log(host: str, service: str, since: str, lines: int) -> Any:
            asked.append(since)
            return real(host, service, since, lines)

        s.pane("log").open_log = open_log
        s.room.show_pane("log")
        await s.until(lambda: "only this" in s.text("log"))
        run = next(iter(s.hub.state.hosts.values())).action
        assert run is not None
        await s.press("s")
        assert asked == [f"{run.began_at.timestamp():.0f}"]


async def test_keys_have_their_turn_while_a_thousand_lines_a_second_come(stage: Any) -> None:
    async with stage(size=(80, 24)) as s:
        s.room.show_pane("log")
        await s.until(lambda: s.pane("log")._reader is not None)
        for burst in range(20):  # 50 lines each twentieth of a second
            for line in noted(50, begin=burst * 50):
                s.pane("log").add(line)
            before = s.pane("log")._wraps
            await s.press("w")
            assert s.pane("log")._wraps is not before
        assert len(s.pane("log").lines) == 1000


# keys


async def test_keys_of_one_pane_work_there_only_and_can_be_remapped(stage: Any) -> None:
    async with stage(lines=noted(3), keys={"pause": "x"}) as s:
        await s.press("x")
        assert not s.pane("log").held
        s.room.show_pane("log")
        await s.press("x")
        assert s.pane("log").held and " x pause" in s.bar("keys")
        await s.press("p")
        assert s.pane("log").held


async def test_the_key_bar_is_about_the_pane_in_front(stage: Any) -> None:
    async with stage(size=(80, 24)) as s:
        for pane, words in (
            ("services", "restart"),
            ("alerts", "ack"),
            ("backups", "backup"),
            ("log", "pause"),
            ("actions", "open"),
        ):
            s.room.show_pane(pane)
            assert words in s.bar("keys") and "1 qwen" in s.bar("keys"), pane


async def test_help_and_palette_hold_everything(stage: Any) -> None:
    told = flat(" ".join(line.plain for line in help_rows(all_specs(), {}, 100)))
    for _, key, title, help in (*SCREEN, *(entry[1:] for entry in LOCAL)):
        assert f"{key} {title}" in told and help.split(".")[0].split(":")[0] in told
    async with stage() as s:
        titles = {command.title for command in s.room.commands()}
        assert {"Copy", "Jump", "Open", "Log: pause", "Log: wrap", "Log: error", "Log: action"} <= titles
        command = next(command for command in s.room.commands() if command.title == "Log: pause")
        command.run()
        assert s.room.current == "log" and s.pane("log").held
    assert set(default_keys(all_specs())) >= {*all_specs(), "copy", "jump", "open", "pause"}


# sizes


async def test_turning_the_phone_keeps_everything(stage: Any) -> None:
    async with stage("link-down", size=(44, 80), lines=noted(200)) as s:
        s.room.show_pane("services")
        await s.press("down", "down", "slash", *"ser", "enter")
        chosen = s.pane("services").cursor
        for size in ((80, 24), (48, 30), (40, 20), (120, 40), (30, 10), (44, 80)):
            await s.pilot.resize_terminal(*size)
            await s.pilot.pause()
            assert s.room.current == "services" and s.pane("services").filter == "ser"
            assert s.pane("services").cursor == chosen
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        title = s.screen.query_one("#box").border_title
        for size in ((80, 24), (40, 20), (30, 10), (44, 80)):
            await s.pilot.resize_terminal(*size)
            await s.pilot.pause()
            assert isinstance(s.screen, DetailScreen) and s.screen.query_one("#box").border_title == title
        await s.press("escape")
        assert s.room.current == "services" and s.pane("services").has_focus
        assert next(iter(s.hub.state.hosts.values())).link.phase is LinkPhase.DOWN


async def test_a_filter_that_is_being_typed_survives_turning(stage: Any) -> None:
    async with stage(size=(44, 80)) as s:
        s.room.show_pane("services")
        await s.press("slash", "t", "o")
        await s.pilot.resize_terminal(80, 24)
        await s.pilot.pause()
        await s.press("r", "enter")
        assert s.pane("services").filter == "tor"
