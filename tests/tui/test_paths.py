"""The path of a link in the status line, the host list and the notice, at three sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sovtui.core.model import LinkPhase, PathKind, TailnetPath
from sovtui.core.state import State
from sovtui.tui.estate import host_choices

pytestmark = pytest.mark.screen
WIDE, NORMAL, PHONE = (120, 40), (80, 24), (44, 80)
RELAY = TailnetPath(PathKind.RELAY, 0.048, "fra", source="localapi")


def with_path(state: State, path: TailnetPath | None, phase: LinkPhase = LinkPhase.UP) -> State:
    host = state.hosts["spark"]
    link = replace(host.link, phase=phase, latency_seconds=0.061)
    return replace(state, demo=False, hosts={**state.hosts, "spark": replace(host, path=path, link=link)})


@pytest.mark.parametrize(
    ("path", "wide", "normal", "phone"),
    [
        (TailnetPath(PathKind.DIRECT, 0.002), "● direct 2 ms", "● direct 2 ms", "● direct 2 ms"),
        (TailnetPath(PathKind.DIRECT), "● direct 61 ms", "● direct 61 ms", "● direct 61 ms"),
        (RELAY, "● relay fra 48 ms", "● relay fra 48 ms", "● relay fra 48 ms"),
        (TailnetPath(PathKind.PEER_RELAY, 0.018, "203.0.113.7:40000:vni:12"), *["● peer relay 18 ms"] * 3),
        (TailnetPath(PathKind.IDLE), "up 61 ms  path idle", "up 61 ms  path idle", "● up 61 ms  path idle"),
        (TailnetPath(), "up 61 ms  path ?", "up 61 ms  path unknown", "● up 61 ms  path ?"),
        (TailnetPath(expired=True), *["up 61 ms  key expired"] * 2, "● up 61 ms  key expired"),
        (None, *["up 61 ms"] * 3),
    ],
)
async def test_the_status_line_tells_the_path(stage, states, path, wide, normal, phone):
    state = with_path(states("healthy"), path)
    for size, words in ((WIDE, wide), (NORMAL, normal), (PHONE, phone)):
        async with stage(state, size=size) as s:
            bar = s.bar("status")
            assert words in bar, (size, bar)
            assert path is not None or not any(word in bar for word in ("path", "direct", "relay"))


async def test_a_link_that_is_slow_in_ssh_itself_says_so_beside_its_path(stage, states):
    state = with_path(states("healthy"), TailnetPath(PathKind.DIRECT, 0.002))
    host = state.hosts["spark"]
    slow = replace(state, hosts={**state.hosts, "spark": replace(host, link=replace(host.link, latency_seconds=0.9))})
    async with stage(slow) as s:
        assert "900 ms  direct 2 ms" in s.bar("status")


async def test_a_link_that_is_down_shows_no_path(stage, states):
    async with stage(with_path(states("healthy"), TailnetPath(PathKind.DIRECT), LinkPhase.DOWN)) as s:
        assert "direct" not in s.bar("status")


async def test_a_key_that_expires_is_noticed(stage, states):
    path = replace(RELAY, notes=("spark's tailnet key expires in 3 days",))
    async with stage(with_path(states("idle"), path)) as s:
        assert "spark's tailnet key expires in 3 days" in s.bar("notice")


async def test_that_nobody_can_be_asked_is_no_notice(stage, states):
    path = TailnetPath(reason="Tailscale is not on this machine; using the address in the configuration")
    async with stage(with_path(states("idle"), path)) as s:
        assert "Tailscale" not in s.bar("notice")


def test_the_list_of_hosts_tells_the_path_where_it_is_known(states):
    choices = host_choices(with_path(states("healthy"), RELAY))
    assert choices[0].note.startswith("relay fra 48 ms, ")
    assert "(box)" in choices[0].title
    choices = host_choices(with_path(states("healthy"), replace(RELAY, verified=True)))
    assert "(box, verified)" in choices[0].title
    choices = host_choices(with_path(states("healthy"), TailnetPath()))
    assert choices[0].note.startswith("link up 61 ms, ")
