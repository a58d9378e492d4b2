"""A look at only what serves now, for somebody who waits in front of a screen. Reads only."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box, lookanswers, lookcontainers, lookports, lookunits, survey

Told = dict[str, Any]
USUAL = (8000, 8001, 30000, 30001, 8080, 11434, 4000, 8188, 1234, 5000, 9090, 9093)
"""Where engines listen if nobody tells them otherwise, and Prometheus and Alertmanager."""
PATHS_SECONDS = 0.3
"""How long their command lines are waited for before ports are asked: one may name a path."""
CONTAINER_SECONDS = 2.0
"""How long a container engine may take; mostly it has answered long before."""


def serving(request: Mapping[str, Any]) -> None:
    """Sockets, engines' processes and their units, containers, and each answer as it comes; in a survey's words.

    `only`: ports that are asked; without it all are. Those where an engine is likely come first: whoever cannot wait has these.
    """
    box.end_with_client()
    containers: list[Told] = []

    def look() -> None:
        containers.extend(lookcontainers.containers()[0])
        box.say(*containers)

    others = threading.Thread(target=look, daemon=True)
    others.start()
    ports = lookports.listening() or usual()
    running = lookports.processes()
    units = _units({told["service"] for told in (*ports, *running) if told.get("service", "").endswith(".service")})
    box.say(*units, *ports, *running)
    others.join(PATHS_SECONDS)
    told = [*units, *containers, *running]
    only, likely = request.get("only"), {one["pid"] for one in running}
    asked = [one for one in survey.without_parts(ports, running) if only is None or one["port"] in only]
    asked.sort(key=lambda one: (one["port"] not in USUAL and one.get("pid") not in likely, one["port"]))

    def ask(*words: Any, **more: Any) -> Told | None:
        answer = lookanswers.ask(*words, **more)
        if answer is not None:
            box.say(answer)
        return answer

    tls = any(map(survey.encrypted, told))
    survey.answering(asked, survey.prefixes(told), ask, survey.engines(ports, running), tls)
    others.join(CONTAINER_SECONDS)


def _units(names: set[str]) -> list[Told]:
    """The units that these processes belong to, as far as systemd tells them."""
    found: list[Told] = []
    for prefix, kind in (("", "system"), ("user:", "user")) if names and box.has_systemd() else ():
        mine = sorted(name[len(prefix) :] for name in names if name.startswith("user:") == bool(prefix))
        found += lookunits.named(kind, mine, every=True)[0] if mine else []
    told = {unit["name"] for unit in found}
    return [*found, *({"t": "unit", "name": name, "active": "active"} for name in sorted(names - told))]


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
