"""Answers about a host that are asked for many times between two changes of it. Pure: same host, same answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from sovtui.core.state import Host

T = TypeVar("T")


def once_per_host(judge: Callable[[Host], T]) -> Callable[[Host], T]:
    """Remember the last answer for each host's name, for as long as it is the very same object."""
    kept: dict[str, tuple[Host, T]] = {}

    @wraps(judge)
    def judged(host: Host) -> T:
        known = kept.get(host.spec.name)
        if known is None or known[0] is not host:
            kept[host.spec.name] = known = (host, judge(host))
        return known[1]

    return judged
