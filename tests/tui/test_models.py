"""Loading, pinning and letting go of models by menu and palette."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sovtui.actions import all_specs
from sovtui.config.schema import Config, EngineConfig, HostConfig
from sovtui.config.specs import host_specs
from sovtui.core.events import EngineSeen, LinkChanged
from sovtui.core.model import Engine, EnginePhase, Link, LinkPhase, Part
from sovtui.core.state import State, initial, reduce
from sovtui.tui.pictures import Still
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.screens.help import HelpScreen
from sovtui.tui.screens.room import Room
from tests.tui.conftest import SIZES

pytestmark = pytest.mark.screen
NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
SMALL, HELD = "llama3.1:8b", "mistral:latest"
CONFIG = Config(
    host={
        "gpubox": HostConfig(
            engine=(
                EngineConfig(name="ollama", title="Ollama", engine="ollama", url="http://127.0.0.1:11434"),
                EngineConfig(name="pictures", engine="comfyui", url="http://127.0.0.1:8188"),
            )
        )
    }
)


def models(*installed: str) -> State:
    parts = (Part(HELD, "ready", size_bytes=4_400_000_000),)
    ollama = Engine(
        EnginePhase.READY, parts=parts, installed=tuple(Part(n, "installed", size_bytes=10) for n in (HELD, *installed))
    )
    state = reduce(initial(host_specs(CONFIG), NOW), LinkChanged("gpubox", Link(LinkPhase.UP)))
    for name, engine in (("ollama", ollama), ("pictures", Engine(EnginePhase.READY))):
        state = reduce(state, EngineSeen("gpubox", name, engine))
    return state


@pytest.fixture(autouse=True)
def _configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.tui.conftest.build", lambda estate: type("Built", (), {"config": CONFIG}))


async def test_a_model_is_chosen_from_the_menu_of_a_phone(stage: Any) -> None:
    state = models(SMALL, "gemma:2b")
    async with stage(state, SIZES["phone"], estate="models") as s:
        s.app.room.run_worker(s.app.room._menu())
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        shown = [choice.title for choice in s.screen.choices]
        assert {"Load model…", "Pin model…", f"Unload model: ollama/{HELD}", "Free memory: pictures"} <= set(shown)
        s.screen.dismiss("key load ollama/" + SMALL)
        await s.until(lambda: isinstance(s.screen, ChooseScreen) and "which" in s.screen.heading())
        assert [choice.title for choice in s.screen.choices] == [SMALL, "gemma:2b"]
        await s.press("2")
        await s.until(lambda: bool(s.hub.executed))
        assert (s.hub.executed[0].action, s.hub.executed[0].wish.target) == ("load", "ollama/gemma:2b")
        assert "load" not in s.bar("keys"), "too seldom for the key bar"


async def test_the_palette_has_every_model(stage: Any) -> None:
    async with stage(models(SMALL), SIZES["normal"], estate="models") as s:
        titles = [command.title for command in s.app.room.commands()]
        assert {f"Load model: ollama/{SMALL}", f"Pin model: ollama/{SMALL}", f"Pin model: ollama/{HELD}"} <= set(titles)
        assert f"Load model: ollama/{HELD}" not in titles and f"Unload model: ollama/{SMALL}" not in titles
        next(c for c in s.app.room.commands() if c.title == f"Unload model: ollama/{HELD}").run()
        await s.until(lambda: bool(s.hub.executed))
        assert s.hub.executed[0].request["kind"] == "unload"


async def test_read_only_offers_none_of_it(stage: Any) -> None:
    async with stage(replace(models(SMALL)), SIZES["normal"], estate="models", read_only=True) as s:
        assert not [c.title for c in s.app.room.commands() if "model" in c.title.lower()]


async def test_the_help_tells_of_models_only_where_an_engine_loads_them(stage: Any) -> None:
    every = {"Load model", "Pin model", "Unload model", "Free memory"}
    async with stage(models(SMALL), SIZES["normal"], estate="models") as s:
        await s.press("question_mark")
        await s.until(lambda: isinstance(s.screen, HelpScreen))
        assert every <= set(titles_of(s.screen))
    without = Config(
        host={"gpubox": HostConfig(engine=(EngineConfig(name="ollama", engine="ollama", url="http://127.0.0.1:1"),))}
    )
    assert titles_of(Room(Still(initial(host_specs(without), NOW), without))._help()) == every - {"Free memory"}
    assert not titles_of(Room(Still(initial((), NOW), Config()))._help())


def titles_of(screen: HelpScreen) -> set[str]:
    """Of the actions that no key is for."""
    rows = [line.plain for line in screen.body(90)]
    shown = [
        spec.title for spec in all_specs().values() for line in rows[: rows.index("")] if line[1:].strip().startswith(spec.title)
    ]
    assert "Drop caches" in shown and "Switch mode" not in shown, "there is no mode"
    return {title for title in shown if any(line.startswith("≡") and title in line for line in rows)}
