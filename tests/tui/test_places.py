"""A key, a tile and a row stay under the thumb: their places are fixed, and what has only just changed does nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from textual.geometry import Region

from sovtui.actions.spec import Verdict, Wish
from sovtui.core import text
from sovtui.core.model import Service
from sovtui.core.state import State
from sovtui.ports.link import Question
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import ORDER
from sovtui.tui.panes.base import ListPane
from sovtui.tui.present import tell_apart
from sovtui.tui.screens.ask import AskScreen
from sovtui.tui.screens.choose import Choice, ChooseScreen
from sovtui.tui.screens.confirm import ConfirmScreen
from sovtui.tui.screens.detail import DetailScreen
from sovtui.tui.steady import CHANGED
from sovtui.tui.widgets.keybar import KeyBar

from .conftest import SIZES, Stage

pytestmark = pytest.mark.screen

SCENARIOS = ("healthy", "troubled", "switching", "failed", "link-down", "alerting", "empty")
LAYOUTS = ((120, 40), (80, 24), (79, 20), (44, 80), (44, 60), (44, 38), (60, 50))


def places(s: Stage, id: str = "keys") -> dict[str, Region]:
    """Action (a mode with its name) to its place."""
    return {
        name if name.startswith("switch") else name.split()[0]: region
        for region, name in s.room.query_one(f"#{id}", KeyBar)._places
    }


async def tap(s: Stage, widget: str, region: Region) -> None:
    await s.pilot.click(widget, offset=(region.x + region.width // 2, region.y + region.height // 2))
    await s.pilot.pause(0.05)


async def row_of(s: Stage, pane: str, holding: str) -> Region:
    y = next(y for y, line in enumerate(s.text(pane).splitlines()) if holding in line)
    return Region(3, y + 1, 3, 1)


def idle(state: State) -> State:
    """Its first host's mode is loaded, and nothing asks it anything."""
    name, host = next(iter(state.hosts.items()))
    figures = {
        key: replace(reading, value=0.0) if key[0] in ("engine.running", "engine.waiting", "engine.decode_tok_s") else reading
        for key, reading in host.figures.items()
        if not key[0].startswith("gpu.use")
    }
    return replace(state, hosts={**state.hosts, name: replace(host, figures=figures)})


@pytest.mark.parametrize("size", LAYOUTS, ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("estate", ["spark", "modes"])
async def test_an_action_has_one_place_whatever_the_state_and_the_pane(stage, states, size, estate):
    """And a mode's place is never anything else: one tap there loads or unloads a model."""
    seen: dict[str, set[Region]] = {}
    tenants: dict[Region, set[str]] = {}
    async with stage("healthy", size, estate=estate) as s:
        for scenario in SCENARIOS:
            s.hub.put(states(scenario, estate))
            for pane in ORDER:
                s.room.show_pane(pane)
                for action, region in places(s).items():
                    seen.setdefault(action, set()).add(region)
                    tenants.setdefault(region, set()).add(action)
    assert {"more", next(action for action in seen if action.startswith("switch"))} <= set(seen)
    assert {action: found for action, found in seen.items() if len(found) > 1} == {}
    for found in tenants.values():
        modes = {action for action in found if action.startswith("switch")}
        assert not modes or modes == found
        assert "drop-caches" not in found or "cancel" not in found, "a tap for the one must never be one for the other"


async def test_a_tile_that_has_just_changed_does_not_act_and_says_so(stage):
    async with stage(size=SIZES["phone"]) as s:
        region = places(s)["drop-caches"]
        s.room.show_pane("services")
        assert places(s)["restart"] == region
        await tap(s, "#keys", region)
        assert s.hub.executed == [] and s.screen is s.room and s.toasts() == [CHANGED]
        await s.read()
        await tap(s, "#keys", region)
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))


async def test_the_tile_of_a_mode_is_the_same_before_and_after_the_first_status(stage, states):
    """It was that of `none` a moment later: one tap, and no model was loaded any more."""
    async with stage("empty", SIZES["phone"]) as s:
        before = {action: region for action, region in places(s).items() if action.startswith("switch")}
        assert len(before) == 5
        s.hub.put(states("healthy"))
        await s.pilot.pause()
        assert {action: region for action, region in places(s).items() if action.startswith("switch")} == before
        await s.read()
        await tap(s, "#keys", before["switch mistral"])
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        assert s.screen.plan.wish.target == "mistral"


