"""Engines that run beside the modes: an Ollama whose models come and go, a router with a cooldown, an engine on the CPU.

An Ollama answers the calls of the real on-box machine, so that load, unload and pin do in the demo what they do on a box.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sovtui.core.catalog import ENGINE_FIGURES
from sovtui.core.events import Sample
from sovtui.core.model import Engine, EnginePhase, Part
from sovtui.core.reading import Reading, fresh, unsupported
from sovtui.demo.estate import SOURCE, BesideFacts, Estate, ModelFacts
from sovtui.demo.memory import Memory
from sovtui.demo.moment import Moment
from sovtui.demo.supervisor import Supervisor

FIVE_MINUTES = 300.0
FOR_EVER = 292 * 365.25 * 86400.0
USED_EVERY = 240.0
"""Somebody asks the model that is in use again, so that it stays."""
BYTES_PER_SECOND = 1.6e9
"""How fast a model is read."""
IN_MEMORY = 1.12
"""What a model takes there, against its file."""


@dataclass(slots=True)
class Loaded:
    model: ModelFacts
    end: float
    """In seconds of the world; FOR_EVER beyond it for a pinned one."""
    used: bool = False


class Beside:
    """All of them on the estate's box."""

    def __init__(self, estate: Estate, moment: Moment, memory: Memory, supervisor: Supervisor, busy: Callable[[], int]) -> None:
        self._estate = estate
        self._moment = moment
        self._memory = memory
        self._supervisor = supervisor
        self._busy = busy
        self.configs = {one.name: one for one in estate.config.host[estate.box].engine}
        self._loaded: dict[str, dict[str, Loaded]] = {name: {} for name in self.configs}
        for name, facts in estate.beside.items():
            for model in facts.models:
                if model.at_begin:
                    end = FOR_EVER if model.pinned else FIVE_MINUTES
                    self._loaded[name][model.name] = Loaded(model, end, used=not model.pinned)
            self._hold(name)

    def up(self, name: str) -> bool:
        """Whether what runs it runs."""
        units = self._supervisor.units[self._estate.box]
        return all(units[service].active == "active" for service in self.configs[name].services)

    def move(self) -> None:
        """Time has passed: what nobody asks for goes."""
        now = self._moment.seconds
        for name, models in self._loaded.items():
            if models and not self.up(name):
                models.clear()
            for model in tuple(models.values()):
                if model.used and model.end - now < FIVE_MINUTES - USED_EVERY:
                    model.end = now + FIVE_MINUTES
                if model.end <= now:
                    del models[model.model.name]
            self._hold(name)

    def _hold(self, name: str) -> None:
        if self._estate.beside[name].models:
            self._memory.held[name] = sum(self._vram(name, one.model) for one in self._loaded[name].values())

    def _vram(self, name: str, model: ModelFacts) -> float:
        """What of it lies on the card: those that came before it have their place already."""
        others = 0.0
        for one in self._loaded[name].values():
            if one.model.name == model.name:
                break
            others += IN_MEMORY * one.model.size_bytes
        total = self._estate.hosts[self._estate.box].gpu_total_bytes or 0
        modes = sum(held for mode, held in self._memory.held.items() if mode in self._estate.modes)
        free = total - self._estate.hosts[self._estate.box].gpu_used_bytes - modes - others
        return min(IN_MEMORY * model.size_bytes, max(0.0, free))

    # What a look tells.

    def seen(self, name: str) -> Engine:
        """What it says of itself."""
        config, facts, now = self.configs[name], self._estate.beside[name], self._moment.now
        if not self.up(name):
            return Engine(EnginePhase.ABSENT, reason=f"{config.services[0]} does not run", at=now)
        if facts.models:
            return self._ollama(name, facts)
        parts = tuple(facts.parts(self._moment.start, now))
        cooling = sum(1 for part in parts if part.state == "cooldown")
        deployments = sum(1 for part in parts if part.state != "chain")
        reason = f"{cooling} in cooldown of {deployments} deployments" if cooling else ""
        models = tuple(dict.fromkeys(part.name.partition(":")[0] for part in parts if part.state != "chain"))
        served = (config.model,) if config.model else models
        return Engine(EnginePhase.READY, served, facts.context_tokens, facts.version, reason=reason, at=now, parts=parts)

    def _ollama(self, name: str, facts: BesideFacts) -> Engine:
        loaded = self._loaded[name].values()
        parts = tuple(self._part(name, one) for one in loaded)
        installed = tuple(Part(model.name, "installed", size_bytes=model.size_bytes) for model in facts.models)
        spilled = [part for part in parts if part.trouble]
        phase = EnginePhase.SPILLED if spilled else EnginePhase.READY if parts else EnginePhase.ASLEEP
        reason = "" if parts else "no model is loaded: the next request loads it"
        if spilled:
            told = "; ".join(f"{p.detail} of {p.name} on the CPU" for p in spilled)
            reason = f"{told}: it does not fit into GPU memory"
        names = tuple(part.name for part in parts)
        return Engine(
            phase,
            names,
            version=facts.version,
            reason=reason,
            at=self._moment.now,
            wakes=not parts,
            parts=parts,
            installed=installed,
        )

    def _part(self, name: str, one: Loaded) -> Part:
        size, vram = IN_MEMORY * one.model.size_bytes, self._vram(name, one.model)
        spilled, pinned = vram < size, one.end >= FOR_EVER
        return Part(
            one.model.name,
            "spilled" if spilled else "ready",
            spilled,
            f"{max(1, round(100 * (size - vram) / size))} %" if spilled else "",
            size_bytes=int(size),
            accelerator_bytes=int(vram),
            context_tokens=one.model.context_tokens,
            ends_at=None if pinned else self._at(one.end),
            pinned=pinned,
        )

    def _at(self, seconds: float) -> datetime:
        return self._moment.start + timedelta(seconds=seconds)

    def samples(self) -> Iterator[Sample]:
        """Its figures."""
        for name in self.configs:
            if self.up(name):
                yield from (Sample(figure, reading, name) for figure, reading in self._figures(name))

    def _figures(self, name: str) -> Iterator[tuple[str, Reading]]:
        facts, now = self._estate.beside[name], self._moment.now
        values: dict[str, float] = {}
        if facts.models:
            sizes = [IN_MEMORY * one.model.size_bytes for one in self._loaded[name].values()]
            on_card = sum(self._vram(name, one.model) for one in self._loaded[name].values())
            values["engine.memory_bytes"] = sum(sizes)
            if sizes:
                values["engine.cpu_share_ratio"] = 1 - on_card / sum(sizes)
        elif facts.decode_tok_s:
            running = self._busy() if facts.follows_traffic else 0
            values = {"engine.running": float(running), "engine.decode_tok_s": facts.decode_tok_s if running else 0.0}
        for figure in ENGINE_FIGURES:
            told = fresh(values[figure], now, SOURCE) if figure in values else unsupported("it does not report this", SOURCE)
            yield figure, told

    # What it is asked on the box.

    def takes_seconds(self, url: str, body: str) -> float:
        """How long the answer to this takes: a model is read first."""
        wish = json.loads(body) if body else {}
        for name, config in self.configs.items():
            model = self._model(name, str(wish.get("model", "")))
            if config.url == url and model is not None and wish.get("keep_alive") != 0 and model.name not in self._loaded[name]:
                return model.size_bytes / BYTES_PER_SECOND
        return 0.1

    def call(self, url: str, path: str, body: str) -> tuple[int, str]:
        """Status and text, as an Ollama would."""
        name = next((name for name, config in self.configs.items() if config.url == url and self.up(name)), "")
        if not name or not self._estate.beside[name].models:
            return 0, ""
        if path == "/api/ps":
            return 200, json.dumps({"models": [self._row(name, one) for one in self._loaded[name].values()]})
        wish: dict[str, Any] = json.loads(body or "{}")
        model, keep = self._model(name, str(wish.get("model", ""))), wish.get("keep_alive", FIVE_MINUTES)
        if path != "/api/generate" or model is None:
            return 404, json.dumps({"error": f"model '{wish.get('model')}' not found"})
        self._loaded[name].pop(model.name, None) if keep == 0 else None
        if keep != 0:
            end = FOR_EVER if keep < 0 else self._moment.seconds + float(keep)
            self._loaded[name][model.name] = Loaded(model, end)
        self._hold(name)
        return 200, json.dumps({"model": model.name, "done": True, "done_reason": "unload" if keep == 0 else "load"})

    def _model(self, name: str, wanted: str) -> ModelFacts | None:
        return next((m for m in self._estate.beside[name].models if wanted in (m.name, m.name.removesuffix(":latest"))), None)

    def _row(self, name: str, one: Loaded) -> dict[str, Any]:
        end = self._at(one.end).isoformat()
        size, vram = IN_MEMORY * one.model.size_bytes, self._vram(name, one.model)
        return {"name": one.model.name, "size": int(size), "size_vram": int(vram), "expires_at": end}
