"""What is measured of the estate: one look's samples, and the history behind the curves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from sovtui.core.events import Curve, Sample
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.core.state import CURVE_POINTS
from sovtui.demo.engines import Engines
from sovtui.demo.estate import SOURCE, Estate
from sovtui.demo.hardware import Hardware
from sovtui.demo.memory import Memory
from sovtui.demo.moment import Moment
from sovtui.demo.traffic import Traffic

GPU = "0"
OF_AN_ENGINE = (
    "decode_tok_s",
    "prompt_tok_s",
    "running",
    "waiting",
    "kv_use_ratio",
    "ttft_p50_seconds",
    "ttft_p95_seconds",
    "itl_mean_seconds",
    "itl_p95_seconds",
    "prefix_hit_ratio",
    "accept_ratio",
    "accept_length",
    "asleep",
    "start_unixtime",
)


class Figures:
    """The figures of all hosts."""

    def __init__(
        self, estate: Estate, moment: Moment, memory: Memory, hardware: Hardware, engines: Engines, traffic: Traffic
    ) -> None:
        self._estate = estate
        self._moment = moment
        self._memory = memory
        self._hardware = hardware
        self._engines = engines
        self._traffic = traffic
        self._history: dict[tuple[str, str, str], deque[tuple[float, float]]] = {}

    def keep(self) -> None:
        """Add a point to every curve."""
        at = self._moment.now.timestamp()
        for host, figure, subject, value in self._points():
            key = (host, figure, subject)
            if key not in self._history:
                self._history[key] = deque(maxlen=CURVE_POINTS)
            self._history[key].append((at, value))

    def curves(self, host: str) -> tuple[Curve, ...]:
        """The history of a host's figures up to now."""
        return tuple(
            Curve(h, figure, subject, tuple(points)) for (h, figure, subject), points in self._history.items() if h == host
        )

    def samples(self, host: str) -> Iterator[Sample]:
        """What one look at a host measures."""
        facts, now = self._estate.hosts[host], self._moment.now

        def told(figure: str, value: float, subject: str = "") -> Sample:
            return Sample(figure, fresh(value, now, SOURCE), subject)

        cached = self._memory.cached[host]
        yield told("memory.total_bytes", facts.total_bytes)
        yield told("memory.available_bytes", self._memory.available_bytes(host))
        yield told("memory.droppable_bytes", 0.92 * cached)
        yield told("memory.cached_bytes", cached)
        yield told("memory.buffers_bytes", 0.004 * facts.total_bytes)
        yield told("memory.shared_bytes", 0.03 * cached)
        yield told("memory.swap_total_bytes", facts.swap_bytes)
        yield told("memory.swap_used_bytes", 0.011 * facts.swap_bytes)
        yield told("cpu.use_ratio", self._hardware.cpu_use[host])
        yield told("cpu.load_mean", round(1.1 * facts.cpus * self._hardware.cpu_use[host], 1))
        yield told("cpu.count", facts.cpus)
        for mount, (size, used) in facts.disks.items():
            yield told("disk.total_bytes", size, mount)
            yield told("disk.free_bytes", size * (1 - used), mount)
        if facts.gpu:
            yield told("gpu.use_ratio", self._hardware.gpu_use, GPU)
            yield told("gpu.power_watts", self._hardware.gpu_watts, GPU)
            yield told("gpu.temperature_celsius", self._hardware.gpu_celsius, GPU)
            yield told("gpu.clock_hertz", 2.418e9 if self._hardware.gpu_use > 0.05 else 0.208e9, GPU)
            if facts.gpu_total_bytes is not None:
                yield told("gpu.memory_used_bytes", self._memory.gpu_used_bytes(host), GPU)
                yield told("gpu.memory_total_bytes", facts.gpu_total_bytes, GPU)
            else:
                for figure in ("gpu.memory_used_bytes", "gpu.memory_total_bytes"):
                    reading = unsupported(f"{facts.gpu} has no memory of its own: it shares the host's", SOURCE)
                    yield Sample(figure, reading, GPU)
        if host == self._estate.box:
            for mode in self._estate.config.host[host].mode:
                if mode.engine:
                    yield from (Sample(f, r, mode.name) for f, r in self._engine_figures(mode.name))

    def _engine_figures(self, mode: str) -> Iterator[tuple[str, Reading]]:
        facts, now = self._estate.modes[mode], self._moment.now
        if self._engines.configs[mode].engine == "comfyui":
            yield from self._pictures(mode)
            return
        if not self._engines.ready(mode):
            for figure in OF_AN_ENGINE:
                yield f"engine.{figure}", unknown("its engine is not running", SOURCE, now)
            return
        speed = self._traffic.decode_tok_s(mode)
        moving = self._traffic.requests > 0 and speed > 0
        values: dict[str, float | None] = {
            "decode_tok_s": speed,
            "prompt_tok_s": self._traffic.prompt_tok_s if self._traffic.prompt_tok_s > 1 else 0.0,
            "running": float(self._traffic.requests),
            "waiting": float(self._traffic.waiting),
            "kv_use_ratio": self._traffic.kv_use_ratio(),
            "ttft_p50_seconds": 0.21 * (1 + 0.4 * self._traffic.waiting) if moving else None,
            "ttft_p95_seconds": 0.74 * (1 + 0.6 * self._traffic.waiting) if moving else None,
            "itl_mean_seconds": self._traffic.requests / speed if moving else None,
            "itl_p95_seconds": 1.7 * self._traffic.requests / speed if moving else None,
            "prefix_hit_ratio": 0.61 + 0.3 * self._traffic.wobble,
            "asleep": 0.0,
            "start_unixtime": self._engines.started_at(mode),
        }
        for figure in OF_AN_ENGINE:
            key = f"engine.{figure}"
            if figure in ("accept_ratio", "accept_length"):
                if facts.accept_ratio is None:
                    yield key, unsupported("this mode runs without speculative decoding", SOURCE)
                elif not moving:
                    yield key, unknown("no traffic in the window", SOURCE, now)
                else:
                    ratio = min(0.95, facts.accept_ratio * (1 + self._traffic.wobble))
                    yield key, fresh(ratio if figure == "accept_ratio" else 1 + 3 * ratio, now, SOURCE)
                continue
            value = values[figure]
            yield key, unknown("no traffic in the window", SOURCE, now) if value is None else fresh(value, now, SOURCE)

    def _pictures(self, mode: str) -> Iterator[tuple[str, Reading]]:
        """One at a time, and no tokens."""
        now, left = self._moment.now, self._traffic.requests + self._traffic.waiting
        ready = self._engines.ready(mode)
        values = {
            "running": float(min(1, left)),
            "waiting": float(max(0, left - 1)),
            "memory_bytes": self._memory.held.get(mode, 0.0),
        }
        for figure, value in values.items():
            yield f"engine.{figure}", fresh(value, now, SOURCE) if ready else unknown("its engine is not running", SOURCE, now)
        for figure in OF_AN_ENGINE:
            if figure not in values:
                yield f"engine.{figure}", unsupported("ComfyUI makes pictures, not tokens", SOURCE)

    def _points(self) -> Iterator[tuple[str, str, str, float]]:
        for host, facts in self._estate.hosts.items():
            yield host, "memory.available_bytes", "", self._memory.available_bytes(host)
            yield host, "cpu.use_ratio", "", self._hardware.cpu_use[host]
            if facts.gpu:
                yield host, "gpu.use_ratio", GPU, self._hardware.gpu_use
        for mode in self._engines.running:
            if self._engines.ready(mode) and self._estate.modes[mode].decode_tok_s:
                yield self._estate.box, "engine.decode_tok_s", mode, self._traffic.decode_tok_s(mode)
                yield self._estate.box, "engine.prompt_tok_s", mode, self._traffic.prompt_tok_s
