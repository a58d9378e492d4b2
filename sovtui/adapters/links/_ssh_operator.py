"""The operator during a login: questions to him, lines for him, and the clock that stands still while he types."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from sovtui.core.clean import Clean, clean
from sovtui.ports.link import Ask, Question

_LOGIN_URL_SECONDS = 600.0
"""How long a login may take after the server has shown a URL (Tailscale's check mode)."""


class Operator:
    """Whoever sits there, or nobody."""

    def __init__(self, ask: Ask | None, on_banner: Callable[[Clean], None] | None, budget_seconds: float) -> None:
        self._ask = ask
        self._on_banner = on_banner
        self._clock: asyncio.Timeout | None = None
        self.budget_seconds = budget_seconds
        """What is left to the server after a question."""
        self.said = ""
        """The first line of the last banner."""
        self.asked = False
        """Whether an answer is waited for now, here or at the URL that the server has shown."""

    @property
    def there(self) -> bool:
        return self._ask is not None

    def clock(self) -> asyncio.Timeout:
        """The clock of this login, not running yet."""
        self._clock = asyncio.timeout(None)
        return self._clock

    def set_clock(self, seconds: float | None) -> None:
        if self._clock is not None and not self._clock.expired():
            with contextlib.suppress(RuntimeError):  # the login has just ended
                self._clock.reschedule(None if seconds is None else asyncio.get_running_loop().time() + seconds)

    def banner(self, text: str) -> None:
        lines = [clean(line, 300) for line in text[:8192].splitlines()[:40]]
        self.said = next((line for line in lines if line.strip()), Clean(""))
        if self._on_banner:
            for line in lines:
                self._on_banner(line)
        if self.there and "https://" in text:
            self.asked = True
            self.set_clock(_LOGIN_URL_SECONDS)

    async def answer(self, question: Question) -> str | None:
        assert self._ask is not None
        self.set_clock(None)
        self.asked = True
        try:
            return await self._ask(question)
        finally:
            self.asked = False
            self.set_clock(self.budget_seconds)
