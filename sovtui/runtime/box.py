"""Speaks with the on-box part over a link: start, follow, list, logs. The only client-side user of `bundle`."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sovtui.core import receipts
from sovtui.core.clean import clean
from sovtui.core.levels import level
from sovtui.core.model import ActionRun
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Malformed, PortError, Unsupported
from sovtui.ports.link import LineStream, Link, Patience
from sovtui.runtime import bundle
from sovtui.runtime.hub import LogLine, Rights, TailnetView
from sovtui.runtime.skews import Skews, carried

ANSWER_SECONDS = 30.0
"""How long a short verb may take, a slow link included."""

_FIRST_LINES = 3


def python_for(link: Link) -> str:
    """The Python that runs the on-box part there."""
    return sys.executable if link.kind == "local" else "python3"


async def lines(
    link: Link,
    verb: str,
    request: Mapping[str, Any],
    patience: Patience = Patience.NONE,
    opened: Callable[[LineStream], None] | None = None,
) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON lines of one on-box verb, until it ends or the generator is closed. `opened` gets the stream, for more input.

    Raises `Unreachable` if the link dies, `Unsupported` without python3 there, `PortError` with the box's own words.
    """
    argv, stdin = await asyncio.to_thread(bundle.command, verb, request, python=python_for(link))
    spoken: list[str] | None = []
    async with link.stream(argv, stdin=stdin, patience=patience) as stream:
        if opened is not None:
            opened(stream)
        async for raw in stream.lines():
            line = parsed(raw)
            if line is None:
                if spoken is not None and len(spoken) < _FIRST_LINES:
                    spoken.append(clean(raw.decode("utf-8", "replace").strip(), 150))
                continue
            spoken = None  # it runs: what a login script prints does not count
            if line.get("t") == "error":
                raise PortError(clean(str(line.get("reason", "the box gave no reason"))))
            yield line
        result = await stream.result()
    if result.exit_status != 0:
        told = clean(result.stderr.decode("utf-8", "replace").strip()[-300:])
        if result.exit_status == 127 or "python3" in told:
            raise Unsupported(f"python3 was not found on {link.host}", "Install it there: nothing else is needed")
        if spoken is not None:
            raise _not_run(link.host, f"it ended with status {result.exit_status}", [told, *spoken])
        raise PortError(f"the on-box part ended with status {result.exit_status} on {link.host}: {told or 'no message'}")
    if spoken:
        raise _not_run(link.host, "something else answered", spoken)


def _not_run(host: str, how: str, said: Sequence[str]) -> PortError:
    """Something stands between the login and the command: a forced command, a restricted shell."""
    words = "; ".join(word for word in said if word) or "no message"
    advice = "Does its sshd let this login run commands? Look at ForceCommand, command= in authorized_keys and the login shell."
    return PortError(f"the on-box part does not run on {host}: {how}: {words}", advice)


