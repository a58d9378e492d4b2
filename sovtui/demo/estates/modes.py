"""Reference box C: a 32 GB card, exclusive modes, a CPU floor, three profiles. The configuration is the shipped example."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sovtui.config.load import loads
from sovtui.config.show import example
from sovtui.core.model import Part
from sovtui.demo.estate import DAY, GIB, MIB, BesideFacts, Estate, HostFacts, ModeFacts, ServiceFacts, changed


def _off(description: str) -> ServiceFacts:
    return ServiceFacts(description, "inactive", "exited", 2 * DAY)


def deployments(start: datetime, now: datetime) -> tuple[Part, ...]:
    """What the router sends to."""
    return _deployments(None)


def cooling_deployments(start: datetime, now: datetime) -> tuple[Part, ...]:
    """The same: the GPU is back, and still skipped."""
    end = start + timedelta(minutes=36)
    return _deployments(end if now < end else None)


def _deployments(end: datetime | None) -> tuple[Part, ...]:
    """`end`: of the cooldown of one of them."""
    cooling = end is not None
    return (
        Part(
            "personal: gpu",
            "cooldown" if cooling else "ready",
            cooling,
            "local at 127.0.0.1:8000",
            ends_at=end,
        ),
        Part("personal: cloud-1", "ready", detail="cloud"),
        Part("personal: cloud-2", "unused", detail="cloud"),
        Part("private: cpu", "ready", detail="local at 127.0.0.1:8001"),
        Part("personal → cloud-1 → cloud-2 → cpu", "chain", cooling, "taken 2× in 5 min" if cooling else ""),
    )


def troubled() -> Estate:
    """A backup that failed and is late, and a deployment in its cooldown."""
    well = estate()
    return replace(
        well,
        hosts=changed(well, {}, {"offsite": (9.4 * DAY, "failed")}),
        beside={**well.beside, "router": replace(well.beside["router"], parts=cooling_deployments)},
    )


def estate() -> Estate:
    return Estate(
        name="modes",
        config=loads(example("modes"), "modes.toml"),
        box="rig",
        hot="forensic",
        next_mode="coding",
        failing_mode="agent",
        remote="",
        hosts={
            "rig": HostFacts(
                total_bytes=int(125.6 * GIB),
                used_bytes=int(27.3 * GIB),
                cached_bytes=int(41.0 * GIB),
                swap_bytes=8 * GIB,
                cpu_ratio=0.09,
                relay="fra",
                cpus=24,
                disks={"/": (2.0e12, 0.66), "/data": (4.0e12, 0.79)},
                gpu="NVIDIA GeForce RTX 5090",
                gpu_total_bytes=32607 * MIB,
                gpu_used_bytes=497 * MIB,
                idle_watts=14.0,
                busy_watts=84.0,
                idle_celsius=36.0,
                degrees_per_watt=0.09,
                services={
                    "container:vllm-nemotron": _off("vLLM, 30B NVFP4, 180K"),
                    "container:vllm-nemotron-agent": _off("vLLM, 30B NVFP4, lighter"),
                    "container:vllm-coding": _off("vLLM, 30B coder AWQ"),
                    "container:creative-comfyui": _off("ComfyUI"),
                    "container:creative-tts": _off("Speech"),
                    "container:creative-audio-worker": _off("Audio queue worker"),
                    "container:creative-music": _off("Music"),
                    "container:creative-musetalk": _off("Lip sync"),
                    "container:creative-hallo2": _off("Portraits"),
                    "container:creative-latentsync": _off("Lip sync, latent"),
                    "user:nemotron-cpu.service": ServiceFacts("llama.cpp on the CPU: the floor", memory_bytes=int(19.4 * GIB)),
                    "restic-local.service": ServiceFacts("restic to the local repository", "inactive", "dead", 5.7 * DAY),
                    "restic-offsite.service": ServiceFacts("restic off site", "inactive", "dead", 5.2 * DAY),
                    "container:litellm-proxy": ServiceFacts("LiteLLM on 4000", memory_bytes=702 * MIB),
                    "container:tracing": ServiceFacts("Tracing", memory_bytes=410 * MIB),
                    "container:agent-gateway": ServiceFacts("Agent gateway on 8642", memory_bytes=266 * MIB),
                    "netdata.service": ServiceFacts("Netdata", memory_bytes=188 * MIB),
                },
                backups={"local": (5.7 * DAY, "success"), "offsite": (5.2 * DAY, "success")},
            )
        },
        beside={
            "floor": BesideFacts(decode_tok_s=14.2, context_tokens=32768, version="b7421"),
            "router": BesideFacts(parts=deployments, decode_tok_s=92.0, follows_traffic=True, version="1.106.2"),
        },
        modes={
            "forensic": ModeFacts(int(29.1 * GIB), int(17.4 * GIB), 275.0, 231.0, 15.0, 1.4, 4, 184320, "0.20.1"),
            "agent": ModeFacts(int(25.7 * GIB), int(17.4 * GIB), 262.0, 220.0, 12.0, 1.4, 4, 32768, "0.20.1"),
            "coding": ModeFacts(int(29.0 * GIB), int(16.9 * GIB), 214.0, 180.0, 15.0, 1.4, 4, 65536, "0.20.1"),
            "creative": ModeFacts(int(17.8 * GIB), int(11.9 * GIB), load_seconds=7.0, stop_seconds=1.0, shards=2),
            "audio": ModeFacts(int(9.2 * GIB), int(4.1 * GIB), load_seconds=6.0, stop_seconds=1.0, shards=2),
            "music": ModeFacts(int(15.3 * GIB), int(13.1 * GIB), load_seconds=6.0, stop_seconds=1.0, shards=2),
        },
    )
