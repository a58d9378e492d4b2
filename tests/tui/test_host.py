"""The first pane where nothing is served, or nobody answers: what matters there, and what a silent host last did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from sovtui.core.marks import Mark, MarkKind
from sovtui.core.model import LinkPhase, Service
from sovtui.core.reading import fresh
from sovtui.core.state import State
from sovtui.ports.errors import Unreachable
from sovtui.tui.arrange import HOST, ORDER

from .conftest import SIZES
from .test_travel import Piece

pytestmark = pytest.mark.screen
EVERY_SIZE = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


def looking_at(state: State, host: str) -> State:
    return replace(state, hosts={host: state.hosts[host], **state.hosts})


def lost(state: State, host: str, seconds: float, *, known: bool = True) -> State:
    """The host's link was lost so long ago; without `known` this client never had it."""
    old = state.hosts[host]
    since = state.now - timedelta(seconds=seconds)
    link = replace(old.link, phase=LinkPhase.DOWN, since=since, reason=f"{host} does not answer any more", attempt=2)
    new = replace(old, link=link)
    if not known:
        new = replace(new, figures={}, curves={}, receipts=(), action=None, engines={})
    return replace(state, hosts={**state.hosts, host: new})


@EVERY_SIZE
async def test_a_host_without_engines_shows_what_matters_there_in_place_of_them(stage, states: Callable[..., State], size):
    async with stage(looking_at(states("troubled"), "mgmt"), size=size) as s:
        assert s.room.current == HOST and not s.pane("inference").display
        words = " ".join(s.text(HOST).split())
        for part in (
            "nothing is wrong here",
            "CPU 10 %",
            "load 0.40 on 4 CPUs",
            "/var/lib/pr",
            "64 %",
            "left",
            "backup-orchestrator.timer",
        ):
            assert part in words, part
        seen = []
        for _ in ORDER:
            await s.press("tab")
            seen.append(s.room.current)
        assert sorted(seen) == sorted((HOST, *ORDER[1:]))


async def test_what_is_wrong_there_comes_first(stage, states):
    async with stage(looking_at(states("troubled"), "nas")) as s:
        assert s.text(HOST).splitlines()[0].startswith("▲ /volume1 is 91 % full")
        assert s.pane(HOST).badge(s.room.view) == ("▲1", "warn")


async def test_changing_to_a_box_and_back_changes_the_first_pane(stage, states):
    async with stage(looking_at(states("troubled"), "mgmt"), size=SIZES["phone"]) as s:
        s.room.go_to_host("spark")
        assert s.room.current == "inference" and s.pane("inference").display and not s.pane(HOST).display
        s.room.go_to_host("nas")
        assert s.room.current == HOST and s.pane(HOST).display and not s.pane("inference").display


@pytest.mark.truth(of="screen")
async def test_a_link_lost_a_moment_ago_moves_nothing(stage, states):
    async with stage(lost(states("troubled"), "spark", 5)) as s:
        assert s.pane("inference").display and "~" in s.text("inference")
        s.hub.put(lost(states("troubled"), "spark", 65))
        await s.pilot.pause()
        assert s.pane(HOST).display and not s.pane("inference").display
        s.hub.put(states("troubled"))
        await s.pilot.pause()
        assert s.pane("inference").display and not s.pane(HOST).display


async def test_a_host_that_this_client_never_reached_is_told_of_at_once(stage, states):
    state = lost(states("troubled"), "spark", 1, known=False)
    spark = replace(state.hosts["spark"], services={n: Service(n) for n in state.hosts["spark"].services})
    async with stage(replace(state, hosts={**state.hosts, "spark": spark})) as s:
        assert s.pane(HOST).display and not s.pane("inference").display


def told_by_prometheus(state: State) -> Callable[[datetime, datetime], object]:
    """The box gave its last sample four minutes ago, and a unit had failed ten seconds before."""
    heard = state.now - timedelta(minutes=4)
    spark = state.hosts["spark"]
    figures = {**spark.figures, ("memory.available_bytes", ""): fresh(5.5 * 2**30, heard, "prometheus")}
    then = replace(state, hosts={**state.hosts, "spark": replace(spark, figures=figures)})

    class Told(Piece):
        def heard(self, host: str) -> datetime | None:
            return heard if self.begin <= heard <= self.end else None

    async def past(begin: datetime, end: datetime) -> Told:
        piece = Told(then, begin, end)
        failed = Mark(heard - timedelta(seconds=10), MarkKind.SERVICE, "vllm-qwen36.service failed", "spark", "p1")
        piece.marks = (failed, Mark(heard - timedelta(seconds=5), MarkKind.SERVICE, "caddy.service failed", "edge", "p2"))
        return piece

    return past


@EVERY_SIZE
async def test_a_dead_box_is_explained_by_what_the_others_know(stage, states: Callable[..., State], size):
    state = lost(states("troubled"), "spark", 60, known=False)
    async with stage(states("troubled"), size=size) as s:
        s.hub.past = told_by_prometheus(state)
        s.hub.put(state)
        await s.until(lambda: "last sample" in s.text(HOST))
        await s.press("z")  # at 80x24 it has not the rows for all of it
        words = " ".join(s.text(HOST).split())
        assert "cannot be reached since" in words
        assert "4m ago" in words
        assert "vllm-qwen36.service failed" in words and "caddy" not in words
        assert "BackupLate" in words and "since" in words and "Certificate" not in words, "alerts about this host, and no others"
        assert "5.50 GiB ~" in words, "last known figures carry their age"
        await s.press("z", "t")
        await s.until(lambda: s.room.travel.on)
        assert s.room.view.then.moment == state.now - timedelta(minutes=4), (
            "shortly before it fell silent, not shortly before now"
        )
        assert s.room.view.then.origin == "prometheus" and s.pane("inference").display
        await s.press("escape")
        assert not s.room.travel.on and s.pane(HOST).display


async def test_nobody_who_could_tell_is_said(stage, states):
    state = lost(states("troubled"), "spark", 60)
    async with stage(states("troubled")) as s:

        async def past(begin: datetime, end: datetime) -> Piece:
            raise Unreachable("mgmt cannot be reached either")

        s.hub.past = past
        s.hub.put(state)
        await s.until(lambda: "mgmt cannot be reached either" in s.text(HOST))
        assert "switch qwen" in s.text(HOST), "what this client knows itself is told all the same"


async def test_prometheus_on_the_dead_host_itself_is_not_asked(stage, states):
    state = looking_at(lost(states("troubled"), "mgmt", 60), "mgmt")
    async with stage(state) as s:
        asked: list[datetime] = []

        async def past(begin: datetime, end: datetime) -> Piece:
            asked.append(begin)
            raise Unreachable("never")

        s.hub.past = past
        s.hub.put(replace(state, now=state.now + timedelta(seconds=1)))
        await s.until(lambda: "runs on this host itself" in s.text(HOST))
        assert not asked
