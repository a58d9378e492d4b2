"""Ollama: every recorded answer of `/api/ps`, spilled by its share, and times by two clocks."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from sovtui.adapters.engines.ollama import moment, part_of
from sovtui.core.model import EnginePhase
from sovtui.core.modes import Heat, mode_view
from sovtui.core.reading import Status
from tests.adapters.engines.pretend import Room, Server, recorded

NOW = datetime(2026, 11, 20, 13, 33, 31, tzinfo=UTC)
"""Five minutes before most of the recorded ends."""


def server(ps: str, **routes: Any) -> Server:
    return Server(
        api__ps=recorded(f"ollama/api-ps.{ps}.json"),
        api__tags=recorded("ollama/api-tags.json"),
        api__version=recorded("ollama/api-version.json"),
        **routes,
    )


def room_of(told: Server, model: str = "") -> Room:
    room = Room(told, "ollama", model=model)
    room.clock.start = NOW
    room.unit("active")
    return room


def figure(room: Room, name: str) -> Any:
    return room.state.hosts["spark"].reading(f"engine.{name}", "qwen")


async def test_all_of_it_on_the_gpu() -> None:
    room = room_of(server("full-gpu"), "qwen3:8b")
    engine = await room.poll()
    assert (engine.phase, engine.models, engine.context_tokens, engine.version) == (
        EnginePhase.READY,
        ("qwen3:8b",),
        8192,
        "0.33.0",
    )
    (part,) = engine.parts
    assert (part.state, part.size_bytes, part.accelerator_bytes, part.pinned) == ("ready", 6845104128, 6845104128, False)
    assert part.ends_at is not None and 295 < (part.ends_at - room.clock.now()).total_seconds() < 305
    assert (figure(room, "memory_bytes").value, figure(room, "cpu_share_ratio").value) == (6845104128, 0.0)
    assert mode_view(room.state.hosts["spark"], room.mode).heat is Heat.HOT


async def test_spilled_is_a_state_with_its_share() -> None:
    room = room_of(server("cpu-spill"))
    engine = await room.poll()
    share = (15461882265 - 10307921510) / 15461882265
    assert engine.phase is EnginePhase.SPILLED
    assert engine.reason == "33 % of gpt-oss:20b on the CPU: it does not fit into GPU memory"
    assert engine.parts[0].trouble and engine.parts[0].state == "spilled"
    assert figure(room, "cpu_share_ratio").value == pytest.approx(share)
    view = mode_view(room.state.hosts["spark"], room.mode)
    assert view.heat is Heat.HOT and view.word == "spilled" and view.strain is not None and "33 %" in view.strain.sentence


async def test_one_byte_over_is_spilled_and_never_told_as_zero_percent() -> None:
    ps = copy.deepcopy(recorded("ollama/api-ps.full-gpu.json"))
    ps["models"][0]["size_vram"] -= 1
    told = server("full-gpu")
    told.routes["/api/ps"] = ps
    engine = await room_of(told).poll()
    assert engine.phase is EnginePhase.SPILLED and engine.reason.startswith("1 %")


async def test_on_the_cpu_alone_is_said_and_is_not_spilled() -> None:
    room = room_of(server("cpu-only"))
    engine = await room.poll()
    assert engine.phase is EnginePhase.READY and "CPU alone" in engine.reason and engine.parts[0].state == "on the CPU"
    assert figure(room, "cpu_share_ratio").value == 1.0


async def test_nothing_loaded_is_asleep_and_zero_bytes() -> None:
    room = room_of(server("empty"), "qwen3:8b")
    engine = await room.poll()
    assert engine.phase is EnginePhase.ASLEEP and engine.wakes and "next request loads it" in engine.reason
    assert figure(room, "memory_bytes").value == 0
    assert figure(room, "cpu_share_ratio").status is Status.UNKNOWN  # no model: no share, not zero
    assert mode_view(room.state.hosts["spark"], room.mode).word == "asleep"


async def test_pinned_and_timed() -> None:
    engine = await room_of(server("pinned-and-timed"), "nomic-embed-text").poll()
    assert engine.models == ("nomic-embed-text:latest", "gpt-oss:120b")
    by_name = {part.name: part for part in engine.parts}
    assert by_name["gpt-oss:120b"].pinned and by_name["gpt-oss:120b"].ends_at is None
    assert not by_name["nomic-embed-text:latest"].pinned and by_name["nomic-embed-text:latest"].ends_at is not None


async def test_stopping_is_told_by_an_end_in_the_past() -> None:
    engine = await room_of(server("stopping")).poll()
    assert engine.parts[0].state == "stopping"


async def test_a_clock_that_differs_moves_no_end() -> None:
    """The box's clock is an hour ahead of ours."""
    ahead = timedelta(hours=1)

    def answer(request: httpx.Request) -> httpx.Response:
        ps = {
            "models": [{"name": "m", "size": 4, "size_vram": 4, "expires_at": (NOW + ahead + timedelta(minutes=5)).isoformat()}]
        }
        tags = {"models": [{"name": "m"}]}
        body = {"/api/ps": ps, "/api/tags": tags}.get(request.url.path, {})
        return httpx.Response(200, json=body, headers={"date": format_datetime(room.clock.now() + ahead, usegmt=True)})

    told = Server()
    room = Room(told, "ollama", model="")
    room.clock.start = NOW
    room.unit("active")
    room.source._watched[0].client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://x:1")
    engine = await room.poll()
    assert engine.parts[0].state == "ready"
    assert engine.parts[0].ends_at is not None and abs((engine.parts[0].ends_at - NOW).total_seconds() - 300) < 5


