"""LiteLLM: its recorded page, who cools down until when, which chain was taken; and that nothing is ever billed."""

from __future__ import annotations

import copy
import re
from typing import Any

import httpx
import pytest

from sovtui.adapters.engines._litellm_routes import location
from sovtui.adapters.engines.litellm import key_wanted
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
    assert part.ends_guessed, "its provider may have said otherwise"
    assert abs((part.ends_at - began).total_seconds() - 3600) < 1
    assert engine.reason.startswith("1 in cooldown and 2 failing")
    engine = await room.poll(3500.0)
    assert named(engine.parts, "local-vllm-qwen3-32b").state == "cooldown"
    engine = await room.poll(110.0)
    part = named(engine.parts, "local-vllm-qwen3-32b")
    assert (part.state, part.ends_at) == ("failing", None) and "may be over" in part.detail  # it has not served yet


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


def row(group: str, id_: str, **params: Any) -> dict[str, Any]:
    return {"model_name": group, "litellm_params": {"model": "openai/m", **params}, "model_info": {"id": id_}}


def page_of(*series: str) -> str:
    return "\n".join(("litellm_in_flight_requests 1.0", "process_start_time_seconds 1000.0", *series, ""))


def state(id_: str, value: float, model: str = "m") -> str:
    return f'litellm_deployment_state{{litellm_model_name="{model}",model_id="{id_}"}} {value}'


def count(what: str, number: float, **labels: str) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"litellm_deployment_{what}_total{{{inside}}} {number}"


async def test_one_deployment_is_one_id() -> None:
    """A wildcard has a row per model that LiteLLM knows, an alias repeats those of its group."""
    told = server(page_of(state("w", 0, "gpt-4o"), state("w", 1, "gpt-99"), state("a", 0)))
    wild = [row(f"openai/model-{n}", "w", model=f"openai/model-{n}") for n in range(211)]
    told.routes["/v1/model/info"] = {"data": [row("chat", "a"), row("chat", "b"), *wild, row("gpt-4", "a"), row("gpt-4", "b")]}
    told.routes["/model/info?litellm_model_id=w"] = {"data": [row("openai/*", "w", model="openai/*")]}
    told.routes["/router/settings"]["current_values"]["model_group_alias"] = {"gpt-4": "chat"}
    room = room_of(told)
    await room.poll()
    engine = await room.poll()
    deployments = [part for part in engine.parts if part.state != "chain"]
    assert [(p.name, p.state) for p in deployments] == [("chat: a", "ready"), ("chat: b", "unused"), ("openai/*: w", "ready")]
    assert "gpt-99 failing" in deployments[2].detail  # one of the models behind a wildcard is not the wildcard
    told.routes["/model/info?litellm_model_id=w"] = 404
    told.routes["/metrics/"] = page_of(state("a", 0)).replace("1000.0", "2000.0")
    await room.poll(14.0)
    assert any(part.name == "openai/model-*: w" for part in (await room.poll()).parts)  # an old version: what all begin with


async def test_what_is_not_well_is_counted_before_anything_is_cut() -> None:
    rows = [row("pool", f"d{n}") for n in range(100)]
    told = server(page_of(*(state(f"d{n}", 1.0 if n < 90 else 0.0) for n in range(100))))
    told.routes["/v1/model/info"] = {"data": rows}
    room = room_of(told)
    await room.poll()
    engine = await room.poll()
    assert engine.reason == "90 failing of 100 deployments" and len(engine.parts) == 60
    told.routes["/metrics/"] = page_of(*(state(f"d{n}", 0.0) for n in range(100)))
    await room.poll(14.0)
    engine = await room.poll()
    assert engine.reason == "" and any(part.state == "chain" for part in engine.parts)  # chains are not what is cut


