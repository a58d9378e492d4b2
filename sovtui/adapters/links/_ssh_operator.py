"""The operator during a login: questions to him, lines for him, and the clock that stands still while he types."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from sovtui.core.clean import Clean, clean
from sovtui.ports.link import Ask, Question, Tell

_LOGIN_URL_SECONDS = 600.0
"""How long a login may take after the server has shown a URL (Tailscale's check mode)."""
_TOUCH_SECONDS = 60.0
"""How long an agent may take to sign: it may ask its owner, or wait for a touch."""


class Operator:
    """Whoever sits there, or nobody."""

    def __init__(self, ask: Ask | None, on_banner: Tell | None, budget_seconds: float) -> None:
        self._ask = ask
        self._on_banner = on_banner
        self._clock: asyncio.Timeout | None = None
        self.budget_seconds = budget_seconds
        """What is left to the server after a question."""
        self.said = ""
        """The first line of the last banner."""

    def be_quiet(self) -> None:
        """Ask nothing in this login, as its owner says (BatchMode)."""
        self._ask = None

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

    def tell(self, text: str) -> None:
        """A line for whoever sits there or reads along."""
        if self._on_banner and text.strip():
            self._on_banner(clean(text, 300))

    @contextlib.contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Somebody may have to act outside of here (touch a key, answer his agent): the clock stands still."""
        self.tell(text)
        self.set_clock(_TOUCH_SECONDS)
        try:
            yield
        finally:
            self.set_clock(self.budget_seconds)

    def banner(self, text: str) -> None:
        lines = [clean(line, 300) for line in text[:8192].splitlines()[:40]]
        self.said = next((line for line in lines if line.strip()), Clean(""))
        for line in lines:
            self.tell(line)
        if self.there and "https://" in text:
            self.set_clock(_LOGIN_URL_SECONDS)

    async def answer(self, question: Question) -> str | None:
        assert self._ask is not None
        self.set_clock(None)
        try:
            return await self._ask(question)
        finally:
            self.set_clock(self.budget_seconds)