async def answer(link: Link, verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The first line of a short verb. Raises `Malformed` if there is none."""
    async with aclosing(lines(link, verb, request)) as answers:
        async for line in answers:
            return line
    raise Malformed(f"{link.host} gave no answer to {verb}")


@dataclass
class Followed:
    """How far an action has been followed: what came over one link need not come again over the next."""

    run: ActionRun | None = None
    lines: int = 0
    """Of its receipt."""


async def follow(link: Link, run_id: str, so_far: Followed | None = None) -> AsyncGenerator[ActionRun, None]:
    """The receipt as it grows, until the action has ended: from its beginning, or from where `so_far` is, which goes on growing."""
    so_far = so_far or Followed()
    run_id = so_far.run.id if so_far.run is not None else run_id
    async with aclosing(lines(link, "follow", {"id": run_id, "skip": so_far.lines}, Patience.FOLLOWS)) as told:
        async for line in told:
            so_far.lines += 1
            so_far.run = receipts.apply(so_far.run, line)
            if so_far.run is not None:
                yield so_far.run
                if not so_far.run.running:
                    return


async def list_runs(
    link: Link, limit: int = 50, *, skews: Skews | None = None, clock: Clock | None = None
) -> tuple[ActionRun, ...]:
    """Receipts on the box, newest first; with `skews` by this machine's clock, which the box tells its own for."""
    runs = []
    async with aclosing(lines(link, "list", {"limit": limit})) as told:
        async for line in told:
            if skews is not None and clock is not None:
                skews.hear(link.host, line.get("now"), clock.now(), (link.latency_seconds or 0.0) / 2)
            run: ActionRun | None = None
            for part in line.get("lines", ()):
                run = receipts.apply(run, part)
            if run is not None and run.running and not line.get("running"):
                run = receipts.apply(run, {"t": "lost"})
            if run is not None:
                runs.append(run)
    return tuple(carried(run, skews.of(link.host)) if skews is not None else run for run in runs)


async def rights(link: Link, commands: Sequence[Sequence[str]]) -> Rights:
    """Asked with `sudo -n -l`: nothing is run."""
    head: dict[str, Any] = {}
    missing: list[str] = []
    allowed = 0
    async with aclosing(lines(link, "rights", {"commands": [list(argv) for argv in commands]})) as told:
        async for line in told:
            if line.get("t") == "rights":
                head = line
            elif line.get("t") == "right":
                if line.get("allowed"):
                    allowed += 1
                else:
                    missing.append(clean(str(line.get("line", ""))))
    lingers = bool(head.get("lingers")) if head.get("systemd") else None
    return Rights(clean(str(head.get("user", ""))), lingers, bool(head.get("journal")), tuple(missing), allowed)


# One round trip. Tailscale SSH may not set the variable; then the line is empty.
_TAILNET = 'echo "$SSH_CONNECTION"; PATH="$PATH:/usr/local/bin:/usr/sbin:/sbin" exec tailscale status --json --active'


async def tailnet(link: Link, now: datetime) -> TailnetView:
    """The tailnet as the host's own daemon sees it. Its command's exit status tells nothing, so only 127 is looked at."""
    from sovtui.core.tailnet import parse

    done = await link.run(["sh", "-c", _TAILNET], timeout_seconds=ANSWER_SECONDS)
    if done.exit_status == 127:
        raise Unsupported(f"there is no command `tailscale` on {link.host}")
    first, _, document = done.stdout.partition(b"\n")
    words = first.decode("ascii", "replace").split()
    try:
        net = parse(document, now)
    except ValueError as error:
        said = clean(done.stderr.decode("utf-8", "replace").strip(), 200)
        raise Malformed(f"`tailscale status` on {link.host} cannot be read: {said or error}") from None
    return TailnetView(net, clean(words[0], 50) if len(words) == 4 else getattr(link, "own_address", ""))


@dataclass
class LogPlace:
    """How far a journal has been read: the last place that the box named, and how many lines came after it."""

    cursor: str = ""
    lines: int = 0


async def logs(
    link: Link,
    service: str,
    count: int,
    since: str,
    follow_on: bool,
    until: str = "",
    *,
    place: LogPlace | None = None,
    patience: Patience = Patience.NONE,
    skews: Skews | None = None,
    clock: Clock | None = None,
) -> AsyncGenerator[LogLine, None]:
    """A service's journal, cleaned. With a `place` that was reached before, what came after it, and nothing twice.

    `skews`: moments are by this machine's clock, those that are asked for and those that are told.
    """
    place = place or LogPlace()
    if skews is not None:
        since, until = skews.there(link.host, since), skews.there(link.host, until)
    request: dict[str, Any] = {"service": service, "lines": count, "follow": follow_on, "until": until}
    request |= {"after": place.cursor, "skip": place.lines} if place.cursor else {"since": since}
    async with aclosing(lines(link, "logs", request, patience)) as told:
        async for line in told:
            if line.get("t") == "problem":
                yield LogLine(None, clean(str(line.get("reason", ""))), "warning")
                continue
            if line.get("t") == "place":
                place.cursor, place.lines = str(line.get("cursor", "")), 0
                continue
            place.lines += 1
            if line.get("cursor"):
                place.cursor, place.lines = str(line["cursor"]), 0
            at = line.get("at")
            if skews is not None and clock is not None and "now" in line:
                skews.hear(link.host, line["now"], clock.now(), (link.latency_seconds or 0.0) / 2)
            text = clean(str(line.get("text", "")))
            priority = line.get("priority")
            when = datetime.fromtimestamp(at, UTC) if isinstance(at, (int, float)) else None
            if when is not None and skews is not None:
                when += skews.of(link.host)
            yield LogLine(when, text, level(text, priority if isinstance(priority, int) else None))


def parsed(raw: bytes) -> dict[str, Any] | None:
    """One line of the on-box part; None for anything else, such as what a login script prints."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("t"), str) else None
