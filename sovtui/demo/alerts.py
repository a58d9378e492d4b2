"""The alerts that fire and their silences, as Alertmanager keeps them: text is not clean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from sovtui.core.model import Alert, AlertState, Silence
from sovtui.demo.moment import Moment


class Alerts:
    """What fires now."""

    def __init__(self, moment: Moment, firing: tuple[Alert, ...]) -> None:
        self.firing = firing
        self._moment = moment
        self._silences = 0

    def acknowledge(self, fingerprint: str, author: str, comment: str, duration: timedelta) -> str:
        """Add a silence. KeyError if no such alert fires."""
        self._silences += 1
        silence = Silence(f"d3500000-0000-4000-8000-{self._silences:012d}", author, comment, self._moment.now + duration)
        self._change(fingerprint, lambda old: (*old, silence))
        return silence.id

    def unacknowledge(self, fingerprint: str) -> tuple[str, ...]:
        """End all its silences. KeyError if no such alert fires."""
        gone = next((a.silences for a in self.firing if a.fingerprint == fingerprint), ())
        self._change(fingerprint, lambda old: ())
        return tuple(silence.id for silence in gone)

    def resolve(self, ended: Callable[[Alert], bool]) -> None:
        """What has `ended` fires no longer."""
        self.firing = tuple(alert for alert in self.firing if not ended(alert))

    def expire(self) -> None:
        """End the silences whose time is over."""
        now = self._moment.now
        for alert in self.firing:
            if any(s.ends_at <= now for s in alert.silences):
                self._change(alert.fingerprint, lambda old: tuple(s for s in old if s.ends_at > now))

    def _change(self, fingerprint: str, change: Callable[[tuple[Silence, ...]], tuple[Silence, ...]]) -> None:
        if fingerprint not in {a.fingerprint for a in self.firing}:
            raise KeyError(fingerprint)
        changed = []
        for alert in self.firing:
            if alert.fingerprint == fingerprint:
                silences = change(alert.silences)
                state = AlertState.ACKNOWLEDGED if silences else AlertState.ACTIVE
                alert = replace(alert, silences=silences, state=state)
            changed.append(alert)
        self.firing = tuple(changed)
