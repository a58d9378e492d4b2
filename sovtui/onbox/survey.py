"""One look at the whole machine for a configuration: what serves models, what watches, what fights a switch. Reads only."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sovtui.onbox import box, commandline, enginewords, lookanswers, lookcontainers, lookhost, lookports, lookswitches, lookunits
from sovtui.onbox.containerline import Run
from sovtui.onbox.deadline import each, within

Told = dict[str, Any]
AT_ONCE = 12
SECONDS = 45.0
"""How long all ports together may take."""
PART_SECONDS = 90.0
"""How long each part of the look may take."""
T = TypeVar("T")
ANY = 0
"""In place of a port: of one that is not known."""
_PLACE = "com.docker.compose.project.working_dir"
_SERVICE = "com.docker.compose.service"
_LISTEN = re.compile(r"--web\.listen-address=\S*?:(\d+)")
_PREFIX = re.compile(r"--web\.(?:route-prefix|external-url)=(?:https?://[^/\s]+)?(/[^\s]*)")
_API_PREFIX = re.compile(r"--(?:api-prefix|root-path)[= ](/[\w.~/-]+)")
_PORT = re.compile(r"--port[= ](\d+)")
_TLS = re.compile(r"--(?:ssl[-_](?:certfile|cert-file|certfile_path)|tls-keyfile)\b|LLAMA_ARG_SSL_CERT_FILE")


def survey(request: Mapping[str, Any]) -> None:
    """Say every fact as a line; a `looked` line after each part says what was looked at, for whoever waits."""
    box.end_with_client()
    box.say(_machine())
    _part("GPUs", _gpus, None)
    none: list[Told] = []
    units = _part("units", _units, none)
    containers = _part("containers", lambda: _containers(units), none)
    _part("listening ports", lambda: _ports(units, containers), None)
    _part("switch scripts", lambda: _scripts(units), None)


def _part(what: str, do: Callable[[], T], otherwise: T) -> T:
    """A part of it that hangs, as on a disk that does, is left out, and said to be."""
    try:
        return within(PART_SECONDS, do)
    except TimeoutError as late:
        _tell(what, [], 0, f"it {late}")
        return otherwise


def _gpus() -> None:
    gpus, problem = lookhost.gpus()
    apps = [{**told, "service": lookports.service_of(told["pid"])} for told in lookhost.gpu_processes()]
    _tell("GPUs", [*gpus, *apps], len(gpus), problem)


def _units() -> list[Told]:
    units: list[Told] = []
    for kind in ("system", "user"):
        if box.has_systemd():
            found, there, problem = lookunits.units(kind)
            units += found
            _tell(f"{kind} units", found, there, problem, kept=len(found))
        else:
            _tell(f"{kind} units", [], 0, "there is no systemd here")
    return units


def _containers(units: Iterable[Told]) -> list[Told]:
    """Those that there are, and those that units would have compose make."""
    containers, problem = lookcontainers.containers()
    places = {one.get("labels", {}).get(name, "") for one in containers for name in (_PLACE, "com.docker.compose.project")}
    planned: list[Told] = []
    for unit in units:
        for argv in (*unit.get("commands", ()), *unit.get("runs", ())):
            for run in commandline.runs(argv, unit.get("env", {})):
                project, folder = run.project, unit.get("folder", "")
                if project is None:
                    continue
                place = os.path.join(folder, project.folder or (os.path.dirname(project.files[0]) if project.files else ""))
                place = os.path.normpath(place) if place else ""
                if place and not places & {place, project.name or os.path.basename(place)}:
                    made = lookcontainers.composed(place, [os.path.join(folder, name) for name in project.files], project.name)
                    chosen = [one for one in made if not project.services or one["labels"][_SERVICE] in project.services]
                    planned += [{"t": "planned", "unit": unit["name"], **one} for one in chosen]
    _tell("containers", [*containers, *planned], len(containers), problem)
    return [*containers, *planned]


def _ports(units: list[Told], containers: Iterable[Told]) -> None:
    """Ports and processes, the units whose processes those are, and what answers."""
    ports, running = lookports.listening(), lookports.processes()
    missing = {one["service"] for one in (*ports, *running) if one.get("service", "").endswith(".service")}
    missing -= {unit["name"] for unit in units}
    more: list[Told] = []
    for prefix, kind in (("", "system"), ("user:", "user")) if box.has_systemd() else ():
        names = [name[len(prefix) :] for name in missing if name.startswith("user:") == bool(prefix)]
        more += lookunits.named(kind, sorted(names), every=True)[0] if names else []
    units += more
    _tell("listening ports", [*more, *ports, *running], len(ports))
    told = [*units, *containers, *running]
    answers = answering(
        without_parts(ports, running), prefixes(told), engines=engines(ports, running), tls=any(map(encrypted, told))
    )
    _tell("answers on them", answers, len(answers))


def _scripts(units: list[Told]) -> None:
    cron = lookhost.cron()
    scripts = lookswitches.scripts(units, cron)
    known = {unit["name"] for unit in units}
    more: list[Told] = []
    for prefix, kind in (("", "system"), ("user:", "user")) if box.has_systemd() else ():
        starts = [name for script in scripts for name in script.get("starts", ()) if name.startswith("user:") == bool(prefix)]
        names = {name[len(prefix) :] for name in starts if re.search(r"@[^.]+.*\.service\Z", name) and name not in known}
        more += lookunits.named(kind, sorted(names))[0] if names else []
    _tell("switch scripts", [*more, *scripts], len(scripts))
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
        "memory": memory.get("total", 0),
        "cpus": os.cpu_count() or 0,
        "board": box.read("/proc/device-tree/model", 200).strip("\0\n ")
        or box.read("/sys/class/dmi/id/product_name", 200).strip(),
        "tailnet": lookhost.tailnet(),
    }


def _said(told: Mapping[str, Any]) -> str:
    """All command lines of a unit, a container or a process, and its variables."""
    lists = [*told.get("commands", ()), *told.get("runs", ())] or [told.get("command", ())]
    env = [f"{name}={value}" for name, value in told.get("env", {}).items()]
    return " ".join([*(" ".join(argv) for argv in lists), *env])


def encrypted(told: Mapping[str, Any]) -> bool:
    """Whether a command line names a certificate."""
    return _TLS.search(_said(told)) is not None


def prefixes(told: Iterable[Told]) -> dict[int, list[str]]:
    """Path prefixes that command lines name, by port: of Prometheus and Alertmanager, and under `ANY` of engines."""
    found: dict[int, list[str]] = {}
    for one in told:
        line = _said(one)
        port = _LISTEN.search(line)
        paths = [path.rstrip("/") for path in _PREFIX.findall(line)]
        default = 9093 if "alertmanager" in line else 9090
        if any(paths):
            found.setdefault(int(port.group(1)) if port else default, []).extend(p for p in paths if p)
        env = one.get("env", {})
        mine = [*_API_PREFIX.findall(line), env.get("LLAMA_ARG_API_PREFIX", ""), env.get("SERVER_ROOT_PATH", "")]
        for path in dict.fromkeys(path.rstrip("/") for path in mine if path.startswith("/") and path != "/"):
            found.setdefault(ANY, []).append(path)
            for number in _PORT.findall(line):
                found.setdefault(int(number), []).append(path)
    return {port: list(dict.fromkeys(paths)) for port, paths in found.items()}


def without_parts(ports: Iterable[Told], running: Iterable[Told]) -> list[Told]:
    """Ports without those of processes that another engine has started: a router's, llama-swap's, Ollama's own servers."""
    inner = [one for one in running if one.get("of")]
    pids = {one["pid"] for one in inner}
    numbers = {int(n) for one in inner for n in _PORT.findall(" ".join(one.get("command", ())))}
    return [port for port in ports if port.get("pid") not in pids and (port.get("pid") or port["port"] not in numbers)]


