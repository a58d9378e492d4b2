"""A service's journal: `journalctl` for units, `docker logs` for containers, one beside the other for those of a project."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, Union

from sovtui.onbox import box, containers, runs
from sovtui.onbox.deadline import within
from sovtui.onbox.names import kind_of

MAX_TEXT = 8000
SECONDS = 15.0
"""How long a journal may take to tell what is in it."""
_FIELDS = "MESSAGE,PRIORITY,__REALTIME_TIMESTAMP"
_SPAN = re.compile(r"(?:(\d+(?:\.\d+)?)(d|h|m|s))")
_FACTORS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_CHATTER = re.compile(r"Hint:|Users in|Pass -q|-- |Notice:")
# The guard ends the follower when this process has gone, however it went: then its standard input closes.
_GUARD = ("sh", "-c", '"$@" & p=$!; exec >&- 2>&-; cat >/dev/null; kill $p 2>/dev/null', "sh")


def since_unix(text: str) -> float | None:
    """`10m`, `2h30m`, a unix time or `2026-11-20 16:13[:00]` (UTC) as unix time; None for anything else."""
    text = text.strip()
    if text and not _SPAN.sub("", text):
        return time.time() - sum(float(n) * _FACTORS[unit] for n, unit in _SPAN.findall(text))
    try:
        return float(text.lstrip("@"))
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def argv(service: str, lines: int, since: float | None, follow: bool, until: float | None = None, after: str = "") -> list[str]:
    """The command that prints it, oldest first. With `until` a container's may be more lines than asked for.

    `after`: a place that was told before; all that came since, for a container with the line of that place itself.
    """
    kind, name = kind_of(service)
    if kind == "container":
        words = [box.docker(), "logs", "--timestamps"]
        if after:
            words += ["--since", after]
        else:
            words += ["--tail", str(lines)] if until is None else ["--until", f"{until:.3f}"]  # the tail would be cut first
        if since is not None:
            words += ["--since", f"{since:.3f}"]
        return ["sh", "-c", 'exec "$@" 2>&1', "sh", *words, *(["--follow"] if follow else []), "--", name]
    unit = "--user-unit" if kind == "user" else "--unit"
    words = ["journalctl", unit, runs.own_name(service), "--output=json", "--all", "--no-pager"]
    words.append("--output-fields=" + _FIELDS)
    words += [f"--after-cursor={after}", "--no-tail"] if after else [f"--lines={lines}"]
    if since is not None:
        words.append(f"--since=@{since:.6f}")
    if until is not None:
        words.append(f"--until=@{until:.6f}")
    return [*words, *(["--follow"] if follow else [])]


def decode(raw: bytes, container: bool) -> dict[str, Any] | None:
    """One line as `at` (unix), `text`, `priority` (0 to 7 or None), `place` to go on after; None for what is not one."""
    if container:
        head, _, text = raw.decode("utf-8", "replace").partition(" ")
        at = containers.stamp(head)
        text = _last_part(f"{head} {text}" if at is None else text)
        return {"at": at, "text": text, "priority": None, "place": "" if at is None else head}
    try:
        entry = json.loads(raw)
        message = _message(entry.get("MESSAGE"))
    except (ValueError, AttributeError):
        return None
    told = entry.get("PRIORITY", "")
    priority = str(min(map(str, told), default="") if isinstance(told, list) else told)
    stamp, up = str(entry.get("__REALTIME_TIMESTAMP", "")), str(entry.get("__MONOTONIC_TIMESTAMP", ""))
    return {
        "at": int(stamp) / 1e6 if stamp.isdigit() else None,
        "text": _last_part(message),
        "priority": int(priority) if priority.isdigit() else None,
        "place": str(entry.get("__CURSOR", "")),
        "up": int(up) / 1e6 if up.isdigit() else None,
    }


def _message(told: Any) -> str:
    """A list of numbers is what is no text; any other list is a field that the entry has several times."""
    if not isinstance(told, list):
        return told if isinstance(told, str) else ""
    if not all(isinstance(b, int) for b in told):
        return "\n".join(filter(None, map(_message, told)))
    return bytes(b for b in told if 0 <= b < 256).decode("utf-8", "replace")


def _last_part(text: str) -> str:
    """What a progress bar wrote last."""
    parts = [part for part in text.split("\r") if part.strip()]
    return (parts[-1] if parts else "").rstrip("\n")[:MAX_TEXT]


class Reader:
    """A running journal command. Iterate over it; `problem` tells afterwards (or meanwhile) why lines may be missing."""

    def __init__(
        self, service: str, lines: int, since: float | None, follow: bool, until: float | None = None, after: str = ""
    ) -> None:
        self._kind = kind_of(service)[0]
        self._after = after if self._kind == "container" else ""
        self.problem = box.journal_unreadable() if self._kind == "system" else ""
        words = argv(service, lines, since, follow, until, after)
        self._process = subprocess.Popen(
            [*_GUARD, *words] if follow else words,
            stdin=subprocess.PIPE if follow else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=box.environment(),
        )
        self._watcher = threading.Thread(target=self._errors, daemon=True)
        self._watcher.start()

    def _errors(self) -> None:
        assert self._process.stderr
        for raw in self._process.stderr:
            text = raw.decode("utf-8", "replace").strip()
            if text and not self.problem and not _CHATTER.match(text):
                self.problem = text[:300]
        self._process.stderr.close()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout
        for raw in self._process.stdout:
            line = decode(raw, self._kind == "container")
            if line and self._after:  # what lies at the place itself is known
                self._after, known = "", line["place"] == self._after
                if known:
                    continue
            if line and line["text"]:
                yield line
        self.close()
        self._process.wait()
        self._watcher.join(1.0)
        self._process.stdout.close()

    def close(self) -> None:
        """End the command; the iteration then ends too."""
        if self._process.stdin:
            self._process.stdin.close()

    def kill(self) -> None:
        """The same of one that does not follow, and says nothing more."""
        self._process.kill()


class Together:
    """The logs of a project's containers as one, oldest first; when following, as they come. `named`: each line says whose it is."""

    problem = ""

    def __init__(
        self,
        of: Sequence[tuple[str, str]],
        lines: int,
        since: float | None,
        follow: bool,
        named: bool = False,
        until: float | None = None,
        after: str = "",
    ) -> None:
        self._lines, self._follow, self._named = lines, follow, named
        self._places: dict[str, str] = _places(after)
        self._readers = [
            (name, Reader(f"container:{id_}", lines, since, follow, until, self._places.get(name, ""))) for id_, name in of
        ]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._follow:
            yield from self._live()
        else:
            every = [self._of(name, line) for name, reader in self._readers for line in reader]
            every.sort(key=lambda line: line["at"] or 0.0)
            if not self._places:
                every = every[-self._lines :] if self._lines else []
            for line in every:
                yield self._placed(line)
        self.problem = next((reader.problem for _, reader in self._readers if reader.problem), "")

    def _of(self, name: str, line: dict[str, Any]) -> dict[str, Any]:
        return {**line, "of": name, "text": f"{name} | {line['text']}" if self._named else line["text"]}

    def _live(self) -> Iterator[dict[str, Any]]:
        came: queue.Queue[dict[str, Any] | None] = queue.Queue(1000)

        def read(name: str, reader: Reader) -> None:
            for line in reader:
                came.put(self._of(name, line))
            came.put(None)

        for name, reader in self._readers:
            threading.Thread(target=read, args=(name, reader), daemon=True).start()
        left = len(self._readers)
        while left:
            line = came.get()
            if line is None:
                left -= 1
                continue
            yield self._placed(line)

    def _placed(self, line: dict[str, Any]) -> dict[str, Any]:
        """With the places of all containers: their lines come in no fixed order."""
        name, place = line.pop("of"), line["place"]
        self._places[name] = place or self._places.get(name, "")
        return {**line, "place": json.dumps(self._places), "each": True}

    def close(self) -> None:
        for _, reader in self._readers:
            reader.close()

    def kill(self) -> None:
        for _, reader in self._readers:
            reader.kill()


