"""What is looked at where nobody has configured anything: what serves now, nothing that could be switched, and nothing forgotten."""

from __future__ import annotations

from typing import Any

from sovtui.config.found import entries, found
from sovtui.config.schema import Config, EngineConfig, HostConfig, ModeConfig
from sovtui.core.survey import Facts, gather

EVERY = ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")


def server(port: int, kind: str, *models: str, service: str = "", **more: Any) -> list[dict[str, Any]]:
    """A socket and what answers on it."""
    unit = [{"t": "unit", "name": service, "active": "active"}] if service.endswith(".service") else []
    return [
        *unit,
        {"t": "port", "address": "127.0.0.1", "port": port, **({"service": service} if service else {})},
        {
            "t": "answer",
            "port": port,
            "url": f"http://127.0.0.1:{port}",
            "kind": kind,
            "models": list(models),
            "by": "owner",
            **more,
        },
    ]


def facts(*servers: list[dict[str, Any]]) -> Facts:
    return gather(line for lines in servers for line in lines)


def host(config: Config) -> HostConfig:
    (made,) = config.host.values()
    return made


def shown(config: Config) -> list[tuple[str, str, str]]:
    return [(entry.name, entry.engine, entry.url.rpartition(":")[2]) for entry in entries(host(config))]


def test_one_is_shown_in_full_and_the_others_beside_it_and_none_can_be_switched() -> None:
    made = found(
        facts(
            server(8000, "vllm", "org/qwen3.6", service="vllm-qwen.service"),
            server(8081, "llamacpp", "tiny"),
            server(11434, "ollama", service="ollama.service"),
            server(4000, "litellm", key=True),
        ),
        ("docker.service",),
        "box.example.org",
        EVERY,
    )
    assert list(made.host) == ["box"] and host(made).link == "local"
    assert {port for _, _, port in shown(made)} == {"8000", "8081", "11434", "4000"}
    (mode,) = host(made).mode
    assert isinstance(mode, ModeConfig) and (mode.key, mode.services, mode.switch) == ("", (), ())
    assert {engine.engine for engine in host(made).engine} == {"llamacpp", "ollama", "litellm"} - {mode.engine} | (
        {"vllm"} - {mode.engine}
    )
    assert host(made).switch.floor == () and host(made).backup == ()
    assert {"vllm-qwen.service", "ollama.service", "docker.service"} <= set(host(made).watch), "their logs can be read"
    assert all(f"(port {entry.url.rpartition(':')[2]})" in entry.title for entry in entries(host(made)))


def test_the_one_in_full_writes_text_where_there_is_one() -> None:
    made = found(facts(server(8188, "comfyui"), server(11434, "ollama")), (), "box", EVERY)
    assert host(made).mode[0].engine == "ollama"
    made = found(facts(server(8188, "comfyui")), (), "box", EVERY)
    assert host(made).mode[0].engine == "comfyui"
    made = found(facts(server(4000, "litellm", key=True)), (), "box", EVERY)
    assert host(made).mode == () and host(made).engine[0].engine == "litellm", "a router is no mode"


def test_what_speaks_openais_protocol_is_shown_and_what_only_wants_a_login_is_not() -> None:
    made = found(
        facts(server(5000, "openai", "a-model"), server(5001, "openai", key=True), server(5002, "openai")), (), "b", EVERY
    )
    assert shown(made) == [("a-model", "", "5000"), ("port-5002", "", "5002")]


def test_an_engine_that_nothing_listens_for_is_not_shown() -> None:
    process = [{"t": "process", "pid": 7, "command": ["vllm", "serve", "org/qwen", "--port", "8000"]}]
    assert shown(found(facts(process), (), "b", EVERY)) == []


def test_two_on_one_address_are_one_and_names_stay_different() -> None:
    made = found(
        facts(server(8000, "llamacpp", "tiny"), server(8001, "vllm", "tiny"), server(8000, "llamacpp", "tiny")), (), "b", EVERY
    )
    assert len({name for name, _, _ in shown(made)}) == 2 and len(shown(made)) == 2


def test_what_is_there_still_keeps_its_name_and_its_place_and_what_ended_stays() -> None:
    first = found(facts(server(8001, "llamacpp", "tiny"), server(8002, "llamacpp", "big")), (), "b", EVERY)
    again = found(
        facts(server(8000, "llamacpp", "tiny"), server(8001, "llamacpp", "tiny"), server(11434, "ollama")), (), "b", EVERY, first
    )
    assert host(again).mode[0].url == host(first).mode[0].url, "the one in full stays the one in full"
    before, after = shown(first), shown(again)
    assert [row for row in after if row in before] == before, "names are what figures and curves are kept under"
    assert len({name.lower() for name, _, _ in after}) == 4


def test_an_engine_that_moved_is_one() -> None:
    first = found(facts(server(41000, "litellm", key=True), server(8001, "llamacpp", "tiny")), (), "b", EVERY)
    again = found(facts(server(42000, "litellm", key=True), server(8001, "llamacpp", "tiny")), (), "b", EVERY, first)
    assert [(engine, port) for _, engine, port in shown(again)] == [("llamacpp", "8001"), ("litellm", "42000")]


def test_another_model_on_the_same_port_is_another_one() -> None:
    first = found(facts(server(8000, "vllm", "small")), (), "b", EVERY)
    again = found(facts(server(8000, "vllm", "large")), (), "b", EVERY, first)
    assert [(entry.name, entry.model) for entry in entries(host(again))] == [("large", "large")]


def test_prometheus_is_asked_directly_and_kept_while_it_is_away() -> None:
    there = [
        {"t": "port", "address": "127.0.0.1", "port": 9090},
        {"t": "answer", "port": 9090, "url": "http://127.0.0.1:9090/prometheus", "kind": "prometheus", "version": "3.1"},
    ]
    first = found(facts(there), (), "b", EVERY)
    assert first.prometheus is not None and (first.prometheus.url, first.prometheus.via) == (
        "http://127.0.0.1:9090/prometheus",
        "",
    )
    assert found(facts(), (), "b", EVERY, first).prometheus == first.prometheus


def test_hostile_names_make_no_configuration_break() -> None:
    bad = 'x"]\n[host.evil]\x1b[31m"\u202e' * 5
    made = found(facts(server(8000, "vllm", bad), server(8001, "openai", bad)), (bad,), bad, EVERY)
    assert len(made.host) == 1 and all(isinstance(entry, ModeConfig | EngineConfig) for entry in entries(host(made)))
    assert "\x1b" not in repr([entry.title for entry in entries(host(made))]).replace("\\x1b", "\x1b")