async def test_the_default_chain_and_hops_of_each_kind() -> None:
    hops = {
        "long": ("longer", "Openai.ContextWindowExceededError"), "bold": ("polite", "Openai.ContentPolicyViolationError"),
        "chat": ("polite", "Openai.InternalServerError"), "solo": ("default", "Openai.RateLimitError"),
        "openai/gpt": ("spare", "Openai.Timeout"),
    }  # fmt: skip

    def taken(number: float) -> str:
        return page_of(*(count("successful_fallbacks", number, requested_model=group, fallback_model=to, exception_class=error)
                         for group, (to, error) in hops.items()))  # fmt: skip

    told = server(taken(1))
    told.routes["/router/settings"] = {
        "current_values": {"fallbacks": [{"chat": [{"model": "polite"}]}, {"gpt": ["spare"]}],
                           "content_policy_fallbacks": [{"bold": ["polite"]}]}
    }  # fmt: skip
    secret = {"name": "slack", "variables": {"SLACK_WEBHOOK_URL": "https://secret.example"}}
    told.routes["/get/config/callbacks"] = {
        "callbacks": [secret],
        "router_settings": {
            "fallbacks": [{"chat": [{"model": "polite"}]}, {"*": ["default"]}], "context_window_fallbacks": [{"long": ["longer"]}]
        },
    }  # fmt: skip
    room = room_of(told)
    await room.poll()
    told.routes["/metrics/"] = taken(3)
    await room.poll(14.0)
    chains = {part.name: part.detail for part in (await room.poll()).parts if part.state == "chain"}
    assert chains == {
        "chat → polite": "taken 2× in 5 min", "gpt → spare": "taken 2× in 5 min",
        "long → longer": "taken 2× in 5 min, when too long", "bold → polite": "taken 2× in 5 min, when refused",
        "* → default": "taken 2× in 5 min, of groups without one",
    }  # fmt: skip
    assert "secret.example" not in repr(room.source._watched[0].past)


async def test_a_cooldown_of_its_own_length_is_known() -> None:
    told = server(page_of(state("a", 0), state("b", 1)))
    told.routes["/v1/model/info"] = {"data": [row("pool", "a", cooldown_time=120), row("pool", "b")]}
    room = room_of(told)
    await room.poll()
    await room.poll()
    began = room.clock.now().timestamp() + 9.0
    cold = (
        state("a", 1), state("a", 2, "pool"),
        count("cooled_down", 1, model_id="a", exception_status="429"),
        f'litellm_deployment_cooled_down_created{{model_id="a",exception_status="429"}} {began}',
    )  # fmt: skip
    told.routes["/metrics/"] = page_of(*cold)
    await room.poll(14.0)
    part = named((await room.poll()).parts, "pool: a")
    assert part.state == "cooldown" and part.ends_at is not None and not part.ends_guessed
    assert part.ends_at.timestamp() == pytest.approx(began + 120, abs=0.1)  # not when the page was read
    told.routes["/metrics/"] = page_of(*cold, count("success_responses", 1, model_id="a"))
    await room.poll(14.0)
    assert named((await room.poll()).parts, "pool: a").state == "cooldown"  # an answer that had begun before
    await room.poll(100.0)
    assert named((await room.poll()).parts, "pool: a").state == "failing"  # the 2 that nothing sets back is no cooldown


async def test_a_guessed_cooldown_is_over_once_it_is_tried_again() -> None:
    told = server(page_of(state("a", 0)))
    told.routes["/v1/model/info"] = {"data": [row("pool", "a")]}
    told.routes["/router/settings"] = {"current_values": {"cooldown_time": 600}}
    room = room_of(told)
    await room.poll()
    cold = count("cooled_down", 1, model_id="a", exception_status="429")
    failed = {"model_id": "a", "exception_status": "429"}
    told.routes["/metrics/"] = page_of(state("a", 1), cold, count("failure_responses", 1, **failed))
    await room.poll(14.0)
    assert named((await room.poll()).parts, "pool: a").state == "cooldown"
    told.routes["/metrics/"] = page_of(state("a", 1), cold, count("failure_responses", 2, **failed))
    await room.poll(14.0)
    assert named((await room.poll()).parts, "pool: a").state == "failing"


async def test_a_request_that_is_wrong_in_itself_is_not_its_deployments_failure() -> None:
    def failures(status: str, number: float) -> str:
        return count("failure_responses", number, model_id="a", exception_status=status)

    told = server(page_of(state("a", 1), failures("400", 3)))
    told.routes["/v1/model/info"] = {"data": [row("long", "a")]}
    room = room_of(told)
    await room.poll()
    assert named((await room.poll()).parts, "long: a").state == "ready"
    told.routes["/metrics/"] = page_of(state("a", 1), failures("400", 3), failures("500", 1))
    await room.poll(14.0)
    assert named((await room.poll()).parts, "long: a").state == "failing"
    told.routes["/metrics/"] = page_of(state("a", 1), failures("400", 4), failures("500", 1))
    await room.poll(14.0)
    assert named((await room.poll()).parts, "long: a").state == "ready"  # its provider answers, and says what is wrong


