"""Keys, layouts, dialogs: what the operator does and sees, at three sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from textual.command import CommandPalette
from textual.events import Key
from textual.widgets import Input

from sovtui.actions import all_specs
from sovtui.core.events import Tick
from sovtui.core.model import ActionRun, Alert, LinkPhase, Service, Step
from sovtui.core.reach import Verdict
from sovtui.core.reading import Reading, Status, fresh, unsupported
from sovtui.core.state import State, reduce
from sovtui.ports.link import Question
from sovtui.runtime.hub import LogLine, Outcome
from sovtui.tui import keyqueue
from sovtui.tui.arrange import ORDER
from sovtui.tui.offers import farewell
from sovtui.tui.screens.acknowledge import AcknowledgeScreen
from sovtui.tui.screens.ask import AskScreen
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.confirm import ConfirmScreen
from sovtui.tui.screens.help import HelpScreen, help_rows, mode_keys
from sovtui.tui.widgets.lines import Lines

from .conftest import SIZES

pytestmark = pytest.mark.screen

EVERY_SIZE = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
BOTH_ENDS = pytest.mark.parametrize("size", [SIZES["wide"], SIZES["phone"]], ids=["wide", "phone"])


def with_figures(state: State, **figures: Reading) -> State:
    """The state with figures of its first host replaced; `__` stands for the dot."""
    name, host = next(iter(state.hosts.items()))
    new = {**host.figures}
    for key, reading in figures.items():
        figure = key.replace("__", ".")
        subjects = [s for k, s in new if k == figure] or [""]
        for subject in subjects:
            new[figure, subject] = reading
    return replace(state, hosts={**state.hosts, name: replace(host, figures=new)})


def first(state: State):
    return next(iter(state.hosts.values()))


@EVERY_SIZE
async def test_every_pane_is_reached_by_tab_and_never_empty(stage, size):
    async with stage(size=size) as s:
        seen = []
        for _ in ORDER:
            seen.append(s.room.current)
            assert s.pane(s.room.current).region.area > 0
            assert s.text(s.room.current).strip()
            assert s.pane(s.room.current).has_focus
            await s.press("tab")
        assert seen == list(ORDER)
        await s.press("shift+tab")
        assert s.room.current == "log"


@pytest.mark.parametrize("name", ["healthy", "troubled", "hostile", "switching", "failed", "link-down", "alerting", "empty"])
async def test_nothing_is_drawn_wider_than_its_pane(stage, name):
    async with stage(name) as s:
        for size in (*SIZES.values(), (44, 38), (60, 24), (100, 50)):
            await s.pilot.resize_terminal(*size)
            await s.pilot.pause()
            for pane in s.room._panes.values():
                if pane.display:
                    assert all(line.cells <= pane.size.width for line in pane.shown)
            assert "DEMO" in s.bar("status")


async def test_wide_shows_everything_at_once(stage):
    async with stage() as s:
        assert [name for name in ORDER if s.pane(name).region.area > 0] == list(ORDER)
        regions = [s.pane(name).region for name in ORDER]
        assert all(not one.overlaps(other) for i, one in enumerate(regions) for other in regions[i + 1 :])


@BOTH_ENDS
async def test_a_mode_key_asks_while_work_runs_and_the_same_key_confirms(stage, size):
    async with stage(size=size) as s:
        await s.press("2")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        assert s.hub.executed == []
        words = s.screen.query_one("Written").plain
        assert "would be cut off" in " ".join(words.split())
        await s.press("2")
        assert isinstance(s.screen, ConfirmScreen), "a key held down must not confirm at once"
        await s.read()
        await s.press("2")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[0].wish.target == "mistral"
        assert s.screen is s.room


async def test_escape_leaves_a_question_without_doing_anything(stage):
    async with stage() as s:
        await s.press("r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        await s.read()
        await s.press("escape")
        assert s.screen is s.room and s.hub.executed == []


async def test_enter_confirms_a_restart_of_the_chosen_unit(stage):
    async with stage() as s:
        s.room.show_pane("services")
        await s.press("down", "r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        await s.read()
        await s.press("enter")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[0].wish.target == s.pane("services").cursor == "container:open-webui"


async def test_what_the_box_has_named_is_asked_about_and_then_done(stage):
    reason = "stopping qwen.service also stops sidecar.service. Nothing was touched; confirm it to go on"
    refused = ActionRun(
        "id",
        "drop-caches",
        "",
        "me",
        datetime(2026, 11, 20, tzinfo=UTC),
        outcome="refused",
        reason=reason,
        asks={"takes": ("stop sidecar.service",)},
    )
    async with stage() as s:
        s.hub.outcome = Outcome(4, "was refused", refused)
        await s.press("c")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        assert "also stops sidecar.service" in " ".join(s.screen.query_one("Written").plain.split())
        await s.read()
        s.hub.outcome = Outcome(0, "done")
        await s.press("enter")
        await s.until(lambda: len(s.hub.executed) == 2)
        assert s.screen is s.room
        assert s.hub.executed[1].wish.agreed == {"takes": ["stop sidecar.service"]}


async def test_what_the_box_names_only_then_is_asked_about_again(stage):
    def refused(*names):
        at = datetime(2026, 11, 20, tzinfo=UTC)
        reason = f"restarting {names[-1]}. Nothing was touched; confirm it to go on"
        return ActionRun("id", "restart", "", "me", at, outcome="refused", reason=reason, asks={"takes": names})

    async with stage() as s:
        s.hub.outcome = Outcome(4, "was refused", refused("stop one.service"))
        s.room.show_pane("services")
        await s.press("down", "r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        for word, then in (
            ("is stopped and started again", None),
            ("one.service", refused("stop one.service", "stop two.service")),
            ("two.service", ...),
        ):
            await s.until(lambda word=word: word in " ".join(s.screen.query_one("Written").plain.split()))
            await s.read()
            if then is not None:
                s.hub.outcome = Outcome(0, "done") if then is ... else Outcome(4, "was refused", then)
            await s.press("enter")
        await s.until(lambda: len(s.hub.executed) == 3 and s.screen is s.room)
        assert [plan.request["consent"] for plan in s.hub.executed] == [
            {},
            {"takes": ["stop one.service"]},
            {"takes": ["stop one.service", "stop two.service"]},
        ]


async def test_what_needs_no_question_is_done_at_once(stage):
    async with stage() as s:
        await s.press("c")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[0].action == "drop-caches"


async def test_a_refusal_is_told_and_nothing_is_done(stage):
    async with stage("switching") as s:
        await s.press("1")
        await s.until(lambda: bool(s.toasts()))
        assert s.hub.executed == [] and s.screen is s.room
        assert "Follow it or wait for its end" in s.toasts()[-1]


async def test_a_failed_outcome_is_told(stage):
    async with stage() as s:
        s.hub.outcome = Outcome(1, "it broke at [red]step[/red] 3")
        await s.press("c")
        await s.until(lambda: any("[red]step[/red]" in words for words in s.toasts()))


@BOTH_ENDS
async def test_acknowledge_asks_for_comment_and_time(stage, size):
    async with stage("alerting", size=size) as s:
        await s.press("a")
        await s.until(lambda: isinstance(s.screen, AcknowledgeScreen))
        await s.press("ctrl+u", *"why not", "tab", "ctrl+u", *"45m", "enter")
        await s.until(lambda: bool(s.hub.executed))
        plan = s.hub.executed[0]
        assert plan.action == "acknowledge"
        assert plan.wish.options == {"comment": "why not", "for": "2700"}
        assert plan.wish.target == s.pane("alerts").chosen(s.room.view)


async def test_acknowledge_needs_a_comment(stage):
    async with stage("alerting") as s:
        await s.press("a")
        await s.until(lambda: isinstance(s.screen, AcknowledgeScreen))
        await s.press("ctrl+u", "enter")
        assert isinstance(s.screen, AcknowledgeScreen) and s.hub.executed == []


async def test_a_backup_is_chosen_where_there_are_several(stage):
    async with stage() as s:
        await s.press("b")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        await s.press("2")
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[0].wish.target == "nas"


async def test_help_lists_every_spec_and_every_screen_key(stage):
    specs = all_specs()
    for width in (40, 76):
        words = "\n".join(line.plain for line in help_rows(specs, {"drop-caches": "d"}, width))
        flat = " ".join(words.split())
        for spec in specs.values():
            assert spec.title in flat
            assert " ".join(spec.help.split())[:25] in flat
        assert "Filter" in flat and "Quit" in flat
        assert any(line.plain.startswith("d ") for line in help_rows(specs, {"drop-caches": "d"}, width))
    async with stage() as s:
        for opens, closes in (("question_mark", "escape"), ("f1", "f1"), ("f1", "question_mark")):
            await s.press(opens)
            assert isinstance(s.screen, HelpScreen)
            await s.press(closes)
            assert s.screen is s.room


def test_the_keys_of_modes_are_told_in_few_cells():
    assert mode_keys(["1", "2", "3", "4", ""]) == "1–4, 0"
    assert mode_keys(["9", "2", "1", "5"]) == "1–2, 5, 9, 0"
    assert mode_keys([]) == "0"


async def test_the_palette_has_every_action_on_every_target(stage):
    async with stage() as s:
        titles = [command.title for command in s.room.commands()]
        host = first(s.hub.state)
        for mode in host.spec.modes:
            assert any(mode.title in title and title.startswith("Switch") for title in titles)
        for service in host.services:
            assert any(service in title for title in titles)
        for backup in host.backups:
            assert f"Run backup: {backup}" in titles
        for name in ORDER:
            assert any(title.startswith("Show ") and title.endswith(name) for title in titles)
        for name in s.hub.state.hosts:
            assert f"Host {name}" in titles
        assert {"Acknowledge", "Unacknowledge"} <= {title.split(":")[0] for title in titles}
        await s.press("colon")
        await s.until(lambda: isinstance(s.screen, CommandPalette))


async def test_read_only_offers_nothing_that_changes(stage):
    async with stage(read_only=True) as s:
        assert "READ-ONLY" in s.bar("status")
        assert not {key.id for key in s.room._keys} & set(all_specs())
        await s.press("c", "1", "r")
        assert s.hub.executed == [] and s.screen is s.room


async def test_keys_can_be_remapped(stage):
    async with stage(keys={"drop-caches": "d", "help": "f"}) as s:
        await s.press("c")
        assert s.hub.executed == []
        await s.press("d")
        await s.until(lambda: bool(s.hub.executed))
        await s.press("f")
        assert isinstance(s.screen, HelpScreen)


async def test_filter_owns_its_keys_and_is_visible(stage):
    async with stage() as s:
        s.room.show_pane("services")
        await s.press("slash", *"timer")
        assert s.hub.executed == [], "typing must not fire actions"
        await s.press("enter")
        assert all("timer" in line for line in s.text("services").splitlines())
        assert "/timer" in s.pane("services")._title
        await s.press("escape")
        assert s.pane("services").filter == ""


async def test_escape_in_the_filter_clears_it(stage):
    async with stage() as s:
        s.room.show_pane("alerts")
        await s.press("slash", "x", "y", "escape")
        assert s.pane("alerts").filter == "" and s.pane("alerts").has_focus
        assert not s.room.query_one("#filter", Input).display


async def test_a_key_right_after_escape_comes_after_it(stage, monkeypatch):
    monkeypatch.setattr(keyqueue, "STALL_SECONDS", 300.0)  # however slow the machine is
    async with stage() as s:
        s.room.show_pane("services")
        for key, character in (("escape", "\x1b"), ("slash", "/")):
            s.app.post_message(Key(key, character))
        await s.press("x")
        assert s.room.query_one("#filter", Input).display, "Escape undid what was typed after it"


@pytest.mark.parametrize("leave", ["q", "escape"])
async def test_keys_typed_in_one_go_are_taken_by_the_screens_they_are_meant_for(stage, leave: str, monkeypatch):
    """A bad link brings several at once."""
    monkeypatch.setattr(keyqueue, "STALL_SECONDS", 300.0)  # however slow the machine is

    def type_in_one_go(*keys: str) -> None:
        for key in keys:
            s.app.post_message(Key(key, {"slash": "/", "escape": "\x1b"}.get(key, key)))

    async with stage() as s:
        await s.press("i")
        await s.until(lambda: s.screen is not s.room)
        type_in_one_go(leave, "h")
        await s.until(lambda: isinstance(s.screen, ChooseScreen) and "host" in s.screen.heading().lower())
        type_in_one_go(leave, "i", leave, "h", leave, "slash", "x", "y")
        await s.until(lambda: s.room.query_one("#filter", Input).value == "xy")
        assert s.screen is s.room


async def test_zoom_and_back(stage):
    async with stage() as s:
        s.room.show_pane("memory")
        await s.press("z")
        assert s.pane("memory").region.width == 120 and not s.pane("alerts").display
        await s.press("escape")
        assert s.pane("alerts").display and s.room.current == "memory"


async def test_resize_keeps_the_pane(stage):
    async with stage() as s:
        s.room.show_pane("alerts")
        for size in ((44, 38), (80, 24), (30, 12), (46, 19), (120, 40)):
            await s.pilot.resize_terminal(*size)
            await s.pilot.pause()
            assert s.room.current == "alerts"
            if size != (30, 12):
                assert s.pane("alerts").region.area > 0
            else:
                assert "30×12" in s.bar("small")
        assert s.pane("alerts").has_focus


async def test_a_phone_can_tap_everything(stage):
    async with stage("alerting", size=(44, 38)) as s:
        tabs, bar = s.room.query_one("#tabs"), s.room.query_one("#keys")
        assert all(region.height == 3 and region.width >= 10 for region, _ in bar._places)
        assert [id for _, id in tabs._places] == list(ORDER)
        for region, id in tabs._places:
            await s.pilot.click("#tabs", offset=(region.x + 2, 1))
            await s.pilot.pause()
            assert s.room.current == id
        region = next(region for region, id in bar._places if id == "more")
        await s.pilot.click("#keys", offset=(region.x + 3, 1))
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        offered = {choice.id for choice in s.screen.choices}
        assert {f"key {key.name}" for key in s.room._keys} <= offered
        assert {f"pane {name}" for name in ORDER} <= offered


async def test_a_tap_on_a_row_chooses_it(stage):
    async with stage() as s:
        await s.pilot.click("#services", offset=(10, 3))
        await s.pilot.pause()
        assert s.room.current == "services"
        assert s.pane("services").cursor == s.pane("services")._owners[2]


async def test_the_cursor_stays_on_its_entry(stage):
    async with stage() as s:
        s.room.show_pane("services")
        await s.press("down", "down")
        chosen = s.pane("services").cursor
        host = first(s.hub.state)
        worse = {**host.services, "gitea.service": replace(host.services["gitea.service"], active="failed")}
        s.hub.put(replace(s.hub.state, hosts={**s.hub.state.hosts, host.spec.name: replace(host, services=worse)}))
        await s.pilot.pause()
        assert s.pane("services").cursor == chosen
        assert "gitea" in s.text("services").splitlines()[0] + s.text("services").splitlines()[1]


async def test_hosts_can_be_switched(stage):
    async with stage() as s:
        names = list(s.hub.state.hosts)
        await s.press("h")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        await s.press("2")
        await s.until(lambda: s.room.host_name == names[1])
        await s.pilot.pause()
        assert names[1] in s.bar("status")


async def test_logs_follow_the_chosen_service(stage):
    lines = [LogLine(None, f"line {i} \x1b" if i < 0 else f"line {i}") for i in range(3000)]
    async with stage(lines=lines) as s:
        s.room.show_pane("services")
        await s.press("down", "l")
        await s.until(lambda: "line 2999" in s.text("log"))
        assert s.hub.followed[-1][1] == "container:open-webui"
        assert len(s.pane("log").lines) == 2000 and s.pane("log").dropped == 1000
        await s.press("p")
        assert "PAUSED" in s.pane("log")._title
        s.pane("log").add(LogLine(None, "while paused"))
        await s.pilot.pause(0.3)
        assert "while paused" not in s.text("log") and "1 new" in s.pane("log")._title
        await s.press("p")
        await s.until(lambda: "while paused" in s.text("log"))
        await s.press("slash", *"line 2998", "enter")
        assert [line.strip() for line in s.text("log").splitlines() if "line" in line and "kept" not in line] == ["line 2998"]


async def test_lines_beside_another_pane_come_with_the_next_drawing(stage):
    async with stage(lines=[LogLine(None, "the first")]) as s:
        await s.until(lambda: "the first" in s.text("log"))
        s.pane("log").add(LogLine(None, "the second"))
        await s.pilot.pause(0.4)
        assert "the second" not in s.text("log")
        s.hub.put(reduce(s.hub.state, Tick(s.hub.state.now + timedelta(seconds=1))))
        assert "the second" in s.text("log")
        s.room.show_pane("log")
        s.pane("log").add(LogLine(None, "the third"))
        await s.pilot.pause(0.5)
        assert "the third" in s.text("log")


async def test_hidden_logs_are_not_followed(stage):
    async with stage(size=(44, 38)) as s:
        assert s.hub.followed == []
        await s.press("l")
        await s.until(lambda: bool(s.hub.followed))
        await s.press("tab")
        await s.pilot.pause()
        assert s.pane("log")._reader is None


async def test_an_action_that_runs_is_shown_at_every_size(stage):
    for size in SIZES.values():
        async with stage("switching", size=size) as s:
            assert s.pane("actions").region.area > 0
            assert "switch mistral" in s.text("actions")
            assert "switch mistral" in s.bar("status")


async def test_an_action_never_took_less_than_its_steps(stage, states):
    """The newest step is told before the second that it belongs to."""
    state = states("switching")
    host = state.hosts["spark"]
    run = replace(host.action, began_at=state.now, steps=(Step("stop", "done", state.now, 72.0, "qwen"),))
    async with stage() as s:
        s.hub.put(replace(state, hosts={**state.hosts, "spark": replace(host, action=run)}))
        await s.until(lambda: "1 min 12 s" in s.text("actions").splitlines()[0])


@pytest.mark.parametrize("estate", ["spark", "mesh", "modes"])
async def test_every_host_of_every_estate_draws(stage, estate):
    async with stage(estate=estate) as s:
        for name in s.hub.state.hosts:
            s.room.go_to_host(name)
            for size in SIZES.values():
                await s.pilot.resize_terminal(*size)
                await s.pilot.pause()
                assert name in s.bar("status") and s.text(s.room.current).strip()


async def test_without_any_host_it_says_what_to_do(stage, states):
    async with stage(replace(states("empty"), hosts={})) as s:
        assert "sovtui init" in s.bar("notice")
        await s.press("tab", "r", "l", "question_mark", "escape", "c")
        assert s.hub.executed == []


NOTES = ("No configuration at /home/me/.config/sovtui/config.toml: this is this machine, as found.", "Next: `sovtui init`.")


@pytest.mark.parametrize("size", [*SIZES.values(), (40, 20), (38, 14), (30, 12)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_without_a_configuration_the_first_line_says_what_to_do_next(stage, states, size):
    async with stage(replace(states("link-down"), notes=NOTES), size=size) as s:
        first = s.room.query_one("#next", Lines)
        assert first.region.y == 0 and first.region.height == 1 and first.region.width == size[0]
        assert "sovtui init" in first.plain and len(first.plain) <= size[0] and "…" not in first.plain
        if size[0] >= 44:
            assert "No configuration" in first.plain
        assert s.room.query_one("#status", Lines).region.y == 1
        s.hub.put(replace(s.hub.state, notes=()))
        await s.until(lambda: s.room.query_one("#status", Lines).region.y == 0)


async def test_what_nobody_configured_offers_no_switch(stage, states):
    state = states("troubled")
    host = state.hosts["spark"]
    bare = tuple(replace(mode, key="", services=()) for mode in host.spec.modes)
    spec = replace(host.spec, modes=bare)
    async with stage(replace(state, notes=NOTES, hosts={**state.hosts, "spark": replace(host, spec=spec)})) as s:
        assert "none" not in s.bar("keys") and "nothing loaded" not in s.text("inference")
        await s.press("0", "1", "2")
        await s.pilot.pause(0.05)
        assert s.hub.executed == [] and s.screen is s.room


# the four kinds of nothing


@EVERY_SIZE
async def test_four_kinds_of_nothing(stage, states: Callable[..., State], size):
    state = states("troubled")
    now = state.now
    state = with_figures(
        state,
        engine__ttft_p50_seconds=Reading(),
        engine__ttft_p95_seconds=Reading(0.25, Status.STALE, now - timedelta(seconds=42), "prometheus"),
        engine__accept_ratio=unsupported("no drafts"),
        engine__waiting=fresh(0.0, now, "probe"),
    )
    async with stage(state, size=size) as s:
        words = " ".join(s.text("inference").split())
        assert "TTFT p50 ?" in words
        assert "TTFT p95 250 ms ~42s" in words
        assert "drafts n/a" in words
        assert "waiting 0" in words
        assert "mem n/a" in s.text("memory")
    async with stage("troubled", estate="modes", size=(44, 80)) as s:
        (line,) = [line.plain for line in s.pane("memory").shown if line.plain.startswith("mem ")]
        assert line.endswith("29.6 of 31.8 GiB, 2.26 free") and line.count("█") > 6 * line.count("░") > 0


async def test_a_box_that_never_answered_shows_no_zero(stage):
    async with stage("empty") as s:
        for name in ("memory", "alerts"):
            assert "?" in s.text(name)
        assert "0 " not in s.text("memory") and "alerts firing" not in s.text("alerts")
        assert "alerts ?" in s.bar("status") and "mode unknown" in s.bar("status")


async def test_zero_alerts_is_not_unknown_and_not_unsupported(stage, states):
    state = states("troubled")
    async with stage(replace(state, alerts=(), alerts_at=state.now)) as s:
        assert "0 alerts" in s.bar("status") and s.text("alerts").startswith("0 ")
    async with stage("troubled", estate="modes") as s:
        assert "n/a" in s.text("alerts") and "alerts n/a" in s.bar("status")


async def test_a_dead_link_is_told_with_its_reason_and_nothing_looks_live(stage):
    async with stage("link-down") as s:
        assert "link down" in s.bar("status")
        assert first(s.hub.state).link.reason.split(".")[0] in " ".join(s.bar("notice").split())
        roles = {role for line in s.pane("inference").shown for words, role in line.spans if "~" in words}
        assert roles == {"stale"}
        assert "ok" not in {role for line in s.pane("services").shown for _, role in line.spans}
        await s.press("tab")
        await s.press("x")
        assert s.hub.reconnected, "a key tries the link again"


async def test_a_refused_link_is_tried_again_by_enter_alone(stage, states):
    state = states("troubled")
    spark = first(state)
    refused = replace(spark.link, phase=LinkPhase.REFUSED, reason="no key was accepted", verdict=Verdict.LOGIN_REFUSED)
    async with stage(replace(state, hosts={**state.hosts, spark.spec.name: replace(spark, link=refused)})) as s:
        assert "login refused" in s.bar("status") and "Enter tries again" in " ".join(s.bar("notice").split())
        await s.press("x", "tab")
        assert not s.hub.reconnected, "a wrong key too often is held against us"
        await s.press("enter")
        assert s.hub.reconnected == [spark.spec.name]


# hostile text


HOSTILE = "[red]x[/red] [/] [@click=app.quit]go[/] \\[b 漢字漢字漢字漢字 e\u0301e\u0301e\u0301 {{x}} $(reboot)"


@BOTH_ENDS
async def test_hostile_text_is_inert(stage, states, size):
    state = states("troubled")
    name, host = next(iter(state.hosts.items()))
    alert = Alert(
        "f1", f"A{HOSTILE}" * 3, "warning", since=state.now, summary=HOSTILE * 20, labels=(("x", "\x1b[31m\u202e" + HOSTILE),)
    )
    bad = Service(f"{HOSTILE}.service", "failed", "failed", HOSTILE, state.now)
    new = replace(host, services={bad.name: bad, **host.services}, link=replace(host.link, phase=LinkPhase.DOWN, reason=HOSTILE))
    state = replace(state, alerts=(alert,), alerts_at=state.now, hosts={**state.hosts, name: new})
    async with stage(state, size=size, lines=[LogLine(None, HOSTILE * 30, "error")]) as s:
        for pane in ORDER:
            s.room.show_pane(pane)
            await s.pilot.pause()
            for line in s.pane(pane).shown:
                assert line.cells <= s.pane(pane).size.width
                assert not set(line.plain) & {"\x1b", "\u202e", "\n"}
        s.room.show_pane("services")
        await s.pilot.pause()
        assert "[red]x[/red]" in s.text("services")
        s.room.tell(HOSTILE, "error")
        await s.press("r")
        s.room.run_screen("palette")
        await s.pilot.pause()
        assert "\x1b[31m" not in s.app.export_screenshot()


async def test_hostile_names_in_dialogs(stage, states):
    state = states("alerting")
    alert = replace(state.alerts[0], name=HOSTILE, summary=HOSTILE)
    async with stage(replace(state, alerts=(alert,))) as s:
        await s.press("a")
        await s.until(lambda: isinstance(s.screen, AcknowledgeScreen))
        assert "[red]x[/red]" in " ".join(s.screen.query_one("Written").plain.split())
        await s.press("escape", "colon")
        await s.until(lambda: isinstance(s.screen, CommandPalette))
        await s.press("a", "c", "k")
        await s.pilot.pause(0.1)


# questions of a link


async def test_a_host_key_is_accepted_by_y_only(stage):
    async with stage() as s:
        import asyncio

        asked = asyncio.create_task(s.hub.ask(Question("host-key", "Unknown host key", "SHA256:abc\nis it yours?")))
        await s.until(lambda: isinstance(s.screen, AskScreen))
        await s.read()
        assert "SHA256:abc" in s.screen.query_one("Written").plain
        await s.press("enter")
        assert isinstance(s.screen, AskScreen), "Enter alone accepts no key"
        await s.press("y")
        assert await asked == "yes"


async def test_a_secret_is_masked_and_can_be_refused(stage):
    async with stage() as s:
        import asyncio

        asked = asyncio.create_task(s.hub.ask(Question("secret", "Passphrase", "for id_ed25519")))
        await s.until(lambda: isinstance(s.screen, AskScreen))
        await s.read()
        await s.press(*"geheim")
        assert s.screen.query_one(Input).password and "geheim" not in s.app.export_screenshot()
        await s.press("enter")
        assert await asked == "geheim"
        asked = asyncio.create_task(s.hub.ask(Question("secret", "Passphrase", "again")))
        await s.until(lambda: isinstance(s.screen, AskScreen))
        await s.read()
        await s.press("escape")
        assert await asked is None
        asked = asyncio.create_task(s.hub.ask(Question("shown", "Login to spark", "One-time code:")))
        await s.until(lambda: isinstance(s.screen, AskScreen))
        await s.read()
        await s.press(*"123456")
        assert "123456" in s.app.export_screenshot()  # the server said that it may be seen
        await s.press("enter")
        assert await asked == "123456"
        asked = asyncio.create_task(s.hub.ask(Question("secret", "Passphrase", "not any more")))
        await s.until(lambda: isinstance(s.screen, AskScreen))
        asked.cancel()
        await s.until(lambda: s.screen is s.room)


async def test_what_a_server_says_is_shown_while_it_connects_and_once_after(stage, states):
    state = states("troubled")
    host = state.hosts["spark"]
    said = ("Authorized use only.", "To approve: https://login.example/a[b]c")

    def now(phase: LinkPhase, said: tuple[str, ...] = said, reason: str = "") -> State:
        link = replace(host.link, phase=phase, said=said, reason=reason)
        told: State = replace(state, hosts={**state.hosts, "spark": replace(host, link=link)})
        return told

    async with stage(now(LinkPhase.CONNECTING)) as s:
        assert "says: Authorized use only. To approve: https://login.example/a[b]c" in " ".join(s.bar("notice").split())
        assert s.toasts() == []
        s.hub.put(now(LinkPhase.UP))
        await s.until(lambda: len(s.toasts()) == 1)
        assert "https://login.example/a[b]c" in s.toasts()[0]
        s.hub.put(now(LinkPhase.CONNECTING, ()))
        s.hub.put(now(LinkPhase.UP))  # the same once more, after a reconnect
        s.hub.put(now(LinkPhase.REFUSED, ("Maintenance until noon.",), "no key was accepted"))
        await s.until(lambda: len(s.toasts()) == 2)
        assert (
            "no key was accepted. There is no automatic retry; Enter tries again. It said: Maintenance until noon."
            in " ".join(s.bar("notice").split())
        )


# painting


async def test_nothing_is_repainted_when_nothing_changed(stage):
    async with stage() as s:
        await s.pilot.pause(0.3)
        before = {name: s.pane(name).repaints for name in ORDER} | {"status": s.room.query_one("#status").repaints}
        state = s.hub.state
        for _ in range(5):
            s.hub.put(replace(state))
            await s.pilot.pause()
        s.hub.put(reduce(state, Tick(state.now + timedelta(milliseconds=10))))
        await s.pilot.pause()
        after = {name: s.pane(name).repaints for name in ORDER} | {"status": s.room.query_one("#status").repaints}
        assert after == before


async def test_one_changed_figure_repaints_one_row(stage, states):
    async with stage() as s:
        await s.pilot.pause(0.3)
        pane = s.pane("inference")
        before = pane.repaints
        now = s.hub.state.now
        s.hub.put(with_figures(s.hub.state, engine__running=fresh(3.0, now, "probe")))
        await s.pilot.pause()
        assert "running 3" in pane.plain
        assert 1 <= pane.repaints - before <= 2


async def test_quitting_says_what_goes_on(stage):
    async with stage("switching") as s:
        assert "sovtui follow" in (farewell(s.room.view) or "")
        await s.press("q")
        assert s.app._exit


async def test_no_color_does_not_crash(stage, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    async with stage("alerting", size=(44, 38)) as s:
        await s.press("tab", "tab", "tab", "question_mark", "escape")
        assert s.app.native_ansi_color
        assert s.pane("alerts").plain


async def test_what_comes_while_it_closes_is_not_drawn(stage, states, monkeypatch):
    from sovtui.tui.widgets.keybar import KeyBar, TabBar

    came: list[None] = []
    async with stage() as s:
        for part in (KeyBar, TabBar):  # as they go one by one, news come
            monkeypatch.setattr(part, "on_unmount", lambda _: came.append(s.hub.put(states("alerting"))), raising=False)
        s.app.exit()
    assert len(came) >= 2


@pytest.mark.parametrize("size", [(80, 24), (120, 30), (100, 20), (44, 30)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_no_mode_is_left_out_in_silence(stage, states: Callable[..., State], size):
    state = states("troubled", "modes")
    titles = [mode.title for mode in first(state).spec.modes]
    async with stage(state, size=size, estate="modes") as s:
        lines = [line.strip() for line in s.text("inference").splitlines()]
        shown = [title for title in titles if any(line[1:].lstrip(" ●○◐").startswith(title[:8]) for line in lines)]
        more = next((line for line in lines if line.startswith("↓")), "")
        assert shown == titles[: len(shown)] and len(shown) >= 2
        assert more == (f"↓ {len(titles) + 1 - len(shown)} more" if shown != titles else "")
        if more:  # it is no mode that could be tapped
            at = next(index for index, line in enumerate(lines) if line == more)
            await s.pilot.click("#inference", offset=(5, at + 1))
            assert not s.hub.executed and s.screen is s.room


async def test_each_part_of_the_memory_has_one_look_in_gauge_and_legend(stage, states: Callable[..., State]):
    async with stage(states("troubled"), size=(120, 40)) as s:
        gauge, *legend = s.pane("memory").shown[:4]
        looks = {words[0]: role for words, role in gauge.spans if words.strip()}
        told = {words: role for line in legend for words, role in line.spans if words in looks}
        assert len(told) >= 5 and told == {sign: looks[sign] for sign in told}