def engines(ports: Iterable[Told], running: Iterable[Told]) -> dict[int, str]:
    """Which engine listens on a port, as far as its process tells."""
    by_pid = {one["pid"]: enginewords.engine(Run(tuple(one.get("command", ())))) for one in running}
    found = {port["port"]: by_pid.get(port.get("pid"), "") for port in ports}
    for one in running:
        for number in _PORT.findall(" ".join(one.get("command", ()))):
            if not found.get(int(number)):
                found[int(number)] = by_pid[one["pid"]]
    return found


def answering(
    ports: Iterable[Told],
    paths: Mapping[int, list[str]],
    ask: Callable[..., Told | None] = lookanswers.ask,
    engines: Mapping[int, str] | None = None,
    tls: bool = False,
) -> list[Told]:
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
            more = {"elsewhere": paths.get(ANY, ()), "tls": tls, "engine": (engines or {}).get(told["port"], "")}
            try:
                answer = ask(told, paths.get(told["port"], ()), **more)
            except Exception:  # noqa: BLE001 — whatever it answers, it is nothing that is known
                answer = None
            if answer is not None:
                answers.append(answer)

    each(SECONDS, [work] * min(AT_ONCE, len(waiting)))
    waiting.clear()
    known = list(answers)  # what is late tells no more
    inner = {port for answer in known for port in answer.get("children", ())}
    return sorted((answer for answer in known if answer["port"] not in inner), key=lambda answer: answer["port"])