async def test_its_long_list_is_read_once_in_its_life() -> None:
    told = server(page_of(state("a", 0)))
    room = room_of(told)
    for _ in range(400):
        await room.poll(10.0)
    assert told.asked.count("/v1/model/info") == 1
    told.routes["/metrics/"] = page_of(state("a", 0)).replace("1000.0", "2000.0")  # it has started anew
    await room.poll(14.0)
    await room.poll()
    assert told.asked.count("/v1/model/info") == 2
    told.routes["/health/readiness/details"] = {"db": "connected"}
    told.routes["/v1/models"] = {"data": [{"id": "one more"}]}
    for _ in range(40):
        await room.poll(10.0)
    assert told.asked.count("/v1/model/info") == 3
    for _ in range(400):
        await room.poll(10.0)
    assert told.asked.count("/v1/model/info") == 4  # kept in a database it may change unnoticed: each hour


async def test_lists_that_are_not_told_make_no_working_proxy_hang() -> None:
    told = server()
    told.slow = {"/v1/model/info", "/router/settings", "/get/config/callbacks", "/v1/models"}
    room = room_of(told)
    for _ in range(6):
        assert (await room.poll(12.0)).phase is EnginePhase.READY
    assert figure(room, "running").fresh_value == 0
    told.slow.clear()
    for _ in range(40):
        engine = await room.poll(10.0)
    assert len(engine.parts) >= 6, "asked for again"


async def test_what_is_in_flight_is_known_at_every_look() -> None:
    told = server()
    told.routes["/health/backlog"] = recorded("litellm/health-backlog.json")
    room = room_of(told)
    await room.poll()
    told.routes["/health/backlog"] = {"in_flight_requests": 4}
    await room.poll()
    assert figure(room, "running").value == 3  # it counts the question
    assert figure(room, "start_unixtime").fresh_value, "what its page told still holds"
    several = re.sub("(?m)^litellm_in_flight_requests .*$", "", PAGE)
    told.routes["/metrics/"] = several + "".join(f'litellm_in_flight_requests{{pid="{n}"}} 2.0\n' for n in (1, 2))
    await room.poll(14.0)
    await room.poll()
    assert figure(room, "running").value == 2  # of several workers one answers: only its page knows all


@pytest.mark.parametrize(
    ("status", "body", "login", "said"),
    [
        (
            400,
            {"error": {"message": "No connected db.", "type": "no_db_connection"}},
            "the token from X",
            "its key is refused (400)",
        ),
        (401, {"error": {"message": "Authentication Error, No api key passed in."}}, "", "it wants an API key (401)"),
        (
            401,
            {"error": {"message": "Authentication Error, Invalid proxy server token"}},
            "the token from X",
            "its key is refused",
        ),
        (500, recorded("litellm/v1-models.no-key.500.txt"), "", "it wants an API key (500)"),
        (500, "Internal Server Error", "the token from X", ""),
        (400, {"error": {"message": "something else"}}, "the token from X", ""),
    ],
)
def test_what_a_refusal_says_of_the_key(status: int, body: Any, login: str, said: str) -> None:
    words: dict[str, Any] = {"text": body} if isinstance(body, str) else {"json": body}
    told = key_wanted(httpx.Response(status, extensions={"login": login}, **words))
    assert told.startswith(said) and bool(told) == bool(said)


@pytest.mark.parametrize(
    ("params", "info", "where"),
    [
        ({"api_base": "http://127.0.0.1:47082/v1"}, {"location": "cloud"}, "cloud"),
        ({"api_base": "http://127.0.0.1:1/v1", "model": "openai/x"}, {}, "local"),
        ({"api_base": "http://10.0.0.7:8000/v1", "model": "openai/x"}, {}, "local"),
        ({"api_base": "http://vllm:8000/v1"}, {}, "local"),
        ({"api_base": "http://100.101.102.103:8000/v1"}, {}, "local"),
        ({"api_base": "http://[fd00::1]:8000/v1"}, {}, "local"),
        ({"api_base": "https://[2606:4700::1]/v1"}, {}, "cloud"),
        ({"api_base": "http://[broken/v1", "model": "ollama/x"}, {}, "local"),
        ({"api_base": "https://api.example.com/v1", "model": "hosted_vllm/x"}, {}, "cloud"),
        ({"model": "ollama_chat/llama3"}, {}, "local"),
        ({"model": "openrouter/x"}, {"litellm_provider": "openrouter"}, "cloud"),
    ],
)
def test_local_or_cloud(params: dict[str, str], info: dict[str, str], where: str) -> None:
    assert location(params, info) == where
