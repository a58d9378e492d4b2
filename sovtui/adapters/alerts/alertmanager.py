"""Alertmanager's API, version 2: the alerts that fire, and silences as acknowledgements.

Shown text is cleaned here; labels stay raw, because a silence has to match them exactly.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx

from sovtui.adapters.links.http import date_of, login_advice, request
from sovtui.core import outside
from sovtui.core.alerting import is_pulse
from sovtui.core.clean import MAX_CHARS, clean, clean_bytes
from sovtui.core.events import AlertsSeen
from sovtui.core.model import Alert, AlertState, Hush, Matcher, Silence
from sovtui.core.state import State
from sovtui.core.text import clock as clock_time
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Malformed, PortError, Refused, TimedOut, Unreachable, Unsupported
from sovtui.ports.source import Emit
from sovtui.runtime.pace import Pace, paced
from sovtui.runtime.skews import Skews

NAME = "Alertmanager"
SILENCE_FRESH_SECONDS = 60.0
START_BACK = timedelta(minutes=1)
"""A start in the past is moved to now; one ahead of the server's clock would leave the alert active."""
_UNTOLD = datetime(9999, 1, 1, tzinfo=UTC)
"""End of a silence that could not be read."""
TOLD_AGAIN_SECONDS = 75.0
"""So long after its start it may not have been told of everything again: Prometheus sends what fires once a minute (its resend delay)."""
MOST = outside.Most(bytes=3 << 20, items=150_000)
"""A list of three thousand alerts, about."""
MOST_ALERTS = 1000
MOST_SILENCES = 20
"""Of one alert."""
READ_BACK_TRIES = 12
READ_BACK_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class _Known:
    silence: Silence
    monotonic: float


