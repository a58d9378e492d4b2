"""Runs of which systemd itself keeps no record, as its journal tells them: see `runs`. Asked beside the sweep: a journal may be slow."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sovtui.onbox import runs

EVERY = 60.0
"""Seconds after which it is asked again though nothing was seen to move: a short run comes and goes between two looks."""
AT_FIRST = 0.5
"""So long the first look waits for it: who asks once is told the sooner."""
_RESTING = ("active", "inactive", "failed")


class Records:
    """What the journal told last of some services."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._asked: dict[str, tuple[object, float]] = {}
        self._found: dict[str, dict[str, Any]] = {}

    def look(self, told: Mapping[str, Mapping[str, Any]], anew: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
        """What to add to what is told of a service: `mute` (why the journal tells nothing, empty where it does, None until it answers),
        and what systemd does not tell itself of `ended` (`by` the journal), `skipped` and `skipped_at`. `anew`: an action has just ended.
        """
        now = time.monotonic()
        asking = []
        for name in self._names:
            one = told.get(name)
            if one is None or one["active"] not in _RESTING or (one.get("ended") and not one.get("by")):
                continue
            state = one["active"], one["sub"], one["result"], one["since"]
            before, at = self._asked.get(name, (None, 0.0))
            if anew or before != state or now - at >= EVERY:
                self._asked[name] = state, now
                asking.append(threading.Thread(target=self._ask, args=(name, one), daemon=True))
                asking[-1].start()
        for thread in asking if not self._found else ():
            thread.join(max(0.0, now + AT_FIRST - time.monotonic()))
        for name in self._names:
            one = told.get(name)
            if one is not None and name in self._asked:
                known = one["active"] not in _RESTING or (one.get("ended") and not one.get("by"))
                yield name, {"mute": ""} if known else self._found.get(name, {"mute": None})

    def _ask(self, name: str, one: Mapping[str, Any]) -> None:
        story = runs.story(name, oneshot=one.get("oneshot") is True)
        found: dict[str, Any] = {"mute": story.problem}
        if story.ended:
            found.update(ended=story.ended, by="journal")
        if story.skipped and one.get("kept") is False:
            found.update(skipped=runs.named(name, story).skipped, skipped_at=story.at)
        self._found[name] = found
