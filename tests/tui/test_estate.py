"""Several hosts: the list of them, and the one list of all that is wrong on any of them. At every size, by key and by tap."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from textual.widgets import OptionList

from sovtui.core.issues import issues
from sovtui.core.metered import Wish
from sovtui.core.model import LinkPhase, Traffic
from sovtui.tui.arrange import HOST
from sovtui.tui.estate import host_choices, issue_choices
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.detail import DetailScreen
from sovtui.tui.screens.dialog import Written

from .conftest import SIZES, Stage

pytestmark = pytest.mark.screen
PHONE = SIZES["phone"]


def listed(s: Stage) -> list[str]:
    """The entries as they are drawn."""
    options = s.screen.query_one(OptionList)
    return [str(options.get_option_at_index(i).prompt) for i in range(options.option_count)]


async def opened(s: Stage, key: str) -> OptionList:
    await s.press(key)
    await s.until(lambda: isinstance(s.screen, ChooseScreen))
    found: OptionList = s.screen.query_one(OptionList)
    return found


async def tap(s: Stage, options: OptionList, index: int) -> None:
    """On the entry itself, which is as many rows high as its words want."""
    options.scroll_home(animate=False)
    await s.read()
    await s.pilot.click(options, offset=(8, options._index_to_line[index]))
    await s.pilot.pause()


async def test_every_host_with_state_role_link_mode_and_the_worst_thing(stage):
    async with stage("alerting", size=PHONE) as s:
        await opened(s, "h")
        spark, mgmt, edge, nas = (" ".join(words.split()) for words in listed(s))
        assert spark.startswith("1,s spark ✖ critical (box, verified) direct ") and "qwen" in spark and "more" in spark
        assert mgmt.startswith("2,m mgmt ● ok (management) link up 42 ms")
        assert "edge ✖ unreachable (edge) link down 4m" in edge
        assert "nas ▲ warning (nas)" in nas and "/volume1 is 91 % full" in nas


@pytest.mark.parametrize("way", ["3", "e", "down down enter", "j j enter", "tap"])
async def test_a_host_is_chosen_by_number_letter_list_or_tap(stage, way):
    async with stage("troubled", size=PHONE) as s:
        options = await opened(s, "h")
        if way == "tap":
            await tap(s, options, 2)
        else:
            await s.press(*way.split())
        await s.until(lambda: s.room.host_name == "edge")
        assert s.bar("status").startswith("edge 3 of 4") and s.room.current == HOST


async def test_all_that_is_wrong_stands_in_one_list_and_leads_there(stage):
    async with stage("alerting", size=PHONE) as s:
        found = issues(s.hub.state)
        options = await opened(s, "i")
        assert options.option_count == len(found)
        assert listed(s)[0].split()[:3] == ["1", "✖", "edge:"]
        number = next(i for i, issue in enumerate(found) if issue.kind == "disk" and issue.host == "nas")
        options.highlighted = number
        await s.press("enter")
        await s.until(lambda: s.room.host_name == "nas")
        await s.press("i")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        options = s.screen.query_one(OptionList)
        number = next(i for i, issue in enumerate(found) if issue.kind == "backup")
        options.highlighted = number
        await s.press("enter")
        await s.until(lambda: s.room.host_name == "spark")
        assert s.room.current == "backups" and s.pane("backups").cursor == found[number].target


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_the_list_is_told_anew_while_it_is_open_and_stays_on_its_entry(stage, states, size):
    async with stage("troubled", size=size) as s:
        options = await opened(s, "i")
        options.highlighted = 1
        chosen = s.screen.choices[1].id
        s.hub.put(states("alerting"))
        await s.pilot.pause()
        assert "edge: cannot be reached" in listed(s)[0]
        assert s.screen.choices[options.highlighted].id == chosen
        await s.press("q")
        await s.until(lambda: s.screen is s.room)


async def test_nothing_wrong_is_said_and_what_was_not_judged_too(stage, states):
    state = states("troubled")
    calm = {n: replace(h, services={}, backups={}, figures={}, engines={}) for n, h in state.hosts.items()}
    calm["nas"] = replace(calm["nas"], link=replace(calm["nas"].link, phase=LinkPhase.CONNECTING))
    async with stage(replace(state, hosts=calm, alerts=())) as s:
        await opened(s, "i")
        words = [" ".join(line.split()) for line in listed(s)]
        assert words == ["● nothing is known to be wrong", "? nas: not judged, the link is connecting"]
        await s.press("enter")
        assert isinstance(s.screen, ChooseScreen), "there is nowhere to go"


async def test_the_status_line_counts_what_is_wrong_elsewhere(stage, states):
    async with stage("alerting") as s:
        assert "spark 1 of 4 ✖2 " in s.bar("status")  # edge is silent, a disk of nas fills up
    async with stage("alerting", size=PHONE) as s:
        assert "✖2 elsewhere" in s.bar("status")
        s.room.go_to_host("edge")
        assert "elsewhere" in s.bar("status")
    async with stage("troubled", estate="modes") as s:
        assert "elsewhere" not in s.bar("status")


async def test_going_to_an_issue_leaves_the_past(stage):
    async with stage("alerting") as s:
        await s.press("t")
        assert s.room.travel.on
        await opened(s, "i")
        await s.press("enter")
        await s.until(lambda: s.room.host_name == "edge")
        assert not s.room.travel.on


def test_many_hosts_all_have_a_key_or_a_place(states: Any) -> None:
    state = states("troubled")
    many = {f"host{i}": state.hosts["nas"] for i in range(30)}
    choices = host_choices(replace(state, hosts=many))
    keys = [key for choice in choices for key in choice.key.split(",") if key]
    assert len(choices) == 30 and len(set(keys)) == len(keys) and not set(keys) & {"j", "k", "q"}
    assert len(issue_choices(replace(state, hosts=many))) >= 30


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_a_metered_link_is_said_and_the_key_changes_it(stage, states, size):
    async with stage("troubled", size=size) as s:
        wishes: list[tuple[str, Wish]] = []
        s.hub.meter = lambda host, wish: wishes.append((host, wish))
        assert "metered" not in s.bar("status")
        await s.press("m")
        state = s.hub.state
        s.hub.put(replace(state, hosts={**state.hosts, "spark": replace(state.hosts["spark"], metered="as you chose")}))
        await s.pilot.pause()
        assert "metered" in s.bar("status")
        await s.press("m")
        assert wishes == [("spark", Wish.ON), ("spark", Wish.OFF)]


async def test_the_link_in_full(stage, states):
    async with stage("troubled", size=PHONE) as s:
        await s.press("n")
        await s.until(lambda: isinstance(s.screen, DetailScreen))
        words = " ".join(s.screen.query_one(Written).plain.split())
        assert "traffic n/a" in words and "metered no" in words and "ms" in words
        state = s.hub.state
        told = Traffic(123_456, 2_345_678, state.now)
        s.hub.put(replace(state, hosts={**state.hosts, "spark": replace(state.hosts["spark"], traffic=told)}))
        await s.pilot.pause()
        words = " ".join(s.screen.query_one(Written).plain.split())
        assert "sent 121 KiB received 2.24 MiB TCP payload, this session" in words
        await s.press("q")
        await s.until(lambda: s.screen is s.room)
