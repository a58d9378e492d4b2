"""What is told while a link is silent, after it has healed, and by a command that looks once: against the booted box."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from sovtui.core.model import LinkPhase
from sovtui.core.state import Host
from sovtui.core.told import needless
from sovtui.runtime.control import Control
from sovtui.tui.panes.inference import heat_span
from tests.box.box import Box, wait_for
from tests.integration.hub import hub_of
from tests.integration.operator import CONFIG, Operator, empty, ready

MISTRAL = "sglang-mistral4.service"
FAILS = "[Service]\nExecStart=\nExecStart=/bin/false\nRestart=no\n"
FOLDER = f"/run/systemd/system/{MISTRAL}.d"
PLAIN = """
[[host.testbox.backup]]
name = "plain"
service = "restartme.service"
"""


@pytest.fixture(scope="module")
def operator(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """With a backup that no metric tells of, on a box where qwen is hot and mistral's unit has failed."""
    empty(box)
    box.write(f"{FOLDER}/fails.conf", FAILS)
    box.systemctl("daemon-reload")
    box.systemctl("start", "vllm-qwen36.service")
    box.systemctl("start", MISTRAL, check=False)
    wait_for(lambda: ready(box, "qwen"), 60, "qwen")
    wait_for(lambda: box.show(MISTRAL, "ActiveState")["ActiveState"] == "failed", 60, "mistral to fail")
    yield Operator.at(box, tmp_path_factory.mktemp("operator"), config=CONFIG + PLAIN)
    box.remove(FOLDER)
    box.systemctl("daemon-reload")
    empty(box)


async def until(hub: Control, holds: Callable[[Host], bool], what: str) -> None:
    async with asyncio.timeout(60):
        while not holds(hub.state.hosts["testbox"]):
            await asyncio.sleep(0.05)


def told(hub: Control) -> dict[str, bool | None]:
    """Whether each source is well; the box has no GPU to tell of."""
    return {name: source.ok for (name, _), source in hub.state.sources.items() if not needless(source)}


async def test_a_partition_keeps_what_was_last_known_and_heals_wholly(
    operator: Operator, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hub_of(operator, monkeypatch) as hub:
        await until(hub, lambda host: heat_span(host)[0] == "● qwen resident", "qwen")
        await hub.settle(60, whole=True)
        assert set(told(hub).values()) == {True}, hub.state.sources
        await asyncio.to_thread(box.cut_network)
        try:
            await until(hub, lambda host: host.link.phase is not LinkPhase.UP, "the loss")
            began, wrong = time.monotonic(), set()
            while time.monotonic() - began < 16:  # as long as the engines' questions that were on their way take to fail
                words, role = heat_span(hub.state.hosts["testbox"], hub.state.now)
                if not words.startswith("● qwen hot ~") or role != "stale":
                    wrong.add((words, role))
                await asyncio.sleep(0.1)
            assert not wrong
            assert not any(told(hub)[name] for name in ("probe", "engines", "backups", "prometheus", "alertmanager"))
            age = int(words.rpartition("~")[2].removesuffix("s"))
            assert age >= 15, words
        finally:
            await asyncio.to_thread(box.restore_network)
        await until(hub, lambda host: set(told(hub).values()) == {True}, "every source")
        await until(hub, lambda host: heat_span(host)[0] == "● qwen resident", "qwen")
        await until(hub, lambda host: not any(service.reason for service in host.services.values()), "the services")


def test_a_command_that_looks_once_knows_what_a_screen_knows(operator: Operator, box: Box) -> None:
    whole = operator.json("status")
    assert [source for source in whole["sources"] if not source["ok"] and source["name"] != "nvidia-smi"] == []
    assert {source["name"] for source in whole["sources"]} >= {"probe", "engines", "backups", "prometheus", "alertmanager"}
    host = whole["hosts"][0]
    plain = next(backup for backup in host["backups"] if backup["name"] == "plain")
    assert "not known yet" not in plain["reason"], plain
    assert next(engine for engine in host["engines"] if engine["mode"] == "qwen")["phase"] == "ready"


GROWN = """
import sys
from sovtui.adapters.engines import _silence
_silence.YOUNG_SECONDS = 0.0
from sovtui.__main__ import main
sys.exit(main())
"""
"""As if the engine had been started more than a minute ago."""


def test_a_hung_engine_is_hung_for_who_looks_once_too(operator: Operator, box: Box) -> None:
    pid = box.show("vllm-qwen36.service", "MainPID")["MainPID"]
    box.root(["kill", "-STOP", pid])
    try:
        done = subprocess.run(
            [sys.executable, "-c", GROWN, "status", "--json"],
            env=operator.environment,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        whole = json.loads(done.stdout)
        (engine,) = [one for one in whole["hosts"][0]["engines"] if one["mode"] == "qwen"]
        assert engine["phase"] == "hung", (engine, done.stderr)
        assert ("engine", "qwen is hung") in [(issue["kind"], issue["title"]) for issue in whole["issues"]]
    finally:
        box.root(["kill", "-CONT", pid])


def test_of_a_host_that_is_not_reached_no_source_is_called_well(operator: Operator, box: Box) -> None:
    box.cut_network()
    try:
        done = operator.run("status", "--json")
    finally:
        box.restore_network()
    assert done.returncode == 3, done.stderr
    whole = json.loads(done.stdout)
    assert {source["name"] for source in whole["sources"] if source["ok"]} == set(), whole["sources"]
    assert {source["name"] for source in whole["sources"] if source["ok"] is False} >= {"engines", "backups"}
    assert [issue["kind"] for issue in whole["issues"]].count("backup") == 0, "that it is not reached is the trouble"
