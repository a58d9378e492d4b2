"""The real control room on the simulated estate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sovtui.actions.spec import Verdict, Wish
from sovtui.core.model import ActionRun, AlertState, EnginePhase, LinkPhase
from sovtui.core.modes import hot_modes
from sovtui.core.reading import Status
from sovtui.demo import build, feed
from sovtui.demo.control import DemoControl

SPEED = 80.0


@pytest.fixture(autouse=True)
def short_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """These look at no curves: the estate need not have run for ten minutes before."""
    monkeypatch.setattr(feed, "WARM_UP_SECONDS", 100.0)


@asynccontextmanager
async def running(scenario: str = "idle", estate: str = "spark", speed: float = SPEED) -> AsyncIterator[DemoControl]:
    hub = build(estate, speed=speed, scenario=scenario)
    await hub.start()
    await hub.settle(5)
    try:
        yield hub
    finally:
        await hub.aclose()


async def until(what: object, seconds: float = 60.0) -> None:
    assert callable(what)
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)


def hot(hub: DemoControl) -> list[str]:
    return [mode.name for mode in hot_modes(hub.state.hosts[hub.world.estate.box])]


@pytest.mark.parametrize("estate", ["spark", "mesh", "modes"])
async def test_connects_and_knows_all(estate: str):
    async with running("idle", estate) as hub:
        assert hub.state.demo
        assert {host.link.phase for host in hub.state.hosts.values()} == {LinkPhase.UP}
        host = hub.state.hosts[hub.world.estate.box]
        await until(lambda: hub.state.hosts[host.spec.name].reading("memory.available_bytes").status is Status.FRESH)
        assert hot(hub) == [mode for mode in (hub.world.estate.hot,) if mode]
        await until(lambda: hub.state.hosts[host.spec.name].receipts)


async def test_a_switch_runs_to_its_end():
    async with running() as hub:
        told: list[ActionRun] = []
        outcome = await hub.execute(hub.plan("switch", Wish("spark", "mistral")), told.append)
        assert outcome.exit_code == 0, outcome.message
        assert outcome.run is not None
        assert [step.name for step in outcome.run.steps][:2] == ["preflight", "stop"]
        assert any("shards" in line for line in outcome.run.lines)
        assert told
        await until(lambda: hot(hub) == ["mistral"])


async def test_a_failing_switch_rolls_back():
    async with running() as hub:
        hub.world.engines.fails_to_load.add("mistral-safer")
        outcome = await hub.execute(hub.plan("switch", Wish("spark", "mistral-safer")))
        assert outcome.exit_code == 1
        assert "not enough GPU memory" in outcome.message
        await until(lambda: hot(hub) == ["qwen"])


async def test_a_running_switch_is_found_and_followed():
    async with running("switching", speed=10) as hub:  # slow enough to be seen while it runs, also on a machine that is busy
        await until(lambda: (run := hub.state.hosts["spark"].action) is not None and run.running, 20)
        outcome = await hub.follow("spark")
        assert outcome.exit_code == 0


async def test_a_cut_link_does_not_stop_an_action():
    async with running(speed=40) as hub:
        task = asyncio.create_task(hub.execute(hub.plan("switch", Wish("spark", "image"))))
        await until(lambda: hub.state.hosts["spark"].action is not None)
        hub.unplug("spark", "spark: the connection was lost")
        await until(lambda: hub.state.hosts["spark"].link.phase is LinkPhase.DOWN)
        hub.reconnect("spark")
        outcome = await asyncio.wait_for(task, 60)
        assert outcome.exit_code == 0
        await until(lambda: hot(hub) == ["image"])


async def test_alerts_and_logs():
    async with running("troubled") as hub:
        await until(lambda: hub.state.alerts)
        alert = next(a for a in hub.state.alerts if a.name == "BackupLate")
        wish = Wish("spark", alert.fingerprint, {"comment": "stick is in the safe"})
        assert (await hub.execute(hub.plan("acknowledge", wish))).exit_code == 0
        assert next(a for a in hub.state.alerts if a.name == "BackupLate").state is AlertState.ACKNOWLEDGED
        assert (await hub.execute(hub.plan("unacknowledge", Wish("spark", alert.fingerprint)))).exit_code == 0
        lines = [line async for line in hub.logs("spark", "container:open-webui", follow=False)]
        assert any(line.level == "error" for line in lines)


async def test_models_of_the_mesh_are_loaded_pinned_and_let_go():
    async with running("healthy", "mesh") as hub:
        host = hub.state.hosts["gpubox"]
        await until(lambda: hub.state.hosts["gpubox"].engines.get("ollama", host.engines.get("x")) is not None)

        def held() -> dict[str, bool]:
            return {part.name: part.pinned for part in hub.state.hosts["gpubox"].engines["ollama"].parts}

        assert held() == {"nomic-embed-text:latest": True, "llama3.1:8b": False}
        outcome = await hub.execute(hub.plan("pin", Wish("gpubox", "ollama/llama3.2:3b")))
        assert outcome.exit_code == 0 and "stays until it is unloaded" in outcome.message
        await until(lambda: held().get("llama3.2:3b") is True)
        big = hub.plan("load", Wish("gpubox", "ollama/qwen2.5-coder:32b"))
        assert big.verdict is Verdict.ASK and "does not fit" in big.reason
        outcome = await hub.execute(big)
        assert outcome.exit_code == 5 and "of it on the CPU" in outcome.message
        await until(lambda: hub.state.hosts["gpubox"].engines["ollama"].phase is EnginePhase.SPILLED)
        assert (await hub.execute(hub.plan("unload", Wish("gpubox", "ollama/qwen2.5-coder:32b")))).exit_code == 0
        await until(lambda: "qwen2.5-coder:32b" not in held())
