"""The demo's hub does what a real one does: plan, execute, follow, refuse, acknowledge, lose and find its link again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sovtui.actions import all_specs
from sovtui.actions.spec import Verdict, Wish
from sovtui.core.model import ActionRun, AlertState, LinkPhase
from sovtui.core.modes import Heat, hot_modes, mode_views
from sovtui.core.reading import Status
from sovtui.demo import DemoHub, feed, scripted
from sovtui.ports.errors import Unreachable
from sovtui.runtime.hub import Hub
from tests.fakes.clock import FakeClock, turn


@pytest.fixture(autouse=True)
def short_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """These look at no curves: the estate need not have run for ten minutes before."""
    monkeypatch.setattr(feed, "WARM_UP_SECONDS", 100.0)


@asynccontextmanager
async def running(scenario: str = "idle") -> AsyncIterator[tuple[DemoHub, FakeClock]]:
    clock = FakeClock()
    hub = scripted(clock=clock, scenario=scenario)
    await hub.start()
    await clock.run(hub.settle(5))
    try:
        yield hub, clock
    finally:
        await hub.aclose()


def hot(hub: Hub) -> list[str]:
    return [mode.name for mode in hot_modes(hub.state.hosts["spark"])]


async def test_begins_unknown_and_knows_all_once_the_links_are_up():
    clock = FakeClock()
    hub = scripted(clock=clock)
    assert hub.state.demo
    assert not hub.state.hosts["spark"].figures
    await hub.start()
    await clock.advance(0.1)
    assert hub.state.hosts["spark"].link.phase is LinkPhase.CONNECTING
    await clock.run(hub.settle(5))
    host = hub.state.hosts["spark"]
    assert host.link.phase is LinkPhase.UP
    assert host.link.kind == "demo"
    assert 0.03 < (host.link.latency_seconds or 0) < 0.05
    assert hot(hub) == ["qwen"]
    await hub.aclose()


async def test_two_runs_of_the_same_keys_are_the_same():
    states = []
    for _ in range(2):
        async with running() as (hub, clock):
            plan = hub.plan("switch", Wish("spark", "image"))
            await clock.run(hub.execute(plan))
            await clock.advance(30)
            states.append(hub.state)
    assert states[0] == states[1]


async def test_values_move_and_stay_fresh():
    async with running("healthy") as (hub, clock):
        seen = set()
        for _ in range(30):
            await clock.advance(1)
            reading = hub.state.hosts["spark"].reading("memory.available_bytes")
            assert reading.status is Status.FRESH
            seen.add(reading.value)
        assert len(seen) > 10
        assert hub.state.now == hub.world.now


async def test_switch_goes_through_and_is_told_on_the_way():
    async with running() as (hub, clock):
        plan = hub.plan("switch", Wish("spark", "mistral"))
        assert plan.verdict is Verdict.GO
        told: list[ActionRun] = []
        heats = set()
        hub.subscribe(lambda state: mode_views(state.hosts["spark"]), lambda views: heats.add(views[1].heat))
        outcome = await clock.run(hub.execute(plan, told.append))
        assert outcome.exit_code == 0
        assert outcome.run is not None and outcome.run.outcome == "done"
        assert 18 <= (outcome.run.seconds or 0) <= 30
        assert told[0].running and not told[-1].running
        assert any("Loading safetensors checkpoint shards" in line for line in outcome.run.lines)
        assert {Heat.COLD, Heat.STARTING, Heat.HOT} <= heats
        await clock.advance(1)
        assert hot(hub) == ["mistral"]
        assert hub.state.hosts["spark"].receipts[0].id == outcome.run.id


async def test_switch_asks_while_requests_run():
    async with running() as (hub, clock):
        hub.world.hold_requests(2)
        await clock.advance(2)
        plan = hub.plan("switch", Wish("spark", "mistral"))
        assert plan.verdict is Verdict.ASK
        assert "2 running" in plan.reason


async def test_failing_switch_rolls_back_with_exit_code_1():
    async with running() as (hub, clock):
        hub.world.engines.fails_to_load.add("mistral-safer")
        outcome = await clock.run(hub.execute(hub.plan("switch", Wish("spark", "mistral-safer"))))
        assert outcome.exit_code == 1
        assert "not enough GPU memory" in outcome.message
        await clock.advance(1)
        assert hot(hub) == ["qwen"]


async def test_the_failed_scenario_fails_again_only_when_told_so():
    async with running("failed") as (hub, _):
        run = hub.state.hosts["spark"].action
        assert run is not None and run.outcome == "rolled-back"


async def test_a_second_action_is_refused_and_told_who_and_where():
    async with running() as (hub, clock):
        switch, drop = hub.plan("switch", Wish("spark", "mistral")), hub.plan("drop-caches", Wish("spark"))
        outcome = await hub.execute(switch, wait=False)
        assert outcome.exit_code == 0
        refused = await hub.execute(drop)
        assert refused.exit_code == 4
        assert "switch mistral" in refused.message
        await clock.advance(3)
        plan = hub.plan("drop-caches", Wish("spark"))
        assert plan.verdict is Verdict.NO and "runs switch mistral" in plan.reason


async def test_follow_finds_what_another_started_and_cancelling_leaves_it_running():
    async with running("switching") as (hub, clock):
        task = asyncio.create_task(hub.follow("spark"))
        await clock.advance(2)
        task.cancel()
        await turn()
        outcome = await clock.run(hub.follow("spark"))
        assert outcome.exit_code == 0
        assert outcome.run is not None and outcome.run.who == "ops@thinclient"


async def test_drop_backup_and_restart():
    async with running("troubled") as (hub, clock):
        cached = hub.state.hosts["spark"].reading("memory.cached_bytes").value or 0
        assert (await clock.run(hub.execute(hub.plan("drop-caches", Wish("spark"))))).exit_code == 0
        await clock.advance(1)
        assert (hub.state.hosts["spark"].reading("memory.cached_bytes").value or 0) < 0.2 * cached

        assert (await clock.run(hub.execute(hub.plan("backup", Wish("spark", "nas"))))).exit_code == 0
        await clock.advance(1)
        backup = hub.state.hosts["spark"].backups["nas"]
        assert backup.last_result == "success"
        assert backup.last_success_at is not None and (hub.state.now - backup.last_success_at).total_seconds() < 10
        assert "BackupLate" not in {a.name for a in hub.state.alerts}

        assert (await clock.run(hub.execute(hub.plan("restart", Wish("spark", "container:open-webui"))))).exit_code == 0
        await clock.advance(200)
        service = hub.state.hosts["spark"].services["container:open-webui"]
        assert (service.active, service.restarts) == ("active", 0)


async def test_restart_of_the_hot_engine_loads_it_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "WARM_UP_SECONDS", 400.0)  # the scenario begins six minutes ago
    async with running("alerting") as (hub, clock):
        assert hot(hub) == []
        outcome = await clock.run(hub.execute(hub.plan("restart", Wish("spark", "vllm-qwen36.service"))))
        assert outcome.exit_code == 0
        await clock.advance(30)
        assert hot(hub) == ["qwen"]


async def test_acknowledge_and_unacknowledge():
    async with running("troubled") as (hub, clock):
        alert = next(a for a in hub.state.alerts if a.name == "BackupLate")
        wish = Wish("", alert.fingerprint, {"comment": "stick is in the safe", "for": "60"})
        assert (await hub.execute(hub.plan("acknowledge", wish))).exit_code == 0
        now = next(a for a in hub.state.alerts if a.fingerprint == alert.fingerprint)
        assert now.state is AlertState.ACKNOWLEDGED
        assert now.silences[0].comment == "stick is in the safe"
        outcome = await hub.execute(hub.plan("unacknowledge", Wish("", alert.fingerprint)))
        assert outcome.exit_code == 0
        assert next(a for a in hub.state.alerts if a.fingerprint == alert.fingerprint).state is AlertState.ACTIVE
        await hub.execute(hub.plan("acknowledge", wish))
        await clock.advance(62)
        assert next(a for a in hub.state.alerts if a.fingerprint == alert.fingerprint).state is AlertState.ACTIVE


async def test_logs_follow_a_start():
    async with running() as (hub, clock):
        texts: list[str] = []

        async def read() -> None:
            async for line in hub.logs("spark", "container:sglang-mistral4"):
                texts.append(line.text)
                if "fired up" in line.text:
                    return

        reader = asyncio.create_task(read())
        await clock.run(hub.execute(hub.plan("switch", Wish("spark", "mistral"))))
        await clock.run(reader)
        assert len([text for text in texts if "shards" in text]) == 13
        assert len(texts) == len(set(texts))


async def test_link_lost_and_found_again():
    async with running("link-down") as (hub, clock):
        assert hub.plan("switch", Wish("spark", "mistral")).exit_code == 3
        with pytest.raises(Unreachable):
            await hub.receipts("spark")
        assert hub.state.hosts["spark"].reading("memory.available_bytes").status is Status.STALE
        hub.reconnect("spark")
        await clock.advance(3)
        assert hub.state.hosts["spark"].link.phase is LinkPhase.UP
        assert hub.state.hosts["spark"].reading("memory.available_bytes").status is Status.FRESH


async def test_an_action_goes_on_while_the_link_is_down():
    async with running() as (hub, clock):
        await hub.execute(hub.plan("switch", Wish("spark", "image")), wait=False)
        hub.unplug("spark", "spark: the connection was lost")
        await clock.advance(40)
        assert hub.state.hosts["spark"].link.phase is LinkPhase.DOWN
        hub.reconnect()
        await clock.advance(2)
        assert hot(hub) == ["image"]
        assert hub.state.hosts["spark"].receipts[0].outcome == "done"


async def test_empty_stays_empty():
    async with running("empty") as (hub, clock):
        await clock.advance(20)
        assert not any(host.figures for host in hub.state.hosts.values())
        for action, target in (("switch", "qwen"), ("drop-caches", "")):
            assert hub.plan(action, Wish("spark", target)).verdict is Verdict.NO


async def test_every_action_there_is_can_be_planned():
    async with running() as (hub, _):
        for action, spec in all_specs().items():
            target = {"mode": "image", "service": "gitea.service", "backup": "nas", "alert": hub.state.alerts[0].fingerprint}
            plan = hub.plan(action, Wish("spark", target.get(spec.target, "")))
            assert plan.action == action


async def test_speed():
    clock = FakeClock()
    hub = scripted(clock=clock, speed=10, scenario="switching")
    await hub.start()
    await clock.advance(3)
    assert hot(hub) == ["mistral"]
    await hub.aclose()
