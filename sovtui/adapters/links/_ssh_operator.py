"""The operator during a login: questions to him, lines for him, and the clock that stands still while he types."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from sovtui.core.clean import Clean, clean
from sovtui.core.tailnet_words import read_banner
from sovtui.ports.link import Ask, Question, Tell

_LOGIN_URL_SECONDS = 600.0
"""How long a login may take after the server has shown a URL of some other kind."""
_HELD_SECONDS = 1860.0
"""A check of Tailscale SSH holds the login for up to half an hour, until its URL was visited."""
_TOUCH_SECONDS = 60.0
"""How long an agent may take to sign: it may ask its owner, or wait for a touch."""


class Operator:
    """Whoever sits there, or nobody."""

    def __init__(self, ask: Ask | None, on_banner: Tell | None, budget_seconds: float, label: str) -> None:
        self._ask = ask
        self._on_banner = on_banner
        self._clock: asyncio.Timeout | None = None
        self.label = label
        self.budget_seconds = budget_seconds
        """What is left to the server after a question."""
        self.said = ""
        """The first line of the last banner."""
        self.asked = False
        """Whether an answer is waited for now, here or at the URL that the server has shown."""
        self.heard = ""
        """All banners, uncleaned, the first 8 KiB."""
        self.url = ""
        """Where the login is to be approved; empty where it does not wait for that."""
        self._held: asyncio.Task[None] | None = None

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
        self.asked = True
        try:
            yield
        finally:
            self.asked = bool(self.url)
            self.set_clock(_HELD_SECONDS if self.url else self.budget_seconds)

    def banner(self, text: str) -> None:
        lines = [clean(line, 300) for line in text[:8192].splitlines()[:40]]
        self.said = next((line for line in lines if line.strip()), Clean(""))
        for line in lines:
            self.tell(line)
        self.heard = (self.heard + text)[:8192]
        wanted = read_banner(text).url
        if wanted:
            self._hold(wanted)
        elif self.there and not self.url and "https://" in text:
            self.asked = True
            self.set_clock(_LOGIN_URL_SECONDS)

    def _hold(self, url: str) -> None:
        """The server waits until somebody has approved this login elsewhere. Without anybody to tell it is over."""
        self.url = url
        if self._ask is None:
            self.set_clock(0.0)
            return
        self.asked = True
        self.set_clock(_HELD_SECONDS)
        if self._held is None:
            self._held = asyncio.create_task(self._wait(self._ask, url))

    async def _wait(self, ask: Ask, url: str) -> None:
        text = f"The server lets this login in once it is approved here:\n{url}\nOpen it in any browser; the login then continues by itself."
        await ask(Question("approval", clean(f"{self.label} waits for an approval"), text, url))
        self.set_clock(0.0)  # it was left: so is the login

    async def over(self) -> None:
        """The login has ended, one way or the other: nothing is asked any more."""
        if self._held is not None:
            self._held.cancel()
            await asyncio.gather(self._held, return_exceptions=True)

    async def answer(self, question: Question) -> str | None:
        assert self._ask is not None
        self.set_clock(None)
        self.asked = True
        try:
            return await self._ask(question)
        finally:
            self.asked = bool(self.url)
            self.set_clock(_HELD_SECONDS if self.url else self.budget_seconds)
