"""From facts to a proposed configuration: the reference boxes, what is guessed, what must never be in it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sovtui.config import adding, care, proposal
from sovtui.config.load import loads
from sovtui.config.propose import Asked, host_name, propose
from sovtui.config.schema import Config, HostConfig
from sovtui.core.clean import clean
from sovtui.core.survey import Facts, gather
from tests.config import boxes

ENGINES = ("vllm", "sglang")
EVERY = (*ENGINES, "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")


def made(facts: Facts, name: str = "box", engines: tuple[str, ...] = ENGINES) -> tuple[HostConfig, str, Config]:
    """The host as the program will read it, the text, and the whole configuration."""
    proposed = propose(facts, Asked(name, "ssh", f"ops@{name}"), engines)
    text = proposal.write(proposed.tables)
    config = loads(text, engines=engines)
    return config.host[name], text, config


def reason(text: str, start: str) -> str:
    """What stands behind the line that begins so."""
    line = next(line for line in text.splitlines() if line.strip().startswith(start))
    return line.partition("  # ")[2]


@pytest.mark.parametrize("name", ["spark", "mgmt", "gpubox", "rig"])
def test_every_line_says_why_and_how_sure(name: str) -> None:
    _, text, _ = made(getattr(boxes, name)(), name)
    for line in text.splitlines():
        if "=" in line and "[[" not in line and not line.rstrip().endswith("["):
            assert any(f"  # {word}: " in line for word in ("sure", "likely", "guess")), line


def test_spark_is_one_memory_with_two_engines_and_what_fights_them() -> None:
    host, text, config = made(boxes.spark(), "spark")
    assert (host.memory, host.tailnet, host.role, host.link, host.address) == ("unified", "spark", "box", "ssh", "ops@spark")
    modes = {mode.name: mode for mode in host.mode}
    assert list(modes) == ["qwen", "comfyui", "mistral", "mistral-safer"]  # as switch.sh calls them; what runs comes first
    qwen = modes["qwen"]
    assert (qwen.engine, qwen.url, qwen.model, qwen.services) == (
        "vllm",
        "http://127.0.0.1:30001",
        "qwen36",
        ("vllm-qwen36.service",),
    )
    assert qwen.needs == 60_200_000_000  # measured, rounded up
    assert modes["mistral"].services == ("container:sglang-mistral4",) and modes["mistral"].engine == "sglang"
    assert modes["mistral"].needs == 84_500_000_000  # 0.65 of all memory
    assert modes["comfyui"].engine == "" and modes["comfyui"].services == ("container:comfyui",)
    assert host.switch.drop_caches is True
    assert host.switch.hold == ("vllm-qwen36-healthcheck.timer", "sglang-healthcheck.timer", "container:watchtower")
    assert reason(text, '"vllm-qwen36-healthcheck.timer"').startswith("sure: ")
    assert reason(text, '"sglang-healthcheck.timer"').startswith("likely: ")
    assert [(b.name, b.service, float(b.max_age)) for b in host.backup] == [
        ("sovereign", "sovereign-backup.service", 26 * 3600.0)
    ]
    assert host.watch == ("sglang-role-proxy.service", "aide.service")
    assert config.prometheus is None
    assert '#     "/data/scripts/llm/switch.sh"' in text and all(not mode.switch for mode in host.mode)


def test_the_management_machine_gets_its_prometheus_wherever_it_listens() -> None:
    host, text, config = made(boxes.mgmt(), "mgmt")
    assert host.role == "management" and not host.mode
    assert config.prometheus is not None and (config.prometheus.url, config.prometheus.via) == ("http://127.0.0.1:9190", "mgmt")
    assert config.alertmanager is not None and config.alertmanager.url == "http://127.0.0.1:9093"
    assert host.instance == 'instance=~"mgmt([.:].*)?"'
    (backup,) = host.backup
    assert float(backup.max_age) == 8 * 86400.0
    assert backup.metric == 'backup_last_success_timestamp_seconds{destination="nas"}'
    assert "writes to sftp:nas:/backup" in text


def test_gpubox_has_a_floor_that_loads_by_itself_and_a_hundred_containers_that_are_left_alone() -> None:
    host, text, _ = made(boxes.gpubox(), "gpubox")
    assert host.memory == "discrete" and host.switch.drop_caches is False
    assert host.switch.floor == ("container:ollama",)
    assert [mode.name for mode in host.mode] == ["comfyui"]
    assert host.switch.tenants == () and '# tenants = ["container:jellyfin"]' in text  # never stopped on a guess
    assert "stack-" not in text
    assert host.watch == ("container:litellm",)
    assert [b.name for b in host.backup] == ["stacks"]


def test_where_ollama_is_all_there_is_it_is_shown_as_a_mode_that_no_switch_stops() -> None:
    facts = gather(
        [
            boxes.unit("ollama.service", "/usr/local/bin/ollama serve", active="active", enabled="enabled", type="exec"),
            boxes.answer(11434, "ollama", models=["llama3.1:8b"], by="api"),
        ]
    )
    host, _, _ = made(facts, engines=("vllm", "ollama"))
    (mode,) = host.mode
    assert (mode.engine, mode.url, mode.model) == ("ollama", "http://127.0.0.1:11434", "")
    assert host.switch.floor == mode.services == ("ollama.service",)
    assert made(facts)[0].mode == ()  # a version that cannot read it shows its unit only


def test_rig_has_three_engines_on_one_port_and_a_floor_on_the_cpu() -> None:
    host, text, _ = made(boxes.rig(), "rig", ("vllm", "sglang", "comfyui", "llamacpp"))
    modes = {mode.name: mode for mode in host.mode}
    assert list(modes) == ["nemotron", "creative", "coding", "nemotron-agent"]
    assert {modes[n].model for n in ("nemotron", "coding", "nemotron-agent")} == {
        "nemotron-30b",
        "coder/coder-30b-awq",
        "nemotron-30b-agent",
    }
    assert {modes[n].url for n in ("nemotron", "coding", "nemotron-agent")} == {"http://127.0.0.1:8000"}
    assert modes["creative"].engine == "comfyui"  # where there is an adapter for it
    assert modes["coding"].needs is None and "# needs" in text  # vLLM's default is only a guess
    assert host.switch.floor == ("user:nemotron-cpu.service",)
    assert [b.name for b in host.backup] == ["local", "offsite"]  # not the one that only checks
    assert [mode.key for mode in host.mode] == ["1", "2", "3", "4"]


def test_engines_that_are_no_mode_are_proposed_beside_the_modes_and_say_why() -> None:
    host, text, _ = made(boxes.gpubox(), "gpubox", EVERY)
    assert [(e.name, e.engine, e.url, e.services) for e in host.engine] == [
        ("ollama", "ollama", "http://127.0.0.1:11434", ("container:ollama",)),
        ("litellm", "litellm", "http://127.0.0.1:4000", ("container:litellm",)),
    ]
    assert host.watch == () and [mode.name for mode in host.mode] == ["comfyui"]
    assert "# It asks for a key: `bearer = " in text and host.engine[1].bearer is None
    assert reason(text, 'engine = "litellm"') == "sure: LiteLLM: what answers on port 4000"
    assert made(boxes.gpubox(), "gpubox")[0].engine == (), "a version that cannot read them watches them only"

    host, text, _ = made(boxes.rig(), "rig", EVERY)
    floor, router = host.engine
    assert (floor.name, floor.engine, floor.model, floor.services) == (
        "nemotron-cpu", "llamacpp", "/data/q4.gguf", host.switch.floor,
    )  # fmt: skip
    assert "is never switched: it is of the floor." in text and "on the CPU" in reason(text, 'engine = "llamacpp"')
    assert (router.engine, router.services) == ("litellm", ("container:litellm-proxy",))


def compose(name: str, image: str, project: str, **more: Any) -> dict[str, Any]:
    labels = {"com.docker.compose.project": project}
    return boxes.container(name, image, state="running", restart="always", labels=labels, **more)


def test_containers_of_one_compose_project_are_proposed_as_that() -> None:
    facts = gather(
        [
            compose("llm-litellm-1", "ghcr.io/berriai/litellm:v1.80", "llm", port=4000),
            compose("llm-db-1", "postgres:16", "llm"),
            compose("ai-ollama-1", "ollama/ollama:0.33.0", "ai", port=11434),
            compose("ai-vllm-1", "vllm/vllm-openai:v1", "ai", port=8000, command="--model m", gpu=True),
            compose("alone-comfyui-1", "comfyui:local", "alone", port=8188, gpu=True),
            *(compose(f"home-{n}", f"example/app:{n}", "home") for n in range(20)),
            compose("home-llama-1", "ghcr.io/ggml-org/llama.cpp:server", "home", port=8080, command="-m /m.gguf -ngl 0"),
        ]
    )
    host, text, _ = made(facts, "box", EVERY)
    services = {engine.engine: engine.services for engine in host.engine}
    assert services["litellm"] == ("compose:llm",)
    assert reason(text, 'services = ["compose:llm"]') == "likely: its container llm-litellm-1 and llm-db-1 are this project"
    assert services["ollama"] == ("container:ai-ollama-1",), "another engine is of the same project"
    assert services["llamacpp"] == ("container:home-llama-1",), "a project of twenty is more than an engine"
    assert {mode.services for mode in host.mode} == {("container:ai-vllm-1",), ("container:alone-comfyui-1",)}


def test_a_mode_of_a_project_is_switched_alone_until_somebody_says_otherwise() -> None:
    facts = gather(
        [
            compose("qwen-vllm-1", "vllm/vllm-openai:v1", "qwen", port=8000, command="--model m", gpu=True),
            compose("qwen-proxy-1", "nginx:1", "qwen"),
        ]
    )
    host, text, _ = made(facts, "box", EVERY)
    assert host.mode[0].services == ("container:qwen-vllm-1",)
    assert reason(text, '# services = ["compose:qwen"]') == "guess: instead: with qwen-proxy-1, which a switch then stops too"


def test_an_engine_that_nobody_names_is_found_by_what_answers() -> None:
    facts = gather(
        [
            boxes.unit("brain.service", "/opt/brain/start.sh", active="active", enabled="enabled", description="The brain"),
            {"t": "port", "port": 7777, "address": "127.0.0.1", "service": "brain.service"},
            boxes.answer(7777, "sglang", models=["qwen3"], by="metrics"),
            boxes.answer(7778, "vllm", models=["by-hand"], by="metrics"),
        ]
    )
    host, text, _ = made(facts)
    (brain,), (by_hand,) = host.mode, host.engine
    assert (brain.name, brain.engine, brain.model, brain.services) == ("brain", "sglang", "qwen3", ("brain.service",))
    assert (by_hand.url, by_hand.services) == ("http://127.0.0.1:7778", ()) and "No switch can start or stop it." in text


def test_where_a_stopped_engine_will_listen() -> None:
    published = boxes.container("sglang-b", "lmsysorg/sglang:v1", "sglang serve --port 30000 --served-model-name b", gpu=True)
    published["ports"] = [{"host": 31000, "inside": 30000, "address": "100.64.0.7"}]
    command = "/opt/vllm serve m --host 100.64.0.7 --ssl-certfile /c.pem --port 8001"
    host, _, _ = made(gather([boxes.unit("vllm-a.service", command, type="exec"), published]))
    assert {mode.name: mode.url for mode in host.mode} == {"a": "https://100.64.0.7:8001", "b": "http://100.64.0.7:31000"}


def test_modes_that_nothing_tells_apart_are_told_by_their_units() -> None:
    facts = gather([boxes.unit(f"vllm-{n}.service", "/opt/start", type="exec", description="x") for n in "ab"])
    host, _, _ = made(facts)
    assert [(mode.engine, mode.url, mode.services) for mode in host.mode] == [
        ("", "", ("vllm-a.service",)),
        ("", "", ("vllm-b.service",)),
    ]


def test_what_could_not_be_looked_at_is_said() -> None:
    facts = gather(
        [{"t": "looked", "what": "containers", "found": 0, "problem": "docker does not answer ops: permission denied."}]
    )
    proposed = propose(facts, Asked("a", "ssh", "a"), ENGINES)
    assert proposed.notes[0].startswith("No engine was found")
    assert "Could not be looked at: containers: docker does not answer ops: permission denied." in proposed.unseen


@pytest.mark.parametrize(
    ("address", "hostname", "name"),
    [
        ("ops@spark", "x", "spark"),
        ("spark.tail1.ts.net", "x", "spark"),
        ("ops@spark:2222", "x", "spark"),
        ("ops@192.168.1.7", "spark", "spark"),
        ("[fd7a::1]:22", "spark", "spark"),
        ("fd7a::1", "spark.local", "spark"),
        ("", "my laptop", "my-laptop"),
        ("", "", "box"),
    ],
)
def test_host_names(address: str, hostname: str, name: str) -> None:
    assert host_name(address, hostname) == name


@pytest.mark.parametrize(
    ("calendar", "gap_hours", "late"),
    [
        ("*-*-* 02:00:00", 24, 26),
        ("Sun *-*-* 03:00:00", 168, 192),
        ("Mon..Fri *-*-* 03:00:00", 72, 96),
        ("Mon,Thu *-*-* 03:00:00", 96, 120),
        ("*-*-01 03:00:00", 744, 840),
        ("*-*-* *:00:00", 1, 3),
        ("*-*-* 00/6:00:00", 6, 8),
        ("*-*-* 02,14:00:00", 12, 14),
    ],
)
def test_when_a_backup_is_late(calendar: str, gap_hours: float, late: float) -> None:
    gap = care.longest_gap(calendar)
    assert gap == gap_hours * 3600
    assert care.late_after(gap) == late * 3600


TEXT = st.one_of(
    st.sampled_from(
        ["vllm-a.service", "user:llama.service", "sglang.service", "x.timer", "a\x1b[31m", "q\"'\\", "", "none", "日本"]
    ),
    st.text(max_size=12),
)
UNIT = st.fixed_dictionaries(
    {"t": st.just("unit"), "name": TEXT},
    optional={
        "commands": st.lists(
            st.lists(TEXT | st.sampled_from(["vllm", "serve", "--port", "8000", "docker", "run", "-p"]), max_size=6)
        ),
        "description": TEXT,
        "active": st.sampled_from(["active", "failed", "inactive"]),
        "enabled": st.sampled_from(["enabled", "disabled"]),
        "starts": TEXT,
        "calendar": st.lists(TEXT, max_size=2),
        "script": st.lists(TEXT | st.just("systemctl restart vllm-a.service"), max_size=3),
    },
)
CONTAINER = st.fixed_dictionaries(
    {"t": st.just("container"), "name": TEXT, "image": TEXT | st.just("vllm/vllm-openai:v1")},
    optional={"gpu": st.booleans(), "state": st.sampled_from(["running", "exited"]), "command": st.lists(TEXT, max_size=4)},
)
ANSWER = st.fixed_dictionaries(
    {
        "t": st.just("answer"),
        "port": st.integers(1, 65535),
        "kind": st.sampled_from(["vllm", "sglang", "openai", "ollama", "litellm", "llamacpp", "prometheus"]),
    },
    optional={
        "models": st.lists(TEXT, max_size=2),
        "by": TEXT,
        "url": TEXT,
        "version": TEXT,
        "router": st.booleans(),
        "children": st.lists(st.integers(0, 65535), max_size=2),
        "side": st.sampled_from(["", "embeddings", "reranking"]),
        "state": st.sampled_from(["elsewhere", "asleep"]),
        "context": st.integers(1, 10**7),
    },
)
PROCESS = st.fixed_dictionaries(
    {"t": st.just("process"), "pid": st.integers(2, 9)},
    optional={
        "command": st.lists(
            TEXT | st.sampled_from(["vllm", "serve", "llama-server", "--port", "8000", "--embeddings"]), max_size=5
        ),
        "service": TEXT,
        "user": TEXT,
        "of": st.integers(2, 9),
        "under": st.sampled_from(["tmux", "cron"]),
    },
)
SCRIPT = st.fixed_dictionaries(
    {"t": st.just("script"), "path": TEXT | st.just("/srv/a-mode.sh")},
    optional={
        "starts": st.lists(TEXT | st.sampled_from(["vllm-a.service", "container:x"]), max_size=3),
        "words": st.lists(TEXT, max_size=2),
        "asks": TEXT,
        "answer_env": st.dictionaries(st.sampled_from(["YES", "A B", "x\ny"]), TEXT, max_size=2),
        "answer_flag": TEXT,
    },
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(UNIT, CONTAINER, ANSWER, PROCESS, SCRIPT), max_size=8), TEXT)
def test_whatever_is_found_the_proposal_passes_its_own_check(lines: list[dict[str, Any]], hostname: str) -> None:
    facts = gather([{"t": "machine", "hostname": hostname}, {"t": "gpu", "name": hostname}, *lines])
    name = host_name("", hostname)
    _, text, _ = made(facts, name, EVERY)
    made(facts, name)
    assert all(clean(line) == line for line in text.split("\n"))


def test_adding_leaves_every_byte_that_was_there() -> None:
    for old in ("", "[host.a]\n", "[host.a]", "[host.a]\r\n# mine\r\n"):
        assert adding.joined(old, "[host.b]\n").startswith(old)
        assert list(tomllib.loads(adding.joined(old, "[host.b]\n"))["host"])[-1] == "b"


def test_what_the_file_has_stays_out_of_the_addition() -> None:
    mine = loads('[host.a]\n[prometheus]\nurl = "http://127.0.0.1:1"\n')
    proposed = propose(boxes.mgmt(), Asked("mgmt", "ssh", "mgmt"), ENGINES)
    tables, left_out = adding.missing(proposed, mine)
    assert {table.path[0] for table in tables} == {"host", "alertmanager"}
    assert left_out == ("[prometheus] is in the file already and stays as it is; found was http://127.0.0.1:9190.",)
