"""The status line: reach, what is hot, speed, memory, trouble, signs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sovtui.core import text
from sovtui.core.headroom import AVAILABLE, headroom
from sovtui.core.model import LinkPhase
from sovtui.core.reach import is_slow
from sovtui.core.reading import Status
from sovtui.core.state import Host
from sovtui.tui import paths
from sovtui.tui.arrange import Kind
from sovtui.tui.estate import elsewhere
from sovtui.tui.panes.actions import run_span
from sovtui.tui.panes.alerts import count_span
from sovtui.tui.panes.base import View
from sovtui.tui.panes.host import engines_of
from sovtui.tui.panes.inference import DECODE, heat_span, in_front, live
from sovtui.tui.panes.services import trouble
from sovtui.tui.present import Row, cell_len, flow, row, spread, value
from sovtui.tui.said import in_a_line

_LINKS = {
    LinkPhase.UP: ("●", "ok"), LinkPhase.CONNECTING: ("◐", "warn"), LinkPhase.ASKING: ("?", "warn"),
    LinkPhase.DOWN: ("✖", "bad"), LinkPhase.REFUSED: ("✖", "bad"), LinkPhase.IDLE: ("○", "label"),
}  # fmt: skip


def link_row(host: Host, view: View, kind: Kind) -> Row:
    """Phase in a word, how long a round trip takes, and how it goes through the tailnet."""
    link = host.link
    sign, role = _LINKS[link.phase]
    up = link.phase is LinkPhase.UP and link.kind != "history"
    instead = paths.instead_of_phase(host, view.state.now) if up else None
    if instead is not None:
        return row((f"{sign} ", role), instead)
    path = paths.span(host, view.state.now, brief=kind is not Kind.NORMAL) if up else None
    words = "this machine" if link.kind == "local" and link.phase is LinkPhase.UP else f"link {link.phase}"
    if link.verdict:
        words = f"link {link.verdict}" if up else str(link.verdict)
    if path is not None and kind is Kind.PHONE:
        words = words.removeprefix("link ")
    if link.kind == "history":  # told by Prometheus: of the host, not of our link to it
        words = {LinkPhase.UP: "it answered", LinkPhase.DOWN: "no answer then"}.get(link.phase, "no data")
    spans = [(f"{sign} {words}", role)]
    if link.phase is LinkPhase.UP:
        if link.latency_seconds is not None:
            slow = "warn" if is_slow(link.latency_seconds) else "label"
            spans.append((f" {link.latency_seconds * 1000:.0f} ms", slow))
        if path is not None:
            spans += [("  ", "label"), path]
    elif link.since is not None:
        spans.append((f" {text.age((view.state.now - link.since).total_seconds())}", role))
    return row(*spans)


def _one_line(parts: Sequence[Row], briefly: Sequence[Row], cells: int) -> Row:
    """As many as fit whole, from the left; the room between them gives way first, then what can be said briefly."""
    for between, spoken in (("  │ ", parts), (" │ ", parts), (" │ ", briefly)):
        lines = flow(spoken, cells, (between, "label"))
        if len(lines) == 1:
            break
    return lines[0]


def status_rows(view: View, width: int, kind: Kind) -> list[Row]:
    """One row at `wide`, two at `normal`, three at `phone`."""
    state, host = view.state, view.host
    clock = row((state.now.astimezone().strftime("%H:%M"), "label"))
    if view.then is not None:
        clock = row((" ◀ THEN ", "then"))
    signs = row(*[(f" {word} ", "sign") for word, on in (("DEMO", state.demo), ("READ-ONLY", state.read_only)) if on])
    right = row(*signs.spans, " " if signs.spans else "", *clock.spans)
    if host is None:
        return [spread(row(("no host is configured", "nothing")), right, width)]
    several = f" 1 of {len(state.hosts)}" if len(state.hosts) > 1 else ""
    if several:
        several = f" {list(state.hosts).index(host.spec.name) + 1} of {len(state.hosts)}"
    others, role = elsewhere(view)
    name = row(
        (host.spec.name, "title"), (several, "label"), (f" {others.split()[0]}" if others and kind is Kind.WIDE else "", role)
    )
    link = link_row(host, view, kind)
    sparing = row(("metered", "warn") if host.metered and view.then is None else "")
    now_parts = _now_parts(view, host, kind)
    counts = [row(count_span(view)), row((others, role) if kind is not Kind.WIDE else ""), _services(host), _sources(view)]
    between = ("  ", "label")
    if kind is Kind.WIDE:
        brief = link_row(host, view, Kind.PHONE)
        line = _one_line(
            [name, link, sparing, *now_parts, *counts],
            [name, brief, sparing, *now_parts[:-1], memory_row(host, view.state.now, brief=True), *counts],
            width - right.cells - 2,
        )
        return [spread(line, right, width)]
    first = spread(flow([name, link, *([] if kind is Kind.PHONE else [sparing])], width * 2, between)[0], right, width)
    if kind is Kind.PHONE:
        now_parts = [sparing, *now_parts]
    rest = flow([*now_parts, *counts], width, between)
    lines = 1 if kind is Kind.NORMAL else 2
    if len(rest) > lines and kind is Kind.NORMAL:
        now_parts[-1] = memory_row(host, view.state.now, brief=True)
        rest = flow([*now_parts, *counts], width * 3, between)
    rest += [Row()] * (lines - len(rest))
    return [first, *rest[:lines]]


def _now_parts(view: View, host: Host, kind: Kind) -> list[Row]:
    now = view.state.now
    running = run_span(host, now)
    serves = engines_of(host.spec) or host.spec.role == "box"
    parts = [row(running)] if running else [row(heat_span(host, now))] if serves else []
    found = in_front(host)
    if found is not None and (found.mode in host.spec.modes or host.reading(DECODE, found.mode.name).known):
        reading = host.reading(DECODE, found.mode.name)
        words, role = value(DECODE, reading, now)
        if reading.status not in (Status.FRESH, Status.STALE) or reading.value is None:
            words += " tok/s"
        parts.append(row((words, "strong" if role == "plain" else role)))
    return [*parts, memory_row(host, now)]


BRIEFLY = {AVAILABLE: "avail"}
"""As `df` and others call it, where the line has no room for the word."""


def memory_row(host: Host, now: datetime, *, brief: bool = False) -> Row:
    """How much memory a model could still take: `GPU 5.45 GiB free` of a GPU's own, `57.2 GiB available` of the host's."""
    room = headroom(host)
    words, role = value("memory.available_bytes", room.reading, now)
    if room.reading.value is None:
        return row(("GPU memory " if room.of_gpu else "memory ", "label"), (words, role))
    return row(
        ("GPU " if room.of_gpu else "", "label"),
        (words, role),
        (f" {BRIEFLY.get(room.word, room.word) if brief else room.word}", "label"),
    )


def _services(host: Host) -> Row:
    failed = trouble(list(host.services.values()))
    if not failed:
        return Row()
    role = live(host, "bad")
    return row((f"✖ {failed} failed{' ' + text.STALE_SIGN if role == 'stale' else ''}", role))


def _sources(view: View) -> Row:
    bad = [s for s in view.state.sources.values() if s.ok is False and s.host in ("", view.host_name)]
    return row((f"{len(bad)} source{'s' if len(bad) > 1 else ''} down", "warn")) if bad else Row()


NEXT = (
    "No configuration yet: this machine, as found. Next: `sovtui init`, or for another machine `sovtui init USER@HOST`.",
    "No configuration yet: this machine, as found. Next: `sovtui init` proposes one.",
    "No configuration yet: this machine, as found. Next: `sovtui init`.",
    "No configuration yet. Next: sovtui init",
    "Next: sovtui init",
)
"""What to do next where nobody has configured anything, for ever fewer cells."""


def next_rows(view: View, width: int) -> list[Row]:
    """The first line of all, where nothing is configured; none where something is."""
    if not view.state.notes:
        return []
    words = next((words for words in NEXT if cell_len(words) <= width), NEXT[-1])
    return [row((words, "accent"))]


def notice(view: View) -> tuple[str, str]:
    """The one sentence that matters most now, and its role; empty when all is well."""
    host = view.host
    if host is None:
        return "no host is configured: sovtui init USER@HOST looks at one and proposes a configuration", "warn"
    if view.then is not None and not view.then.origin:
        return "", ""  # nothing is known of that moment: the line above says so
    link = host.link
    if link.phase is not LinkPhase.UP:
        why = link.reason or {
            LinkPhase.IDLE: "not connected yet",
            LinkPhase.CONNECTING: f"connecting to {link.address or host.spec.name}",
            LinkPhase.ASKING: "waiting for your answer",
        }.get(link.phase, f"the link is {link.phase}")
        again, said = "", in_a_line(link) if view.then is None else ""
        if said and link.phase is LinkPhase.CONNECTING:
            return f"{link.address or host.spec.name} says: {said}", "warn"
        if view.then is not None:
            return why, "warn"
        if link.phase is LinkPhase.DOWN and link.retry_at is not None and link.retry_at > view.state.now:
            again = f" Next try at {text.clock(link.retry_at)}; any key tries now."
        elif link.phase is LinkPhase.CONNECTING and link.reason:
            again = " Trying again now."
        elif link.phase is LinkPhase.REFUSED:
            again = " There is no automatic retry; Enter tries again."
        why = why if why.endswith((".", "?", "!")) else f"{why}."
        again += f" It said: {said}" if said else ""
        return why + again, "bad" if link.phase in (LinkPhase.DOWN, LinkPhase.REFUSED) else "warn"
    for source in view.state.sources.values():
        if source.ok is False and source.host in ("", view.host_name):
            return f"{source.name}: {source.reason or 'does not answer'}", "warn"
    for source in view.state.sources.values():
        if source.ok and source.left_out and source.host in ("", view.host_name):
            return f"{source.name}: {source.left_out}", "warn"
    return paths.notice(host), "warn"
