"""A look at only what serves now, for somebody who waits in front of a screen: no unit is read, nothing else is told. Reads only."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box, lookanswers, lookcontainers, lookports, survey

Told = dict[str, Any]
USUAL = (8000, 8001, 30000, 30001, 8080, 11434, 4000, 8188, 1234, 5000, 9090, 9093)
"""Where engines listen if nobody tells them otherwise, and Prometheus and Alertmanager."""
CONTAINER_SECONDS = 2.0
"""How long a container engine may take; mostly it has answered long before."""


def serving(request: Mapping[str, Any]) -> None:
    """Sockets, engines' processes, their units by name, containers, and each answer as it comes; in a survey's words.

    `only`: ports that are asked; without it all are. Those where an engine is likely come first: whoever cannot wait has these.
    """
    box.end_with_client()
    others = threading.Thread(target=lambda: box.say(*lookcontainers.containers()[0]), daemon=True)
    others.start()
    ports = lookports.listening() or usual()
    running = lookports.processes()
    services = {told["service"] for told in (*ports, *running) if told.get("service")}
    units = [{"t": "unit", "name": name, "active": "active"} for name in sorted(services) if name.endswith(".service")]
    box.say(*units, *ports, *running)
    only, likely = request.get("only"), {told["pid"] for told in running}
    asked = [told for told in ports if only is None or told["port"] in only]
    asked.sort(key=lambda told: (told["port"] not in USUAL and told.get("pid") not in likely, told["port"]))

    def ask(*words: Any, **more: Any) -> Told | None:
        answer = lookanswers.ask(*words, **more)
        if answer is not None:
            box.say(answer)
        return answer

    own = survey.without_parts(asked, running)
    survey.answering(own, survey.prefixes(running), ask, survey.engines(ports, running))
    others.join(CONTAINER_SECONDS)


def sockets() -> dict[int, frozenset[str]] | None:
    """The sockets that listen, by port; a socket that was made anew is another one. None where the system does not tell.

    Costs no more than reading two files, so that whoever waits for something new may ask every few seconds.
    """
    found: dict[int, set[str]] = {}
    told = False
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in box.read(path, 1 << 24).splitlines():
            cells = line.split()
            told = True
            if len(cells) > 9 and cells[3] == "0A":
                found.setdefault(int(cells[1].rpartition(":")[2], 16), set()).add(cells[9])
    return {port: frozenset(numbers) for port, numbers in found.items()} if told else None


def usual() -> list[Told]:
    """Usual ports that are open, for a system that does not tell which are."""
    found = []
    for port in USUAL:
        with socket.socket() as one:
            one.settimeout(0.2)
            if one.connect_ex(("127.0.0.1", port)) == 0:
                found.append({"t": "port", "address": "127.0.0.1", "port": port})
    return found
