"""What is followed over a link that is cut again and again: an action's narration and a log, with no line lost and none twice."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from pathlib import Path

from sovtui.actions.spec import Wish
from sovtui.core.model import ActionRun, LinkPhase
from sovtui.runtime.links import Pace
from tests.faults.link.box_kinds import root
from tests.faults.link.ground import Client
from tests.faults.link.lane import Lane
from tests.faults.link.scene import Scene, scene
from tests.integration.operator import CONFIG

LANE = "testbox"
LOG_UNIT = "chatty.service"
TALK = """\
[Service]
ExecStart=/bin/sh -c 'i=0; while :; do i=$((i+1)); echo line $i; sleep 0.05; done'
"""
Wrong = list[str]


async def follow(client: Client, folder: Path, cuts: int) -> tuple[int, int, int, Wrong]:
    """Cuts made, lines of the receipt, lines of the log, and what was wrong."""
    text = CONFIG.replace('"crashloop.service"', f'"{LOG_UNIT}", "crashloop.service"')
    box = client.box
    box.write(f"/etc/systemd/system/{LOG_UNIT}", TALK)
    box.systemctl("daemon-reload")
    box.systemctl("start", LOG_UNIT)
    box.tune("vllm-qwen36", load_seconds=14)
    try:
        async with scene(client, folder, [LANE], 1, Pace(0.05, 0.1, steady_seconds=0.0), text) as made:
            return await _follow(made, cuts)
    finally:
        box.tune("vllm-qwen36")
        box.systemctl("stop", LOG_UNIT, "vllm-qwen36.service", check=False)
        box.remove(f"/etc/systemd/system/{LOG_UNIT}")


async def _follow(made: Scene, cuts: int) -> tuple[int, int, int, Wrong]:
    lane, hub, wrong = made.lanes[LANE], made.hub, []
    heard: list[str] = []
    narrated: list[str] = []
    steps: list[tuple[str, str]] = []
    before = 0

    def progress(run: ActionRun) -> None:
        nonlocal before
        narrated.extend(run.lines_after(before))
        if run.line_count < before:
            wrong.append(f"the narration went back, from {before} lines to {run.line_count}")
        before = run.line_count
        now = [(step.name, step.state) for step in run.steps]
        steps.extend(one for one in now if one not in steps)

    async def listen() -> None:
        async with aclosing(hub.logs(LANE, LOG_UNIT, lines=5)) as lines:
            async for line in lines:
                heard.append(line.text)

    listening = asyncio.create_task(listen())
    acting = asyncio.create_task(hub.execute(hub.plan("switch", Wish(LANE, "qwen")), progress))
    count = await _cut(lane, cuts, acting)
    outcome = await asyncio.wait_for(acting, 90)
    await lane.until(lane.live, 90)
    last = len(heard)
    await lane.until(lambda: len(heard) > last + 5, 90)
    if listening.done():
        wrong.append(f"the log ended: {listening.exception()}")
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    if outcome.run is None or outcome.exit_code != 0:
        wrong.append(f"the switch: {outcome.message}")
        return count, 0, len(heard), wrong
    told = await root(lane, f"cat ~ops/.local/state/sovtui/actions/{outcome.run.id}/receipt.jsonl")
    receipt = [json.loads(line) for line in told.splitlines()]
    lines = [line["text"] for line in receipt if line["t"] == "line" and line["text"].strip()]
    if narrated != lines:
        wrong.append(f"the receipt has {len(lines)} lines, {len(narrated)} were told: {_first(lines, narrated)}")
    ends = [(line["name"], line["state"]) for line in receipt if line["t"] == "step" and line["state"] != "running"]
    missing = [end for end in ends if end not in steps]
    if missing:
        wrong.append(f"steps that were not told: {missing}")
    numbers = [int(line.split()[1]) for line in heard if line.startswith("line ")]
    wanted = list(range(numbers[0], numbers[0] + len(numbers))) if numbers else []
    if numbers != wanted or not numbers:
        wrong.append(f"the log: {_first([str(n) for n in wanted], [str(n) for n in numbers])}")
    return count, len(receipt), len(numbers), wrong


async def _cut(lane: Lane, cuts: int, acting: asyncio.Task[object]) -> int:
    """As often as it is asked for while the action runs; each time the link has been up for a moment or two."""
    for count in range(cuts):
        if not await lane.until(lambda: lane.host.link.phase is LinkPhase.UP, 90) or acting.done():
            return count
        await asyncio.sleep(lane.dice.uniform(0.1, 0.7))
        lane.proxy.cut()
        await lane.until(lambda: lane.host.link.phase is not LinkPhase.UP, 5)
    return cuts


def _first(wanted: list[str], told: list[str]) -> str:
    """Where they part."""
    at = next((i for i, pair in enumerate(zip(wanted, told, strict=False)) if pair[0] != pair[1]), min(len(wanted), len(told)))
    return f"from {at}: wanted {wanted[at : at + 3]}, told {told[at : at + 3]}"