class Alertmanager:
    """Implements `ports.alerts.Alerts`."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock, *, pulses: Iterable[str] = ()) -> None:
        """`client` has the url of `[alertmanager]` as its base address, path prefix included. `pulses`: alerts that always fire."""
        self._client, self._clock = client, clock
        self._pulses = tuple(pulses)
        self._started_at: datetime | None = None
        """When it was started, by this machine's clock; None where it does not tell."""
        self._asked = False
        """That has been asked, and nothing has happened since that could have changed it."""
        self._names: frozenset[tuple[tuple[str, str], ...]] = frozenset()
        """The labels of the alerts that it listed last."""
        self._silences: dict[str, _Known] = {}
        self._server: tuple[datetime, float] | None = None
        """The server's time, and the monotonic time when it said so."""
        self._skews = Skews()
        """Of its one clock: moments that it tells are carried over to this machine's."""
        self.version = ""
        self.left_out = ""
        """What of the last list could not be read, or was too much."""

    async def list(self) -> tuple[Alert, ...]:
        rows: builtins.list[Mapping[str, Any]] = []
        unread = beyond = 0

        def take(row: object) -> None:
            nonlocal unread, beyond
            if not isinstance(row, dict) or not _is_alert(row):
                unread += 1
            elif len(rows) < MOST_ALERTS:
                rows.append(row)
            else:
                beyond += 1

        around = await self._call("GET", "/api/v2/alerts", take=take)
        if not isinstance(around, builtins.list):
            raise Malformed(f"{NAME} answered something that is not a list of alerts")
        self.left_out = outside.left_out(((unread, "alerts that cannot be read"), (beyond, "alerts beyond a thousand")))
        pace = Pace()
        hushed = {identity for row in rows for identity in _silenced(row)}
        silences = await self._join(hushed)
        skew, found = self._skews.of(NAME), []
        for row in rows:
            found.append(_alert(row, silences, skew, self._pulses))
            await pace.turn()
        return tuple(found)

    async def seen(self) -> AlertsSeen:
        """What it knows now, and whether it knows all: after a restart it is told again bit by bit."""
        try:
            alerts = await self.list()
        except PortError:
            self._asked = False  # perhaps it is being restarted
            raise
        names = frozenset(alert.labels for alert in alerts)
        if not self._asked or self._names - names:  # what is missing has ended, or was forgotten
            await self._ask_start()
        self._names = names
        untold = self._untold()
        hushes: tuple[Hush, ...] = ()
        if untold:
            hushes = tuple([hush for row in await self._active_silences() if (hush := self._hush(row)) is not None])
        return AlertsSeen(alerts, self._clock.now(), untold, hushes, self._pulses)

    def _untold(self) -> str:
        """Why alerts may be missing; empty where none is."""
        started = self._started_at
        if started is None or not 0 <= (self._clock.now() - started).total_seconds() < TOLD_AGAIN_SECONDS:
            return ""
        return f"Alertmanager was started at {clock_time(started)}: it receives what fires again within about a minute"

    async def _ask_start(self) -> None:
        """When it was started: `uptime` is a moment. What else speaks this API need not tell."""
        self._asked, self._started_at = True, None
        try:
            told = await self._get("/api/v2/status")
        except (Unsupported, Malformed, Refused):
            return
        if isinstance(told, dict):
            self._take_version(told)
            self._started_at = _by_us(outside.moment(told.get("uptime")), self._skews.of(NAME))

    async def _active_silences(self) -> builtins.list[Any]:
        rows = await self._get("/api/v2/silences")
        return [row for row in outside.rows(rows) if _status(row).get("state") == "active"][:MOST_ALERTS]

    def _hush(self, row: Mapping[str, Any]) -> Hush | None:
        silence, matchers = _silence(row, self._skews.of(NAME)), row.get("matchers")
        if silence is None or not isinstance(matchers, builtins.list):
            return None
        found = []
        for m in outside.rows(matchers):
            name, value = m.get("name"), m.get("value")
            if not isinstance(name, str) or not isinstance(value, str) or len(value) > outside.MOST_TEXT:
                return None  # without one of its matchers it would hush more than it does
            found.append(Matcher(name, value, m.get("isRegex") is True, m.get("isEqual") is not False))
        return Hush(silence, tuple(found)) if 0 < len(found) <= outside.MOST_LABELS and len(found) == len(matchers) else None

    async def acknowledge(self, alert: Alert, *, author: str, comment: str, duration: timedelta) -> str:
        comment = clean(comment, 500).strip()
        if not comment:
            raise Refused("an acknowledgement needs a comment", "Say why it is silenced, for the next reader")
        if duration <= timedelta(0):
            raise Refused("an acknowledgement needs an end that is in the future")
        if not alert.labels:
            raise Refused("this alert has no labels: a silence for it would match everything")
        now = await self._now()
        body = {
            "matchers": [{"name": k, "value": v, "isRegex": False, "isEqual": True} for k, v in alert.labels],
            "startsAt": _iso(now - START_BACK),
            "endsAt": _iso(now + duration),
            "createdBy": clean(author, 100) or "sovtui",
            "comment": comment if comment.lower().startswith("ack") else f"ack: {comment}",
        }
        told = await self._call("POST", "/api/v2/silences", json=body)
        identity = told.get("silenceID") or told.get("id") if isinstance(told, dict) else None
        if not isinstance(identity, str) or not identity:
            raise Malformed(f"{NAME} made a silence and did not say which")
        # Members of a cluster need a moment to tell each other.
        if not await self._until(alert, lambda found: identity in {s.id for s in found.silences}):
            raise PortError(
                f"the silence {identity} was made, but the alert is still active", "Look at its labels and at the clocks"
            )
        return identity

    async def unacknowledge(self, alert: Alert) -> tuple[str, ...]:
        found = await self._find(alert)
        identities = tuple(s.id for s in (alert if found is None else found).silences)
        if not identities:
            raise Refused("this alert is not acknowledged")
        for identity in identities:
            answer = await request(self._client, "DELETE", f"/api/v2/silence/{quote(identity, safe='')}", idempotent=True)
            gone = answer.status_code == 404 or (answer.status_code == 500 and b"not found" in answer.content[:1000].lower())
            if not gone:  # what is not there any more is what we want; 0.25 says 500 for it
                _check(answer)
            self._silences.pop(identity, None)
        if not await self._until(alert, lambda a: not {s.id for s in a.silences} & set(identities)):
            raise PortError("the silences were ended, but the alert still shows them", "Ask again in a minute")
        return identities

    async def ask_version(self) -> str:
        """Its version, once."""
        if not self.version:
            told = await self._get("/api/v2/status")
            self._take_version(told if isinstance(told, dict) else {})
        return self.version

    def _take_version(self, status: Mapping[str, Any]) -> None:
        self.version = clean(outside.text(outside.table(status.get("versionInfo")).get("version")), 30)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _find(self, alert: Alert) -> Alert | None:
        return next((a for a in await self.list() if a.labels == alert.labels), None)

    async def _until(self, alert: Alert, done: Any) -> bool:
        for attempt in range(READ_BACK_TRIES):
            if attempt:
                await self._clock.sleep(READ_BACK_PAUSE_SECONDS)
            found = await self._find(alert)
            if found is None or done(found):  # it may have ended meanwhile
                return True
        return False

    async def _join(self, identities: set[str]) -> dict[str, Silence]:
        """The silences behind ids. Few are asked one by one: the list holds five days of expired ones."""
        now = self._clock.monotonic()
        self._silences = {
            i: k for i, k in self._silences.items() if i in identities and now - k.monotonic < SILENCE_FRESH_SECONDS
        }
        wanted = identities - self._silences.keys()
        if len(wanted) > 8:
            rows = await self._get("/api/v2/silences")
        else:
            rows = await asyncio.gather(*(self._silence(identity) for identity in sorted(wanted)))
        for row in outside.rows(rows):
            if outside.text(row.get("id")) in wanted and (silence := _silence(row, self._skews.of(NAME))) is not None:
                self._silences[silence.id] = _Known(silence, now)
        return {identity: known.silence for identity, known in self._silences.items()}

    async def _silence(self, identity: str) -> Any:
        try:
            return await self._get(f"/api/v2/silence/{quote(identity, safe='')}")
        except Unsupported:
            return None  # it went between the two questions

    async def _now(self) -> datetime:
        """By the server's clock."""
        if self._server is None or self._clock.monotonic() - self._server[1] > 300.0:
            await self._get("/api/v2/status")
        if self._server is None:
            return self._clock.now()
        date, monotonic = self._server
        return date + timedelta(seconds=self._clock.monotonic() - monotonic)

    async def _get(self, path: str) -> Any:
        return await self._call("GET", path)

    async def _call(self, method: str, path: str, take: Callable[[object], None] | None = None, **words: Any) -> Any:
        """The JSON of the answer; with `take` it gets each row, and they are in the answer no more."""
        asked_at = self._clock.monotonic()
        answer = await request(self._client, method, path, **words)
        if date := answer.headers.get("date"):
            told = date_of(date)
            self._server = (told, self._clock.monotonic()) if told is not None else None
            if told is not None:
                took = self._clock.monotonic() - asked_at
                self._skews.hear(NAME, told.timestamp(), self._clock.now(), took / 2)
        _check(answer)
        try:
            if take is not None:
                return await paced(outside.each_row(answer.content, MOST), take)
            return outside.document(answer.content, MOST)
        except outside.TooMuch as error:
            raise Malformed(f"{NAME} tells too much: {error}") from None
        except ValueError:
            raise Malformed(f"{NAME} answered something that is not JSON", "Look at the url of [alertmanager]") from None


