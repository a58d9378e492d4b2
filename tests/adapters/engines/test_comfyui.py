"""ComfyUI: every recorded answer; its queue is a number, its workflows stay unread."""

from __future__ import annotations

from typing import Any

import pytest

from sovtui.core.model import EnginePhase
from sovtui.core.modes import mode_view
from sovtui.core.reading import Status
from tests.adapters.engines.pretend import Room, Server, recorded


def room_of(stats: str, prompt: str) -> tuple[Room, Server]:
    told = Server(system_stats=recorded(f"comfyui/system_stats.{stats}.json"), prompt=recorded(f"comfyui/prompt.{prompt}.json"))
    room = Room(told, "comfyui", model="")
    room.unit("active")
    return room, told


def figure(room: Room, name: str) -> Any:
    return room.state.hosts["spark"].reading(f"engine.{name}", "qwen")


@pytest.mark.parametrize(
    ("stats", "held", "detail"),
    [("rtx-4070-ti.reconstructed", 7147094016, "4.7 GiB free on it"), ("gb10.reconstructed", 20468203520, "unified memory")],
)
async def test_memory_of_a_card_and_of_unified_memory(stats: str, held: int, detail: str) -> None:
    room, _ = room_of(stats, "idle")
    engine = await room.poll()
    assert (engine.phase, engine.version) == (EnginePhase.READY, "0.3.64")
    (part,) = engine.parts
    assert part.detail == detail and part.size_bytes == held and part.name.startswith("cuda:0 NVIDIA")
    assert figure(room, "memory_bytes").value == held
    assert (figure(room, "running").value, figure(room, "waiting").value) == (0, 0)
    assert mode_view(room.state.hosts["spark"], room.mode).word == "resident"


async def test_a_queue_of_three_is_one_running_and_two_waiting() -> None:
    room, told = room_of("rtx-4070-ti.reconstructed", "busy")
    await room.poll()
    assert (figure(room, "running").value, figure(room, "waiting").value) == (1, 2)
    assert mode_view(room.state.hosts["spark"], room.mode).word == "busy"
    assert "/queue" not in told.asked and "/history" not in told.asked  # whole workflows, which are private
    told.asked.clear()
    await room.poll(2.0)
    assert told.asked == ["/prompt"]


async def test_on_the_cpu_it_holds_no_gpu_memory_that_anybody_knows_of() -> None:
    room, _ = room_of("cpu", "idle")
    engine = await room.poll()
    assert engine.parts[0].state == "on the CPU"
    assert figure(room, "memory_bytes").status is Status.UNKNOWN


async def test_several_cards_are_added_and_each_is_told() -> None:
    room, told = room_of("rtx-4070-ti.reconstructed", "idle")
    stats = recorded("comfyui/system_stats.rtx-4070-ti.reconstructed.json")
    stats["devices"].append(
        {**stats["devices"][0], "index": 1, "name": "cuda:1 NVIDIA GeForce RTX 3090 : x", "torch_vram_total": 1 << 30}
    )
    told.routes["/system_stats"] = stats
    engine = await room.poll()
    assert [part.name for part in engine.parts] == ["cuda:0 NVIDIA GeForce RTX 4070 Ti", "cuda:1 NVIDIA GeForce RTX 3090"]
    assert figure(room, "memory_bytes").value == 7147094016 + (1 << 30)


async def test_tokens_are_not_supported_and_a_queue_that_is_not_told_is_unknown() -> None:
    room, told = room_of("rtx-4070-ti.reconstructed", "idle")
    told.routes["/prompt"] = 500
    await room.poll()
    assert figure(room, "decode_tok_s").status is Status.UNSUPPORTED
    assert figure(room, "running").status is Status.UNKNOWN and figure(room, "running").value is None


async def test_something_else_on_its_port() -> None:
    room = Room(Server(system_stats="<html>"), "comfyui", model="")
    room.unit("active")
    assert (await room.poll()).phase is EnginePhase.WRONG_MODEL
