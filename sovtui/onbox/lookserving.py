"""A look at only what serves now, for somebody who waits in front of a screen: no unit is read, nothing else is told. Reads only."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box, lookcontainers, lookports, survey

Told = dict[str, Any]
CONTAINER_SECONDS = 2.0
"""How long a container engine may take; mostly it has answered long before."""


def serving(request: Mapping[str, Any]) -> None:
    """Sockets, engines' processes, their units by name, containers, and each answer as it comes; in a survey's words.

    `only`: ports that are asked; without it all are. Those where an engine is likely come first: whoever cannot wait has these.
    """
    box.end_with_client()
    others = threading.Thread(target=lambda: box.say(*lookcontainers.containers()[0]), daemon=True)
    others.start()
    ports = lookports.listening() or lookports.usual()
    running = [told for told in lookports.processes() if told["service"] or lookports.same_network(told["pid"])]
    services = {told["service"] for told in (*ports, *running) if told.get("service")}
    units = [{"t": "unit", "name": name, "active": "active"} for name in sorted(services) if name.endswith(".service")]
    box.say(*units, *ports, *running)
    only, likely = request.get("only"), {told["pid"] for told in running}
    asked = [told for told in ports if only is None or told["port"] in only]
    asked.sort(key=lambda told: (told["port"] not in lookports.USUAL and told.get("pid") not in likely, told["port"]))

    def ask(*words: Any, **more: Any) -> Told | None:
        answer = lookports.ask(*words, **more)
        if answer is not None:
            box.say(answer)
        return answer

    survey.answering(asked, {}, ask)
    others.join(CONTAINER_SECONDS)
