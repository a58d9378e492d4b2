"""LiteLLM: its recorded page, who cools down until when, which chain was taken; and that nothing is ever billed."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from sovtui.adapters.engines._litellm_routes import location
from sovtui.adapters.engines.scrape import Scrape, read_scrape
from sovtui.adapters.registry import load_engine
from sovtui.core.model import EnginePhase, Part
from sovtui.core.reading import Status
from tests.adapters.engines.pretend import DATA, Room, Server, recorded
from tests.adapters.engines.test_captures import AT

LITELLM = load_engine("litellm")
PAGE = (DATA / "litellm/metrics.after-load.part.prom").read_text()


def grown(text: str, series: str, by: float) -> str:
    """The page with one series higher. `series` is the start of the line up to a label that tells it apart."""
    pattern = re.compile(rf"^({series}.*\}}) ([0-9.e+]+)$", re.MULTILINE)
    assert len(pattern.findall(text)) == 1, series
    return pattern.sub(lambda m: f"{m[1]} {float(m[2]) + by}", text)


def scrape(text: str, monotonic: float) -> Scrape:
    return read_scrape(text, LITELLM.wanted, AT, monotonic)


def server(metrics: Any = PAGE) -> Server:
    return Server(
        health__liveliness=recorded("litellm/health-liveliness.json"),
        v1__models=recorded("litellm/v1-models.json"),
        v1__model__info=recorded("litellm/v1-model-info.json"),
        router__settings=recorded("litellm/router-settings.json"),
        health__readiness__details=recorded("litellm/health-readiness-details.json"),
        metrics__=metrics,
    )


def room_of(told: Server, model: str = "") -> Room:
    room = Room(told, "litellm", model=model)
    room.unit("active")
    return room


def figure(room: Room, name: str) -> Any:
    return room.state.hosts["spark"].reading(f"engine.{name}", "qwen")


def named(parts: tuple[Part, ...], name: str) -> Part:
    return next(part for part in parts if name in part.name)


def test_speed_is_of_deployments_not_of_its_own_health_checks() -> None:
    after = grown(PAGE, 'litellm_output_tokens_metric_total\\{.*model_id="local-pool-a"', 600)
    after = grown(after, 'litellm_input_tokens_metric_total\\{.*model_id="local-pool-a"', 1200)
    after = grown(after, 'litellm_output_tokens_metric_total\\{.*api_provider="openai".*model_id=""', 90000)
    readings = LITELLM.parse(scrape(PAGE, 0.0), scrape(after, 60.0))
    assert readings["engine.decode_tok_s"].value == pytest.approx(10)
    assert readings["engine.prompt_tok_s"].value == pytest.approx(20)
    assert readings["engine.running"].value == 0  # the scrape counts itself
    assert readings["engine.start_unixtime"].fresh_value
    assert readings["engine.kv_use_ratio"].status is Status.UNSUPPORTED
    assert readings["engine.ttft_p50_seconds"].status is Status.UNKNOWN  # nobody streamed: not zero


def test_a_deployment_that_was_not_there_counts_from_zero_and_a_restart_is_no_speed() -> None:
    lines = PAGE.splitlines()
    without = "\n".join(line for line in lines if 'model_id="local-pool-a"' not in line) + "\n"
    readings = LITELLM.parse(scrape(without, 0.0), scrape(PAGE, 10.0))
    assert readings["engine.decode_tok_s"].value == pytest.approx(15.1)
    assert (
        LITELLM.parse(scrape(PAGE, 0.0), scrape(without, 10.0))["engine.decode_tok_s"].reason
        == "it restarted between two readings"
    )


def test_the_names_before_1_80_and_the_paid_years() -> None:
    old = PAGE.replace("_tokens_metric_total", "_tokens_total")
    after = grown(old, 'litellm_output_tokens_total\\{.*model_id="local-pool-a"', 50)
    assert LITELLM.parse(scrape(old, 0.0), scrape(after, 10.0))["engine.decode_tok_s"].value == pytest.approx(5)
    paid = LITELLM.parse(None, scrape("litellm_not_a_premium_user_metric 1.0\n", 0.0))
    assert {r.status for r in paid.values()} == {Status.UNSUPPORTED} and "licence" in paid["engine.running"].reason


async def test_with_a_key_it_tells_groups_deployments_and_chains() -> None:
    room = room_of(server(), "chat")
    engine = await room.poll()
    assert (engine.phase, engine.version) == (EnginePhase.READY, "1.106.2")
    assert engine.models == ("chat", "chat-small", "chat-pool", "chat-cloud", "cloud-dead")
    engine = await room.poll()
    assert named(engine.parts, "chat: local-vllm-qwen3-32b").state == "failing"
    assert named(engine.parts, "local-pool-a").state == "ready"
    cloud = named(engine.parts, "chat-cloud: cloud-openrouter-qwen3-32b")
    assert cloud.state == "ready" and cloud.detail == "cloud at 127.0.0.1:47082 openrouter/qwen/qwen3-32b"
    assert named(engine.parts, "chat → cloud-dead → chat-cloud").state == "chain"
    assert engine.reason == "3 failing of 6 deployments"
    assert [p.trouble for p in engine.parts] == sorted((p.trouble for p in engine.parts), reverse=True)


async def test_a_cooldown_has_an_end_and_ends() -> None:
    told = server()
    settings = copy.deepcopy(recorded("litellm/router-settings.json"))
    settings["current_values"]["cooldown_time"] = 3600
    told.routes["/router/settings"] = settings
    room = room_of(told)
    await room.poll()
    page = grown(PAGE, 'litellm_deployment_cooled_down_total\\{.*model_id="local-vllm-qwen3-32b"', 1)
    told.routes["/metrics/"] = page
    await room.poll(14.0)
    began = room.clock.now()
    engine = await room.poll()
    part = named(engine.parts, "local-vllm-qwen3-32b")
    assert part.state == "cooldown" and part.ends_at is not None
    assert abs((part.ends_at - began).total_seconds() - 3600) < 1
    assert engine.reason.startswith("1 in cooldown and 2 failing")
    engine = await room.poll(3500.0)
    assert named(engine.parts, "local-vllm-qwen3-32b").state == "cooldown"
    engine = await room.poll(110.0)
    assert named(engine.parts, "local-vllm-qwen3-32b").state == "failing"  # it may be tried again; it has not served yet


async def test_a_cooldown_before_we_looked_and_one_whose_length_nobody_tells() -> None:
    told = server()
    told.routes["/router/settings"] = 401
    room = room_of(told)
    await room.poll()
    engine = await room.poll()
    assert named(engine.parts, "local-pool-b-dead").state == "failing"  # its counter says twice, not when
    told.routes["/metrics/"] = grown(PAGE, 'litellm_deployment_cooled_down_total\\{.*model_id="local-pool-b-dead"', 1)
    await room.poll(14.0)
    engine = await room.poll()
    part = named(engine.parts, "local-pool-b-dead")
    assert (part.state, part.ends_at) == ("cooldown", None)
    told.routes["/metrics/"] = grown(
        told.routes["/metrics/"], 'litellm_deployment_success_responses_total\\{.*model_id="local-pool-b-dead"', 1
    )
    await room.poll(14.0)
    assert (
        named((await room.poll()).parts, "local-pool-b-dead").state == "failing"
    )  # as its gauge says: served once, not yet well


async def test_a_chain_that_was_taken_is_told_and_forgotten() -> None:
    told = server()
    room = room_of(told)
    await room.poll()
    told.routes["/metrics/"] = grown(
        PAGE,
        'litellm_deployment_successful_fallbacks_total\\{.*exception_class="RouterRateLimitError".*fallback_model="chat-cloud"',
        3,
    )
    await room.poll(14.0)
    chain = named((await room.poll()).parts, "chat → cloud-dead → chat-cloud")
    assert chain.trouble and chain.detail == "taken 3× in 5 min"
    for _ in range(60):
        engine = await room.poll(14.0)
    assert not named(engine.parts, "chat → cloud-dead → chat-cloud").trouble


async def test_without_a_key_it_is_alive_and_says_what_it_cannot_tell() -> None:
    for status, body in ((401, {"error": "no key"}), (500, recorded("litellm/v1-models.no-key.500.txt"))):
        told = Server(
            health__liveliness=recorded("litellm/health-liveliness.json"),
            v1__models=(status, body),
            metrics__=(401, recorded("litellm/metrics.no-key.401.json")),
        )
        room = room_of(told, "chat")
        engine = await room.poll()
        assert engine.phase is EnginePhase.READY and "key" in engine.reason and not engine.parts
        assert figure(room, "running").status is Status.UNKNOWN and "key" in figure(room, "running").reason


async def test_its_page_is_read_rarely_and_nothing_is_ever_billed() -> None:
    told = server()
    room = room_of(told)
    for _ in range(30):
        await room.poll(2.0)
    assert told.asked.count("/metrics/") <= 6
    assert told.asked.count("/v1/model/info") == 1
    assert "/health" not in told.asked and {r.method for r in told.requests} == {"GET"}


async def test_a_group_that_is_not_there_and_something_else() -> None:
    assert (await room_of(server(), "nope").poll()).phase is EnginePhase.WRONG_MODEL
    assert (await room_of(Server(), "chat").poll()).phase is EnginePhase.WRONG_MODEL


@pytest.mark.parametrize(
    ("params", "info", "where"),
    [
        ({"api_base": "http://127.0.0.1:47082/v1"}, {"location": "cloud"}, "cloud"),
        ({"api_base": "http://127.0.0.1:1/v1", "model": "openai/x"}, {}, "local"),
        ({"api_base": "http://10.0.0.7:8000/v1", "model": "openai/x"}, {}, "local"),
        ({"api_base": "http://vllm:8000/v1"}, {}, "local"),
        ({"api_base": "https://api.example.com/v1", "model": "hosted_vllm/x"}, {}, "cloud"),
        ({"model": "ollama_chat/llama3"}, {}, "local"),
        ({"model": "openrouter/x"}, {"litellm_provider": "openrouter"}, "cloud"),
    ],
)
def test_local_or_cloud(params: dict[str, str], info: dict[str, str], where: str) -> None:
    assert location(params, info) == where
