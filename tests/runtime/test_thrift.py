"""Poor links are used sparingly, and what goes over a link is counted over all its connections."""

from __future__ import annotations

from typing import Any

from sovtui.config.load import loads
from sovtui.config.specs import host_specs
from sovtui.core.events import Event, LinkChanged
from sovtui.core.metered import Wish
from sovtui.core.model import Link as LinkValue
from sovtui.core.model import LinkPhase
from sovtui.core.state import initial, reduce
from sovtui.runtime.thrift import Thrift
from tests.fakes.world import FakeClock

CONFIG = loads(
    '[host.spark]\nmetered = false\n[host.mgmt]\n[prometheus]\nurl = "http://127.0.0.1:9090"\nvia = "mgmt"\n', "x.toml"
)


class Counted:
    """A link that counts, and notes what it was told."""

    def __init__(self) -> None:
        self.traffic_bytes: tuple[int, int] | None = (0, 0)
        self.told: list[bool] = []

    def spare(self, on: bool) -> None:
        self.told.append(on)


class Keeper:
    def __init__(self) -> None:
        self.link: Any = None


class Stream:
    name = "probe"

    def __init__(self, host: str) -> None:
        self.host = host
        self.told: list[bool] = []

    def spare(self, on: bool) -> None:
        self.told.append(on)


class Room:
    def __init__(self) -> None:
        self.state = initial(host_specs(CONFIG), FakeClock().now())
        for name in self.state.hosts:
            self.put(LinkChanged(name, LinkValue(LinkPhase.UP, latency_seconds=0.04)))
        self.keepers = {"spark": Keeper(), "mgmt": Keeper()}
        self.streams = [Stream("spark"), Stream("mgmt")]
        self.thrift = Thrift(CONFIG, self.keepers, self.put, FakeClock(), {"prometheus": "mgmt"})  # type: ignore[arg-type]
        self.thrift.streams = self.streams  # type: ignore[assignment]

    def put(self, event: Event) -> None:
        self.state = reduce(self.state, event)

    def look(self) -> bool:
        return self.thrift.look(self.state)


def test_a_wish_reaches_link_stream_sources_and_state_at_once_and_only_of_that_host() -> None:
    room = Room()
    room.keepers["mgmt"].link = link = Counted()
    assert not room.look() and link.told == []
    room.thrift.wish("mgmt", Wish.ON)
    assert room.look(), "whoever waits looks anew"
    assert link.told == [True] and [s.told for s in room.streams] == [[], [True]]
    assert room.state.hosts["mgmt"].metered == "as you chose" and room.state.hosts["spark"].metered == ""
    assert room.thrift.interval("prometheus", "", 1.0) == 10.0, "it is reached through that host"
    assert room.thrift.interval("engines", "spark", 2.0) == 2.0
    assert not room.look() and link.told == [True], "told once"
    room.keepers["mgmt"].link = again = Counted()
    room.look()
    assert again.told == [True], "a new connection is told too"
    room.thrift.wish("mgmt", Wish.OFF)
    assert room.look()
    assert again.told == [True, False] and room.state.hosts["mgmt"].metered == ""


def test_bytes_are_those_of_all_connections_of_the_session() -> None:
    room = Room()
    room.keepers["spark"].link = first = Counted()
    first.traffic_bytes = (1000, 5000)
    room.thrift.count()
    room.keepers["spark"].link = None
    room.thrift.count()
    room.keepers["spark"].link = second = Counted()
    second.traffic_bytes = (10, 60)
    room.thrift.count()
    second.traffic_bytes = (30, 90)
    room.thrift.count()
    told = room.state.hosts["spark"].traffic
    assert told is not None and (told.sent_bytes, told.received_bytes) == (1030, 5090)
    assert room.state.hosts["mgmt"].traffic is None, "nobody counted there"


def test_who_does_not_count_is_not_zero() -> None:
    room = Room()
    room.keepers["spark"].link = link = Counted()
    link.traffic_bytes = None
    room.thrift.count()
    assert room.state.hosts["spark"].traffic is None
