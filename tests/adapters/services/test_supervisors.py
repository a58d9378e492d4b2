"""A supervisor that does not answer: said of its own services, and of no others."""

from __future__ import annotations

import json

import pytest

from sovtui.adapters.services.probe import Probe
from sovtui.core.events import ServicesSeen
from sovtui.core.model import Service
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
