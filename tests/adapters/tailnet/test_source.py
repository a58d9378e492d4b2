"""The paths of hosts as they are told to the store: from a pretend daemon's status and pings."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sovtui.adapters.tailnet import daemon as daemon_module
from sovtui.adapters.tailnet import source as source_module
from sovtui.adapters.tailnet.daemon import Daemon
from sovtui.adapters.tailnet.places import Places
from sovtui.adapters.tailnet.source import PathSource
from sovtui.core import path_words, tailnet_words
from sovtui.core.events import Event, LinkChanged
from sovtui.core.marks import turns
from sovtui.core.model import HostSpec, Link, LinkPhase, PathKind, TailnetPath
from sovtui.core.state import State, initial, reduce
from sovtui.ports.errors import Absent, Malformed, TimedOut

from .pretend import AT, Clock, PretendDaemon, node, pong, recorded

UP = Link(LinkPhase.UP, "ssh", "spark", AT)


@dataclass
class Guide:
    host: str
    wanted: str = ""
    way: str = "tailnet"
    reason: str = ""
    verified: bool = False


class Room:
    """A state that what is emitted goes into."""

    def __init__(self, *guides: Guide, link: Link = UP) -> None:
        self.guides = {guide.host: replace(guide, wanted=guide.wanted or guide.host) for guide in guides}
        self.state: State = initial(tuple(HostSpec(name) for name in (*self.guides, "elsewhere")), AT)
        for name in self.guides:
            self.emit(LinkChanged(name, link))
        self.emitted: list[Event] = []
        self.words: list[str] = []

    def emit(self, event: Event) -> None:
        old, self.state = self.state, reduce(self.state, event)
        if hasattr(self, "emitted"):
            self.emitted.append(event)
            self.words += [mark.words for mark in turns(old, self.state)]

    def path(self, host: str = "spark") -> TailnetPath:
        path = self.state.hosts[host].path
        assert path is not None
        return path

    def shown(self, host: str = "spark") -> str:
        return path_words.path(self.path(host), AT)

    def source(self, daemon: Any, **words: Any) -> PathSource:
        return PathSource(self.guides, daemon, Clock(), **words)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemon_module, "PING_SECONDS", 0.1)


async def test_connected_hosts_are_pinged_once_and_the_answer_is_the_path(tmp_path: Path) -> None:
    room = Room(Guide("spark", verified=True), Guide("gpu"), Guide("nas"), Guide("phone"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        pretend.pongs = {
            "100.64.0.3": pong("direct"), "100.64.0.4": pong("relayed"), "100.64.0.5": pong("peer relay"), "100.64.0.2": pong("direct"),
        }  # fmt: skip
        detail = await room.source(pretend.daemon()).poll(room.state, room.emit)
        assert len([asked for asked in pretend.asked if "/ping?" in asked]) == 4 and len(pretend.asked) == 5
    assert [room.shown(name) for name in ("spark", "gpu", "nas", "phone")] == [
        "direct 0.4 ms", "relay fra 0.7 ms", "peer relay 18 ms", "direct 0.4 ms",
    ]  # fmt: skip
    assert (room.path().verified, room.path("gpu").verified, room.path().source) == (True, False, "localapi")
    assert detail == "1.82.0-t6676b1261, localapi"
    assert room.state.hosts["elsewhere"].path is None


async def test_a_host_whose_link_is_down_is_not_pinged(tmp_path: Path) -> None:
    room = Room(Guide("spark"), link=Link(LinkPhase.DOWN))
    async with PretendDaemon(tmp_path / "d") as pretend:
        await room.source(pretend.daemon()).poll(room.state, room.emit)
        assert pretend.asked == ["GET /localapi/v0/status"]
    assert room.shown() == "direct"  # as the status says, and nobody measured


async def test_the_first_round_waits_for_a_link_that_comes_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "FIRST_SECONDS", 0.2)
    room, up = Room(Guide("phone"), link=Link(LinkPhase.CONNECTING)), asyncio.Event()

    async def when_up(name: str) -> None:
        await up.wait()

    async with PretendDaemon(tmp_path / "d") as pretend:
        pretend.pongs["100.64.0.2"] = pong("relayed")
        source = room.source(pretend.daemon(), when_up=when_up)
        asyncio.get_running_loop().call_later(0.05, up.set)
        await source.poll(room.state, room.emit)
        assert [path_words.path(event.path, AT) for event in room.emitted if hasattr(event, "path")] == [
            "idle",
            "relay fra 0.7 ms",
        ]


async def test_a_path_that_becomes_relayed_is_noted(tmp_path: Path) -> None:
    room = Room(Guide("spark"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        source = room.source(pretend.daemon())
        for state in ("direct", "relayed", "relayed", "direct"):
            pretend.pongs["100.64.0.3"] = pong(state)
            await source.poll(room.state, room.emit)
    assert room.words == ["the link to spark is no longer direct: relayed by fra", "the link to spark is direct again"]


async def test_a_silent_peer_keeps_what_the_status_says_without_a_latency(tmp_path: Path, quick: None) -> None:
    room = Room(Guide("gpu"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        await room.source(pretend.daemon()).poll(room.state, room.emit)
    assert room.shown("gpu") == "relay fra"


async def test_a_latency_that_hardly_changes_is_no_news(tmp_path: Path) -> None:
    room = Room(Guide("spark"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        source = room.source(pretend.daemon())
        pretend.pongs["100.64.0.3"] = pong("direct")
        await source.poll(room.state, room.emit)
        before = room.state
        pretend.pongs["100.64.0.3"] = pong("direct").replace(b"0.000362351", b"0.000371000")
        await source.poll(room.state, room.emit)
        assert room.state is before


@pytest.mark.parametrize(
    ("capture", "reason"),
    [
        ("stopped", "Tailscale is off: `tailscale up`"),
        ("needs-login", "Tailscale is not logged in: log in with `tailscale up`"),
        ("control-plane-down", "Tailscale's control plane cannot be reached from here: who is online is not known"),
    ],
)
async def test_a_tailnet_that_cannot_tell_makes_no_path(tmp_path: Path, capture: str, reason: str, quick: None) -> None:
    room = Room(Guide("spark"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        pretend.status = recorded(capture)
        await room.source(pretend.daemon()).poll(room.state, room.emit)
    assert (room.shown(), room.path().reason) == ("unknown", reason)


async def test_keys_that_expire_soon_are_told(tmp_path: Path, quick: None) -> None:
    room = Room(Guide("gpu"), Guide("phone"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        pretend.status = recorded("running-mixed")
        await room.source(pretend.daemon()).poll(room.state, room.emit)
    assert room.path("gpu").notes == ("gpu's tailnet key expires in 3 days",)
    assert room.shown("phone") == "key expired" and "renew it on the box" in room.path("phone").reason


async def test_packets_that_are_not_answered(tmp_path: Path, quick: None) -> None:
    room = Room(Guide("spark"))

    def sent(count: int) -> bytes:
        def change(document: Any) -> None:
            node(document, "spark").update(TxBytes=count, LastHandshake=(AT - timedelta(minutes=9)).isoformat())

        return recorded("running", change)

    async with PretendDaemon(tmp_path / "d") as pretend:
        source = room.source(pretend.daemon())
        for count in (1000, 2000):
            pretend.status = sent(count)
            await source.poll(room.state, room.emit)
    assert room.path().reason == "packets go out to spark and nothing comes back"


async def test_a_link_that_goes_another_way_has_no_known_path(tmp_path: Path) -> None:
    cached = Guide("gpu", way="cache", reason="using the address that it had")
    room = Room(Guide("spark", way=""), Guide("nas", way="address", reason="Tailscale was off"), cached)
    async with PretendDaemon(tmp_path / "d") as pretend:
        pretend.pongs["100.64.0.4"] = pong("relayed")
        await room.source(pretend.daemon()).poll(room.state, room.emit)
    assert (room.shown(), room.path().reason) == ("unknown", "ssh_config leads to it by another way than the tailnet")
    assert (room.shown("nas"), room.path("nas").reason) == ("unknown", "Tailscale was off")
    assert room.shown("gpu") == "relay fra 0.7 ms"


async def test_where_nobody_can_be_asked_the_path_is_unknown_and_nothing_is_wrong() -> None:
    room = Room(Guide("spark", way="address", reason=tailnet_words.NOT_HERE))
    nobody = Daemon(Places(sockets=(), mac_library="/nowhere", commands=()), Clock())
    with pytest.raises(Absent):
        await room.source(nobody).poll(room.state, room.emit)
    assert (room.shown(), room.path().reason, room.path().source) == ("unknown", tailnet_words.NOT_HERE, "")


async def test_a_daemon_that_is_silent_or_talks_nonsense_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(Guide("spark"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        pretend.status = None
        with monkeypatch.context() as impatient, pytest.raises(TimedOut):
            impatient.setattr(daemon_module, "ASK_SECONDS", 0.1)
            await room.source(pretend.daemon()).poll(room.state, room.emit)
        assert room.path().kind is PathKind.UNKNOWN
        pretend.status = b"<html>"
        with pytest.raises(Malformed):
            await room.source(pretend.daemon()).poll(room.state, room.emit)


async def test_a_name_that_the_tailnet_does_not_have(tmp_path: Path) -> None:
    room = Room(Guide("spark", wanted="spork"))
    async with PretendDaemon(tmp_path / "d") as pretend:
        await room.source(pretend.daemon()).poll(room.state, room.emit)
    assert room.shown() == "unknown" and "nearest names: spark" in room.path().reason
