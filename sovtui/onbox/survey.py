"""One look at the whole machine for a configuration: what serves models, what watches, what fights a switch. Reads only."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any

from sovtui.onbox import box, lookcontainers, lookhost, lookports, lookunits

Told = dict[str, Any]
AT_ONCE = 12
_LISTEN = re.compile(r"--web\.listen-address=\S*?:(\d+)")
_PREFIX = re.compile(r"--web\.(?:route-prefix|external-url)=(?:https?://[^/\s]+)?(/[^\s]*)")


def survey(request: Mapping[str, Any]) -> None:
    """Say every fact as a line; a `looked` line after each part says what was looked at, for whoever waits."""
    box.end_with_client()
    box.say(_machine())
    gpus, problem = lookhost.gpus()
    apps = [{**told, "service": lookports.service_of(told["pid"])} for told in lookhost.gpu_processes()]
    _tell("GPUs", [*gpus, *apps], len(gpus), problem)
    units: list[Told] = []
    for kind in ("system", "user"):
        if box.has_systemd():
            found, there, problem = lookunits.units(kind)
            units += found
            _tell(f"{kind} units", found, there, problem, kept=len(found))
        else:
            _tell(f"{kind} units", [], 0, "there is no systemd here")
    containers, problem = lookcontainers.containers()
    _tell("containers", containers, len(containers), problem)
    ports = lookports.listening()
    running = lookports.processes()
    _tell("listening ports", [*ports, *running], len(ports))
    answers = answering(ports, prefixes(units))
    _tell("answers on them", answers, len(answers))
    scripts, cron = lookhost.scripts(), lookhost.cron()
    _tell("switch scripts", scripts, len(scripts))
    _tell("cron", cron, len(cron))


def _tell(what: str, lines: list[Told], found: int, problem: str = "", kept: int | None = None) -> None:
    for line in lines:
        box.say(line)
    box.say({"t": "looked", "what": what, "found": found, **({"kept": kept} if kept is not None else {}), "problem": problem})


def _machine() -> Told:
    memory = box.memory()
    return {
        "t": "machine",
        "hostname": socket.gethostname(),
        "user": box.user(),
        "python": ".".join(str(n) for n in sys.version_info[:3]),
        "memory": memory["total"],
        "cpus": os.cpu_count() or 0,
        "board": box.read("/proc/device-tree/model", 200).strip("\0\n ")
        or box.read("/sys/class/dmi/id/product_name", 200).strip(),
        "tailnet": lookhost.tailnet(),
    }


def prefixes(units: list[Told]) -> dict[int, list[str]]:
    """Path prefixes that the command lines of Prometheus and Alertmanager name, by port."""
    found: dict[int, list[str]] = {}
    for told in units:
        line = " ".join(word for argv in told.get("commands", ()) for word in argv)
        port = _LISTEN.search(line)
        paths = [path.rstrip("/") for path in _PREFIX.findall(line)]
        default = 9093 if "alertmanager" in line else 9090
        if any(paths):
            found.setdefault(int(port.group(1)) if port else default, []).extend(p for p in paths if p)
    return found


def answering(ports: list[Told], paths: Mapping[int, list[str]], ask: Callable[..., Told | None] = lookports.ask) -> list[Told]:
    """Every port asked once, several at a time; what is known to speak something else is left alone."""
    chosen: dict[int, Told] = {}
    for told in ports:
        if told["port"] in lookports.NOT_HTTP:
            continue
        old = chosen.get(told["port"])
        if old is None or told["address"] in ("127.0.0.1", "0.0.0.0", "::"):
            chosen[told["port"]] = told
    waiting = list(chosen.values())[:150]
    answers: list[Told] = []

    def work() -> None:
        while waiting:
            try:
                told = waiting.pop(0)
            except IndexError:
                return
            try:
                answer = ask(told, paths.get(told["port"], ()))
            except Exception:  # noqa: BLE001 — whatever it answers, it is nothing that is known
                answer = None
            if answer is not None:
                answers.append(answer)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(AT_ONCE, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(45.0)
    return sorted(answers, key=lambda answer: answer["port"])
