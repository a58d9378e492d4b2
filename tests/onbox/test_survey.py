"""What the survey reads on a machine, against pretended commands; and that no secret leaves it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from sovtui.onbox import lookanswers, lookcontainers, lookhost, lookports, lookswitches, lookunits, masking, survey

CAPTURES: dict[str, dict[str, Any]] = {
    "vllm": {
        "/v1/models": {"data": [{"id": "qwen36", "owned_by": "vllm", "max_model_len": 32768}]},
        "/metrics": "# x\nvllm:a 1\n",
    },
    "sglang": {"/v1/models": {"data": [{"id": "m", "owned_by": "sglang"}]}},
    "llamacpp": {"/v1/models": {"data": [{"id": "small", "owned_by": "llamacpp"}]}},
    "llamaswap": {"/v1/models": {"data": [{"id": "a", "owned_by": "llama-swap"}]}},
    "ollama": {"/v1/models": {"data": [{"id": "llama3.1:8b", "owned_by": "library"}]}, "/api/version": {"version": "0.33.0"}},
    "litellm": {"/v1/models": (401, {"error": "no key"}), "/health/liveliness": "I'm alive!"},
    "comfyui": {"/system_stats": {"system": {"comfyui_version": "0.3.64"}, "devices": []}},
    "alertmanager": {
        "/api/v2/status": {"cluster": {}, "versionInfo": {"version": "0.33.1"}, "config": {"original": "password: x"}}
    },
    "node_exporter": {"/metrics": "# HELP\nnode_cpu_seconds_total 1\n"},
}
HARMFUL = ("/health", "/slots", "/upstream", "/generate", "/api/generate", "/free", "/unload", "/health_generate")


class Answering(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, Any]] = {}
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        found = self.answers.get(self.path.partition("?")[0], (404, {"detail": "Not Found"}))
        status, body = found if isinstance(found, tuple) else (200, found)
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Answering.asked.clear()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("kind", sorted(CAPTURES))
def test_what_answers_is_told_without_harm(server: ThreadingHTTPServer, kind: str) -> None:
    Answering.answers = CAPTURES[kind]
    told = lookanswers.ask({"address": "127.0.0.1", "port": server.server_port})
    assert told is not None and told["kind"] == kind
    assert not [path for path in Answering.asked if path in HARMFUL or path.startswith("/upstream")]
    assert "password" not in json.dumps(told)


def test_prometheus_under_a_prefix_with_its_targets(server: ThreadingHTTPServer) -> None:
    target = {"labels": {"job": "node", "instance": "a:9100"}, "health": "up"}
    row = {"__name__": "restic_last_success_timestamp_seconds", "repo": "nas"}
    Answering.answers = {
        "/prom/api/v1/status/buildinfo": {"status": "success", "data": {"version": "3.5.3"}},
        "/prom/api/v1/targets": {"data": {"activeTargets": [target]}},
        "/prom/api/v1/series": {"data": [row]},
    }
    told = lookanswers.ask({"address": "0.0.0.0", "port": server.server_port}, ["/prom"])
    assert told == {
        "t": "answer",
        "port": server.server_port,
        "url": f"http://127.0.0.1:{server.server_port}/prom",
        "kind": "prometheus",
        "version": "3.5.3",
        "targets": [{"job": "node", "instance": "a:9100", "health": "up"}],
        "backup_series": [row],
    }


def test_a_web_server_that_is_nothing_known_is_nothing(server: ThreadingHTTPServer) -> None:
    Answering.answers = {"/": "hello"}
    assert lookanswers.ask({"address": "127.0.0.1", "port": server.server_port}) is None


def test_each_port_is_asked_once_and_some_never() -> None:
    asked: list[int] = []

    def ask(told: dict[str, Any], prefixes: Any, **more: Any) -> dict[str, Any] | None:
        asked.append(told["port"])
        if told["port"] == 7000:
            raise ValueError("odd")
        return {"t": "answer", "port": told["port"], "kind": "vllm"} if told["port"] == 8000 else None

    ports = [{"address": a, "port": p} for a in ("0.0.0.0", "::") for p in (22, 5432, 7000, 8000)]
    assert [a["port"] for a in survey.answering(ports, {}, ask)] == [8000]
    assert sorted(asked) == [7000, 8000]


def test_this_machine_s_own_sockets(server: ThreadingHTTPServer) -> None:
    mine = [told for told in lookports.listening() if told["port"] == server.server_port]
    assert mine and mine[0]["address"] == "127.0.0.1" and mine[0]["pid"] > 1


# -- secrets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("vllm serve m --api-key hunter22 --port 1", "vllm serve m --api-key *** --port 1"),
        ("vllm serve m --api-key=hunter22", "vllm serve m --api-key=***"),
        (
            "docker run -e HF_TOKEN=hunter22 --env=OPENAI_API_KEY=x image",
            "docker run -e HF_TOKEN=*** --env=OPENAI_API_KEY=*** image",
        ),
        ("restic -r rest:https://me:hunter22@nas/ backup", "restic -r rest:https://me:***@nas/ backup"),
        ("x hf_abcdefghij sk-abcdefghij", "x *** ***"),
        ("vllm serve m --tokenizer t --max-num-batched-tokens 8192", "vllm serve m --tokenizer t --max-num-batched-tokens 8192"),
        ("restic --password-file /etc/restic/password backup", "restic --password-file /etc/restic/password backup"),
        ("sglang --ssl-keyfile /k --served-model-name a", "sglang --ssl-keyfile /k --served-model-name a"),
    ],
)
def test_secrets_in_command_lines(line: str, masked: str) -> None:
    assert " ".join(masking.words(line.split())) == masked


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ("export RESTIC_PASSWORD='hunter 22' X=1", "export RESTIC_PASSWORD=*** X=1"),
        ("curl -H 'Authorization: Bearer hunter22hunter' x", "curl -H 'Authorization: ***' x"),
        ("vllm serve m --api-key hunter22", "vllm serve m --api-key ***"),
        ("the key is here", "the key is here"),
        ("docker run --rm -e HF_TOKEN=hunter22 -p 1:2 x", "docker run --rm -e HF_TOKEN=*** -p 1:2 x"),
        ("rsync --verbose --password hunter22 a b", "rsync --verbose --password *** a b"),
        ("curl -u me:hunter22 http://x/?token=hunter22", "curl -u me:*** http://x/?token=***"),
    ],
)
def test_secrets_in_scripts(line: str, masked: str) -> None:
    assert masking.text(line) == masked


# -- units -------------------------------------------------------------------------------------------

SHOW = """\
Type=exec
ExecStart={{ path=/usr/bin/vllm ; argv[]=/usr/bin/vllm serve $MODEL --port ${{PORT}} --api-key ${{VLLM_API_KEY}} ; ignore_errors=no ; x }}
Environment=MODEL=org/m PORT=30001 VLLM_API_KEY=hunter22 "OTHER=a b"
EnvironmentFiles={file} (ignore_errors=yes)
User=engine
MainPID=0
Id=vllm-a.service
Description=vLLM serving a
LoadState=loaded
ActiveState=inactive
UnitFileState=disabled
FragmentPath=/etc/systemd/system/vllm-a.service

