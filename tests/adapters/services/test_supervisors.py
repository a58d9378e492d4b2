"""A supervisor that does not answer: said of its own services, and of no others."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

import pytest

from sovtui.adapters.services.probe import Probe
from sovtui.core.events import ServicesSeen
from sovtui.core.model import Service
from sovtui.ports.link import Link
from sovtui.runtime import box
from tests.fakes.clock import FakeClock

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
async def test_problem_is_told_of_whom_it_concerns(monkeypatch: pytest.MonkeyPatch, what: str, hit: set[str]) -> None:
    async def lines(_link: Link, _verb: str, _request: Mapping[str, Any], *_: object) -> AsyncGenerator[dict[str, Any], None]:
        yield UP
        yield {"t": "problem", "what": what, "reason": "it does not answer"}

    monkeypatch.setattr(box, "lines", lines)
    services: dict[str, Service] = {}
    async for batch in Probe("spark", NAMES, FakeClock()).events(cast("Link", None)):
        for event in batch:
            if isinstance(event, ServicesSeen):
                services.update({service.name: service for service in event.services})
    assert {name for name, service in services.items() if service.reason} == hit
    assert {service.active for service in services.values()} == {"active"}  # what was told before is kept
