"""The engine processes of the box's modes: they load, get ready, die, and are gone. Nothing here keeps two of them apart."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from sovtui.core.model import Engine, EnginePhase
from sovtui.demo.engine_talk import Saying, while_loading
from sovtui.demo.estate import Estate
from sovtui.demo.journals import Journals
from sovtui.demo.memory import Memory
from sovtui.demo.moment import Moment
from sovtui.demo.supervisor import Supervisor

LOADING = (EnginePhase.STARTING, EnginePhase.WARMING)


@dataclass(slots=True)
class Running:
    """A mode's engine process."""

    mode: str
    phase: EnginePhase = EnginePhase.STARTING
    elapsed: float = 0.0
    """Seconds since its unit was started."""
    ready_for: float = 0.0
    stopping: float | None = None
    """Seconds until it is gone."""
    progress: str = ""
    script: deque[Saying] = field(default_factory=deque)
    """What a load still has to say."""


class Engines:
    """Engine processes by mode; a stopping one counts until it is gone."""

    def __init__(
        self,
        estate: Estate,
        moment: Moment,
        chance: random.Random,
        memory: Memory,
        supervisor: Supervisor,
        journals: Journals,
    ) -> None:
        self._estate = estate
        self._box = estate.box
        self._moment = moment
        self._chance = chance
        self._memory = memory
        self._supervisor = supervisor
        self._journals = journals
        self.configs = {mode.name: mode for mode in estate.config.host[estate.box].mode}
        self.running: dict[str, Running] = {}
        self.fails_to_load: set[str] = set()
        """Modes whose next load runs out of memory."""
        if estate.hot:
            self.running[estate.hot] = Running(estate.hot, EnginePhase.READY, 4000.0, 4000.0)
            memory.held[estate.hot] = float(estate.modes[estate.hot].resident_bytes)
            for service in self.configs[estate.hot].services:
                supervisor.found(self._box, service, 4020)

    def mode_of(self, host: str, service: str) -> str:
        """The mode whose engine runs in `service`; empty: none."""
        if host != self._box:
            return ""
        return next((mode.name for mode in self.configs.values() if service in mode.services), "")

    def ready(self, mode: str) -> bool:
        engine = self.running.get(mode)
        return engine is not None and engine.phase is EnginePhase.READY and engine.stopping is None

    def loading(self) -> bool:
        return any(engine.phase in LOADING and engine.stopping is None for engine in self.running.values())

    def start(self, mode: str) -> None:
        """Its unit was started: it loads from now on, unless another unit of the mode did that already."""
        if mode not in self.running:
            fails, facts = mode in self.fails_to_load, self._estate.modes[mode]
            script = while_loading(self.configs[mode], facts, fails=fails, chance=self._chance)
            self.running[mode] = Running(mode, script=deque(script))
            self._memory.held[mode] = 0.0

    def stop(self, mode: str) -> None:
        self.running[mode].stopping = self._estate.modes[mode].stop_seconds

    def kill(self, mode: str, reason: str) -> None:
        """Its unit stays up and its memory stays held, but it no longer answers."""
        engine = self.running[mode]
        engine.phase, engine.progress = EnginePhase.DEAD, reason

    def revive(self, mode: str) -> None:
        """It answers again, as if nothing had been."""
        engine = self.running[mode]
        engine.phase, engine.progress = EnginePhase.READY, ""

    def move(self, dt: float) -> Iterator[str]:
        """Let all engines go on. Yields the modes that were told to stop and are gone now."""
        for mode, engine in tuple(self.running.items()):
            if engine.stopping is not None:
                engine.stopping -= dt
                if engine.stopping <= 0:
                    self._gone(mode, "success")
                    yield mode
                continue
            engine.elapsed += dt
            if engine.phase is EnginePhase.READY:
                engine.ready_for += dt
            elif engine.phase is not EnginePhase.DEAD:
                self._load(engine, dt)

    def started_at(self, mode: str) -> float:
        return (self._moment.now - timedelta(seconds=self.running[mode].elapsed)).timestamp()

    def seen(self, mode: str) -> Engine:
        """What the mode's engine says of itself."""
        facts, model, now = self._estate.modes[mode], self.configs[mode].model, self._moment.now
        engine = self.running.get(mode)
        if engine is None or engine.stopping is not None:
            return Engine(EnginePhase.ABSENT, at=now)
        if engine.phase is EnginePhase.READY:
            return Engine(EnginePhase.READY, (model,) if model else (), facts.context_tokens, facts.version, at=now)
        if engine.phase is EnginePhase.DEAD:
            return Engine(EnginePhase.DEAD, version=facts.version, reason=engine.progress, at=now)
        return Engine(engine.phase, version=facts.version, progress=engine.progress, at=now)

    def _load(self, engine: Running, dt: float) -> None:
        facts, mode = self._estate.modes[engine.mode], engine.mode
        done = min(1.0, engine.elapsed / facts.load_seconds)
        reading = max(0.0, min(1.0, (done - 0.12) / 0.5))
        rest = facts.resident_bytes - facts.weights_bytes
        self._memory.held[mode] = facts.weights_bytes * reading + rest * max(0.0, (done - 0.62) / 0.38)
        if 0.12 < done < 0.62:
            self._memory.cached[self._box] += facts.weights_bytes * dt / (0.5 * facts.load_seconds)
        while engine.script and engine.script[0][0] <= done:
            _, text, progress, level = engine.script.popleft()
            self._journals.write(self._box, self.configs[mode].services[0], text, level)
            engine.progress = progress or engine.progress
            if level == "fatal":
                self.fails_to_load.discard(mode)
                self._gone(mode, "exit-code")
                return
        if done >= 1.0:
            engine.phase, engine.progress = EnginePhase.READY, ""
            self._memory.held[mode] = float(facts.resident_bytes)
        elif done >= 0.85:
            engine.phase = EnginePhase.WARMING

    def _gone(self, mode: str, result: str) -> None:
        del self.running[mode]
        self._memory.release(mode)
        for service in self.configs[mode].services:
            self._supervisor.end(self._box, service, result)
