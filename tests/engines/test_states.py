"""States of a real llama.cpp server: each event is named rightly, soon, and nothing wrong is said meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from sovtui.config.schema import Secret
from sovtui.core.model import Engine, EnginePhase
from sovtui.core.modes import Heat, ModeView
from sovtui.core.reading import Reading
from tests.engines.llamacpp import llamacpp
from tests.engines.running import Running
from tests.engines.states import MODEL, life, loading
from tests.engines.whole import whole

pytestmark = pytest.mark.integration

KEY = "sk-an-unlikely-key"
VARIABLE = "SOVTUI_TESTS_STATES_KEY"
FALSE = {
    "three requests": {"cold", "hung", "dead", "broken"},
    "all of them cancelled": {"cold", "hung", "dead", "broken"},
    "SIGSTOP in the middle of them": {"cold", "dead", "resident", "asleep"},
    "SIGCONT": {"cold", "dead", "broken"},
    "kill -9": {"cold", "hung", "resident"},
    "a second start": {"hung", "broken"},
    "start": {"hung", "dead", "broken"},
}
"""What must not be said on the way to the right word."""


async def test_the_life_of_a_server_that_was_started_by_hand(tmp_path: Path) -> None:
    """Its id has a slash and a colon; it has no unit: what is known of it is what is seen at its port."""
    for seen in await life(tmp_path):
        assert seen.seconds is not None, seen
        assert not FALSE.get(seen.event, set()) & set(seen.words[1:]), seen
        if seen.event.startswith("SIGSTOP"):
            assert "takes connections, and nothing came back" in seen.reason
        if seen.event == "kill -9":
            assert seen.reason == "it was ready and nothing listens any more: it has ended"


async def test_while_it_loads_it_is_starting(tmp_path: Path) -> None:
    seen = await loading(tmp_path)
    assert seen.seconds is not None and seen.words == ("cold", "starting") and seen.reason == "loading the model", seen


@dataclass
class Shown:
    """What sovtui as a whole shows of one server, once it has asked for everything."""

    engine: Engine
    view: ModeView
    running: Reading
    state: str


async def shown(folder: Path, server: Running, key: str | None, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """`key`: None is no login at all; an empty one is a login whose variable is not set."""
    monkeypatch.delenv(VARIABLE, raising=False)
    if key:
        monkeypatch.setenv(VARIABLE, key)
    async with whole(folder, server.url, model=MODEL, bearer=None if key is None else Secret(env=VARIABLE)) as look:
        await look.until(lambda one: bool(one.engine.denied) or one.view.busy is not None, 60)
        return Shown(look.engine, look.view, look.reading("running"), str(look.hub.state))


async def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None, a wrong one, one whose variable is not set, the right one: who lives is never absent, and what is wrong is said."""
    with llamacpp(tmp_path, model_alias=[MODEL], endpoint_metrics=True, api_keys=[KEY]) as server:
        none, wrong, unset, right = [await shown(tmp_path, server, key, monkeypatch) for key in (None, "sk-wrong", "", KEY)]
        for one in (none, wrong, unset):
            assert one.engine.phase is EnginePhase.READY and one.view.heat is Heat.HOT, one.engine
            assert one.running.value is None, "its figures are closed: it is not idle, it is not known"
        assert none.engine.denied.startswith("it wants an API key: give it a `bearer`"), none.engine
        assert wrong.engine.denied.startswith("its key is refused: ") and "401" in wrong.engine.denied
        assert "is not available: it is not set" in unset.engine.denied
        assert not right.engine.denied and right.engine.models == (MODEL,) and right.view.word == "resident"
        assert KEY not in right.state and "sk-wrong" not in wrong.state

        told = command(tmp_path, server, "doctor", bearer=True)
        assert told.returncode == 1 and "is not available: it is not set. Set it where sovtui is started" in words(told), (
            told.stdout
        )
        assert "mode one: it wants an API key" in words(command(tmp_path, server, "doctor"))
        assert command(tmp_path, server, "doctor", bearer=True, key=KEY).returncode == 0


async def test_once_asked_it_tells_what_can_be_seen_now(tmp_path: Path) -> None:
    """One look, nobody has watched it before: a stopped one hangs, a gone one is cold."""
    with llamacpp(tmp_path, model_alias=[MODEL], endpoint_metrics=True) as server:
        server.signal(signal.SIGSTOP)
        status, doctor = await asyncio.gather(
            asyncio.to_thread(command, tmp_path, server, "status"), asyncio.to_thread(command, tmp_path, server, "doctor")
        )
        assert "one is hung: its port takes connections" in words(status), status.stdout
        assert doctor.returncode == 1 and "NO here: mode one: hung: its port takes connections" in words(doctor), doctor.stdout
        server.signal(signal.SIGKILL)
        server.process.wait()
        assert "1 one cold" in words(command(tmp_path, server, "status"))


def command(folder: Path, server: Running, *argv: str, bearer: bool = False, key: str = "") -> subprocess.CompletedProcess[str]:
    """A headless command on a configuration that names this server as a mode without services."""
    home = folder / f"home-{time.monotonic_ns()}"
    home.mkdir()
    config = home / "config.toml"
    mode = ['name = "one"', 'key = "1"', 'engine = "llamacpp"', f'url = "{server.url}"', f'model = "{MODEL}"']
    mode += ['bearer = { env = "SOVTUI_TESTS_STATES_KEY" }'] if bearer else []
    config.write_text("\n".join(['[host.here]\nlink = "local"', "[[host.here.mode]]", *mode]) + "\n")
    others = {name: value for name, value in os.environ.items() if name != VARIABLE}
    env = {**others, "HOME": str(home), **({VARIABLE: key} if key else {})}
    line = [sys.executable, "-m", "sovtui", "--config", str(config), *argv]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, start_new_session=True)


def words(told: subprocess.CompletedProcess[str]) -> str:
    return " ".join(told.stdout.split())