class AlertmanagerSource:
    """Implements `ports.source.Source`."""

    name = "alertmanager"
    host = ""

    def __init__(
        self, alertmanager: Alertmanager, clock: Clock, *, interval_seconds: float = 5.0, timeout_seconds: float = 5.0
    ) -> None:
        self._alertmanager, self._clock = alertmanager, clock
        self.interval_seconds = interval_seconds
        self.timeout_seconds = 2 * timeout_seconds

    @property
    def left_out(self) -> str:
        """See `ports.source.Source`."""
        return self._alertmanager.left_out

    async def poll(self, state: State, emit: Emit) -> str:
        emit(await self._alertmanager.seen())
        return await self._alertmanager.ask_version()

    async def aclose(self) -> None:
        await self._alertmanager.aclose()


def _check(answer: httpx.Response) -> None:
    """Sentences for what Alertmanager says no to."""
    status = answer.status_code
    if answer.is_success:
        return
    text = _said(answer)
    match status:
        case 400 | 422:
            raise Malformed(f"{NAME} refuses the request ({status}): {text}")
        case 401 | 403:
            raise Refused(f"{NAME} denies access ({status}{f': {text}' if text else ''})", login_advice(answer))
        case 404 | 405:
            raise Unsupported(f"{NAME} has nothing there ({status})", "Put the path prefix into the url of [alertmanager]")
        case 410:
            raise Unsupported(f"{NAME} no longer has this version of its API")
        case 415:
            raise Malformed(f"{NAME} did not get JSON (415)", "Something on the way changes the request")
        case 502 | 503:
            raise Unreachable(f"{NAME} is not ready ({status}): {text}")
        case 504:
            raise TimedOut(f"{NAME} did not answer its proxy in time (504)")
        case _:
            raise Malformed(f"{NAME} says {status}: {text}")


