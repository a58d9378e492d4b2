"""A supervisor that does not answer: said of its own services, and of no others."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.adapters.services.probe import Probe
from sovtui.core.events import ServicesSeen
from sovtui.core.model import Service
from sovtui.runtime.skews import Skews
from tests.fakes.clock import FakeClock
from tests.fakes.world import FakeLink

NAMES = ("a.service", "user:b.service", "container:c", "compose:d")
UP = {"t": "services", "services": [{"name": name, "active": "active"} for name in NAMES]}


@pytest.mark.parametrize(
    ("what", "hit"),
    [
        ("system services", {"a.service"}),
        ("user services", {"user:b.service"}),
        ("container services", {"container:c", "compose:d"}),
    ],
)
async def test_problem_is_told_of_whom_it_concerns(what: str, hit: set[str]) -> None:
    problem = {"t": "problem", "what": what, "reason": "it does not answer"}
    link = FakeLink(script=lambda argv, stdin: ([json.dumps(line).encode() for line in (UP, problem)], 0))
    services: dict[str, Service] = {}
    async for batch in Probe("spark", NAMES, FakeClock()).events(link):
        for event in batch:
            if isinstance(event, ServicesSeen):
                services.update({service.name: service for service in event.services})
    assert {name for name, service in services.items() if service.reason} == hit
    assert {service.active for service in services.values()} == {"active"}  # what was told before is kept


async def test_what_a_run_was_is_told_by_this_machines_clock() -> None:
    runs = {
        "ended": 1795165200.0,
        "by": "journal",
        "skipped": "a\x1b[31mb",
        "skipped_at": 1795165260.5,
        "kept": False,
        "mute": None,
    }
    told = {"t": "services", "services": [{"name": "a.service", "active": "inactive", **runs}, {"name": "b.timer", "once": True}]}
    hello = {"t": "hello", "now": FakeClock().now().timestamp() - 3600.0}
    link = FakeLink(script=lambda argv, stdin: ([json.dumps(line).encode() for line in (hello, told)], 0))
    services: dict[str, Service] = {}
    async for batch in Probe("spark", ("a.service", "b.timer"), FakeClock(), skews=Skews(), records=("a.service",)).events(link):
        for event in batch:
            if isinstance(event, ServicesSeen):
                services.update({service.name: service for service in event.services})
    a, b = services["a.service"], services["b.timer"]
    hour = timedelta(hours=1)
    assert a.ended_at is not None and a.skipped_at is not None
    assert abs(a.ended_at - hour - datetime.fromtimestamp(1795165200.0, UTC)) < timedelta(seconds=1)  # the way takes a moment
    assert a.skipped_at - a.ended_at == timedelta(seconds=60.5)
    assert (a.ended_by, a.kept, a.mute) == ("journal", False, None) and "\x1b" not in a.skipped
    assert (b.once, b.kept, b.mute, b.ended_at, b.skipped) == (True, True, "", None, "")
