"""What is known of alerts while Alertmanager has not been told all of them yet, and the alert that proves that alerting works. Pure.

Alertmanager forgets its alerts when it is restarted: until Prometheus has sent them again they are missing, and that is no news of them.
An alert that always fires is the pulse of all alerting: that it is missing is the trouble.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sovtui.core.model import Alert, AlertState, Hush

PULSES = frozenset({"watchdog", "deadmansswitch", "deadmanswitch", "deadmanssnitch", "alwaysfiring", "heartbeat"})
"""Names of alerts that fire by design, without case and signs; taken for it where they are not severe, or say so themselves."""
PULSE_NAMES = "(?i)watchdog|dead_?man_?'?s?_?(switch|snitch)|always_?firing|heartbeat"
"""The same as a regular expression of Prometheus."""
MARKS = ("pulse", "heartbeat", "deadman")
"""A label or an annotation of one of these names that is `true` makes an alert a pulse, whatever it is called."""
HARMLESS = ("", "none", "info", "ok")
_SAYS_SO = re.compile(r"(?i)always (?:be )?fir|dead.?man|(?:whole|entire|alert\w*) (?:pipeline|chain)")
_TRUE = ("true", "yes", "1")
GONE_AFTER_SECONDS = 60.0
"""A list of alerts that is older says nothing of what is missing in it."""


def is_pulse(labels: Mapping[str, str], annotations: Mapping[str, str] | None = None, configured: Iterable[str] = ()) -> bool:
    """Whether an alert with these labels fires by design: it is configured as such, says so, or is known by its name."""
    name, told = labels.get("alertname", ""), annotations or {}
    if name in configured:
        return True
    if any(source.get(mark, "").casefold() in _TRUE for source in (labels, told) for mark in MARKS):
        return True
    if re.sub(r"[^a-z]", "", name.casefold()) not in PULSES:
        return False
    return labels.get("severity", "").casefold() in HARMLESS or any(_SAYS_SO.search(words) for words in told.values())


def same(alert: Alert, labels: Mapping[str, str]) -> bool:
    """Whether Prometheus' labels are those of an alert of Alertmanager, which has Prometheus' external labels beside them."""
    mine = dict(alert.labels)
    return all(mine.get(name, "") == value for name, value in labels.items())


def merged(
    told: tuple[Alert, ...], before: Sequence[Alert], firing: Sequence[Alert] | None, hushes: Sequence[Hush]
) -> tuple[Alert, ...]:
    """The alerts while Alertmanager may not know all: those `told`; of the others those that Prometheus says fire.

    `before`: those known before; where Prometheus does not tell (`firing` is None) they are kept, as not reported yet.
    """
    labels = {alert.labels for alert in told}
    if firing is None:
        kept = [replace(a, state=AlertState.UNTOLD) for a in before if a.labels not in labels]
        return (*told, *kept)
    found = []
    for alert in firing:
        mine = dict(alert.labels)
        if any(same(one, mine) for one in told):
            continue
        known = next((one for one in before if same(one, mine)), None)
        if known is not None:
            alert = replace(known, since=alert.since or known.since)
        silences = tuple(hush.silence for hush in hushes if hushed(dict(alert.labels), hush))
        state = AlertState.ACKNOWLEDGED if silences else AlertState.ACTIVE
        found.append(replace(alert, state=state, silences=silences, told_by="prometheus"))
    return (*told, *found)


def hushed(labels: Mapping[str, str], hush: Hush) -> bool:
    """Whether a silence is of an alert that only Prometheus has told. External labels are not known of it: they do not count."""
    names = {matcher.name for matcher in hush.matchers}
    if "alertname" not in names and not any(name in labels for name in names):
        return False
    for matcher in hush.matchers:
        value = labels.get(matcher.name)
        if value is None:
            if matcher.is_regex or not matcher.is_equal or not matcher.value:
                return False
            continue
        try:
            fits = re.fullmatch(matcher.value, value) is not None if matcher.is_regex else matcher.value == value
        except re.error:
            return False
        if fits is not matcher.is_equal:
            return False
    return True


def missing(alerts: Iterable[Alert], pulses: Mapping[str, datetime | None]) -> tuple[tuple[str, datetime | None], ...]:
    """The pulses that are not there, with when each was last there."""
    there = {alert.name for alert in alerts if alert.told_by != "prometheus" and alert.state is not AlertState.UNTOLD}
    return tuple((name, last) for name, last in sorted(pulses.items()) if name not in there)
