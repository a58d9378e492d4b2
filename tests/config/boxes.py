"""Facts as a survey would tell them, made by hand after real boxes: unified memory; a 12 GB card; a 32 GB card with modes."""

from __future__ import annotations

from typing import Any

from sovtui.core.survey import Facts, gather

Line = dict[str, Any]


def unit(name: str, command: str = "", **more: Any) -> Line:
    return {"t": "unit", "name": name, "commands": [command.split()] if command else [], **more}


def timer(name: str, calendar: str = "", every: str = "", **more: Any) -> Line:
    told: Line = {"t": "unit", "name": name, "active": "active", "enabled": "enabled", **more}
    return {**told, "calendar": [calendar] if calendar else [], "every": [every] if every else []}


def container(
    name: str, image: str, command: str = "", port: int = 0, inside: int = 0, state: str = "exited", **more: Any
) -> Line:
    ports = [{"host": port, "inside": inside or port}] if port else []
    return {
        "t": "container",
        "name": name,
        "id": f"{name:x<64}",
        "image": image,
        "command": command.split(),
        "ports": ports,
        "state": state,
        **more,
    }


def answer(port: int, kind: str, **more: Any) -> Line:
    return {"t": "answer", "port": port, "kind": kind, "url": f"http://127.0.0.1:{port}", **more}


def spark() -> Facts:
    run = (
        "/usr/bin/docker run --rm --name vllm-qwen36 --gpus all -p 127.0.0.1:30001:8000 -e HF_TOKEN=*** -v /data/models:/models "
        "vllm/vllm-openai:v0.20.1 --model /models/qwen36-prismaquant --served-model-name qwen36 --gpu-memory-utilization 0.5"
    )
    sglang = "python3 -m sglang.launch_server --model-path /models/mistral-4 --served-model-name mistral-4 --port 30000"
    sglang += " --mem-fraction-static 0.65"
    return gather(
        [
            {"t": "machine", "hostname": "spark", "user": "ops", "python": "3.12.3", "systemd": True, "memory": 129922760704}
            | {"board": "NVIDIA DGX Spark", "tailnet": "spark"},
            {"t": "gpu", "name": "NVIDIA GB10"},
            unit(
                "vllm-qwen36.service", run, active="active", enabled="disabled", type="simple", description="Qwen 3.6 PrismaQuant"
            ),
            unit("vllm-qwen36-healthcheck.service", "/data/scripts/vllm-healthcheck.sh", type="oneshot", started_by="x.timer")
            | {"script": ["if ! curl -sf localhost:30001/health; then systemctl restart vllm-qwen36.service; fi"]},
            timer("vllm-qwen36-healthcheck.timer", every="5min", starts="vllm-qwen36-healthcheck.service"),
            unit(
                "sglang-healthcheck.service",
                "/usr/local/bin/check-mistral",
                type="oneshot",
                started_by="sglang-healthcheck.timer",
            ),
            timer("sglang-healthcheck.timer", every="5min", starts="sglang-healthcheck.service"),
            unit("sglang-role-proxy.service", "/opt/role-proxy/proxy --port 30010", active="active", enabled="enabled"),
            unit("mcp.service", "/usr/bin/uvicorn mcp:app --port 8002", active="active", enabled="enabled"),
            unit("sovereign-backup.service", "/data/scripts/backup.sh", type="oneshot", started_by="sovereign-backup.timer")
            | {"script": ["tar -c /data/config | zstd | age -r age1public > /backup/$(date +%F).tar.zst.age"]},
            timer("sovereign-backup.timer", "*-*-* 02:00:00", starts="sovereign-backup.service"),
            unit("dpkg-db-backup.service", "/usr/libexec/dpkg/dpkg-db-backup", type="oneshot", started_by="dpkg-db-backup.timer"),
            timer("dpkg-db-backup.timer", "*-*-* 00:00:00", starts="dpkg-db-backup.service"),
            unit("aide.service", "/usr/bin/aide --check", active="failed", type="oneshot"),
            container(
                "vllm-qwen36", "vllm/vllm-openai:v0.20.1", "--model /models/qwen36-prismaquant", 30001, 8000, "running", gpu=True
            ),
            container("sglang-mistral4", "lmsysorg/sglang:nightly", sglang, 30000, gpu=True, restart="no"),
            container("sglang-mistral4-safer", "lmsysorg/sglang:nightly", sglang, 30000, gpu=True, restart="no")
            | {"labels": {"com.centurylinklabs.watchtower.enable": "false"}},
            container("comfyui", "ghcr.io/someone/comfyui:latest", "python main.py --listen", 8188, gpu=True),
            container("watchtower", "containrrr/watchtower", state="running", restart="always"),
            {"t": "port", "port": 30001, "address": "127.0.0.1"},
            answer(30001, "vllm", models=["qwen36"], by="metrics"),
            answer(9100, "node_exporter"),
            {"t": "gpu_process", "pid": 4711, "service": f"container-id:{'vllm-qwen36':x<64}", "memory": 60129542144},
            {
                "t": "script",
                "path": "/data/scripts/llm/switch.sh",
                "words": ["qwen", "mistral", "mistral-safer", "none", "status"],
            },
            {"t": "looked", "what": "GPUs", "found": 1, "problem": ""},
        ]
    )


