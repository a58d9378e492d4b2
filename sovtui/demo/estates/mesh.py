"""Reference box B: a 12 GB card, a routed mesh, a hundred containers. The configuration is the shipped example, and more containers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sovtui.config.load import loads
from sovtui.config.schema import Config
from sovtui.config.show import example
from sovtui.core.model import Alert, Part
from sovtui.demo.estate import (
    DAY,
    GIB,
    HOUR,
    MIB,
    BesideFacts,
    Estate,
    HostFacts,
    ModeFacts,
    ModelFacts,
    ServiceFacts,
    alert,
    changed,
)

STACKS = [
    "paperless",
    "photos",
    "mail",
    "calendar",
    "notes",
    "wiki",
    "git-runner",
    "bookmarks",
    "feeds",
    "recipes",
    "budget",
    "music",
    "films",
    "books",
    "dns",
    "vpn",
    "dashboard",
    "uptime",
    "search",
    "translate",
    "ocr",
    "rag",
    "drafts",
    "speech",
    "maps",
    "weather",
    "home-automation",
    "cameras",
    "backup-ui",
    "registry",
]
PARTS = ("web", "db", "worker")
OLLAMA_LOG = (
    "Listening on [::]:11434 (version 0.33.0)",
    "llama runner started in 2.31 seconds",
    '200 |  3.118904514s |  172.18.0.5 | POST  "/api/embed"',
    '200 |  6.402211907s |  172.18.0.5 | POST  "/api/chat"',
)


def _containers() -> dict[str, ServiceFacts]:
    """Ninety containers of thirty stacks; one has exited."""
    found = {}
    for number, stack in enumerate(STACKS):
        for part, memory in zip(PARTS, (142, 96, 71), strict=True):
            size = (memory + 13 * number % 180) * MIB
            found[f"container:{stack}-{part}"] = ServiceFacts(
                f"{stack}: {part}", memory_bytes=size, age_seconds=(3 + number) * DAY
            )
    found["container:photos-worker"] = ServiceFacts("photos: worker", "inactive", "exited", 7 * HOUR)
    return found


def _config() -> Config:
    config = loads(example("mesh"), "mesh.toml")
    box = config.host["gpubox"]
    more = replace(box, watch=(*box.watch, *_containers()))
    return replace(config, host={**config.host, "gpubox": more})


def troubled_alerts(now: datetime) -> tuple[Alert, ...]:
    labels = {"instance": "gpubox:9100", "name": "feeds-worker"}
    return (alert(now, "6e0b43d7a19c8f25", "ContainerRestarting", "warning", 41, "feeds-worker restarted 31 times.", labels),)


def more_alerts(now: datetime) -> tuple[Alert, ...]:
    """What fires besides in the scenario `alerting`."""
    labels = {"instance": "nas:9100"}
    return (
        alert(now, "b8f20c6614de7a93", "HostUnreachable", "critical", 4, "nas has not answered its scrape for 4 min.", labels),
    )


def deployments(start: datetime, now: datetime) -> tuple[Part, ...]:
    """What the router sends to."""
    return _deployments(None)


def cooling_deployments(start: datetime, now: datetime) -> tuple[Part, ...]:
    """The same: one has failed twice and is skipped for half an hour."""
    end = start + timedelta(minutes=31)
    return _deployments(end if now < end else None)


def _deployments(end: datetime | None) -> tuple[Part, ...]:
    """`end`: of the cooldown of one of them."""
    cooling = end is not None
    return (
        Part("bulk: cloud-v3", "cooldown" if cooling else "ready", cooling, "cloud", ends_at=end),
        Part("bulk: local-8b", "ready", detail="local at 127.0.0.1:11434 llama3.1:8b"),
        Part("bulk: frontier", "unused", detail="cloud"),
        Part("private: local-8b", "ready", detail="local at 127.0.0.1:11434 llama3.1:8b"),
        Part("embeddings: local-embed", "ready", detail="local at 127.0.0.1:11434 nomic-embed-text"),
        Part("writing: frontier", "ready", detail="cloud"),
        Part("bulk → local-8b → frontier", "chain", cooling, "taken 4× in 5 min" if cooling else ""),
    )


def troubled() -> Estate:
    """A container that restarts in a loop, the alert about it, and a deployment in its cooldown."""
    well = estate()
    worker = ServiceFacts("feeds: worker", restarts=31, memory_bytes=64 * MIB, age_seconds=20, restarts_every_seconds=70)
    return replace(
        well,
        hosts=changed(well, {"container:feeds-worker": worker}, {}),
        beside={**well.beside, "router": replace(well.beside["router"], parts=cooling_deployments)},
        usual_alerts=troubled_alerts,
    )


def estate() -> Estate:
    return Estate(
        name="mesh",
        config=_config(),
        box="gpubox",
        hot="",
        next_mode="image",
        failing_mode="image",
        remote="nas",
        switching_seconds=2.0,
        more_alerts=more_alerts,
        hosts={
            "gpubox": HostFacts(
                total_bytes=int(62.7 * GIB),
                used_bytes=int(31.8 * GIB),
                cached_bytes=int(19.2 * GIB),
                swap_bytes=8 * GIB,
                cpu_ratio=0.17,
                cpus=16,
                disks={"/": (1.0e12, 0.58), "/srv": (4.0e12, 0.83)},
                gpu="NVIDIA GeForce RTX 4070 Ti",
                gpu_total_bytes=12282 * MIB,
                gpu_used_bytes=1170 * MIB,
                idle_watts=8.0,
                busy_watts=214.0,
                idle_celsius=38.0,
                degrees_per_watt=0.14,
                services={
                    "container:comfyui": ServiceFacts("ComfyUI", "inactive", "exited", 2 * DAY),
                    "container:ollama": ServiceFacts("Ollama on 11434", memory_bytes=int(1.9 * GIB), journal=OLLAMA_LOG),
                    "container:litellm": ServiceFacts("LiteLLM on 4000", memory_bytes=688 * MIB),
                    "backup-stacks.service": ServiceFacts("Backup of all stacks", "inactive", "dead", 15 * HOUR),
                    "docker.service": ServiceFacts("Docker", memory_bytes=291 * MIB, age_seconds=33 * DAY),
                    "container:chat-console": ServiceFacts("Chat console", memory_bytes=231 * MIB),
                    "container:retrieval": ServiceFacts("Retrieval service", memory_bytes=512 * MIB),
                    "compose:documents": ServiceFacts("3 containers", sub="3 of 3 up", memory_bytes=377 * MIB),
                    "compose:mail-triage": ServiceFacts("2 containers", sub="2 of 2 up", memory_bytes=164 * MIB),
                    **_containers(),
                },
                backups={"stacks": (15.1 * HOUR, "success")},
            ),
            "dockhost": HostFacts(
                total_bytes=int(31.2 * GIB),
                used_bytes=int(11.4 * GIB),
                cached_bytes=int(14.8 * GIB),
                disks={"/": (1.0e12, 0.47)},
                services={
                    "docker.service": ServiceFacts("Docker", memory_bytes=204 * MIB, age_seconds=33 * DAY),
                    "container:reverse-proxy": ServiceFacts("Reverse proxy", memory_bytes=61 * MIB),
                    "container:git": ServiceFacts("Git", memory_bytes=233 * MIB),
                },
            ),
            "nas": HostFacts(
                total_bytes=int(7.6 * GIB),
                used_bytes=int(1.4 * GIB),
                cached_bytes=int(5.1 * GIB),
                disks={"/": (32e9, 0.31), "/volume1": (11.9e12, 0.74)},
            ),
        },
        beside={
            "ollama": BesideFacts(
                models=(
                    ModelFacts("nomic-embed-text:latest", 274 * MIB, 2048, at_begin=True, pinned=True),
                    ModelFacts("llama3.1:8b", int(4.9e9), 8192, at_begin=True),
                    ModelFacts("llama3.2:3b", int(2.0e9), 8192),
                    ModelFacts("mistral:7b", int(4.4e9), 8192),
                    ModelFacts("qwen2.5-coder:32b", int(19e9), 8192),
                ),
                version="0.33.0",
            ),
            "router": BesideFacts(parts=deployments, version="1.106.2"),
        },
        modes={"image": ModeFacts(int(8.1 * GIB), int(6.5 * GIB), load_seconds=7.0, stop_seconds=1.0, shards=2)},
    )