def _said(answer: httpx.Response) -> str:
    """A bare JSON string, an object with a message, or text."""
    try:
        told = outside.document(answer.content, _REFUSAL)
    except ValueError:
        return clean_bytes(answer.content[:400], 200)
    if isinstance(told, dict):
        told = told.get("message") or told.get("error") or ""
    return clean(outside.text(told), 200)


_REFUSAL = outside.Most(bytes=64 << 10, items=1000)


def _is_alert(row: object) -> bool:
    """Whether it is an alert that can be shown and acknowledged: labels of text, all of them told."""
    return isinstance(row, dict) and outside.is_labels(row.get("labels"))


def _alert(row: Mapping[str, Any], silences: Mapping[str, Silence], skew: timedelta, pulses: Iterable[str]) -> Alert:
    labels: Mapping[str, str] = row["labels"]
    status = _status(row)
    told = [(k, outside.text(v)) for k, v in builtins.list(outside.table(row.get("annotations")).items())[: outside.MOST_LABELS]]
    notes = {key: words[: 8 * MAX_CHARS] for key, words in told if words}
    mine = _silenced(row)
    state = AlertState.ACTIVE
    if mine:
        state = AlertState.ACKNOWLEDGED
    elif outside.texts(status.get("inhibitedBy")) or outside.texts(status.get("mutedBy")):
        state = AlertState.INHIBITED
    elif status.get("state") == "unprocessed":
        state = AlertState.UNPROCESSED
    return Alert(
        fingerprint=clean(outside.text(row.get("fingerprint")), 64),
        name=clean(labels.get("alertname", ""), 200) or "alert without a name",
        severity=clean(labels.get("severity", ""), 40),
        state=state,
        since=_by_us(outside.moment(row.get("startsAt")), skew),
        summary=clean(notes.get("summary") or notes.get("message") or notes.get("description") or "", 400),
        labels=tuple(sorted(labels.items())),
        silences=tuple(silences.get(i) or Silence(i, "", "", _UNTOLD) for i in mine),
        annotations=tuple(sorted((clean(key, 100), clean(words)) for key, words in notes.items())),
        pulse=is_pulse(labels, notes, pulses),
    )


def _silenced(row: Mapping[str, Any]) -> builtins.list[str]:
    return [one[:100] for one in outside.texts(_status(row).get("silencedBy"))[:MOST_SILENCES]]


def _silence(row: Mapping[str, Any], skew: timedelta) -> Silence | None:
    ends_at, identity = _by_us(outside.moment(row.get("endsAt")), skew), outside.text(row.get("id"))
    if ends_at is None or not identity:
        return None
    author, comment = (outside.text(row.get(key)) for key in ("createdBy", "comment"))
    return Silence(identity, clean(author, 100), clean(comment, 500), ends_at)


def _status(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return outside.table(row.get("status"))


def _by_us(told: datetime | None, skew: timedelta) -> datetime | None:
    """A moment of the server's, by this machine's clock."""
    return None if told is None else told + skew


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