def _places(text: str) -> dict[str, str]:
    """By container."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return {str(name): str(place) for name, place in found.items()} if isinstance(found, dict) else {}


def reader(
    service: str, lines: int, since: float | None, follow: bool, named: bool = False, until: float | None = None, after: str = ""
) -> Union[Reader, Together]:
    """The service's journal, running. OSError where it is not available."""
    kind, name = kind_of(service)
    if kind == "compose":
        return Together(containers.of_project(name), lines, since, follow, named, until, after)
    return Reader(service, lines, since, follow, until, after)


def follow(service: str, since: float) -> Iterator[str]:
    """Texts as they come. `docker logs --follow` ends with its container: then again, for the start may be yet to come."""
    restless = kind_of(service)[0] in ("container", "compose")
    while True:
        for line in reader(service, 1000 if restless else 0, since, follow=True):
            if line["at"] is not None or not restless:  # without a time it is docker that speaks: no such container yet
                yield str(line["text"])
        if not restless:
            return
        since = time.time()
        time.sleep(0.5)


def recent(service: str, since: float, lines: int = 3000) -> tuple[list[str], str]:
    """The texts since then, and why there are none. Where the clock was set back meanwhile, what is older is left out all the same."""
    up = time.monotonic() - (time.time() - since) - 1
    try:
        told = reader(service, lines, since, follow=False)
        read = within(SECONDS, lambda: list(told), told.kill)
    except TimeoutError as late:
        return [], f"it {late}"
    except OSError as problem:
        return [], f"{problem.filename} cannot be run" if problem.filename else str(problem)
    found = [str(line["text"]) for line in read if (line.get("up") or up) >= up]
    return found, "" if found else told.problem