async def test_all_is_unloaded_on_a_phone_only_after_a_question(stage, states):
    state = idle(states("healthy"))
    ways = ("key", "tile", "row")
    for way in ways:
        async with stage(state, SIZES["phone"]) as s:
            assert s.hub.plan("switch", Wish("spark", "none")).verdict is Verdict.GO
            if way == "key":
                await s.press("0")
            elif way == "tile":
                await tap(s, "#keys", places(s)["switch none"])
            else:
                await tap(s, "#inference", await row_of(s, "inference", "none: nothing loaded"))
            await s.until(lambda: isinstance(s.screen, ConfirmScreen))
            assert "Qwen 3.6 PrismaQuant is stopped: no model will be loaded then." in " ".join(
                s.screen.query_one("Written").plain.split()
            )
            await s.read()
            await s.press("enter")
            await s.until(lambda: bool(s.hub.executed))
            assert s.hub.executed[0].wish.target == "none"
    async with stage(state) as s:
        await s.press("0")
        await s.until(lambda: bool(s.hub.executed))


def with_services(state: State, *more: Service) -> State:
    name, host = next(iter(state.hosts.items()))
    services = {**host.services, **{service.name: service for service in more}}
    return replace(state, hosts={**state.hosts, name: replace(host, services=services)})


async def test_a_row_that_has_just_moved_opens_nothing(stage):
    async with stage() as s:
        s.room.show_pane("services")
        await s.press("down")
        chosen = s.pane("services").cursor
        host = next(iter(s.hub.state.hosts.values()))
        await s.read()
        region = await row_of(s, "services", chosen)
        s.hub.put(with_services(s.hub.state, replace(host.services["gitea.service"], active="failed")))
        await s.pilot.pause()
        assert chosen not in s.text("services").splitlines()[region.y - 1], "another is there now"
        assert s.pane("services").cursor == chosen, "the cursor is where the thing is"
        await tap(s, "#services", region)
        assert s.screen is s.room and s.pane("services").cursor == chosen and s.toasts() == [CHANGED]
        await s.read()
        await tap(s, "#services", await row_of(s, "services", chosen))
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        assert s.screen.heading() == chosen


async def test_a_mode_whose_row_has_just_moved_is_not_switched_to(stage, states):
    """Figures of an engine that is there now push the modes down."""
    async with stage("empty", (44, 60)) as s:
        region = await row_of(s, "inference", "Mistral Small 4 ")
        s.hub.put(idle(states("healthy")))
        await s.until(lambda: "tok/s" in s.text("inference"))
        there = s.pane("inference").meant()
        moved = next(y for y, mode in there.items() if mode == "mistral")
        assert moved != region.y - 1
        await tap(s, "#inference", Region(3, moved + 1, 3, 1))
        assert s.hub.executed == [] and s.screen is s.room and CHANGED in s.toasts()


