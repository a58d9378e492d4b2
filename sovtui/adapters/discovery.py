"""Looks at this machine for what could be shown without a configuration: usual ports, usual units.

Reads only: no request that could load, wake or bill a model. Everything at once, well under a second.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from dataclasses import dataclass

from sovtui.adapters.links.local import LocalLink
from sovtui.config.schema import AlertmanagerConfig, Config, HostConfig, ModeConfig, PrometheusConfig
from sovtui.core.clean import clean
from sovtui.ports.errors import PortError

PROMETHEUS_PORT = 9090
ALERTMANAGER_PORT = 9093
ENGINE_PORTS = (8000, 8001, 30000, 30001)
"""Usual ports of vLLM and SGLang."""
PORT_SECONDS = 0.3
HTTP_SECONDS = 0.6
UNIT_PATTERNS = (
    "vllm*",
    "sglang*",
    "ollama*",
    "llama*",
    "litellm*",
    "comfyui*",
    "prometheus*",
    "alertmanager*",
    "docker",
    "tailscaled",
)


@dataclass(frozen=True, slots=True)
class Found:
    """What is here, and the sentences that say what was looked for."""

    config: Config
    notes: tuple[str, ...]


async def look_around(config_path: str) -> Found:
    """A configuration for this machine from what answers on it now. Never fails: what is not there is said."""
    import httpx

    async with httpx.AsyncClient(trust_env=False, timeout=HTTP_SECONDS) as client:
        looks = asyncio.gather(*(_engine(client, port) for port in ENGINE_PORTS))
        prometheus, alertmanager, units, engines = await asyncio.gather(
            _answers(client, PROMETHEUS_PORT, "/-/ready", "Prometheus"),
            _answers(client, ALERTMANAGER_PORT, "/-/ready", "Alertmanager"),
            _units(),
            looks,
        )
    modes = tuple(mode for mode in engines if mode is not None)
    name = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "local"
    config = Config(
        host={name: HostConfig(link="local", mode=modes, watch=units)},
        prometheus=PrometheusConfig(url=f"http://127.0.0.1:{PROMETHEUS_PORT}") if prometheus else None,
        alertmanager=AlertmanagerConfig(url=f"http://127.0.0.1:{ALERTMANAGER_PORT}") if alertmanager else None,
    )
    ports = ", ".join(str(port) for port in ENGINE_PORTS)
    notes = (
        f"No configuration at {config_path}: this is this machine.",
        f"Prometheus on port {PROMETHEUS_PORT}: {'found' if prometheus else 'not there'}.",
        f"Alertmanager on port {ALERTMANAGER_PORT}: {'found' if alertmanager else 'not there'}.",
        f"vLLM or SGLang on ports {ports}: {', '.join(m.title for m in modes) if modes else 'none'}.",
        f"systemd units that serve models: {', '.join(units) if units else 'none'}.",
        "Next: `sovtui init` proposes a configuration, `sovtui init USER@HOST` one for another machine; `sovtui demo` shows an estate.",
    )
    return Found(config, notes)


async def _open(port: int) -> bool:
    try:
        async with asyncio.timeout(PORT_SECONDS):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _answers(client: object, port: int, path: str, word: str) -> bool:
    """Whether the program itself answers there, not merely something."""
    import httpx

    assert isinstance(client, httpx.AsyncClient)
    if not await _open(port):
        return False
    try:
        answer = await client.get(f"http://127.0.0.1:{port}{path}")
    except httpx.HTTPError:
        return False
    return answer.status_code in (200, 503) and (word in answer.text or answer.text.strip() in ("OK", "Service Unavailable"))


async def _engine(client: object, port: int) -> ModeConfig | None:
    """The engine on this port as a mode, told by the names of its metrics."""
    import httpx

    assert isinstance(client, httpx.AsyncClient)
    if not await _open(port):
        return None
    url = f"http://127.0.0.1:{port}"
    try:
        models, metrics = await asyncio.gather(client.get(f"{url}/v1/models"), client.get(f"{url}/metrics"))
        listed = models.json()["data"]
        model = clean(str(listed[0]["id"]), 120)
    except (httpx.HTTPError, ValueError, LookupError, TypeError):
        return None
    engine = next((kind for kind in ("vllm", "sglang") if f"\n{kind}:" in metrics.text), "")
    if not engine:
        return None
    slug = re.sub(r"[^A-Za-z0-9_.-]", "-", model.rsplit("/", 1)[-1])
    return ModeConfig(name=slug, title=f"{model} (port {port})", engine=engine, url=url, model=model)


async def _units() -> tuple[str, ...]:
    """Units of the usual names, and whatever has failed, as systemd lists them."""
    if shutil.which("systemctl") is None:
        return ()
    argv = ["systemctl", "list-units", "--type=service", "--all", "--plain", "--no-legend", "--no-pager"]
    link, found = LocalLink("this machine"), list[str]()
    for more in ([*(f"{p}.service" for p in UNIT_PATTERNS)], ["--state=failed"]):
        try:
            told = await link.run([*argv, *more], timeout_seconds=PORT_SECONDS * 2)
        except PortError:
            continue
        for line in told.stdout.decode("utf-8", "replace").splitlines():
            words = line.split()
            if len(words) >= 2 and words[1] != "not-found" and words[0].endswith(".service"):
                found.append(clean(words[0], 200))
    return tuple(dict.fromkeys(found))
