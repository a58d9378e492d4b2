"""From facts to a proposal: whose an engine is, what is one and what is none, modes that share a port, scripts of the owner."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from sovtui.config import proposal
from sovtui.config.load import loads
from sovtui.config.propose import Asked, propose
from sovtui.config.schema import HostConfig
from sovtui.core.survey import gather
from tests.config import boxes

EVERY = ("vllm", "sglang", "llamacpp", "ollama", "litellm", "llamaswap", "comfyui")
IMAGE = "vllm/vllm-openai:v0.20.0"


def made(*lines: dict[str, Any], user: str = "ops") -> tuple[HostConfig, str]:
    """The host as the program will read it, and the text."""
    proposed = propose(gather([{"t": "machine", "hostname": "box", "user": user}, *lines]), Asked("box", "local"), EVERY)
    text = proposal.head(proposed.notes) + proposal.write(proposed.tables)
    return loads(text, engines=EVERY).host["box"], text


def unit(name: str, command: str = "", **more: Any) -> dict[str, Any]:
    told = {"t": "unit", "name": name, "commands": [shlex.split(command)] if command else [], "type": "exec", "description": ""}
    return {**told, **more}


def process(pid: int, command: str, **more: Any) -> dict[str, Any]:
    return {"t": "process", "pid": pid, "command": shlex.split(command), **more}


def port(number: int, **more: Any) -> dict[str, Any]:
    return {"t": "port", "port": number, "address": "127.0.0.1", **more}


RUNS = {"active": "active", "enabled": "enabled"}


# -- routers -----------------------------------------------------------------------------------------------------------


def router(**more: Any) -> list[dict[str, Any]]:
    return [
        unit("llama.service", "/usr/bin/llama-server --models-dir /models --port 8080", **RUNS),
        process(10, "/usr/bin/llama-server --models-dir /models --port 8080", service="llama.service"),
        process(11, "/usr/bin/llama-server --port 54241 --alias alpha -m /models/alpha.gguf", service="llama.service", of=10),
        port(8080),
        port(54241),
        boxes.answer(8080, "llamacpp", by="owner", models=["alpha", "beta"], router=True, children=[54241], **more),
        boxes.answer(54241, "llamacpp", by="owner", models=["alpha"]),
    ]


def test_a_router_is_one_engine_beside_the_modes_and_its_servers_are_nothing() -> None:
    host, text = made(*router(), unit("vllm-a.service", "vllm serve org/a --port 8000"))
    (engine,) = host.engine
    assert (engine.engine, engine.url, engine.model, engine.services) == (
        "llamacpp",
        "http://127.0.0.1:8080",
        "",
        ("llama.service",),
    )
    assert [mode.services for mode in host.mode] == [("vllm-a.service",)]
    assert "each in a server of its own: alpha, beta." in text and "54241" not in text


def test_where_a_router_is_all_there_is_it_is_shown_as_a_mode_without_a_model() -> None:
    host, _ = made(*router())
    (mode,) = host.mode
    assert (mode.engine, mode.url, mode.model) == ("llamacpp", "http://127.0.0.1:8080", "")
    assert host.switch.floor == ("llama.service",) and host.engine == ()


def test_a_router_that_does_not_run_is_told_by_its_command_line() -> None:
    host, text = made(
        unit("llama.service", "llama-server --models-preset /p.ini"), unit("vllm-a.service", "vllm serve a --port 1")
    )
    assert host.engine == () and [mode.services for mode in host.mode] == [("vllm-a.service",)]
    assert '# services = ["llama.service"]' in text and "# It does not run now, and nothing starts it." in text


def test_containers_that_llama_swap_has_started_are_no_modes() -> None:
    host, text = made(
        unit("swap.service", "/usr/bin/llama-swap --config c.yaml --listen :9292", **RUNS),
        boxes.container("swap-qwen", "ghcr.io/ggml-org/llama.cpp:server", "-m /q.gguf", 5801, 8080, "running", gpu=True),
        boxes.answer(9292, "llamaswap", by="owner", models=["qwen"], children=[5801]),
        boxes.answer(5801, "llamacpp", by="owner", models=["/q.gguf"]),
        unit("vllm-a.service", "vllm serve org/a --port 8000"),
    )
    assert [mode.services for mode in host.mode] == [("vllm-a.service",)] and "swap-qwen" not in text
    assert [engine.engine for engine in host.engine] == ["llamaswap"]


def test_what_ollama_has_started_is_a_part_of_it() -> None:
    host, _ = made(
        unit("ollama.service", "/usr/local/bin/ollama serve", **RUNS, user="ollama"),
        process(10, "/usr/local/bin/ollama serve", service="ollama.service", user="ollama"),
        process(11, "/usr/local/lib/ollama/llama-server --port 40001 -m /blob", service="ollama.service", user="ollama", of=10),
        boxes.answer(11434, "ollama", by="api", models=["llama3.1:8b"]),
    )
    (mode,) = host.mode
    assert (mode.engine, mode.url, host.engine) == ("ollama", "http://127.0.0.1:11434", ())


# -- what only names an engine -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("litellm-follow.service", "/usr/bin/docker logs -f litellm"),
        ("vllm-console.service", "/usr/bin/journalctl -fu vllm"),
        ("litellm.service", "/usr/bin/tail -F /var/log/litellm.log"),
        ("llama-pull.service", "/usr/bin/hf download org/llama"),
    ],
)
def test_a_unit_that_only_names_an_engine_is_none(name: str, command: str) -> None:
    host, _ = made(unit(name, command, **RUNS, description="LiteLLM on the wall"))
    assert (host.mode, host.engine, host.watch) == ((), (), ())


def test_processes_that_only_name_an_engine_are_none() -> None:
    host, text = made(process(7, "docker logs -f litellm"), process(8, "vim /etc/vllm.yaml"))
    assert host.mode == () and "No engine was found" in text


# -- whose it is -------------------------------------------------------------------------------------------------------


def test_of_another_user_the_unit_is_found_by_its_own_file_and_its_process() -> None:
    host, _ = made(
        unit("brain.service", "/opt/secret/run", active="active", user="llm", description="The brain"),
        unit("other.service", "/opt/other/run", active="active", user="llm"),
        process(10, "/opt/llama/llama-server -m /m.gguf --port 9013", service="brain.service", user="llm"),
        port(9013, user="llm"),
        boxes.answer(9013, "llamacpp", by="owner", models=["/m.gguf"]),
    )
    (mode,) = host.mode
    assert (mode.services, mode.url, mode.model) == (("brain.service",), "http://127.0.0.1:9013", "/m.gguf")


def test_of_another_user_the_port_in_the_command_line_tells_the_unit() -> None:
    host, text = made(  # where /proc hides others' processes
        unit("a.service", "/usr/bin/vllm serve org/a --port 8001", **RUNS, user="llm"),
        unit("b.service", "/usr/bin/vllm serve org/b --port 8002", user="llm"),
        port(8001, user="llm"),
        boxes.answer(8001, "vllm", by="owner", models=["org/a"]),
    )
    assert [(mode.services, mode.url) for mode in host.mode] == [
        (("a.service",), "http://127.0.0.1:8001"),
        (("b.service",), "http://127.0.0.1:8002"),  # it does not run, and is proposed too
    ]
    assert "by hand" not in text and "told" not in text.partition("[[")[2].partition("#")[0]


def test_of_another_user_the_one_unit_of_theirs_is_it() -> None:
    lines = [port(9100, user="llm"), boxes.answer(9100, "vllm", by="owner", models=["m"])]
    host, _ = made(unit("vllm-x.service", "/opt/x/start", active="active", user="llm"), *lines)
    assert host.mode[0].services == ("vllm-x.service",) and host.mode[0].url == "http://127.0.0.1:9100"
    both = [unit(f"vllm-{n}.service", "/opt/x/start", active="active", user="llm") for n in "xy"]
    host, text = made(*both, *lines)
    assert "Its owner is not known: it runs as llm, of whom this login may not see more." in text
    assert [engine.services for engine in host.engine] == [()], "beside the modes: no switch can stop it"
    assert len(host.mode) == 2 and all(mode.url != "http://127.0.0.1:9100" for mode in host.mode)


def test_what_no_switch_can_stop_is_a_mode_only_where_there_is_no_other() -> None:
    hands = [process(n, f"vllm serve m{n} --port 800{n}", user="ops") for n in (1, 2)]
    host, _ = made(*hands)
    assert [(mode.url, mode.key) for mode in host.mode] == [("http://127.0.0.1:8001", "")]
    assert [engine.url for engine in host.engine] == ["http://127.0.0.1:8002"]
    host, _ = made(*hands, unit("a.service", "vllm serve a --port 8000"))
    assert [mode.services for mode in host.mode] == [("a.service",)] and len(host.engine) == 2
    assert "koboldcpp".lower() in made(process(9, "koboldcpp --model x", user="ops"))[1].lower()


def test_engines_that_run_at_the_same_time_exclude_each_other_as_modes_and_that_is_said() -> None:
    both = [unit(f"{n}.service", f"vllm serve {n} --port {p}", **RUNS) for n, p in (("a", 8000), ("b", 8001))]
    assert "a, b run at the same time; as modes they exclude each other" in made(*both)[1]
    assert "at the same time" not in made(both[0])[1]


def test_a_port_that_docker_holds_open_is_its_container_s() -> None:
    host, _ = made(
        unit("docker.service", "/usr/bin/dockerd", **RUNS),
        boxes.container("brain", "mine/brain:1", "serve.py", 8000, state="running", gpu=True),
        port(8000, pid=5, service="docker.service"),
        boxes.answer(8000, "vllm", by="owner", models=["m"]),
        user="root",
    )
    assert [(mode.services, mode.url) for mode in host.mode] == [(("container:brain",), "http://127.0.0.1:8000")]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([process(9, "vllm serve m --port 8000", user="ops", under="tmux")], "It was started by hand in tmux, as ops."),
        ([process(9, "vllm serve m --port 8000", user="ops", under="sshd")], "It was started by hand, as ops."),
        ([process(9, "vllm serve m --port 8000", service="cron.service"), unit("cron.service", "/usr/sbin/cron -f", **RUNS)],
         "cron.service has started it, which has more to run."),
        ([process(9, "vllm serve m --port 8000", service="supervisor.service"), unit("supervisor.service", "/usr/bin/supervisord", **RUNS)],
         "supervisor.service has started it, which has more to run."),
        ([process(9, "vllm serve m --port 8000", service="user:adhoc.service"),
          unit("user:adhoc.service", "vllm serve m --port 8000", active="active", transient=True)],
         "It runs in user:adhoc.service, made by `systemd-run`: once stopped, there is nothing to start it again by."),
    ],
)  # fmt: skip
def test_what_no_switch_can_start_again_says_why(lines: list[dict[str, Any]], says: str) -> None:
    host, text = made(*lines, port(8000, pid=9), boxes.answer(8000, "vllm", by="owner", models=["m"]))
    (mode,) = host.mode
    assert (mode.services, mode.url, mode.model) == ((), "http://127.0.0.1:8000", "m")
    assert f"{says} Shown, but no switch can start or stop it." in text


def test_what_sudo_took_out_of_the_units_group_is_still_the_units() -> None:
    host, _ = made(
        unit("a.service", "/usr/bin/sudo -u llm vllm serve m --port 8000", **RUNS),
        process(9, "/usr/bin/python3 /venv/bin/vllm serve m --port 8000", user="llm"),
        boxes.answer(8000, "vllm", by="owner", models=["m"]),
    )
    assert [mode.services for mode in host.mode] == [("a.service",)]


def test_cron_that_starts_an_engine_is_told() -> None:
    cron = {"t": "cron", "from": "/etc/cron.d/llm", "line": "@reboot me /srv/start.sh", "runs": [["vllm", "serve", "m"]]}
    assert "vLLM is started by /etc/cron.d/llm (`@reboot me /srv/start.sh`): no switch can stop it" in made(cron)[1]


# -- units in all their ways -------------------------------------------------------------------------------------------


def test_scripts_env_files_instances_and_wrappers() -> None:
    host, _ = made(
        unit("deep.service", '/bin/bash -lc "exec vllm serve org/deep --port 8001"'),
        unit(
            "hush.service",
            "/opt/start",
            runs=[["exec", "/opt/llama-server", "-m", "/h.gguf", "--port", "8002", "--alias", "hush"]],
        ),
        unit("llama@qwen.service", "/usr/bin/llama-server -m /q.gguf --port 8003 --api-prefix /llm"),
        unit("env.service", "/usr/bin/llama-server", env={"LLAMA_ARG_PORT": "8004", "LLAMA_ARG_MODEL": "/e.gguf"}),
        unit("once.service", "/opt/once", type="oneshot", remains=True, runs=[["vllm", "serve", "org/once", "--port", "8005"]]),
        unit("job.service", "/opt/once", type="oneshot", runs=[["vllm", "serve", "org/once", "--port", "8006"]]),
    )
    assert {mode.name: (mode.url, mode.model) for mode in host.mode} == {
        "deep": ("http://127.0.0.1:8001", "org/deep"),
        "hush": ("http://127.0.0.1:8002", "hush"),
        "qwen": ("http://127.0.0.1:8003/llm", "/q.gguf"),
        "env": ("http://127.0.0.1:8004", "/e.gguf"),
        "once": ("http://127.0.0.1:8005", "org/once"),
    }


def test_an_engine_that_a_wrapper_left_in_the_units_group() -> None:
    host, _ = made(
        unit("brain.service", "/opt/start-brain", active="active", type="oneshot", remains=True),
        process(10, "/opt/llama-server -m /b.gguf --port 9005", service="brain.service"),
        boxes.answer(9005, "llamacpp", by="owner", models=["/b.gguf"]),
    )
    assert [(mode.services, mode.url) for mode in host.mode] == [(("brain.service",), "http://127.0.0.1:9005")]


def test_variables_that_may_not_be_read_leave_the_address_open() -> None:
    told = unit("llama.service", "/usr/bin/llama-server -m ${MODEL} --port ${PORT}", unread=["/etc/llm/qwen.env"])
    host, text = made(told)
    assert (host.mode[0].engine, host.mode[0].url, host.mode[0].services) == ("", "", ("llama.service",))
    assert "`--port` holds what could not be read: /etc/llm/qwen.env is not for this login" in text
    runs = process(5, "/usr/bin/llama-server -m /q.gguf --port 9002 --api-prefix /llm", service="llama.service")
    assert made({**told, **RUNS}, runs)[0].mode[0].url == "http://127.0.0.1:9002/llm"  # the process says what they came to


def test_a_path_that_nobody_tells_is_asked_for() -> None:
    host, text = made(
        unit("llama.service", "/opt/run", **RUNS),
        port(8080, service="llama.service"),
        boxes.answer(8080, "llamacpp", by="owner", state="elsewhere"),
    )
    assert host.mode[0].url == "" and "it answers below a path (`--api-prefix`) that could not be read" in text


def test_two_engines_of_one_unit_are_a_mode_and_an_engine_beside_it() -> None:
    runs = [["vllm", "serve", "org/chat", "--port", "8000"], ["vllm", "serve", "BAAI/bge-m3", "--port", "8001"]]
    host, _ = made(unit("stack.service", "/opt/start-all", runs=runs, **RUNS))
    assert [(mode.model, mode.services) for mode in host.mode] == [("org/chat", ("stack.service",))]
    assert [(engine.model, engine.url) for engine in host.engine] == [("BAAI/bge-m3", "http://127.0.0.1:8001")]


def test_a_template_whose_instances_nobody_names_is_told() -> None:
    assert "llama@.service is a template that names an engine" in made({"t": "template", "name": "llama@.service"})[1]


# -- embeddings and reranking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "answers", "says"),
    [
        (
            "llama-server -m x --embeddings --port 8001",
            {},
            "embeddings and generates nothing: `--embeddings` in its command line",
        ),
        ("llama-server -m x --port 8001", {"side": "reranking"}, "reranking and generates nothing: its own answers"),
        ("vllm serve BAAI/bge-m3 --port 8001", {}, "embeddings and generates nothing: its model's name"),
        ("python -m sglang.launch_server --model-path m --is-embedding --port 8001", {}, "`--is-embedding` in its command line"),
    ],
)
def test_what_generates_nothing_is_proposed_beside_the_modes(command: str, answers: dict[str, Any], says: str) -> None:
    kind = "llamacpp" if "llama" in command else "vllm" if "vllm" in command else "sglang"
    running = boxes.answer(8001, kind, by="owner", models=["m"], **answers) if answers else {"t": "none"}
    host, text = made(unit("side.service", command, **RUNS), running, unit("vllm-a.service", "vllm serve org/a --port 8000"))
    assert [engine.services for engine in host.engine] == [("side.service",)] and says in text
    assert [mode.services for mode in host.mode] == [("vllm-a.service",)]


def test_what_is_told_to_generate_is_a_mode_whatever_its_name() -> None:
    running = boxes.answer(8001, "vllm", by="owner", models=["org/bge-chat"], side="")
    host, _ = made(unit("a.service", "vllm serve org/bge-chat --port 8001", **RUNS), running)
    assert [mode.model for mode in host.mode] == ["org/bge-chat"] and host.engine == ()


def test_embeddings_that_do_not_run_stand_behind_a_sign() -> None:
    host, text = made(unit("e.service", "llama-server -m x --embeddings --port 8001"))
    assert not host.mode and not host.engine and '# services = ["e.service"]' in text


def test_embeddings_servers_that_this_version_cannot_read_are_watched() -> None:
    image = "ghcr.io/huggingface/text-embeddings-inference:1.9"
    host, text = made(
        boxes.container("embed", image, "--model-id BAAI/bge-m3", 8081, 80, "running", restart="always", gpu=True),
        unit("infinity.service", "/venv/bin/infinity_emb v2 --model-id BAAI/bge-m3 --port 7997", **RUNS),
    )
    assert not host.mode and not host.engine and set(host.watch) == {"container:embed", "infinity.service"}
    assert "text-embeddings-inference (embeddings) on port 8081 is not read by this version; its service is watched." in text


# -- modes of one image and port ---------------------------------------------------------------------------------------


def test_two_modes_of_one_image_and_port_are_told_apart_by_what_differs() -> None:
    words = "--model org/nemotron --served-model-name nemotron --max-model-len {} --gpu-memory-utilization {}"
    host, text = made(
        boxes.container("vllm-nemotron", IMAGE, words.format("180k", 0.95), 8000, gpu=True, state="running"),
        boxes.container("vllm-nemotron-agent", IMAGE, words.format(131072, 0.75), 8000, gpu=True),
        boxes.container("vllm-env", IMAGE, "--max-model-len 4096", 8000, gpu=True),
        boxes.answer(8000, "vllm", by="owner", models=["nemotron"]),
    )
    modes = {mode.name: mode for mode in host.mode}
    assert {mode.engine for mode in host.mode} == {"vllm"} and {mode.url for mode in host.mode} == {"http://127.0.0.1:8000"}
    assert modes["nemotron"].title == "nemotron, 180 000 tokens of context, 95% of the GPU"
    assert modes["nemotron-agent"].title == "nemotron, 131 072 tokens of context, 75% of the GPU"
    assert (modes["nemotron"].model, modes["nemotron-agent"].model, modes["env"].model) == ("nemotron", "nemotron", "")
    assert '# engine = "vllm"' not in text and '# url = "http' not in text


def test_units_that_are_described_alike_get_titles_that_are_not() -> None:
    words = "vllm serve org/m --port 8000 --max-model-len {}"
    host, _ = made(*(unit(f"{name}.service", words.format(n), description="vLLM") for name, n in (("a", 4096), ("b", 8192))))
    assert [mode.title for mode in host.mode] == ["vLLM: 4 096 tokens of context", "vLLM: 8 192 tokens of context"]


def test_containers_belong_to_the_unit_that_ends_them() -> None:
    labels = {"com.docker.compose.project": "llm", "com.docker.compose.project.working_dir": "/srv/llm"}

    def engine(**more: Any) -> dict[str, Any]:
        return boxes.container("llm-vllm-1", IMAGE, "--model m", 8000, state="running", labels=labels, **more)

    def services(*lines: dict[str, Any]) -> list[tuple[str, ...]]:
        return [mode.services for mode in made(*lines)[0].mode]

    up = unit("llm.service", "/usr/bin/docker compose up", folder="/srv/llm", **RUNS)
    db = boxes.container("llm-db-1", "postgres:16", labels=labels)
    assert services(up, engine(), db) == [("llm.service",)]
    detached = unit("llm.service", "docker compose -f /srv/llm/c.yml up -d", type="oneshot", remains=True, **RUNS)
    assert services(detached, engine(), db) == [("container:llm-vllm-1",)]  # stopping it stops nothing
    assert services({**detached, "stops": True}, engine(), db) == [("llm.service",)]
    second = boxes.container("llm-sglang-1", "lmsysorg/sglang:v1", "--port 30000", 30000, labels=labels)
    assert services(up, engine(), second) == [("container:llm-vllm-1",), ("container:llm-sglang-1",)]
    quadlet = unit(
        "vllm-q.service", f"/usr/bin/podman run --name systemd-vllm-q -d --rm -p 8000:8000 {IMAGE} --model m", type="notify"
    )
    assert services(quadlet) == [("vllm-q.service",)]


def test_a_compose_project_that_is_down_is_its_unit_s() -> None:
    up = unit("llm.service", "/usr/bin/docker compose up", folder="/srv/llm", description="The stack")

    def planned(name: str, image: str, command: str, port: int) -> dict[str, Any]:
        return {**boxes.container(name, image, command, port), "t": "planned", "unit": "llm.service", "state": "planned"}

    vllm = planned("llm-vllm-1", IMAGE, "--model org/m --gpu-memory-utilization 0.8", 8000)
    host, text = made(up, vllm, planned("llm-db-1", "postgres:16", "", 5432))
    (mode,) = host.mode
    assert (mode.engine, mode.url, mode.model, mode.services) == ("vllm", "http://127.0.0.1:8000", "org/m", ("llm.service",))
    assert "it runs the container llm-vllm-1" in text
    host, _ = made(up, vllm, planned("llm-embed-1", IMAGE, "--model BAAI/bge-m3", 8001))
    assert [mode.url for mode in host.mode] == ["http://127.0.0.1:8000"] and '"http://127.0.0.1:8001"' in _
    assert made(unit("vllm.service", "/usr/bin/docker compose up", folder="/x"))[0].mode[0].engine == "vllm", "by its name"
    assert made(unit("litellm-db.service", "/usr/bin/docker run --rm postgres:16"))[0].mode == ()


# -- the owner's scripts -----------------------------------------------------------------------------------------------


def script(name: str, *starts: str, **more: Any) -> dict[str, Any]:
    return {"t": "script", "path": f"/srv/modes/{name}", "starts": list(starts), **more}


ENGINES = [
    boxes.container("vllm-nemotron", IMAGE, "--model org/n", 8000, gpu=True),
    boxes.container("vllm-small", IMAGE, "--model org/s", 8000, gpu=True),
]


def test_one_script_per_mode_names_it_and_says_what_it_asks() -> None:
    host, text = made(
        *ENGINES,
        script("forensic-mode.sh", "container:vllm-nemotron", asks="read -p 'Sure?' a"),
        script("agent-mode.sh", "container:vllm-small", asks="read -p 'Sure?' a", answer_env={"YES": "1"}),
    )
    assert {mode.name: mode.services for mode in host.mode} == {
        "forensic": ("container:vllm-nemotron",),
        "agent": ("container:vllm-small",),
    }
    assert all(not mode.switch for mode in host.mode), "which script is right is for the operator to say"
    assert '# switch = ["/srv/modes/forensic-mode.sh"]' in text and "nothing in it shows what else would answer" in text
    assert '# switch_env = { YES = "1" }' in text
    uncommented = "\n".join(line.removeprefix("# ") if "switch" in line and "= " in line else line for line in text.splitlines())
    agent = next(mode for mode in loads(uncommented, engines=EVERY).host["box"].mode if mode.name == "agent")
    assert (agent.switch, agent.switch_env) == (("/srv/modes/agent-mode.sh",), {"YES": "1"})


def test_an_option_that_answers_goes_into_the_command() -> None:
    _, text = made(*ENGINES, script("agent-mode.sh", "container:vllm-small", asks="read a", answer_flag="-y"))
    assert '#     "-y",' in text and "answers what it asks" in text


def test_a_script_that_starts_several_modes_is_of_none_and_one_of_another_neither() -> None:
    host, text = made(*ENGINES, script("all-mode.sh", "container:vllm-nemotron", "container:vllm-small"))
    assert {mode.name for mode in host.mode} == {"nemotron", "small"} and "switch = " not in text
    labels = {
        "com.docker.compose.project": "x",
        "com.docker.compose.project.working_dir": "/srv/x",
        "com.docker.compose.service": "v",
    }
    container = boxes.container("x-v-1", IMAGE, "--model m", 8000, labels=labels)
    assert [mode.name for mode in made(container, script("night-mode.sh", "compose:/srv/x:v"))[0].mode] == ["night"]


def test_a_script_that_takes_a_word_is_called_with_it() -> None:
    host, text = made(*ENGINES, script("switch.sh", "container:vllm-small", words=["small", "none", "status"]))
    assert {mode.name for mode in host.mode} == {"nemotron", "small"}
    assert '#     "/srv/modes/switch.sh",' in text and '#     "small",' in text
    assert '"night"' not in made(*ENGINES, script("night-mode.sh", "container:vllm-small", words=["quick"]))[1]


def test_a_health_check_that_starts_an_engine_is_no_mode_s_script() -> None:
    host, text = made(*ENGINES, script("check-small", "container:vllm-small"), script("gpu.sh", "container:vllm-nemotron"))
    assert {mode.name for mode in host.mode} == {"nemotron", "small"} and "check-small" not in text
    assert '# switch = ["/srv/modes/gpu.sh"]' in text


def test_modes_that_only_a_script_tells_of() -> None:
    tts = boxes.container("tts", "tts:1", state="exited", gpu=True)
    host, text = made(*ENGINES, tts, script("audio-mode.sh", "container:tts"), script("start-grafana.sh", "container:grafana"))
    assert host.mode[-1].name == "audio" and host.mode[-1].services == ("container:tts",)
    assert "grafana" not in text and "container:tts" not in host.switch.tenants
    web = boxes.container("web", "nginx:1", state="running")
    host, text = made(*ENGINES, web, script("web-mode.sh", "container:web"))
    assert "web" not in {mode.name for mode in host.mode} and '# name = "web"' in text, "without the GPU it is a guess"