async def test_a_key_is_about_what_was_chosen_when_it_was_looked_at(stage, states):
    """A unit that fails comes first: for a moment the key does nothing, and in front the cursor stays where it was."""
    state = states("troubled")
    worse = with_services(state, replace(next(iter(state.hosts.values())).services["aide-check.timer"], active="failed"))
    async with stage(state) as s:
        first = s.pane("services").chosen(s.room.view)
        s.hub.put(worse)
        assert s.pane("services").chosen(s.room.view) != first
        await s.press("r")
        assert s.screen is s.room and s.toasts() == [CHANGED]
        await s.read()
        await s.press("r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        assert s.screen.plan.wish.target == "aide-check.timer"
    async with stage(state) as s:
        s.room.show_pane("services")
        await s.pilot.pause()
        s.hub.put(worse)
        await s.press("r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        assert s.screen.plan.wish.target == first


async def test_a_key_that_is_held_down_never_answers_its_own_question(stage):
    """Keyboards wait up to two thirds of a second before they repeat, then every thirtieth."""
    async with stage() as s:
        await s.press("2")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        await s.pilot.pause(0.66)
        for _ in range(60):
            s.app.simulate_key("2")
            await s.pilot.pause(0.033)
        assert isinstance(s.screen, ConfirmScreen) and s.hub.executed == []
        await s.read()
        await s.press("2")
        await s.until(lambda: bool(s.hub.executed))


@pytest.mark.parametrize("size", [SIZES["wide"], SIZES["phone"]], ids=["wide", "phone"])
async def test_a_question_that_opens_under_a_finger_is_not_answered_by_it(stage, size):
    async with stage(size=size) as s:
        await s.press("r")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        region = next(region for region, id in s.screen.query_one("#answers")._places if id == "yes")
        await tap(s, "#answers", region)
        assert isinstance(s.screen, ConfirmScreen) and s.hub.executed == []
        await s.read()
        await tap(s, "#answers", region)
        await s.until(lambda: bool(s.hub.executed))


@pytest.mark.parametrize("key", ["y", "n", "escape", "q"])
async def test_a_question_of_a_link_takes_no_key_that_was_meant_for_the_room(stage, key):
    async with stage() as s:
        question = Question("host-key", "spark", "Unknown host key", "SHA256:… Do you know it?")
        s.app.run_worker(s.app.ask(question))
        await s.until(lambda: isinstance(s.screen, AskScreen))
        await s.press(key)
        assert isinstance(s.screen, AskScreen)
        await s.read()
        await s.press(key)
        await s.until(lambda: s.screen is s.room)


async def test_an_entry_that_has_just_come_is_not_the_one_that_was_tapped(stage, states):
    """The list of what is wrong is told anew while it is open."""
    async with stage(size=SIZES["phone"]) as s:
        await s.press("i")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        await s.read()
        first = s.screen.choices[0].id
        s.hub.put(states("alerting"))
        await s.until(lambda: s.screen.choices[0].id != first)
        await s.pilot.click("Listed", offset=(8, 0))
        await s.press("1")
        assert isinstance(s.screen, ChooseScreen)
        await s.read()
        await s.press("1")
        await s.until(lambda: s.screen is s.room)


async def test_what_was_not_asked_about_is_asked_about_before_it_is_done(stage, states):
    """Between the question and its answer the model that is stopped has begun to work."""
    state = idle(states("healthy"))
    async with stage(state, SIZES["phone"]) as s:
        await s.press("0")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen))
        first = s.screen
        s.hub.put(states("healthy"))
        await s.read()
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, ConfirmScreen) and s.screen is not first)
        assert s.hub.executed == [] and "would be cut off" in " ".join(s.screen.query_one("Written").plain.split())
        await s.read()
        await s.press("enter")
        await s.until(lambda: bool(s.hub.executed))


# what is cut


def test_names_that_would_look_the_same_once_cut_keep_what_tells_them_apart():
    names = ("ctr:creative-audio-tts", "ctr:creative-audio-music", "ctr:creative-image", "gitea")
    shown = tell_apart(names, 16)
    assert len(set(shown.values())) == 4 and all(len(words) <= 16 for words in shown.values())
    assert shown["ctr:creative-audio-tts"].endswith("tts") and shown["ctr:creative-audio-music"].endswith("music")
    assert shown["gitea"] == "gitea" and shown["ctr:creative-image"] == "ctr:creative-im…"
    for cells in (8, 12, 20):  # they differ in the middle, and go on in the same way for longer than there is room
        alike = tell_apart(tuple(f"container:stack-{n}-with-a-very-long-common-end" for n in "abc"), cells)
        assert len(set(alike.values())) == 3 and all(len(words) <= cells for words in alike.values())
    assert tell_apart(("one", "two"), 0) == {"one": "", "two": ""}


async def test_on_a_phone_two_services_are_never_one(stage, states):
    state = states("healthy")
    twins = [Service(f"container:creative-audio-{end}", "active") for end in ("synthesis", "separation")]
    async with stage(with_services(state, *twins), SIZES["phone"]) as s:
        s.room.show_pane("services")
        rows = [line for line in s.text("services").splitlines() if "synthesis" in line or "separation" in line]
        assert len(rows) == 2 and "synthesis" in rows[1] and "separation" in rows[0]


