"""The simulated estate. Time passes only through `advance`; every random number comes from one seeded generator.

It plays what a supervisor, a kernel and an engine do (units, memory that comes back late, loads, requests, journals).
It knows no hub, no store and no asyncio; it must not decide anything that an action decides.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sovtui.core.events import BackupsSeen, Curve, EngineSeen, Event, Sample, Samples, ServicesSeen
from sovtui.core.model import Alert, AlertState, Backup, Engine, EnginePhase, Service, Silence
from sovtui.core.reading import Reading, fresh, unknown, unsupported
from sovtui.core.state import CURVE_POINTS
from sovtui.demo.estate import GIB, MIB, Estate, HostFacts, ModeFacts

GRID_SECONDS = 0.25
"""The world moves in steps of this size, whatever `advance` is asked for: how it is called changes nothing."""
SOURCE = "demo"
RELEASE_SECONDS = 3.0
"""How long a dead engine's memory takes to come back. Compressed: up to a minute on the real box."""
WARM_SECONDS = 60.0
"""How long an engine decodes at its cold speed after it became ready."""
GPU = "0"
JOB_SECONDS = 8
LOADING = (EnginePhase.STARTING, EnginePhase.WARMING)
LOG_LINES = 500
VLLM_STAMP, SGLANG_STAMP = "%V%", "%S%"
"""In the text of a line: where the engine writes the time of writing."""


@dataclass(slots=True)
class Unit:
    """A unit or container as its supervisor has it."""

    name: str
    description: str
    active: str
    sub: str
    since: datetime
    result: str = ""
    restarts: int | None = 0
    main_pid: int | None = None
    memory_bytes: int | None = None
    restarts_every_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A journal line as it was written: not clean."""

    at: datetime
    text: str
    level: str = "info"


@dataclass(slots=True)
class Running:
    """A mode's engine process."""

    mode: str
    phase: EnginePhase = EnginePhase.STARTING
    elapsed: float = 0.0
    """Seconds since its unit was started."""
    ready_for: float = 0.0
    held_bytes: float = 0.0
    stopping: float | None = None
    """Seconds until it is gone."""
    progress: str = ""
    script: deque[tuple[float, str, str, str]] = field(default_factory=deque)
    """What a load still has to say: (fraction of the load, line, progress, level)."""


