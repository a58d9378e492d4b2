"""Small configurations and states for tests of the figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from sovtui.adapters.figures.prometheus import PrometheusSource
from sovtui.adapters.registry import load_engine
from sovtui.config.schema import BackupConfig, Config, HostConfig, ModeConfig, PrometheusConfig
from sovtui.config.specs import host_specs
from sovtui.core.events import Event
from sovtui.core.state import State, initial, reduce
from tests.fakes.world import FakeClock

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
ENGINES = {name: load_engine(name) for name in ("vllm", "sglang")}


def config(**hosts: HostConfig) -> Config:
    return Config(host=hosts, prometheus=PrometheusConfig(url="http://prometheus:9090"))


def spark(**words: Any) -> HostConfig:
    words.setdefault(
        "mode", (ModeConfig(name="qwen", engine="vllm", url="http://127.0.0.1:8000", services=("vllm-qwen.service",)),)
    )
    words.setdefault("backup", (BackupConfig(name="nas", service="backup-nas.service"),))
    return HostConfig(**words)


class Room:
    """A state that takes events, and what was emitted."""

    def __init__(self, made: Config, now: datetime = NOW) -> None:
        self.state: State = initial(host_specs(made), now)
        self.events: list[Event] = []

    def put(self, event: Event) -> None:
        self.events.append(event)
        self.state = reduce(self.state, event)


Answer = Callable[[httpx.Request], httpx.Response]


def source(made: Config, answer: Answer, clock: FakeClock | None = None) -> PrometheusSource:
    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://prometheus:9090")
    return PrometheusSource(made, ENGINES, client, clock or FakeClock())


def vector(*rows: tuple[dict[str, str], float | str], at: float = 0.0) -> httpx.Response:
    result = [{"metric": labels, "value": [at, str(value)]} for labels, value in rows]
    return httpx.Response(200, json={"status": "success", "data": {"resultType": "vector", "result": result}})