def mgmt() -> Facts:
    targets = [{"job": "node", "instance": f"{name}:9100", "health": "up"} for name in ("spark", "mgmt", "edge", "nas")]
    series = [{"__name__": "backup_last_success_timestamp_seconds", "destination": "nas", "instance": "mgmt:9100", "job": "node"}]
    return gather(
        [
            {"t": "machine", "hostname": "mgmt", "user": "ops", "python": "3.13.5", "systemd": True, "memory": 8 << 30},
            unit("prometheus.service", "/usr/bin/prometheus --web.listen-address=:9190", active="active", enabled="enabled"),
            unit("grafana-server.service", "/usr/sbin/grafana server", active="active", enabled="enabled"),
            unit(
                "backup-nas.service", "/usr/bin/restic backup /etc", type="oneshot", env={"RESTIC_REPOSITORY": "sftp:nas:/backup"}
            ),
            timer("backup-nas.timer", "Sun *-*-* 03:00:00", starts="backup-nas.service"),
            answer(9190, "prometheus", version="3.5.3", targets=targets, backup_series=series),
            answer(9093, "alertmanager", version="0.33.1"),
        ]
    )


def gpubox() -> Facts:
    others = [container(f"stack-{n}", f"example/app:{n}", state="running", restart="always") for n in range(90)]
    return gather(
        [
            {"t": "machine", "hostname": "gpubox", "user": "me", "python": "3.11.2", "systemd": True, "memory": 64 << 30},
            {"t": "gpu", "name": "NVIDIA GeForce RTX 4070 Ti", "memory": 12282 << 20},
            container("ollama", "ollama/ollama:0.33.0", "/bin/ollama serve", 11434, state="running", restart="always", gpu=True),
            container(
                "litellm", "ghcr.io/berriai/litellm:main", "--config /app/config.yaml", 4000, state="running", restart="always"
            ),
            container("chat-console", "ghcr.io/open-webui/open-webui", "start.sh", 3000, 8080, "running", restart="always"),
            container("comfyui", "comfyui-custom:latest", "python main.py", 8188, state="exited", gpu=True),
            container("jellyfin", "jellyfin/jellyfin", "", 8096, state="running", restart="always", gpu=True),
            container("watchtower", "containrrr/watchtower", state="running", restart="always"),
            *others,
            unit("backup-stacks.service", "/usr/bin/restic -r /mnt/nas/restic backup /srv", type="oneshot"),
            timer("backup-stacks.timer", "*-*-* 01:30:00", starts="backup-stacks.service"),
            answer(11434, "ollama", models=["llama3.1:8b", "nomic-embed-text"], by="api"),
            answer(4000, "litellm", key=True),
        ]
    )


def rig() -> Facts:
    vllm = "--model nvidia/nemotron-30b-nvfp4 --served-model-name {} --max-num-seqs 4 --gpu-memory-utilization {}"
    image = "vllm/vllm-openai:v0.20.0"
    user = {"active": "active", "enabled": "enabled", "type": "simple"}
    return gather(
        [
            {"t": "machine", "hostname": "rig", "user": "ops", "python": "3.12.3", "systemd": True, "memory": 128 << 30}
            | {"tailnet": "rig"},
            {"t": "gpu", "name": "NVIDIA GeForce RTX 5090", "memory": 32607 << 20},
            container("vllm-nemotron", image, vllm.format("nemotron-30b", 0.95), 8000, state="running", gpu=True),
            container("vllm-nemotron-agent", image, vllm.format("nemotron-30b-agent", 0.75), 8000, gpu=True),
            container("vllm-coding", image, "--model coder/coder-30b-awq", 8000, gpu=True),
            container("creative-comfyui", "comfyui:local", "python main.py", 8188, gpu=True),
            container("creative-music", "song:7b", "python worker.py", gpu=True),
            container("creative-tts", "tts:local", "python serve.py", 9002, gpu=True),
            container("litellm-proxy", "ghcr.io/berriai/litellm:v1.80", "--port 4000", 4000, state="running", restart="always"),
            unit("user:nemotron-cpu.service", "/opt/llama/llama-server -m /data/q4.gguf --port 8001 -ngl 0", **user)
            | {"description": "Nemotron on the CPU"},
            unit("restic-local.service", "/usr/local/bin/restic-backup local", type="oneshot")
            | {"script": ["restic -r /backup/restic backup /data --exclude-file /etc/restic/exclude"]},
            timer("restic-local.timer", "Sun *-*-* 03:00:00", starts="restic-local.service"),
            unit("restic-offsite.service", "/usr/local/bin/restic-backup offsite", type="oneshot")
            | {"script": ["restic -r sftp:box@storage:/restic backup /data"]},
            timer("restic-offsite.timer", "Sun *-*-* 04:00:00", starts="restic-offsite.service"),
            unit("restic-check.service", "/usr/bin/restic check --read-data-subset=10%", type="oneshot"),
            timer("restic-check.timer", "*-*-01 05:00:00", starts="restic-check.service"),
            answer(8000, "vllm", models=["nemotron-30b"], by="metrics"),
            answer(8001, "llamacpp", models=["/data/q4.gguf"], by="owner"),
            answer(4000, "litellm", key=True),
            answer(19999, "openai"),
            {"t": "cron", "from": "/etc/cron.d/nvidia", "line": "@reboot root docker start litellm-proxy"},
        ]
    )