class World:
    """All hosts of one estate at one moment."""

    def __init__(self, estate: Estate, start: datetime, *, seed: int = 7) -> None:
        self.estate = estate
        self.start = start
        self.random = random.Random(seed)  # noqa: S311 - a simulation
        self._steps = 0
        self._rest = 0.0
        self.units: dict[str, dict[str, Unit]] = {}
        self.running: dict[str, Running] = {}
        """Engine processes by mode; a stopping one counts until it is gone."""
        self.journals: dict[tuple[str, str], deque[Line]] = {}
        self.written: dict[tuple[str, str], int] = {}
        """Lines ever written per (host, service); a follower knows from it what is new."""
        self.backups: dict[str, dict[str, Backup]] = {}
        self.alerts: tuple[Alert, ...] = estate.usual_alerts(start)
        self.down: dict[str, str] = {}
        """Hosts that cannot be reached, and why."""
        self.fails_to_load: set[str] = set()
        """Modes whose next load runs out of memory."""
        self.cached: dict[str, float] = {}
        self.releasing: list[tuple[float, float]] = []
        """(bytes, seconds left): memory of dead processes that is not back yet."""
        self.requests = 0
        self.waiting = 0
        self.history: dict[tuple[str, str, str], deque[tuple[float, float]]] = {}
        self._jobs: dict[tuple[str, str], int] = {}
        """Seconds that a backup runs already."""
        self._again: set[str] = set()
        """Services to be started again once they are gone."""
        self._held_requests = False
        self._next_change = 6.0
        self._prompt = 0.0
        self._wobble = 0.0
        self._cpu: dict[str, float] = {}
        self._latency: dict[str, float] = {}
        self._watts = estate.hosts[estate.box].idle_watts
        self._celsius = estate.hosts[estate.box].idle_celsius
        self._gpu_use = 0.0
        self._silences = 0
        self._next_pid = 48211
        for name, facts in estate.hosts.items():
            self._found(name, facts)
        if estate.hot:
            self._found_hot(estate.hot)

    # The beginning.

    def _found(self, host: str, facts: HostFacts) -> None:
        self.cached[host] = float(facts.cached_bytes)
        self._cpu[host] = facts.cpu_ratio
        self._latency[host] = facts.latency_seconds
        self.units[host] = {}
        for name, told in facts.services.items():
            running = told.active == "active"
            self.units[host][name] = Unit(
                name,
                told.description,
                told.active,
                told.sub,
                self.start - timedelta(seconds=told.age_seconds),
                "success",
                told.restarts,
                self._pid() if running and told.memory_bytes else None,
                told.memory_bytes if running else None,
                told.restarts_every_seconds,
            )
        ages = {b.name: b for b in self.estate.config.host[host].backup}
        self.backups[host] = {}
        for name, (age, result) in facts.backups.items():
            last = None if age is None else self.start - timedelta(seconds=age)
            config = ages[name]
            self.backups[host][name] = Backup(name, config.service, float(config.max_age), last, result, self.start, SOURCE)
            if result == "failed":
                unit = self.units[host][config.service]
                unit.active, unit.sub, unit.result = "failed", "failed", "exit-code"

    def _found_hot(self, mode: str) -> None:
        facts = self.estate.modes[mode]
        self.running[mode] = Running(mode, EnginePhase.READY, 4000.0, 4000.0, float(facts.resident_bytes))
        for service in self._services(mode):
            unit = self.units[self.estate.box][service]
            unit.active, unit.sub, unit.since = "active", "running", self.start - timedelta(seconds=4020)
            unit.main_pid = self._pid()

    # Time.

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return self._steps * GRID_SECONDS

    @property
    def now(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass. Fractions of a grid step are kept for the next call."""
        self._rest += seconds
        while self._rest >= GRID_SECONDS - 1e-9:
            self._rest -= GRID_SECONDS
            self._steps += 1
            self._step(GRID_SECONDS)

    def _step(self, dt: float) -> None:
        self._move_requests()
        self._move_engines(dt)
        self._move_memory(dt)
        self._move_machine(dt)
        if self._steps % 4 == 0:
            self._each_second()

    def _each_second(self) -> None:
        self._restart_loops()
        self._move_jobs()
        self._expire_silences()
        if self._steps % 40 == 0:
            self._busy_line()
        at = self.now.timestamp()
        for host, figure, subject, value in self._curves():
            kept = self.history.setdefault((host, figure, subject), deque(maxlen=CURVE_POINTS))
            kept.append((at, value))

    # What an action does to the box. Nothing here waits: look again after `advance`.

    def start_service(self, host: str, service: str) -> None:
        """As `systemctl start`: returns at once, the engine loads from now on."""
        unit = self.units[host][service]
        if unit.active in ("active", "activating"):
            return
        if service in {b.service for b in self.backups[host].values()}:
            self._start_job(host, unit)
            return
        unit.active, unit.sub, unit.since, unit.result = "active", "running", self.now, "success"
        unit.main_pid, unit.restarts = self._pid(), 0
        mode = self._mode_of(service)
        if host == self.estate.box and mode and mode not in self.running:
            self.running[mode] = Running(mode, script=deque(self._load_script(mode)))
        self.write(host, service, f"Started {unit.description}.")

    def _start_job(self, host: str, unit: Unit) -> None:
        unit.active, unit.sub, unit.since, unit.main_pid = "activating", "start", self.now, self._pid()
        self._jobs[(host, unit.name)] = 0
        for name, backup in self.backups[host].items():
            if backup.service == unit.name:
                self.backups[host][name] = replace(backup, last_result="running")
        self.write(host, unit.name, f"Starting {unit.description}...")

    def _move_jobs(self) -> None:
        """Backups that run: one line a second, done after eight."""
        for (host, service), spent in tuple(self._jobs.items()):
            self._jobs[(host, service)] = spent + 1
            if spent < JOB_SECONDS:
                self.write(host, service, f"{100 * spent // JOB_SECONDS} % of 14.2 GiB read, {spent * 27} MiB new")
                continue
            del self._jobs[(host, service)]
            unit = self.units[host][service]
            unit.active, unit.sub, unit.result, unit.since, unit.main_pid = "inactive", "dead", "success", self.now, None
            self.write(host, service, "done: 14.2 GiB in 41 832 files, 212 MiB new, archive read back")
            self.write(host, service, f"Finished {unit.description}.")
            for name, backup in tuple(self.backups[host].items()):
                if backup.service == service:
                    self.backup_result(host, name, "success")

    def stop_service(self, host: str, service: str) -> None:
        """As `systemctl stop --no-block`."""
        unit = self.units[host][service]
        if unit.active not in ("active", "activating"):
            return
        mode = self._mode_of(service)
        engine = self.running.get(mode) if host == self.estate.box and mode else None
        if engine is None:
            self._jobs.pop((host, service), None)
            unit.active, unit.sub, unit.since, unit.main_pid = "inactive", "dead", self.now, None
            return
        unit.active, unit.sub, unit.since = "deactivating", "stop-sigterm", self.now
        engine.stopping = self.estate.modes[mode].stop_seconds
        self.requests = self.waiting = 0
        self.write(host, service, f"Stopping {unit.description}...")

    def reset_failed(self, host: str, service: str) -> None:
        unit = self.units[host][service]
        if unit.active == "failed":
            unit.active, unit.sub, unit.result = "inactive", "dead", "success"

    def drop_caches(self, host: str) -> float:
        """As `sync; echo 3 > /proc/sys/vm/drop_caches`. Returns the bytes that came back."""
        rest = 0.06 * self.cached[host]
        freed = self.cached[host] - rest
        self.cached[host] = rest
        return freed

    def backup_result(self, host: str, name: str, result: str) -> None:
        old = self.backups[host][name]
        last = self.now if result == "success" else old.last_success_at
        self.backups[host][name] = replace(old, last_result=result, last_success_at=last)
        if result == "success":
            self.alerts = tuple(a for a in self.alerts if not (a.name == "BackupLate" and a.label("destination") == name))

    def restart_service(self, host: str, service: str) -> None:
        """As `systemctl restart --no-block`."""
        unit = self.units[host][service]
        if unit.restarts_every_seconds:
            unit.restarts_every_seconds = None
            self.alerts = tuple(a for a in self.alerts if a.label("name") != service.removeprefix("container:"))
        self.stop_service(host, service)
        if unit.active == "deactivating":
            self._again.add(service)
        else:
            self.start_service(host, service)

    def kill_engine(self, mode: str, reason: str) -> None:
        """Its unit stays up and its memory stays held, but it no longer answers."""
        engine = self.running[mode]
        engine.phase, engine.progress = EnginePhase.DEAD, reason
        self.requests = self.waiting = 0

    def hold_requests(self, running: int, waiting: int = 0) -> None:
        """From now on exactly this many requests: for pictures and tests."""
        self._held_requests = True
        self.requests, self.waiting = running, waiting

    def release_requests(self) -> None:
        self._held_requests = False
        self._next_change = self.seconds

    def acknowledge(self, fingerprint: str, author: str, comment: str, duration: timedelta) -> str:
        """Add a silence. KeyError if no such alert fires."""
        self._silences += 1
        silence = Silence(f"d3500000-0000-4000-8000-{self._silences:012d}", author, comment, self.now + duration)
        self._change_alert(fingerprint, lambda old: (*old, silence))
        return silence.id

    def unacknowledge(self, fingerprint: str) -> tuple[str, ...]:
        """End all its silences. KeyError if no such alert fires."""
        gone = next((a.silences for a in self.alerts if a.fingerprint == fingerprint), ())
        self._change_alert(fingerprint, lambda old: ())
        return tuple(silence.id for silence in gone)

    def write(self, host: str, service: str, text: str, level: str = "info") -> None:
        """Add a journal line."""
        key = (host, service)
        text = text.replace(VLLM_STAMP, f"{self.now:%m-%d %H:%M:%S}").replace(SGLANG_STAMP, f"{self.now:%Y-%m-%d %H:%M:%S}")
        self.journals.setdefault(key, deque(maxlen=LOG_LINES)).append(Line(self.now, text, level))
        self.written[key] = self.written.get(key, 0) + 1

    def journal(self, host: str, service: str, lines: int) -> tuple[Line, ...]:
        """The newest lines, oldest first."""
        kept = self.journals.get((host, service), ())
        return tuple(kept)[-lines:] if lines > 0 else ()

    # What a look at the box tells.

    def loaded(self) -> tuple[str, ...]:
        """Modes whose engine holds memory now. Never more than one, or somebody has broken the mutex."""
        return tuple(self.running)

    def ready(self, mode: str) -> bool:
        engine = self.running.get(mode)
        return engine is not None and engine.phase is EnginePhase.READY and engine.stopping is None

    def available_bytes(self, host: str) -> float:
        facts = self.estate.hosts[host]
        return max(0.3 * GIB, facts.total_bytes - self._used_bytes(host) - 0.08 * self.cached[host])

    def latency_seconds(self, host: str) -> float:
        return self._latency[host]

    def services(self, host: str) -> tuple[Service, ...]:
        watched = self.units[host].values()
        return tuple(
            Service(
                name=u.name,
                active=u.active,
                sub=u.sub,
                result=u.result,
                since=u.since,
                restarts=u.restarts,
                main_pid=u.main_pid,
                memory_bytes=self._service_memory(host, u),
                description=u.description,
                at=self.now,
                source=SOURCE,
            )
            for u in watched
        )

    def engine(self, mode: str) -> Engine:
        """What the mode's engine says of itself."""
        facts = self.estate.modes[mode]
        config = next(m for m in self.estate.config.host[self.estate.box].mode if m.name == mode)
        engine = self.running.get(mode)
        if engine is None or engine.stopping is not None:
            return Engine(EnginePhase.ABSENT, at=self.now)
        if engine.phase is EnginePhase.READY:
            return Engine(
                EnginePhase.READY, (config.model,) if config.model else (), facts.context_tokens, facts.version, at=self.now
            )
        if engine.phase is EnginePhase.DEAD:
            return Engine(EnginePhase.DEAD, version=facts.version, reason=engine.progress, at=self.now)
        return Engine(engine.phase, version=facts.version, progress=engine.progress, at=self.now)

    def events(self, host: str) -> tuple[Event, ...]:
        """Everything that one look at a host tells."""
        events: list[Event] = [Samples(host, tuple(self._samples(host))), ServicesSeen(host, self.services(host))]
        if host == self.estate.box:
            events += [EngineSeen(host, mode, self.engine(mode)) for mode in self.estate.modes]
        if self.backups[host]:
            events.append(BackupsSeen(host, tuple(replace(b, at=self.now) for b in self.backups[host].values())))
        return tuple(events)

    def curves(self, host: str) -> tuple[Curve, ...]:
        """The history of a host's figures up to now."""
        return tuple(
            Curve(h, figure, subject, tuple(points)) for (h, figure, subject), points in self.history.items() if h == host
        )

    # Requests and engines.

    def _move_requests(self) -> None:
        if self._held_requests:
            return
        hot = next((m for m in self.running if self.ready(m)), None)
        if hot is None:
            self.requests = self.waiting = 0
            self._next_change = max(self._next_change, self.seconds + 4.0)
            return
        if self.seconds < self._next_change:
            return
        if self.requests:
            self.requests, self.waiting = 0, 0
            self._next_change = self.seconds + self.random.uniform(8, 35)
        else:
            self.requests = self.random.choices((1, 2, 3), (70, 22, 8))[0]
            self.waiting = 1 if self.requests == 3 else 0
            self._prompt = self.random.uniform(900, 2400)
            self._next_change = self.seconds + self.random.uniform(18, 75)

    def _move_engines(self, dt: float) -> None:
        for mode in tuple(self.running):
            engine, facts = self.running[mode], self.estate.modes[mode]
            if engine.stopping is not None:
                engine.stopping -= dt
                if engine.stopping <= 0:
                    self._gone(engine, "success")
                    for service in self._again & set(self._services(mode)):
                        self._again.remove(service)
                        self.start_service(self.estate.box, service)
                continue
            engine.elapsed += dt
            if engine.phase is EnginePhase.DEAD:
                continue
            if engine.phase is EnginePhase.READY:
                engine.ready_for += dt
                continue
            self._load(engine, facts, dt)

    def _load(self, engine: Running, facts: ModeFacts, dt: float) -> None:
        done = min(1.0, engine.elapsed / facts.load_seconds)
        reading = max(0.0, min(1.0, (done - 0.12) / 0.5))
        engine.held_bytes = facts.weights_bytes * reading + (facts.resident_bytes - facts.weights_bytes) * max(
            0.0, (done - 0.62) / 0.38
        )
        if 0.12 < done < 0.62:
            self.cached[self.estate.box] += facts.weights_bytes * dt / (0.5 * facts.load_seconds)
        service = self._services(engine.mode)[0]
        while engine.script and engine.script[0][0] <= done:
            _, text, progress, level = engine.script.popleft()
            self.write(self.estate.box, service, text, level)
            engine.progress = progress or engine.progress
            if level == "fatal":
                self.fails_to_load.discard(engine.mode)
                self._gone(engine, "exit-code")
                return
        if done >= 1.0:
            engine.phase, engine.progress, engine.held_bytes = EnginePhase.READY, "", float(facts.resident_bytes)
        elif done >= 0.85:
            engine.phase = EnginePhase.WARMING

    def _gone(self, engine: Running, result: str) -> None:
        del self.running[engine.mode]
        self.releasing.append((engine.held_bytes, RELEASE_SECONDS))
        for service in self._services(engine.mode):
            unit = self.units[self.estate.box][service]
            unit.active, unit.sub = ("inactive", "dead") if result == "success" else ("failed", "failed")
            unit.result, unit.since, unit.main_pid = result, self.now, None
            end = "Deactivated successfully." if result == "success" else f"Failed with result '{result}'."
            self.write(self.estate.box, service, f"{service.removeprefix('container:')}: {end}")

    def _load_script(self, mode: str) -> Iterator[tuple[float, str, str, str]]:
        facts = self.estate.modes[mode]
        config = next(m for m in self.estate.config.host[self.estate.box].mode if m.name == mode)
        shards = facts.shards
        weights = facts.weights_bytes / GIB
        core, api = f"(EngineCore pid=412) INFO {VLLM_STAMP}", f"(APIServer pid=1) INFO {VLLM_STAMP}"
        fails = mode in self.fails_to_load
        if config.engine == "vllm":
            yield 0.03, f"{api} [api_server.py:1272] vLLM API server version {facts.version}", "starting vLLM", "info"
            yield (
                0.1,
                f"{core} [gpu_model_runner.py:3012] Starting to load model /models/{config.model}...",
                "loading weights",
                "info",
            )
        elif config.engine == "sglang":
            yield (
                0.03,
                f"[{SGLANG_STAMP}] server_args=ServerArgs(model_path='/models/{config.model}')",
                "starting SGLang",
                "info",
            )
            yield 0.1, f"[{SGLANG_STAMP}] Load weight begin. avail mem=112.31 GB", "loading weights", "info"
        else:
            yield 0.03, f"Starting server of mode {mode}", "starting", "info"
            if fails:
                yield 0.1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.38 GiB.", "", "error"
                yield 0.15, "main process exited with status 1", "", "fatal"
                return
        for shard in range(shards + 1):
            percent = 100 * shard // shards
            at = 0.12 + 0.5 * shard / shards
            bar = f"Loading safetensors checkpoint shards: {percent:3d}% Completed | {shard}/{shards} [00:{shard * 2:02d}<00:{(shards - shard) * 2:02d},  1.94s/it]"
            if config.engine:
                if fails and shard > shards * 0.6:
                    free = self.random.uniform(0.2, 0.6)
                    yield (
                        at,
                        (
                            f"[{SGLANG_STAMP}] Scheduler hit an exception: torch.OutOfMemoryError: CUDA out of memory. "
                            f"Tried to allocate 3.50 GiB. GPU 0 has a total capacity of 121.70 GiB of which {free:.2f} GiB is free."
                        ),
                        "out of memory",
                        "error",
                    )
                    yield (
                        at,
                        f"[{SGLANG_STAMP}] Received sigquit from a child process. It usually means the child failed.",
                        "",
                        "fatal",
                    )
                    return
                yield at, bar, f"weights {shard}/{shards}", "info"
        if config.engine == "vllm":
            yield 0.64, f"{core} [default_loader.py:314] Loading weights took {weights / 3.1:.2f} seconds", "", "info"
            yield (
                0.66,
                f"{core} [gpu_model_runner.py:3040] Model loading took {weights:.2f} GiB and {weights / 2.9:.6f} seconds",
                "compiling",
                "info",
            )
            yield 0.72, f"{core} [backends.py:653] Dynamo bytecode transform time: 6.42 s", "compiling", "info"
            yield 0.78, f"{core} [gpu_worker.py:391] Available KV cache memory: 33.94 GiB", "sizing the KV cache", "info"
            yield 0.79, f"{core} [kv_cache_utils.py:1307] GPU KV cache size: 741,328 tokens", "", "info"
            yield (
                0.86,
                "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE): 100%|██████████| 51/51 [00:04<00:00, 11.92it/s]",
                "capturing graphs",
                "info",
            )
            yield 0.92, f"{core} [gpu_model_runner.py:4061] Graph capturing finished in 4 secs, took 0.71 GiB", "", "info"
            yield (
                0.95,
                f"{core} [core.py:273] init engine (profile, create kv cache, warmup model) took 21.88 s",
                "opening the port",
                "info",
            )
            yield 1.0, "(APIServer pid=1) INFO:     Application startup complete.", "", "info"
        elif config.engine == "sglang":
            yield (
                0.64,
                f"[{SGLANG_STAMP}] Load weight end. elapsed={weights / 3.4:.2f} s, type=MistralForCausalLM, avail mem=55.12 GB, mem usage={weights:.2f} GB.",
                "",
                "info",
            )
            yield (
                0.7,
                f"[{SGLANG_STAMP}] KV Cache is allocated. dtype: torch.bfloat16, #tokens: 214016, K size: 10.2 GB, V size: 10.2 GB",
                "sizing the KV cache",
                "info",
            )
            yield (
                0.78,
                f"[{SGLANG_STAMP}] Capture cuda graph begin. This can take up to several minutes. avail mem=30.06 GB",
                "capturing graphs",
                "info",
            )
            yield (
                0.88,
                f"[{SGLANG_STAMP}] Capture cuda graph end. Time elapsed: 3.90 s. mem usage=1.12 GB. avail mem=28.94 GB.",
                "",
                "info",
            )
            yield (
                0.92,
                f"[{SGLANG_STAMP}] INFO:     Uvicorn running on http://0.0.0.0:30000 (Press CTRL+C to quit)",
                "warming up",
                "info",
            )
            yield 1.0, f"[{SGLANG_STAMP}] The server is fired up and ready to roll!", "", "info"
        else:
            yield 0.8, "Import times for custom nodes: 0.8 s", "importing", "info"
            yield 1.0, "To see the GUI go to its port: ready", "", "info"

    def _busy_line(self) -> None:
        for mode in self.running:
            if not self.ready(mode) or not self.requests:
                continue
            config = next(m for m in self.estate.config.host[self.estate.box].mode if m.name == mode)
            speed, service = self.decode_tok_s(mode), self._services(mode)[0]
            if config.engine == "vllm":
                text = (
                    f"(APIServer pid=1) INFO {self.now:%m-%d %H:%M:%S} [loggers.py:257] Engine 000: Avg prompt throughput: {self._prompt:.1f} tokens/s, "
                    f"Avg generation throughput: {speed:.1f} tokens/s, Running: {self.requests} reqs, Waiting: {self.waiting} reqs, "
                    f"GPU KV cache usage: {100 * self._kv():.1f}%, Prefix cache hit rate: 61.2%"
                )
            elif config.engine == "sglang":
                text = (
                    f"[{self.now:%Y-%m-%d %H:%M:%S}] Decode batch, #running-req: {self.requests}, #token: {int(214016 * self._kv())}, token usage: {self._kv():.2f}, "
                    f"cuda graph: True, gen throughput (token/s): {speed:.2f}, #queue-req: {self.waiting}"
                )
            else:
                text = "Prompt executed in 1.04 seconds"
            self.write(self.estate.box, service, text)

    def decode_tok_s(self, mode: str) -> float:
        """Tokens per second of all streams together."""
        engine, facts = self.running.get(mode), self.estate.modes[mode]
        if engine is None or not self.ready(mode) or not self.requests:
            return 0.0
        warm = min(1.0, max(0.0, (engine.ready_for - WARM_SECONDS) / 15.0))
        base = facts.cold_tok_s + (facts.decode_tok_s - facts.cold_tok_s) * warm
        streams: float = self.requests**0.62
        return max(0.0, base * streams * (1.0 + self._wobble))

    def _kv(self) -> float:
        return min(0.97, 0.012 + 0.034 * self.requests + 0.004 * math.sin(self.seconds / 37.0))

    # Memory and machine.

    def _used_bytes(self, host: str) -> float:
        used = float(self.estate.hosts[host].used_bytes)
        if host == self.estate.box and self.estate.hosts[host].gpu_total_bytes is None:
            used += self._held_bytes()
        return used

    def _held_bytes(self) -> float:
        """What modes hold, and what dead ones have not given back."""
        held = sum(engine.held_bytes for engine in self.running.values())
        return held + sum(size * left / RELEASE_SECONDS for size, left in self.releasing)

    def gpu_used_bytes(self, host: str) -> float:
        """Of a GPU with its own memory."""
        facts = self.estate.hosts[host]
        used = facts.gpu_used_bytes + (self._held_bytes() if host == self.estate.box else 0.0)
        return min(float(facts.gpu_total_bytes or 0), used)

    def _move_memory(self, dt: float) -> None:
        self.releasing = [(size, left - dt) for size, left in self.releasing if left > dt]
        for host, facts in self.estate.hosts.items():
            self.cached[host] += (0.35 * MIB if host == self.estate.box else 0.0) * dt
            room = facts.total_bytes - self._used_bytes(host) - 0.6 * 0.01 * facts.total_bytes
            self.cached[host] = max(0.1 * GIB, min(self.cached[host], room))

    def _move_machine(self, dt: float) -> None:
        draw = self.random.gauss
        self._wobble += (0.0 - self._wobble) * 0.04 * dt + draw(0.0, 0.012) * math.sqrt(dt)
        self._prompt *= math.exp(-dt / 3.0)
        loading = any(e.phase in LOADING and e.stopping is None for e in self.running.values())
        working = bool(self.requests) and any(self.ready(m) for m in self.running)
        use = 0.93 if working else 0.38 if loading else 0.0
        self._gpu_use += (use - self._gpu_use) * min(1.0, dt / 0.8)
        card = self.estate.hosts[self.estate.box]
        target = (
            card.idle_watts + (card.busy_watts - card.idle_watts) * self._gpu_use / 0.93 + (draw(0.0, 1.2) if working else 0.0)
        )
        self._watts += (target - self._watts) * min(1.0, dt / 1.5)
        self._celsius += (card.idle_celsius + card.degrees_per_watt * (self._watts - card.idle_watts) - self._celsius) * dt / 40.0
        for host, facts in self.estate.hosts.items():
            busy = 0.09 if working and host == self.estate.box else 0.3 if loading and host == self.estate.box else 0.0
            self._cpu[host] += (facts.cpu_ratio + busy - self._cpu[host]) * 0.5 * dt + draw(0.0, 0.006)
            self._cpu[host] = min(1.0, max(0.005, self._cpu[host]))
            lag = facts.latency_seconds
            self._latency[host] = max(0.7 * lag, self._latency[host] + (lag - self._latency[host]) * 0.3 * dt + draw(0.0, 0.0008))

    def _restart_loops(self) -> None:
        for host, units in self.units.items():
            for unit in units.values():
                if not unit.restarts_every_seconds or unit.active == "inactive":
                    continue
                age = (self.now - unit.since).total_seconds()
                if unit.active == "active" and age >= unit.restarts_every_seconds:
                    unit.active, unit.sub, unit.since, unit.main_pid = "activating", "auto-restart", self.now, None
                    unit.result = "exit-code"
                    self.write(host, unit.name, "sqlite3.OperationalError: database is locked", "error")
                elif unit.active == "activating" and age >= 5:
                    unit.active, unit.sub, unit.since, unit.main_pid = "active", "running", self.now, self._pid()
                    unit.restarts = (unit.restarts or 0) + 1
                    self.write(host, unit.name, "INFO:     Started server process [1]")

    def _expire_silences(self) -> None:
        for alert in self.alerts:
            if any(s.ends_at <= self.now for s in alert.silences):
                self._change_alert(alert.fingerprint, lambda old: tuple(s for s in old if s.ends_at > self.now))

    def _change_alert(self, fingerprint: str, change: Callable[[tuple[Silence, ...]], tuple[Silence, ...]]) -> None:
        if fingerprint not in {a.fingerprint for a in self.alerts}:
            raise KeyError(fingerprint)
        changed = []
        for alert in self.alerts:
            if alert.fingerprint == fingerprint:
                silences = change(alert.silences)
                state = AlertState.ACKNOWLEDGED if silences else AlertState.ACTIVE
                alert = replace(alert, silences=silences, state=state)
            changed.append(alert)
        self.alerts = tuple(changed)

    # Figures.

    def _samples(self, host: str) -> Iterator[Sample]:
        facts, now = self.estate.hosts[host], self.now

        def told(figure: str, value: float, subject: str = "") -> Sample:
            return Sample(figure, fresh(value, now, SOURCE), subject)

        cached = self.cached[host]
        yield told("memory.total_bytes", facts.total_bytes)
        yield told("memory.available_bytes", self.available_bytes(host))
        yield told("memory.droppable_bytes", 0.92 * cached)
        yield told("memory.cached_bytes", cached)
        yield told("memory.buffers_bytes", 0.004 * facts.total_bytes)
        yield told("memory.shared_bytes", 0.03 * cached)
        yield told("memory.swap_total_bytes", facts.swap_bytes)
        yield told("memory.swap_used_bytes", 0.011 * facts.swap_bytes)
        yield told("cpu.use_ratio", self._cpu[host])
        if facts.gpu:
            yield told("gpu.use_ratio", self._gpu_use, GPU)
            yield told("gpu.power_watts", self._watts, GPU)
            yield told("gpu.temperature_celsius", self._celsius, GPU)
            yield told("gpu.clock_hertz", 2.418e9 if self._gpu_use > 0.05 else 0.208e9, GPU)
            if facts.gpu_total_bytes is not None:
                yield told("gpu.memory_used_bytes", self.gpu_used_bytes(host), GPU)
                yield told("gpu.memory_total_bytes", facts.gpu_total_bytes, GPU)
            else:
                for figure in ("gpu.memory_used_bytes", "gpu.memory_total_bytes"):
                    reading = unsupported(f"{facts.gpu} has no memory of its own: it shares the host's", SOURCE)
                    yield Sample(figure, reading, GPU)
        if host == self.estate.box:
            for mode in self.estate.config.host[host].mode:
                if mode.engine:
                    yield from (Sample(f, r, mode.name) for f, r in self._engine_figures(mode.name))

    def _engine_figures(self, mode: str) -> Iterator[tuple[str, Reading]]:
        facts, now = self.estate.modes[mode], self.now
        figures = [
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
        ]
        if not self.ready(mode):
            for figure in figures:
                yield f"engine.{figure}", unknown("its engine is not running", SOURCE, now)
            return
        speed = self.decode_tok_s(mode)
        moving = self.requests > 0 and speed > 0
        values: dict[str, float | None] = {
            "decode_tok_s": speed,
            "prompt_tok_s": self._prompt if self._prompt > 1 else 0.0,
            "running": float(self.requests),
            "waiting": float(self.waiting),
            "kv_use_ratio": self._kv(),
            "ttft_p50_seconds": 0.21 * (1 + 0.4 * self.waiting) if moving else None,
            "ttft_p95_seconds": 0.74 * (1 + 0.6 * self.waiting) if moving else None,
            "itl_mean_seconds": self.requests / speed if moving else None,
            "itl_p95_seconds": 1.7 * self.requests / speed if moving else None,
            "prefix_hit_ratio": 0.61 + 0.3 * self._wobble,
            "asleep": 0.0,
            "start_unixtime": self._started_at(mode),
        }
        for figure in figures:
            key = f"engine.{figure}"
            if figure in ("accept_ratio", "accept_length"):
                if facts.accept_ratio is None:
                    yield key, unsupported("this mode runs without speculative decoding", SOURCE)
                elif not moving:
                    yield key, unknown("no traffic in the window", SOURCE, now)
                else:
                    ratio = min(0.95, facts.accept_ratio * (1 + self._wobble))
                    yield key, fresh(ratio if figure == "accept_ratio" else 1 + 3 * ratio, now, SOURCE)
                continue
            value = values[figure]
            yield key, unknown("no traffic in the window", SOURCE, now) if value is None else fresh(value, now, SOURCE)

    def _curves(self) -> Iterator[tuple[str, str, str, float]]:
        for host, facts in self.estate.hosts.items():
            yield host, "memory.available_bytes", "", self.available_bytes(host)
            yield host, "cpu.use_ratio", "", self._cpu[host]
            if facts.gpu:
                yield host, "gpu.use_ratio", GPU, self._gpu_use
        for mode in self.running:
            if self.ready(mode) and self.estate.modes[mode].decode_tok_s:
                yield self.estate.box, "engine.decode_tok_s", mode, self.decode_tok_s(mode)
                yield self.estate.box, "engine.prompt_tok_s", mode, self._prompt

    # Small things.

    def _started_at(self, mode: str) -> float:
        return (self.now - timedelta(seconds=self.running[mode].elapsed)).timestamp()

    def _service_memory(self, host: str, unit: Unit) -> int | None:
        mode = self._mode_of(unit.name) if host == self.estate.box else ""
        if mode and mode in self.running:
            return int(self.running[mode].held_bytes)
        return unit.memory_bytes if unit.main_pid is not None else None

    def _services(self, mode: str) -> tuple[str, ...]:
        return next(m.services for m in self.estate.config.host[self.estate.box].mode if m.name == mode)

    def _mode_of(self, service: str) -> str:
        modes = self.estate.config.host[self.estate.box].mode
        return next((m.name for m in modes if service in m.services), "")

    def _pid(self) -> int:
        self._next_pid += 37
        return self._next_pid