async def test_a_model_that_is_not_installed_and_one_that_a_cloud_computes() -> None:
    wrong = await room_of(server("full-gpu"), "mistral").poll()
    assert wrong.phase is EnginePhase.WRONG_MODEL and "not mistral" in wrong.reason
    cloud = await room_of(server("full-gpu"), "gpt-oss:120b-cloud").poll()
    assert cloud.phase is EnginePhase.READY and "not local" in cloud.reason and "ollama.com" in cloud.reason


async def test_its_requests_and_its_speed_are_never_made_up() -> None:
    room = room_of(server("full-gpu"))
    await room.poll()
    for name in ("running", "waiting", "decode_tok_s", "prompt_tok_s", "kv_use_ratio", "ttft_p50_seconds"):
        assert figure(room, name).status is Status.UNSUPPORTED and figure(room, name).reason
    assert mode_view(room.state.hosts["spark"], room.mode).busy is None


async def test_two_models_of_one_server_are_two_modes_and_what_is_loaded_is_hot() -> None:
    from dataclasses import replace

    room = room_of(server("full-gpu"), "qwen3:8b")
    await room.poll()
    host = room.state.hosts["spark"]
    other = replace(room.mode, name="big", model="gpt-oss:120b")
    host = replace(
        host,
        spec=replace(host.spec, modes=(room.mode, other)),
        engines={**host.engines, "big": replace(host.engines["qwen"], phase=EnginePhase.ASLEEP, wakes=True)},
    )
    assert mode_view(host, room.mode).heat is Heat.HOT
    assert mode_view(host, other).heat is Heat.COLD


@pytest.mark.parametrize(
    ("size", "vram", "state", "known"),
    [
        (0, 0, "ready", False),
        (10, 20, "ready", False),
        (None, 3, "ready", False),
        (10, 10, "ready", True),
        (10, 4, "spilled", True),
    ],
)
def test_sizes_that_make_no_sense_are_no_share(size: Any, vram: Any, state: str, known: bool) -> None:
    part = part_of({"name": "m", "size": size, "size_vram": vram}, NOW)
    assert part.state == state and (part.accelerator_bytes is not None) == known


def test_moments() -> None:
    assert moment("2026-11-20T14:38:31.837530119+01:00") == datetime(2026, 11, 20, 13, 38, 31, 837530, tzinfo=UTC)
    assert moment("2026-11-20T14:38:31") is None and moment("soon") is None and moment(7) is None
