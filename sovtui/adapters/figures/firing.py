"""What fires as Prometheus itself tells: the series `ALERTS`, for the time in which Alertmanager may not know, and for the past. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice

from sovtui.adapters.figures.answers import Series
from sovtui.adapters.figures.questions import Question, literal
from sovtui.core.alerting import MARKS, PULSE_NAMES, is_pulse
from sovtui.core.clean import clean
from sovtui.core.model import Alert

FIRING = Question("al", "alerts", "", 'ALERTS_FOR_STATE and ignoring (alertstate) ALERTS{alertstate="firing"}')
"""Each alert that fires, with when it began as its value."""


MOST_ALERTS = 1000


def pulse_question(names: Iterable[str]) -> Question:
    """When each alert that always fires was last seen firing. `names`: those that are configured."""
    wanted = "|".join([PULSE_NAMES, *(literal(name) for name in names)])
    by = ",".join(("alertname", "severity", *MARKS))
    fires = f'timestamp(ALERTS{{alertstate="firing",alertname=~"{wanted}"}})'
    return Question("pu", "pulse", "", f"max by ({by}) ({fires} or max_over_time({fires}[6h:1m]))")


def own(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that its rule gave it."""
    return {k: v for k, v in labels.items() if k not in ("k", "__name__", "alertstate")}


def identity(labels: Mapping[str, str]) -> str:
    """The same for the same alert; not Alertmanager's, which knows more labels."""
    words = "\0".join(f"{k}\0{v}" for k, v in sorted(own(labels).items()))
    return hashlib.blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def firing(series: Iterable[Series], at: Callable[[float], datetime], pulses: Iterable[str]) -> tuple[Alert, ...]:
    """The alerts behind the answer to `FIRING`. `at`: a time of the server by this machine's clock."""
    found = []
    for s in islice(series, MOST_ALERTS):
        labels = own(s.labels)
        found.append(
            Alert(
                identity(s.labels),
                clean(labels.get("alertname", ""), 200),
                clean(labels.get("severity", ""), 40),
                since=at(s.value) if 1e9 < s.value < 1e11 else None,
                summary="Prometheus says that it fires",
                labels=tuple(sorted(labels.items())),
                pulse=is_pulse(labels, None, pulses),
            )
        )
    return tuple(sorted(found, key=lambda alert: alert.labels))


def seen_pulses(series: Iterable[Series], at: Callable[[float], datetime], names: Iterable[str]) -> dict[str, datetime]:
    """The answer to `pulse_question`, by name."""
    names = tuple(names)
    found: dict[str, datetime] = {}
    for s in series:
        name = s.labels.get("alertname", "")
        if name and is_pulse(own(s.labels), None, names) and 1e9 < s.value < 1e11:
            found[name] = max(at(s.value), found.get(name) or at(s.value))
    return found