async def test_on_a_phone_a_line_keeps_its_time_and_an_acknowledgement_its_end(stage, states):
    at = states("healthy").now
    long = LogLine(at, "one line that says so much that it goes on below its time " * 2, "error")
    async with stage(size=SIZES["phone"], lines=[long]) as s:
        s.room.show_pane("alerts")
        assert next(line for line in s.text("alerts").splitlines() if "ops@thinclient" in line).strip().startswith("until ")
        s.room.show_pane("log")
        await s.until(lambda: "one line" in s.text("log"))
        first, second, *_ = [line for line in s.text("log").splitlines() if line.strip()]
        assert first.startswith(f"{text.clock(at)} ✖ one line") and second.startswith("  ") and second[2] != " "


@pytest.mark.parametrize("estate", ["spark", "mesh", "modes"])
async def test_no_list_shows_one_entry_of_many_while_others_have_empty_rows(stage, states, estate):
    async with stage("healthy", SIZES["normal"], estate=estate) as s:
        for scenario in ("healthy", "alerting"):
            s.hub.put(states(scenario, estate))
            for host in s.hub.state.hosts:
                s.room.go_to_host(host)
                await s.pilot.pause()
                there = [pane for pane in s.room._panes.values() if pane.display]
                for pane in there:
                    if not isinstance(pane, ListPane) or not pane._items:
                        continue
                    seen = len(set(pane._owners) - {""})
                    column = [other for other in there if other.region.x == pane.region.x and other is not pane]
                    empty = sum(other.size.height - len(other.plain.rstrip().splitlines()) for other in column)
                    assert seen >= min(2, len(pane._items)) or not empty, (
                        scenario,
                        host,
                        pane.NAME,
                        seen,
                        len(pane._items),
                        empty,
                    )


async def test_what_took_the_place_of_the_chosen_entry_is_not_opened_for_it(stage, states):
    """The alert that was looked at has ended just as Enter was pressed."""
    state = states("troubled")
    async with stage(state) as s:
        s.room.show_pane("alerts")
        await s.press("down")
        gone = s.pane("alerts").cursor
        s.hub.put(replace(state, alerts=tuple(alert for alert in state.alerts if alert.fingerprint != gone)))
        await s.pilot.pause()
        assert s.pane("alerts").cursor not in ("", gone)
        await s.press("enter")
        assert s.screen is s.room and s.toasts() == [CHANGED]
        await s.read()
        await s.press("enter")
        await s.until(lambda: isinstance(s.screen, DetailScreen))


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 20)], ids=lambda s: f"{s[0]}x{s[1]}")
@pytest.mark.parametrize("estate", ["spark", "mesh", "modes"])
async def test_what_is_off_does_not_run_into_the_word_before_it(stage, states, size, estate):
    """`t rewind(a)ack` was read as one word."""
    async with stage("healthy", size, estate=estate) as s:
        for scenario in ("healthy", "alerting", "empty"):
            s.hub.put(states(scenario, estate))
            for pane in ORDER:
                s.room.show_pane(pane)
                bar = s.room.query_one("#keys", KeyBar)
                words = s.bar("keys")
                for touch, after in pairwise(bar.touches):
                    if touch.enabled and not after.enabled:
                        assert f"{touch.label}({after.key})" not in words, words


async def test_on_a_phone_what_fires_is_there_before_the_tenth_service_that_is_well(stage, states):
    async with stage("alerting", SIZES["phone"], estate="mesh") as s:
        assert s.room.pane("alerts").display and "HostUnreachable" in s.text("alerts")
        assert len(s.text("services").splitlines()) >= 6


async def test_a_word_is_not_cut_where_a_sign_says_it(stage, states):
    async with stage("empty", SIZES["normal"], estate="mesh") as s:
        line = next(line for line in s.text("backups").splitlines() if "stacks" in line)
        assert "unkn" not in line and line.count("?") == 3, "its sign, its state, its age"


@pytest.mark.parametrize(
    "make",
    [
        lambda room: ChooseScreen("Which?", [Choice("one", "One")]),
        lambda room: room._help(),
        lambda room: ConfirmScreen(room._hub.plan("switch", Wish(room.host_name, "mistral")), "2"),
    ],
    ids=["list", "help", "question"],
)
async def test_what_is_left_before_it_has_opened_is_only_left(stage, make):
    """Escape on its way while a list opened ended the control room."""
    async with stage("healthy", SIZES["phone"]) as s:
        s.app.push_screen(make(s.room))
        await s.app.pop_screen()
        await s.pilot.pause()
        assert s.app.crash is None and s.screen is s.room
