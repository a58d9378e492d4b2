"""The simulated estate: deterministic, and never two modes in memory."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime

import pytest

from sovtui.actions.request import box_plan
from sovtui.demo.estate import GIB, estate
from sovtui.demo.stage import Stage
from sovtui.demo.world import World

START = datetime(2026, 11, 20, 19, 50, tzinfo=UTC)
MODES = ("qwen", "mistral", "mistral-safer", "image", "none")


def stage(seed: int = 7) -> Stage:
    return Stage(World(estate("spark"), START, seed=seed))


def switch(to: str) -> dict[str, object]:
    return {"kind": "switch", "target": to, "plan": box_plan(estate("spark").config.host["spark"], to)}


def test_same_seed_same_world_however_time_is_cut():
    one, two = stage(), stage()
    one.advance(180)
    for seconds in itertools.chain([0.1, 0.4, 7.25, 0.01, 0.24], [1.0] * 172):
        two.advance(seconds)
    assert one.world.now == two.world.now
    assert one.world.events("spark") == two.world.events("spark")
    assert one.world.curves("spark") == two.world.curves("spark")


def test_other_seed_other_world():
    one, two = stage(1), stage(2)
    one.advance(60)
    two.advance(60)
    assert one.world.events("spark") != two.world.events("spark")


@pytest.mark.parametrize("seed", range(5))
def test_never_two_modes_in_memory(seed: int):
    """Switches in any order, breaking off nothing, some failing: at most one engine is ever loaded, and memory never runs over."""
    chance = random.Random(seed)
    playing = stage(seed)
    world = playing.world
    for _ in range(6):
        target = chance.choice(MODES)
        if target != "none" and chance.random() < 0.4:
            world.engines.fails_to_load.add(target)
        playing.start("spark", switch(target), "tester")
        while (run := playing.current("spark")) is not None and run.running:
            playing.advance(0.25)
            assert len(world.loaded()) <= 1
            assert 0 < world.memory.available_bytes("spark") <= world.estate.hosts["spark"].total_bytes
        assert run is not None
        assert run.outcome in ("done", "rolled-back", "failed")
        if run.outcome == "done":
            assert world.loaded() == (() if target == "none" else (target,))
        world.engines.fails_to_load.clear()


@pytest.mark.parametrize("target", ["mistral", "mistral-safer", "image", "none"])
def test_a_switch_takes_its_plausible_time_and_tells_its_steps(target: str):
    playing = stage()
    playing.start("spark", switch(target), "tester")
    playing.advance(60)
    run = playing.current("spark")
    assert run is not None
    assert run.outcome == "done"
    assert 5 <= (run.seconds or 0) <= 30
    names = [step.name for step in run.steps]
    started = [] if target == "none" else ["start", "ready"]
    assert names == ["preflight", "stop", "gone", "memory", "drop-caches", *started, "verify"]
    assert all(step.state == "done" and step.seconds is not None for step in run.steps)
    assert playing.receipts["spark"][0] == run


def test_a_failed_switch_rolls_back_and_says_why():
    playing = stage()
    playing.world.engines.fails_to_load.add("mistral-safer")
    playing.start("spark", switch("mistral-safer"), "tester")
    playing.advance(90)
    run = playing.current("spark")
    assert run is not None
    assert run.outcome == "rolled-back"
    assert "out of memory" in run.reason
    assert playing.world.loaded() == ("qwen",)
    assert any("OutOfMemoryError" in line for line in run.lines)


def test_memory_comes_back_only_a_while_after_the_process_is_gone():
    world = stage().world
    world.hold_requests(0)
    world.advance(1)
    before = world.memory.available_bytes("spark")
    world.stop_service("spark", "vllm-qwen36.service")
    world.advance(1.5)
    assert world.loaded() == ()
    soon = world.memory.available_bytes("spark")
    world.advance(6)
    assert soon < before + 30 * GIB < world.memory.available_bytes("spark")


def test_dropping_caches_gives_memory_back():
    playing = stage()
    playing.advance(5)
    cached = playing.world.memory.cached["spark"]
    playing.start("spark", {"kind": "drop-caches", "target": "", "plan": {}}, "tester")
    playing.advance(5)
    assert playing.world.memory.cached["spark"] < 0.1 * cached


def test_an_engine_is_cold_after_its_start():
    playing = stage()
    world = playing.world
    world.hold_requests(1)
    world.advance(1)
    warm = world.traffic.decode_tok_s("qwen")
    playing.start("spark", switch("none"), "tester")
    playing.advance(30)
    playing.start("spark", switch("qwen"), "tester")
    playing.advance(40)
    world.hold_requests(1)
    cold = world.traffic.decode_tok_s("qwen")
    world.advance(90)
    assert 50 < warm < 66
    assert 37 < cold < 49
    assert 50 < world.traffic.decode_tok_s("qwen") < 66
