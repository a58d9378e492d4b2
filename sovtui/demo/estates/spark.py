"""Reference box A: unified memory, two engines, one mutex; a management machine, a public server, a NAS."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sovtui.config.schema import (
    AlertmanagerConfig,
    BackupConfig,
    Bytes,
    Config,
    HostConfig,
    ModeConfig,
    ProfileConfig,
    PrometheusConfig,
    Seconds,
    SwitchConfig,
)
from sovtui.core.model import Alert
from sovtui.demo.estate import DAY, GIB, HOUR, MIB, Estate, HostFacts, ModeFacts, ServiceFacts, alert, changed, timer

QWEN = "vllm-qwen36.service"
MISTRAL = "container:sglang-mistral4"
SAFER = "container:sglang-mistral4-safer"
IMAGE = "container:comfyui"


def _spark_config() -> Config:
    spark = HostConfig(
        address="ops@spark",
        role="box",
        tailnet="spark",
        memory="unified",
        mode=(
            ModeConfig(
                name="qwen",
                key="1",
                title="Qwen 3.6 PrismaQuant",
                engine="vllm",
                url="http://127.0.0.1:30001",
                model="qwen3.6-prismaquant",
                services=(QWEN,),
                needs=Bytes(60_000_000_000),
                expect_tok_s=57.0,
            ),
            ModeConfig(
                name="mistral",
                key="2",
                title="Mistral Small 4",
                engine="sglang",
                url="http://127.0.0.1:30000",
                model="mistral-small-4",
                services=(MISTRAL,),
                needs=Bytes(90_000_000_000),
                expect_tok_s=36.5,
            ),
            ModeConfig(
                name="mistral-safer",
                key="3",
                title="Mistral Small 4, no drafts",
                engine="sglang",
                url="http://127.0.0.1:30000",
                model="mistral-small-4-safer",
                services=(SAFER,),
                needs=Bytes(90_000_000_000),
                expect_tok_s=29.0,
            ),
            ModeConfig(name="image", key="4", title="ComfyUI pictures", services=(IMAGE,), needs=Bytes(24_000_000_000)),
        ),
        switch=SwitchConfig(drop_caches=True, ready_timeout=Seconds(900.0), rollback=True, floor=("llama-cpu.service",)),
        backup=(
            BackupConfig(name="local", service="sovereign-backup.service", max_age=Seconds(26 * HOUR)),
            BackupConfig(name="nas", service="backup-nas.service", max_age=Seconds(26 * HOUR)),
            BackupConfig(name="usb", service="backup-usb.service", max_age=Seconds(35 * DAY)),
        ),
        watch=(
            "vllm-qwen36-healthcheck.timer",
            "vllm-qwen36-healthcheck.service",
            "sglang-healthcheck.timer",
            "sglang-healthcheck.service",
            "mcp-server.service",
            "container:open-webui",
            "gitea.service",
            "searxng.service",
            "lnd.service",
            "tor.service",
            "aide-check.timer",
            "node_exporter.service",
        ),
    )
    return Config(
        host={
            "spark": spark,
            "mgmt": HostConfig(
                address="ops@mgmt",
                role="management",
                watch=("prometheus.service", "alertmanager.service", "grafana-server.service", "backup-orchestrator.timer"),
            ),
            "edge": HostConfig(address="ops@edge", role="edge", watch=("caddy.service", "site.service", "mcp-public.service")),
            "nas": HostConfig(address="ops@nas", role="nas", watch=("smbd.service", "nfs-server.service", "nut-server.service")),
        },
        prometheus=PrometheusConfig(url="http://127.0.0.1:9090", via="mgmt"),
        alertmanager=AlertmanagerConfig(url="http://127.0.0.1:9093", via="mgmt", author="ops@demo"),
        profile=(
            ProfileConfig(name="private", tier="T1", chain=("qwen", "llama-cpu")),
            ProfileConfig(name="personal", tier="T2", chain=("qwen", "llama-cpu", "cloud-eu")),
        ),
    )


def estate() -> Estate:
    """Reference box A: unified memory, two engines, one mutex."""
    return Estate(
        name="spark",
        config=_spark_config(),
        box="spark",
        hot="qwen",
        next_mode="mistral",
        failing_mode="mistral-safer",
        remote="edge",
        usual_alerts=usual_alerts,
        more_alerts=more_alerts,
        hosts={
            "spark": HostFacts(
                total_bytes=int(121.7 * GIB),
                used_bytes=int(6.1 * GIB),
                cached_bytes=int(27.4 * GIB),
                swap_bytes=16 * GIB,
                cpu_ratio=0.06,
                cpus=20,
                disks={"/": (4.0e12, 0.71)},
                gpu="NVIDIA GB10",
                services={
                    QWEN: ServiceFacts("vLLM, Qwen 3.6", "inactive", "dead"),
                    MISTRAL: ServiceFacts("SGLang, Mistral Small 4", "inactive", "exited"),
                    SAFER: ServiceFacts("SGLang, Mistral Small 4 without speculation", "inactive", "exited"),
                    IMAGE: ServiceFacts("ComfyUI", "inactive", "exited"),
                    "llama-cpu.service": ServiceFacts("llama.cpp on the CPU: the floor", memory_bytes=int(2.6 * GIB)),
                    "sovereign-backup.service": ServiceFacts("Backup to local NVMe", "inactive", "dead", 17.7 * HOUR),
                    "backup-nas.service": ServiceFacts("Copy of the backup to the NAS", "inactive", "dead", 17.2 * HOUR),
                    "backup-usb.service": ServiceFacts("Copy of the backup to the USB stick", "inactive", "dead", 12 * DAY),
                    "vllm-qwen36-healthcheck.timer": timer("Every 5 minutes", 300),
                    "vllm-qwen36-healthcheck.service": ServiceFacts("Health check of vLLM", "inactive", "dead", 140.0),
                    "sglang-healthcheck.timer": timer("Every 5 minutes", 300),
                    "sglang-healthcheck.service": ServiceFacts("Health check of SGLang", "inactive", "dead", 140.0),
                    "mcp-server.service": ServiceFacts("MCP server, uvicorn on 8002", memory_bytes=184 * MIB),
                    "container:open-webui": ServiceFacts("Web UI", memory_bytes=612 * MIB),
                    "gitea.service": ServiceFacts("Git", memory_bytes=231 * MIB),
                    "searxng.service": ServiceFacts("Search", memory_bytes=148 * MIB),
                    "lnd.service": ServiceFacts("Lightning node", memory_bytes=402 * MIB, age_seconds=3 * DAY),
                    "tor.service": ServiceFacts("Tor", memory_bytes=96 * MIB),
                    "aide-check.timer": timer("Integrity check, nightly", DAY),
                    "node_exporter.service": ServiceFacts("Host metrics", memory_bytes=24 * MIB, age_seconds=21 * DAY),
                },
                backups={
                    "local": (17.7 * HOUR, "success"),
                    "nas": (17.2 * HOUR, "success"),
                    "usb": (12.3 * DAY, "success"),
                },
            ),
            "mgmt": HostFacts(
                total_bytes=int(15.5 * GIB),
                used_bytes=int(3.2 * GIB),
                cached_bytes=int(6.4 * GIB),
                cpu_ratio=0.11,
                disks={"/": (512e9, 0.38), "/var/lib/prometheus": (256e9, 0.64)},
                services={
                    "prometheus.service": ServiceFacts("Prometheus", memory_bytes=int(1.1 * GIB)),
                    "alertmanager.service": ServiceFacts("Alertmanager", memory_bytes=58 * MIB),
                    "grafana-server.service": ServiceFacts("Grafana", memory_bytes=191 * MIB),
                    "backup-orchestrator.timer": timer("Nightly", DAY),
                },
            ),
            "edge": HostFacts(
                total_bytes=int(1.9 * GIB),
                used_bytes=int(0.7 * GIB),
                cached_bytes=int(0.6 * GIB),
                cpu_ratio=0.03,
                cpus=2,
                disks={"/": (40e9, 0.52)},
                latency_seconds=0.061,
                services={
                    "caddy.service": ServiceFacts("Caddy", memory_bytes=47 * MIB, age_seconds=40 * DAY),
                    "site.service": ServiceFacts("Site", memory_bytes=88 * MIB, age_seconds=6 * DAY),
                    "mcp-public.service": ServiceFacts("Public MCP server", memory_bytes=102 * MIB, age_seconds=6 * DAY),
                },
            ),
            "nas": HostFacts(
                total_bytes=int(7.6 * GIB),
                used_bytes=int(1.4 * GIB),
                cached_bytes=int(5.1 * GIB),
                cpu_ratio=0.04,
                latency_seconds=0.043,
                disks={"/": (32e9, 0.22), "/volume1": (15.9e12, 0.71)},
                services={
                    "smbd.service": ServiceFacts("File shares", memory_bytes=66 * MIB, age_seconds=70 * DAY),
                    "nfs-server.service": ServiceFacts("NFS", "active", "exited", 70 * DAY),
                    "nut-server.service": ServiceFacts("UPS", memory_bytes=9 * MIB, age_seconds=70 * DAY),
                },
            ),
        },
        modes={
            "qwen": ModeFacts(
                resident_bytes=int(56.2 * GIB),
                weights_bytes=int(20.6 * GIB),
                decode_tok_s=58.0,
                cold_tok_s=43.0,
                load_seconds=14.0,
                stop_seconds=1.2,
                shards=5,
                context_tokens=131072,
                version="0.20.1",
                accept_ratio=0.71,
            ),
            "mistral": ModeFacts(
                resident_bytes=int(82.4 * GIB),
                weights_bytes=int(56.1 * GIB),
                decode_tok_s=36.5,
                cold_tok_s=27.0,
                load_seconds=14.5,
                stop_seconds=3.5,
                shards=12,
                context_tokens=65536,
                version="0.5.19",
                accept_ratio=0.62,
            ),
            "mistral-safer": ModeFacts(
                resident_bytes=int(80.8 * GIB),
                weights_bytes=int(56.1 * GIB),
                decode_tok_s=29.0,
                cold_tok_s=24.0,
                load_seconds=13.5,
                stop_seconds=3.5,
                shards=12,
                context_tokens=65536,
                version="0.5.19",
            ),
            "image": ModeFacts(
                resident_bytes=int(19.5 * GIB), weights_bytes=int(11.3 * GIB), load_seconds=7.0, stop_seconds=1.0, shards=2
            ),
        },
    )


def troubled() -> Estate:
    """A backup that failed and is late, a disk that fills up, a container that restarts in a loop, and the alerts about them."""
    well = estate()
    services = {
        "backup-nas.service": ServiceFacts("Copy of the backup to the NAS", "inactive", "dead", 31 * HOUR),
        "container:open-webui": ServiceFacts(
            "Web UI", restarts=14, memory_bytes=612 * MIB, age_seconds=38, restarts_every_seconds=95
        ),
    }
    hosts = changed(well, services, {"nas": (31.2 * HOUR, "failed")})
    hosts["nas"] = replace(hosts["nas"], disks={**hosts["nas"].disks, "/volume1": (15.9e12, 0.91)})
    return replace(well, hosts=hosts, usual_alerts=troubled_alerts)


def usual_alerts(now: datetime) -> tuple[Alert, ...]:
    """Nothing to act on: one that somebody has acknowledged."""
    return (_renews(now, ("ops@thinclient", "it renews by itself", 20.5)),)


def _renews(now: datetime, silence: tuple[str, str, float] | None = None) -> Alert:
    summary = "Caddy on edge renews its certificate in 6 days."
    return alert(now, "5b77d21e90aa4c18", "CertificateRenewsSoon", "info", 2210, summary, {"instance": "edge:2019"}, silence)


def troubled_alerts(now: datetime) -> tuple[Alert, ...]:
    """Two to act on, one for information, one acknowledged."""
    return (
        alert(
            now,
            "3c1f9a0d52e84b71",
            "BackupLate",
            "warning",
            312,
            "Last good copy to nas is 31 h old (limit 26 h). The unit failed: mount /mnt/nas is busy.",
            {"instance": "spark:9100", "destination": "nas"},
        ),
        alert(
            now,
            "a40be7712c9d0f36",
            "DiskAlmostFull",
            "warning",
            1520,
            "/volume1 on nas is 91 % full.",
            {"instance": "nas:9100", "mountpoint": "/volume1"},
            ("ops@thinclient", "pruning old snapshots tonight", 3.5),
        ),
        _renews(now),
        alert(
            now,
            "e9d0441b7f3a8c52",
            "ServiceRestarting",
            "warning",
            23,
            "open-webui has restarted 14 times since noon.",
            {"instance": "spark:9100", "name": "open-webui"},
        ),
    )


def more_alerts(now: datetime) -> tuple[Alert, ...]:
    """What fires besides in the scenario `alerting`."""
    return (
        alert(
            now,
            "07ce5a8b113f4d90",
            "EngineUnhealthy",
            "critical",
            6,
            "vllm-qwen36 on spark has failed its health check twice in a row.",
            {"instance": "spark:30001", "mode": "qwen"},
        ),
        alert(
            now,
            "c2f1388aa5d64e07",
            "DiskAlmostFull",
            "critical",
            17,
            "/data on spark is 96 % full: 158 GB left.",
            {"instance": "spark:9100", "mountpoint": "/data"},
        ),
        alert(
            now,
            "1d9e60b7733c4aa2",
            "HostUnreachable",
            "critical",
            4,
            "edge has not answered its scrape for 4 min.",
            {"instance": "edge:9100"},
        ),
    )