Type=oneshot
ExecStart={{ path={script} ; argv[]={script} nightly ; ignore_errors=no ; x }}
Id=save.service
LoadState=loaded
ActiveState=inactive
UnitFileState=static
TriggeredBy=save.timer
FragmentPath=/lib/systemd/system/save.service

TimersCalendar={{ OnCalendar=*-*-* 02:00:00 ; next_elapse=Sun }}
TimersMonotonic={{ OnUnitActiveUSec=5min ; next_elapse=1h }}
Triggers=save.service
Id=backup.timer
LoadState=loaded
ActiveState=active
UnitFileState=enabled
FragmentPath=/etc/systemd/system/backup.timer

Id=dbus.service
LoadState=loaded
ActiveState=active
FragmentPath=/lib/systemd/system/dbus.service
ExecStart={{ path=/usr/bin/dbus ; argv[]=/usr/bin/dbus ; ignore_errors=no ; x }}

Id=gone.service
LoadState=masked
ActiveState=inactive
"""


def pretend(monkeypatch: pytest.MonkeyPatch, answers: dict[str, tuple[int, str, str]]) -> None:
    """Commands by a word that is in them; every other one is not there."""

    def command(argv: list[str], timeout: float | None = None, stdin: bytes = b"") -> tuple[int, str, str]:
        line = " ".join(argv)
        return next((answer for word, answer in answers.items() if word in line), (127, "", f"{argv[0]}: not found"))

    for module in (lookunits, lookcontainers, lookhost):
        monkeypatch.setattr(module.box, "command", command)


def test_units_stopped_ones_too_with_their_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "save.sh"
    script.write_text(
        "#!/bin/sh\nREPO=/srv/restic\necho hello\nrestic -r $REPO backup \\\n  /etc\nexport RESTIC_REPOSITORY=sftp:a RESTIC_PASSWORD=hunter22\n"
    )
    file = tmp_path / "env"
    file.write_text("# x\nPORT=30002\nHF_TOKEN=hunter22\n")
    names = "vllm-a.service disabled\nsave.service static\nbackup.timer enabled\nbroken@.service static\n"
    show = SHOW.format(file=file, script=script)
    pretend(
        monkeypatch, {"list-unit-files": (0, names, ""), "list-units": (0, "dbus.service loaded\n", ""), " show ": (0, show, "")}
    )
    told, count, problem = lookunits.units("system")
    assert (count, problem) == (4, "") and "hunter22" not in json.dumps(told)
    units = {one["name"]: one for one in told}
    assert list(units) == [
        "vllm-a.service",
        "save.service",
        "backup.timer",
    ]  # neither what is masked nor what is the system's own
    assert units["vllm-a.service"]["commands"] == [["/usr/bin/vllm", "serve", "org/m", "--port", "30002", "--api-key", "***"]]
    assert units["save.service"]["script"] == [
        "REPO=/srv/restic",
        "restic -r /srv/restic backup  /etc",
        "export RESTIC_REPOSITORY=sftp:a RESTIC_PASSWORD=***",
    ]
    assert units["backup.timer"]["calendar"] == ["*-*-* 02:00:00"] and units["backup.timer"]["every"] == ["5min"]
    assert units["backup.timer"]["starts"] == "save.service"
    assert lookunits.units("user")[0][0]["name"] == "user:vllm-a.service"


def test_a_systemd_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"systemctl": (1, "", "Failed to connect to bus: No medium found\n")})
    assert lookunits.units("user") == ([], 0, "Failed to connect to bus: No medium found")


# -- containers, GPU, scripts --------------------------------------------------------------------------

INSPECT = {
    "Name": "/vllm-nemotron",
    "Id": "abc123",
    "Config": {
        "Image": "vllm/vllm-openai:v0.20.0",
        "Entrypoint": ["vllm", "serve"],
        "Cmd": ["--served-model-name", "$NAME", "--api-key", "hunter22"],
        "Env": ["NAME=nemotron", "HF_TOKEN=hunter22"],
        "Labels": {"com.centurylinklabs.watchtower.enable": "false", "secret": "hunter22"},
    },
    "State": {"Status": "exited"},
    "HostConfig": {
        "Runtime": "nvidia",
        "RestartPolicy": {"Name": "no"},
        "PortBindings": {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "30001"}]},
    },
}


def test_containers_that_are_stopped_keep_their_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {" ps ": (0, "abc123\n", ""), "inspect": (0, json.dumps([INSPECT], indent=5) + "\n", "")})
    (told,), problem = lookcontainers.containers()
    assert problem == "" and "hunter22" not in json.dumps(told)
    assert told["command"] == ["vllm", "serve", "--served-model-name", "nemotron", "--api-key", "***"]
    assert told["ports"] == [{"host": 30001, "inside": 8000, "address": "127.0.0.1"}]
    assert told["gpu"] is True and told["labels"] == {"com.centurylinklabs.watchtower.enable": "false"}


def test_docker_that_may_not_be_read_is_said_and_none_at_all_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {" ps ": (1, "", "permission denied while trying to connect\n")})
    assert "permission denied" in lookcontainers.containers()[1]
    pretend(monkeypatch, {})
    assert lookcontainers.containers() == ([], "")


def test_gpus_with_and_without_a_memory_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"nvidia-smi": (0, "NVIDIA GB10, [N/A]\nNVIDIA GeForce RTX 5090, 32607\n", "")})
    first, second = lookhost.gpus()[0]
    assert "memory" not in first and second["memory"] == 32607 << 20
    pretend(monkeypatch, {"nvidia-smi": (9, "NVIDIA-SMI has failed because it couldn't communicate with the driver\n", "")})
    assert "couldn't communicate" in lookhost.gpus()[1]


def test_the_owner_s_switch_script(tmp_path: Path) -> None:
    path = tmp_path / "switch.sh"
    path.write_text(
        '#!/bin/bash\ncase "$1" in\n  qwen|q) systemctl start vllm-qwen36 ;;\n  none) systemctl stop vllm-qwen36;;\nesac\n'
    )
    assert lookswitches.script(str(path)) is None  # not one to be run
    path.chmod(0o755)
    told = lookswitches.script(str(path))
    assert told is not None and told["words"] == ["qwen", "q", "none"]


def test_tailnet(monkeypatch: pytest.MonkeyPatch) -> None:
    status = {"BackendState": "Running", "Self": {"DNSName": "spark.tail4c2f.example."}}
    pretend(monkeypatch, {"tailscale": (0, json.dumps(status), "")})
    assert lookhost.tailnet() == "spark"
    pretend(monkeypatch, {"tailscale": (0, json.dumps({**status, "BackendState": "Stopped"}), "")})
    assert lookhost.tailnet() == ""
