"""A stop that did not last is asked for again. Pure.

Podman answers a stop of a container that has just died as if it had stopped it, and then starts it again, as its restart policy says:
until it is gone for good, what a switch wants down is stopped once more whenever it is seen up.
"""

from __future__ import annotations

from collections.abc import Iterable

from sovtui.onbox.switchstate import Result, Switching, run
from sovtui.onbox.words import Looked


def again(s: Switching, seen: Looked, services: Iterable[str]) -> Result:
    """Stop those that serve although the command that stops them has ended well; while it runs it is not repeated."""
    if seen.reason or s.commanding:
        return s, ()
    asked = {*s.pending, *((verb, x) for verb, x, _ in s.refused)}
    return run(s, "stop", tuple(x for x in services if seen.unit(x).serving and ("stop", x) not in asked))
