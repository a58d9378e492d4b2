"""The shipped examples, word for word but for sizes, switch on the booted box, with just the rights that `doctor --sudoers` prints.

Sizes are a thousandth (GB reads MB), so that the forecast means something on a small machine. Every host of an example is this box.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, boot, wait_for
from tests.integration import containers
from tests.integration.operator import Operator, busy

SMALL = "llama3.1:8b"
HOSTS = "spark mgmt edge nas rig gpubox dockhost"
QUICK: dict[str, float] = {"load_seconds": 0.5, "warmup_seconds": 0.1, "memory_mb": 30}
SLEEPER = "[Service]\nExecStart=/bin/sleep infinity\n"
JOB = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
REVIVE = """[Service]
Type=oneshot
ExecStart=/bin/sh -c 'curl -sf -m 1 http://127.0.0.1:30000/v1/models >/dev/null || systemctl start --no-block vllm-qwen36.service'
"""
OWN = """#!/bin/sh
# the owner's own: asks, stops what it knows of, starts the one
[ "$ASSUME_YES" = 1 ] || { printf 'switch to %s? [y/N] ' "$1"; read -r answer || exit 3; }
for name in sglang-mistral4 sglang-mistral4-safer sglang-role-proxy comfyui; do podman stop "$name" >/dev/null; done
echo "starting $1"
exec sudo -n /usr/bin/systemctl start vllm-qwen36.service
"""


@pytest.fixture(scope="module")
def machine(box_tree: Path) -> Iterator[Box]:
    box = boot(hostname="spark")
    try:
        containers.image(box)
        yield box
    finally:
        box.down()


def operator_of(box: Box, folder: Path, example: str, host: str) -> Operator:
    """Somebody who has put the example into place and installed what `doctor --sudoers` says."""
    operator = Operator.at(box, folder, config="")
    ssh_config = operator.home / ".ssh" / "config"
    ssh_config.write_text(ssh_config.read_text().replace("Host testbox", f"Host {HOSTS}"))
    shipped = operator.ok("config", "example", example).stdout
    operator.config_path.write_text(re.sub(r'"(\d+) GB"', r'"\1 MB"', shipped))
    sudoers = operator.ok("doctor", "--sudoers", "--host", host).stdout
    assert "#1000 ALL=(root) NOPASSWD: " in sudoers or example != "spark"
    box.write("/etc/sudoers.d/sovtui", sudoers, mode="440")
    box.root(["visudo", "-cq"])
    return operator


def pid(box: Box, service: str) -> int:
    """The living process of a service, 0 if there is none: as the kernel says."""
    if service.startswith("container:"):
        name = service.removeprefix("container:")
        return int(containers.told(box, name)["Pid"]) if containers.runs(box, name) else 0
    words = ["--user", "-M", "ops@", "show"] if service.startswith("user:") else ["show"]
    return int(box.systemctl(*words, service.removeprefix("user:"), "-pMainPID", "--value").stdout)


def up(box: Box, services: tuple[str, ...]) -> set[str]:
    return {service for service in services if pid(box, service)}


def start(box: Box, *names: str) -> None:
    """What the owner starts beside the modes."""
    box.root(["podman", "start", *names])


def ended(operator: Operator) -> str:
    wait_for(lambda: not busy(operator.box), 60, "the runner's end")
    return str(operator.newest_receipt()[-1]["outcome"])


def test_spark_unified_memory_two_engines_one_mutex(machine: Box, tmp_path: Path) -> None:
    box = machine
    for name in ("vllm-qwen36-healthcheck", "sglang-healthcheck"):
        box.write(f"/run/systemd/system/{name}.timer", "[Timer]\nOnActiveSec=1\nOnUnitInactiveSec=1\nAccuracySec=100ms\n")
        box.write(f"/run/systemd/system/{name}.service", REVIVE if "vllm" in name else JOB)
    for name in ("sovereign-backup", "sovereign-backup-nas"):
        box.write(f"/run/systemd/system/{name}.service", JOB)
    box.systemctl("daemon-reload")
    box.tune("vllm-qwen36", **QUICK)
    containers.engine(box, "sglang-mistral4", "sglang", "mistral-4", 30000, QUICK)
    containers.engine(box, "sglang-mistral4-safer", "sglang", "mistral-4", 30000, QUICK)
    for name in ("sglang-role-proxy", "comfyui", "web-ui"):
        containers.create(box, name, *containers.SLEEP)
    start(box, "web-ui")
    operator = operator_of(box, tmp_path, "spark", "spark")
    proxy, qwen, image = "container:sglang-role-proxy", "vllm-qwen36.service", "container:comfyui"
    every = (qwen, "container:sglang-mistral4", "container:sglang-mistral4-safer", proxy, image)
    bystander = pid(box, "container:web-ui")

    operator.ok("switch", "qwen")
    assert up(box, every) == {qwen}
    assert {"proof", "drop-caches"} <= {line["name"] for line in operator.newest_receipt() if line["t"] == "step"}

    box.systemctl("start", "vllm-qwen36-healthcheck.timer", "sglang-healthcheck.timer")
    operator.ok("switch", "mistral")  # while nothing answers on 30000 the timer would start the old engine again
    assert up(box, every) == {"container:sglang-mistral4"}
    assert {"hold", "release"} <= {line["name"] for line in operator.newest_receipt() if line["t"] == "step"}
    assert box.systemctl("is-active", "vllm-qwen36-healthcheck.timer", "sglang-healthcheck.timer", check=False).returncode == 0
    box.systemctl("stop", "vllm-qwen36-healthcheck.timer", "sglang-healthcheck.timer")

    start(box, "sglang-role-proxy")
    at = pid(box, proxy)
    operator.ok("switch", "mistral-safer")
    assert up(box, every) == {"container:sglang-mistral4-safer", proxy}
    assert pid(box, proxy) == at, "what may stay was restarted"

    operator.ok("switch", "image")
    assert up(box, every) == {image}

    lines = operator.config_path.read_text()
    operator.config_path.write_text(lines.replace("# switch = [", "switch = [").replace("# switch_env = {", "switch_env = {"))
    box.write("/data/scripts/llm/switch.sh", OWN, mode="755")
    operator.ok("switch", "qwen")
    assert up(box, every) == {qwen}
    assert "starting qwen" in [line["text"] for line in operator.newest_receipt() if line["t"] == "line"]

    operator.ok("switch", "none")
    assert up(box, every) == set()
    assert ended(operator) == "done"
    assert pid(box, "container:web-ui") == bystander, "what is no tenant was touched"


def test_modes_exclusive_modes_above_a_floor(machine: Box, tmp_path: Path) -> None:
    box = machine
    unit = shlex.join(
        ["/usr/bin/python3", containers.ENGINE, "--kind", "vllm", "--model", "floor", "--port", "8001", "--memory-mb", "20"]
    )
    box.write("/etc/systemd/user/nemotron-cpu.service", f"[Service]\nExecStart={unit}\n")
    box.systemctl("--user", "-M", "ops@", "daemon-reload")
    box.systemctl("--user", "-M", "ops@", "start", "nemotron-cpu.service")
    engines = {"vllm-nemotron": "nemotron-30b", "vllm-nemotron-agent": "nemotron-30b-agent", "vllm-coding": "coder-30b"}
    for name, model in engines.items():
        containers.engine(box, name, "vllm", model, 8000, QUICK)
    creative = ["creative-" + x for x in ("comfyui", "tts", "audio-worker", "music", "musetalk", "hallo2", "latentsync")]
    containers.loader(box, "creative-comfyui", "comfyui", 8188)
    for name in (*creative[1:], "litellm-proxy"):
        containers.create(box, name, *containers.SLEEP)
    start(box, "litellm-proxy", "creative-musetalk")
    operator = operator_of(box, tmp_path, "modes", "rig")
    every = tuple(f"container:{name}" for name in (*engines, *creative))
    floor, proxy = pid(box, "user:nemotron-cpu.service"), pid(box, "container:litellm-proxy")
    audio = {"container:creative-tts", "container:creative-audio-worker"}

    def switched(mode: str, *expected: str, model: str = "") -> None:
        operator.ok("switch", mode)
        assert up(box, every) == set(expected), mode
        assert re.findall(r'"id": "([^"]*)"', box.http(8000, "/v1/models")[1])[:1] == ([model] if model else [])
        assert pid(box, "user:nemotron-cpu.service") == floor, f"the floor was touched by the switch to {mode}"

    switched("forensic", "container:vllm-nemotron", model="nemotron-30b")  # the tenant musetalk is gone
    switched("audio", *audio)
    switched("agent", *audio, "container:vllm-nemotron-agent", model="nemotron-30b-agent")  # both may stay
    switched("coding", "container:vllm-coding", model="coder-30b")
    switched("creative", "container:creative-comfyui")
    switched("music", "container:creative-music")
    switched("none")
    assert ended(operator) == "done"
    assert pid(box, "container:litellm-proxy") == proxy, "what is no tenant was touched"


def test_mesh_one_exclusive_mode_beside_ollama_and_the_router(machine: Box, tmp_path: Path) -> None:
    box = machine
    box.root(["podman", "rm", "--force", "--ignore", "comfyui"])
    containers.loader(box, "comfyui", "comfyui", 8188)
    floor = ("ollama", "litellm")
    containers.loader(box, "ollama", "ollama", 11434, "--model", f"{SMALL}=4900000", "--load-seconds", "1")
    containers.create(box, "litellm", *containers.SLEEP)
    start(box, *floor)
    operator = operator_of(box, tmp_path, "mesh", "gpubox")
    before = [pid(box, f"container:{name}") for name in floor]
    for mode, expected in (("image", {"container:comfyui"}), ("none", set())):
        operator.ok("switch", mode)
        assert up(box, ("container:comfyui",)) == expected
        assert [pid(box, f"container:{name}") for name in floor] == before
        if mode == "image":
            operator.ok("free")
            assert "GPU memory came back" in str(operator.newest_receipt()[-1]["reason"])

    for words, held in ((("load", SMALL), "ready"), (("pin", SMALL), "pinned"), (("unload", SMALL, "--yes"), "")):
        operator.ok(*words)
        (host,) = operator.json("status", "--host", "gpubox")["hosts"]
        told = next(e for e in host["engines"] if e["name"] == "ollama")
        assert [("pinned" if part["pinned"] else part["state"]) for part in told["parts"]] == ([held] if held else [])
        assert operator.newest_receipt()[-1]["outcome"] == "done"
    assert [pid(box, f"container:{name}") for name in floor] == before
    refused = operator.run("load", "nosuch")
    assert refused.returncode == 2 and SMALL in refused.stderr
