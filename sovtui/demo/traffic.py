"""Requests at the ready engine: they come and go by chance, and an engine decodes them at a plausible speed."""

from __future__ import annotations

import math
import random

from sovtui.demo.engine_talk import while_decoding
from sovtui.demo.engines import Engines
from sovtui.demo.estate import Estate
from sovtui.demo.journals import Journals
from sovtui.demo.moment import Moment

WARM_SECONDS = 60.0
"""How long an engine decodes at its cold speed after it became ready."""


class Traffic:
    """How many requests run and wait now, and how fast they are served."""

    def __init__(self, estate: Estate, moment: Moment, chance: random.Random, engines: Engines, journals: Journals) -> None:
        self._estate = estate
        self._moment = moment
        self._chance = chance
        self._engines = engines
        self._journals = journals
        self._held = False
        self._next_change = 6.0
        self.requests = 0
        self.waiting = 0
        self.prompt_tok_s = 0.0
        self.wobble = 0.0

    def hold(self, running: int, waiting: int) -> None:
        """From now on exactly this many requests."""
        self._held = True
        self.requests, self.waiting = running, waiting

    def release(self) -> None:
        self._held = False
        self._next_change = self._moment.seconds

    def end(self) -> None:
        """The engine ends all requests."""
        self.requests = self.waiting = 0

    def working(self) -> bool:
        return bool(self.requests) and any(map(self._engines.ready, self._engines.running))

    def decode_tok_s(self, mode: str) -> float:
        """Tokens per second of all streams together."""
        engine, facts = self._engines.running.get(mode), self._estate.modes[mode]
        if engine is None or not self._engines.ready(mode) or not self.requests:
            return 0.0
        warm = min(1.0, max(0.0, (engine.ready_for - WARM_SECONDS) / 15.0))
        base = facts.cold_tok_s + (facts.decode_tok_s - facts.cold_tok_s) * warm
        streams: float = self.requests**0.62
        return max(0.0, base * streams * (1.0 + self.wobble))

    def kv_use_ratio(self) -> float:
        return min(0.97, 0.012 + 0.034 * self.requests + 0.004 * math.sin(self._moment.seconds / 37.0))

    def come_and_go(self) -> None:
        if self._held:
            return
        seconds = self._moment.seconds
        if not any(map(self._engines.ready, self._engines.running)):
            self.end()
            self._next_change = max(self._next_change, seconds + 4.0)
            return
        if seconds < self._next_change:
            return
        if self.requests:
            self.end()
            self._next_change = seconds + self._chance.uniform(8, 35)
        else:
            self.requests = self._chance.choices((1, 2, 3), (70, 22, 8))[0]
            self.waiting = 1 if self.requests == 3 else 0
            self.prompt_tok_s = self._chance.uniform(900, 2400)
            self._next_change = seconds + self._chance.uniform(18, 75)

    def drift(self, dt: float) -> None:
        """The speed is never quite the same."""
        self.wobble += (0.0 - self.wobble) * 0.04 * dt + self._chance.gauss(0.0, 0.012) * math.sqrt(dt)
        self.prompt_tok_s *= math.exp(-dt / 3.0)

    def tell(self) -> None:
        """A working engine says how it goes."""
        for mode in self._engines.running:
            if not self._engines.ready(mode) or not self.requests:
                continue
            config = self._engines.configs[mode]
            text = while_decoding(
                config.engine,
                prompt_tok_s=self.prompt_tok_s,
                decode_tok_s=self.decode_tok_s(mode),
                running=self.requests,
                waiting=self.waiting,
                kv_ratio=self.kv_use_ratio(),
            )
            self._journals.write(self._estate.box, config.services[0], text)
