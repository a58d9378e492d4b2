"""LiteLLM's own proxy, looked at: its deployments, chains, cooldowns, keys; against what its upstream was asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from sovtui.adapters.engines.base import Past
from sovtui.adapters.engines.litellm import PAGE_EVERY_SECONDS
from sovtui.adapters.links.http import client, denied
from sovtui.adapters.links.login import Login
from sovtui.adapters.registry import load_engine
from sovtui.config.login import EngineLogin
from sovtui.config.schema import Secret
from sovtui.core.model import EnginePhase, Part
from sovtui.core.parts import about
from sovtui.runtime.clock import RealClock
from tests.engines.litellm import (
    BROKEN,
    KEY,
    PROMPT_TOKENS,
    REFUSED,
    SLOW_DOWN,
    TOKENS,
    TOO_LONG,
    Answer,
    Upstream,
    litellm,
    upstream,
)
from tests.engines.looking import Looking, looking, now
from tests.engines.running import Running

pytestmark = pytest.mark.integration

OWN_SECONDS, ROUTER_SECONDS = 600, 300


def config(url: str) -> dict[str, Any]:
    """Nine deployments: one is a wildcard, one group has an alias, three stand in one group."""

    def of(group: str, id_: str, model: str = "openai/m", info: dict[str, Any] | None = None, **params: Any) -> dict[str, Any]:
        given = {"model": model, "api_base": f"{url}/{id_}/v1", "api_key": "x", **params}
        return {"model_name": group, "litellm_params": given, "model_info": {"id": id_, **(info or {})}}

    return {
        "model_list": [
            of("chat", "a"), of("long", "l"), of("longer", "l2"), of("bold", "p"), of("polite", "p2"), of("default", "d"),
            of("trio", "own", cooldown_time=OWN_SECONDS), of("trio", "told"), of("trio", "well"),
            of("openai/*", "wild", "openai/*"),
        ],
        "litellm_settings": {"default_fallbacks": ["default"], "num_retries": 0},
        "router_settings": {
            "fallbacks": [{"chat": [{"model": "polite"}]}], "context_window_fallbacks": [{"long": ["longer"]}],
            "content_policy_fallbacks": [{"bold": ["polite"]}], "model_group_alias": {"gpt-4": "chat"},
            "cooldown_time": ROUTER_SECONDS,
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def provider() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, provider: Upstream) -> Iterator[Running]:
    with litellm(tmp_path_factory.mktemp("litellm"), config(provider.url)) as server:
        yield server


@pytest.fixture(autouse=True)
def calm(provider: Upstream) -> None:
    provider.says.clear()


async def ask(proxy: Running, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=proxy.url, headers=headers, trust_env=False, timeout=60) as http:
        return await http.post("/v1/chat/completions", json=body)


async def page(look: Looking) -> None:
    """Looks until its next page of figures has been read."""
    until = time.monotonic() + PAGE_EVERY_SECONDS + 0.2
    while time.monotonic() < until:
        await asyncio.sleep(1.0)
        await look.look()


def named(look: Looking, name: str) -> Part:
    return next(part for part in look.engine.parts if part.name == name)


async def test_what_happens_is_told_as_it_is(proxy: Running, provider: Upstream) -> None:
    async with looking("litellm", proxy.url, model="chat", key=KEY) as look:
        engine = await look.look()
        assert (engine.phase, engine.version) == (EnginePhase.READY, "1.109.3")
        await look.look()
        chains = {part.name for part in look.engine.parts if part.state == "chain"}
        assert chains == {"chat → polite", "long → longer", "bold → polite", "* → default"}
        deployments = [part.name for part in look.engine.parts if part.state != "chain"]
        assert sorted(deployments) == sorted(
            ["chat: a", "long: l", "longer: l2", "bold: p", "polite: p2", "default: d",
             "trio: own", "trio: told", "trio: well", "openai/*: wild"]
        )  # fmt: skip

        provider.says |= {"a": BROKEN, "l": TOO_LONG, "p": REFUSED, "own": SLOW_DOWN, "told": SLOW_DOWN}
        for model, served in (("chat", "p2"), ("long", "l2"), ("bold", "p2"), ("openai/gpt-4o", "wild"), ("gpt-4", "d")):
            answer = await ask(proxy, model)
            assert (answer.status_code, answer.headers["x-litellm-model-id"]) == (200, served), model
        cooled: dict[str, datetime] = {}
        while not {"own", "told", "well"} <= cooled.keys():
            before = dict(provider.asked)
            await ask(proxy, "trio")
            cooled |= {n: now() for n in ("own", "told", "well") if provider.asked.get(n, 0) > before.get(n, 0)}
        await page(look)

        for name, words in (("chat → polite", "taken 1×"), ("long → longer", "taken 1×"), ("bold → polite", "taken 1×")):
            assert named(look, name).trouble and words in named(look, name).detail
        assert "taken" in named(look, "* → default").detail  # of the alias, which has no chain of its own, and of `trio`
        own, told = named(look, "trio: own"), named(look, "trio: told")
        for part, seconds, guessed in ((own, OWN_SECONDS, False), (told, ROUTER_SECONDS, True)):
            assert (part.state, part.ends_guessed) == ("cooldown", guessed) and part.ends_at is not None
            began = cooled["own" if part is own else "told"]
            assert -5 < (part.ends_at - began).total_seconds() - seconds <= 1, "by when it began, not by when that was read"
        assert about(told, now()).startswith("perhaps until")
        # A request that was too long, or against the rules, is not its deployment's fault, though its gauge says 1 for good.
        states = {name: named(look, name).state for name in ("chat: a", "long: l", "bold: p", "openai/*: wild", "trio: well")}
        assert states == {
            "chat: a": "failing", "long: l": "ready", "bold: p": "ready", "openai/*: wild": "ready", "trio: well": "ready"
        }  # fmt: skip
        assert look.engine.reason == "2 in cooldown and 1 failing of 10 deployments"

        provider.says.clear()
        assert (await ask(proxy, "chat")).headers["x-litellm-model-id"] == "a"
        for _ in range(4):
            assert (await ask(proxy, "trio")).headers["x-litellm-model-id"] == "well"
        await page(look)
        assert look.engine.reason == "2 in cooldown of 10 deployments"


async def test_tokens_and_what_is_in_flight(proxy: Running, provider: Upstream) -> None:
    async with looking("litellm", proxy.url, model="chat", key=KEY) as look:
        await look.look()
        began = look.reading("start_unixtime").at
        for _ in range(20):
            assert (await ask(proxy, "chat")).status_code == 200
        provider.says["a"] = Answer(seconds=6.0)
        slow = [asyncio.create_task(ask(proxy, "chat")) for _ in range(3)]
        await asyncio.sleep(1.0)
        await look.look()
        assert look.reading("running").value == 3
        await asyncio.gather(*slow)
        await look.look()
        assert look.reading("running").value == 0, "not by its page, which is read each twelve seconds"
        await page(look)
        for figure, tokens in (("decode_tok_s", 23 * TOKENS), ("prompt_tok_s", 23 * PROMPT_TOKENS)):
            reading = look.reading(figure)
            assert reading.at is not None and began is not None
            assert reading.value == pytest.approx(tokens / (reading.at - began).total_seconds(), rel=0.02)
        assert "does not report this" in look.reading("itl_mean_seconds").reason


@pytest.mark.parametrize(
    ("key", "said"),
    [(None, "it wants an API key"), ("sk-wrong", "its key is refused"), ("", "the bearer of [host.box: one] from the variable")],
)
async def test_a_refused_key_is_not_a_missing_one(proxy: Running, key: str | None, said: str) -> None:
    async with looking("litellm", proxy.url, model="chat", key=key) as look:
        await look.look()
        engine = await look.look()
        assert engine.phase is EnginePhase.READY and engine.denied.startswith(said) and not engine.parts
        figure = look.reading("running")
        assert figure.value is None and (said if key == "sk-wrong" else "it wants an API key") in figure.reason


async def test_a_wrong_key_is_refused_also_where_only_its_lists_say_so(proxy: Running) -> None:
    """Without the callback there are no metrics, and what is left says 400: it cannot look the key up without a database."""
    login = Login("host.box: one", EngineLogin(bearer=Secret(env="K")), RealClock(), {"K": "sk-wrong"}, optional=True)
    http = client(None, base_url=proxy.url, timeout_seconds=10, login=login)
    engine = await load_engine("litellm").probe(http, "chat", Past(), 0.0)
    told = denied(http)
    await http.aclose()
    assert engine.phase is EnginePhase.READY and told.startswith("its key is refused: /v1/models answers 400 to the token from")


async def test_a_steady_look_asks_little_and_its_long_list_once(proxy: Running) -> None:
    async with looking("litellm", proxy.url, model="chat", key=KEY) as look:
        await look.look()
        began = time.monotonic()
        for _ in range(8):
            await asyncio.sleep(2.0)
            await look.look()
        lines = look.a_minute(began, time.monotonic())
        assert sum(lines.values()) <= 31, lines
        assert not {"/v1/model/info", "/health", "/v1/models", "/router/settings", "/get/config/callbacks"} & lines.keys()


async def test_it_restarts_with_another_list(proxy: Running, provider: Upstream) -> None:
    """Without services nothing but its page and its silence tell: the list is read anew."""
    file = proxy.argv[proxy.argv.index("--config") + 1]
    async with looking("litellm", proxy.url, model="chat", key=KEY) as look:
        await look.look()
        assert named(look, "trio: well")
        with open(file) as config_file:
            text = config_file.read()
        with open(file, "w") as config_file:
            config_file.write(text.replace('"id": "well"', '"id": "other"'))
        proxy.again()
        proxy.wait("/health/liveliness")
        await page(look)
        assert named(look, "trio: other")
