"""How much of what comes is kept in the state, whatever comes. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sovtui.core.model import Alert
from sovtui.core.reading import Reading

Points = tuple[tuple[float, float], ...]
MOST_FIGURES = 2000
"""Of one host: disks, GPUs and engines that come and go must not fill the memory."""


def thin(figures: dict[tuple[str, str], Reading], curves: Mapping[tuple[str, str], Points]) -> dict[tuple[str, str], Points]:
    """Take out what is too much: what is gone before what is known, and of that the newest keys. Returns the curves that are left."""
    gone = [key for key, reading in figures.items() if reading.value is None]
    known = [key for key, reading in figures.items() if reading.value is not None]
    for key in (*gone, *reversed(known))[: len(figures) - MOST_FIGURES]:
        del figures[key]
    return {key: points for key, points in curves.items() if key in figures}


def as_known(alerts: tuple[Alert, ...], before: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """Those that are as they were stay the same objects: the record keeps an hour of them."""
    known = {alert.labels: alert for alert in before}
    return tuple(was if (was := known.get(alert.labels)) == alert and was is not None else alert for alert in alerts)
