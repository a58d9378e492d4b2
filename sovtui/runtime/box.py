"""Speaks with the on-box part over a link: start, follow, list, logs, rights."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sovtui.core import outside, receipts
from sovtui.core.clean import clean
from sovtui.core.drop_ins import MAX_UID, PLACES
from sovtui.core.levels import level
from sovtui.core.model import ActionRun
from sovtui.ports.clock import Clock
from sovtui.ports.errors import AnswerLost, Malformed, Unsupported
from sovtui.ports.link import Link, Patience
from sovtui.runtime import bundle
from sovtui.runtime.exchange import Frames, last_words, lines
from sovtui.runtime.hub import LogLine, Right, Rights, TailnetView
from sovtui.runtime.pace import Pace, Tap
from sovtui.runtime.skews import Skews, carried

MOST_CURSOR = 500
MOST_LINES = 2000
"""Of one receipt: the box keeps a fifth of it."""
FOLLOWED_AT_ONCE, FOLLOWED_PER_SECOND = 2000, 200.0
ANSWER_SECONDS = 30.0
"""How long a short verb may take, a slow link included."""


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
    tap = Tap(FOLLOWED_AT_ONCE, FOLLOWED_PER_SECOND)  # each line is drawn
    async with aclosing(lines(link, "follow", {"id": run_id, "skip": so_far.lines}, Patience.FOLLOWS)) as told:
        async for line in told:
            await tap.one()
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
    runs: list[ActionRun] = []
    pace = Pace()
    async with aclosing(lines(link, "list", {"limit": limit})) as told:
        async for line in told:
            if skews is not None and clock is not None:
                skews.hear(link.host, line.get("now"), clock.now(), (link.latency_seconds or 0.0) / 2)
            run: ActionRun | None = None
            for part in outside.rows(line.get("lines"))[:MOST_LINES]:
                run = receipts.apply(run, part)
                await pace.turn()
            if run is not None and run.running and not line.get("running"):
                run = receipts.apply(run, {"t": "lost"})
            if run is not None:
                runs.append(run)
            if len(runs) >= limit:
                break
    return tuple(carried(run, skews.of(link.host)) if skews is not None else run for run in runs)


async def rights(link: Link, commands: Sequence[Sequence[str]]) -> Rights:
    """sudo and polkit are asked there whether they would; nothing is run."""
    head: dict[str, Any] = {}
    told: dict[int, Right] = {}
    async with aclosing(lines(link, "rights", {"commands": [list(argv) for argv in commands]})) as answers:
        async for line in answers:
            number = line.get("number")
            if line.get("t") == "rights":
                head = line
            elif line.get("t") == "right" and isinstance(number, int) and 0 <= number < len(commands):
                by = line.get("by") if line.get("by") in ("root", "sudo", "polkit") else ""
                words = clean(outside.text(line.get("words")), 200)
                told[number] = Right(tuple(commands[number]), str(by), bool(line.get("known", True)), words)
    missing = [Right(tuple(argv), known=False, words="the host reports nothing about it") for argv in commands]
    uid = head.get("uid")
    return Rights(
        user=clean(outside.text(head.get("user")), 100),
        lingers=bool(head.get("lingers")) if head.get("systemd") else None,
        journal=bool(head.get("journal")),
        uid=uid if type(uid) is int and 0 <= uid <= MAX_UID else None,
        programs=tuple(path for path in outside.texts(head.get("programs")) if path in PLACES),
        asked=tuple(told.get(number, missing[number]) for number in range(len(commands))),
    )


# One round trip, framed as the on-box part frames its lines. Tailscale SSH may not set the variable; then its line is empty.
_TAILNET = r"""
mark=$(printf '\036')$0
printf '\n%s\n%s\n' "$mark" "$SSH_CONNECTION"
PATH="$PATH:/usr/local/bin:/usr/sbin:/sbin" tailscale status --json --active
printf '\n%s%s\n' "$mark" "$?"
"""


async def tailnet(link: Link, now: datetime) -> TailnetView:
    """The tailnet as the host's own daemon sees it. Its command's exit status tells nothing, so only 127 is looked at."""
    from sovtui.core.tailnet import parse

    word = secrets.token_hex(8)
    done = await link.run(["sh", "-c", _TAILNET, word], timeout_seconds=ANSWER_SECONDS)
    frames = Frames(link, marker := bundle.marker(word))
    before, _, rest = done.stdout.partition(marker)
    framed, found, end = rest.partition(marker)
    status, _, after = end.partition(b"\n")
    for written in (*before.split(b"\n"), *after.split(b"\n")):
        frames.hear(written)
    if not found:
        raise AnswerLost(f"the answer of {link.host} to `tailscale status` broke off: {last_words(done.stderr) or 'no message'}")
    if status.strip() == b"127":
        raise Unsupported(f"there is no command `tailscale` on {link.host}")
    first, _, document = framed.removeprefix(b"\n").partition(b"\n")
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
                yield LogLine(None, clean(outside.text(line.get("reason"))), "warning")
                continue
            if line.get("t") == "place":
                place.cursor, place.lines = outside.text(line.get("cursor"))[:MOST_CURSOR], 0
                continue
            place.lines += 1
            if cursor := outside.text(line.get("cursor"))[:MOST_CURSOR]:
                place.cursor, place.lines = cursor, 0
            if skews is not None and clock is not None and "now" in line:
                skews.hear(link.host, line["now"], clock.now(), (link.latency_seconds or 0.0) / 2)
            text = clean(outside.text(line.get("text")))
            priority = line.get("priority")
            when = outside.unix(line.get("at"))
            if when is not None and skews is not None:
                when += skews.of(link.host)
            yield LogLine(when, text, level(text, priority if isinstance(priority, int) else None))
