"""Acknowledging alerts."""

from __future__ import annotations

from datetime import timedelta
from typing import Protocol

from sovtui.core.events import AlertsSeen
from sovtui.core.model import Alert


class Alerts(Protocol):
    """Alertmanager, or what speaks its API. Raises `PortError`s."""

    async def seen(self) -> AlertsSeen:
        """All firing alerts, with the silences that hush them, and why some may be missing."""
        ...

    async def acknowledge(self, alert: Alert, *, author: str, comment: str, duration: timedelta) -> str:
        """Silence exactly this alert (all its labels, no regular expression); verified by reading back. Returns the silence's id."""
        ...

    async def unacknowledge(self, alert: Alert) -> tuple[str, ...]:
        """End every silence in the alert's own `silencedBy`. Returns their ids."""
        ...
