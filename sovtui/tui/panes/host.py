"""What matters of a host without engines; and of any host that is silent: what it last did, before it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sovtui.core import text
from sovtui.core.headroom import headroom
from sovtui.core.issues import Grade, Issue, alerts_of, disk_grade, issues, lost, of_host
from sovtui.core.marks import Mark
from sovtui.core.model import ActionRun, AlertState, HostSpec
from sovtui.core.reading import Reading, Status
from sovtui.core.state import Host
from sovtui.tui.arrange import Want
from sovtui.tui.panes.actions import outcome_span
from sovtui.tui.panes.alerts import severity_role, short_moment, word_of
from sovtui.tui.panes.base import Copy, Pane, View
from sovtui.tui.panes.inference import DECODE, heat_span, subject
from sovtui.tui.present import BLANK, RIGHT, Row, Span, bar, curve, cut, flow, grid, pad, paragraph, row, spread, value

SILENT_SECONDS = 60.0
"""A link that is away for less changes no layout."""
FIGURE_CELLS = 20
MOST_EVENTS = 6
MOST_ISSUES = 4
GRADES = {Grade.NOW: ("✖", "bad"), Grade.SOON: ("▲", "warn"), Grade.LOOK: ("·", "label")}


@dataclass(frozen=True, slots=True)
class Last:
    """What Prometheus told of a host before it fell silent."""

    host: Host | None = None
    """As it was then; None as long as nothing is told."""
    at: datetime | None = None
    """Its last sample."""
    marks: tuple[Mark, ...] = ()
    """What happened before that, newest first."""
    note: str = ""
    """What is being asked, or why nothing is told."""


def engines_of(spec: HostSpec) -> bool:
    """Whether anything is served there."""
    return bool(spec.modes or spec.beside)


def silent(view: View) -> bool:
    """Whether the host has been away for so long that the first pane says what it last did."""
    host = view.host
    if host is None or view.then is not None or not lost(host.link) or host.link.since is None:
        return False
    return (view.state.now - host.link.since).total_seconds() >= SILENT_SECONDS or not _was_here(host)


def _was_here(host: Host) -> bool:
    """Whether this client has had it: then what it told itself is on the screen, and may be for a moment longer."""
    sources = {figure.source for figure in host.figures.values()} | {service.source for service in host.services.values()}
    return bool(sources - {"", "prometheus"})


def first_pane(view: View) -> str:
    """Which pane stands first for this host, now."""
    host = view.host
    if host is None:
        return "inference"
    return HostPane.NAME if silent(view) or not engines_of(host.spec) else "inference"


class HostPane(Pane):
    NAME = "host"
    TITLE = "Host"
    SHORT = "Host"

    def __init__(self) -> None:
        super().__init__()
        self.last = Last()
        """Set by whoever asks for it."""

    def heading(self, view: View) -> str:
        host = view.host
        if host is None:
            return ""
        return "last known state" if lost(host.link) and view.then is None else host.spec.role

    def badge(self, view: View) -> tuple[str, str]:
        if view.host is None:
            return "", ""
        mine = of_host(issues(view.state), view.host_name)
        if not mine or mine[0].grade is Grade.LOOK:
            return "", ""
        sign, role = GRADES[mine[0].grade]
        return f"{sign}{len(mine)}", role

    def want(self, view: View, width: int) -> Want:
        host = view.host
        if host is None:
            return Want(4)
        if silent(view):
            return Want(2 + 6 + MOST_EVENTS + 3 + -(-8 // max(1, width // FIGURE_CELLS)) + 2, least=10, stretch=1)
        disks, timers = len(host.subjects("disk.total_bytes")), len(_timers(host))
        return Want(2 + 2 + max(1, min(MOST_ISSUES, 2)) + min(6, disks) + min(4, timers) + 3, least=8)

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        host = view.host
        assert host is not None
        if lost(host.link) and view.then is None:
            told = self._silent(view, host, width)
            return (told if len(told) <= height else [line for line in told if line is not BLANK])[:height]
        rows: list[Row] = [line for note in view.state.notes for line in paragraph(note, width)]
        rows += self._wrong(view, host, width)
        rows += self._load(view, host, width)
        rows += disk_rows(host, view.state.now, width)
        timers = _timers(host)
        if timers:
            rows.append(row(("timers", "label")))
        for name, at in timers:
            left = (at - view.state.now).total_seconds()
            words = f"in {text.age(60 * -(-left // 60))}" if left > 60 else f"late {text.age(-left)}" if left < -60 else "in <1m"
            rows.append(spread(row("  ", name), row((words, "bad" if left < -60 else "label")), width))
        return rows[:height]

    def copies(self, view: View) -> list[Copy]:
        host = view.host
        if host is None:
            return []
        wide = self._silent(view, host, 78) if lost(host.link) and view.then is None else self.rows(view, 78, 60)
        return [
            Copy("all of it", "\n".join([f"{host.spec.name}, {text.moment(view.state.now)}", *(r.plain.rstrip() for r in wide)]))
        ]

    # a host that answers

    def _wrong(self, view: View, host: Host, width: int) -> list[Row]:
        mine = of_host(issues(view.state), host.spec.name)
        if not mine:
            known = host.link.phase == "up" or view.then is not None
            return (
                [row(("● ", "ok"), "nothing is wrong here")] if known else [row(("? ", "nothing"), ("not reached yet", "label"))]
            )
        rows = [issue_row(issue, view.state.now, width) for issue in mine[:MOST_ISSUES]]
        more = len(mine) - MOST_ISSUES
        return [*rows, row((f"  and {more} more", "label"))] if more > 0 else rows

    def _load(self, view: View, host: Host, width: int) -> list[Row]:
        now = view.state.now
        use, load, count = host.reading("cpu.use_ratio"), host.reading("cpu.load_mean"), host.reading("cpu.count")
        words, role = value("cpu.load_mean", load, now)
        over = count.value and load.fresh_value is not None and load.fresh_value > count.value
        parts = [
            row(("CPU ", "label"), value("cpu.use_ratio", use, now)),
            row(("load ", "label"), (words, "warn" if over else role)),
        ]
        if count.value:
            parts[-1] = row(*parts[-1].spans, (f" on {count.value:.0f} CPUs", "label"))
        line = flow(parts, width)[0]
        points = host.curves.get(("cpu.use_ratio", ""), ())
        room = width - line.cells - 2
        if not points or room < 10:
            return [line]
        drawn = curve(points, min(room, 60), 1, now.timestamp(), top=1.0)
        return [spread(line, row((drawn[0], "curve" if use.status is Status.FRESH else "stale")), width)]

    # a host that does not

    def _silent(self, view: View, host: Host, width: int) -> list[Row]:
        now, since = view.state.now, host.link.since
        told = self.last if self.last.host is None or self.last.host.spec.name == host.spec.name else Last()
        words = "denies access" if host.link.phase == "refused" else "cannot be reached"
        ago = f" since {short_time(since, now)}, {text.age((now - since).total_seconds())}" if since else ""
        rows = paragraph(f"✖ {words}{ago}", width, "bad")
        if told.at is not None:
            rows.append(
                row(("last sample ", "label"), f"{short_time(told.at, now)}, {text.age((now - told.at).total_seconds())} ago")
            )
        rows += self._did(view, host, told, width)
        rows += [BLANK, row(("alerts about it", "label")), *self._alerts(view, host, width)]
        rows += [BLANK, row(("last known figures", "label")), *grid(last_figures(host, told.host, now), width, FIGURE_CELLS)]
        if told.note:
            rows += paragraph(told.note, width, "label")
        elif told.at is not None or view.config.prometheus is not None:
            rows += paragraph("t shows the minutes before it stopped answering, from Prometheus", width, "label")
        return rows

    def _did(self, view: View, host: Host, told: Last, width: int) -> list[Row]:
        now = view.state.now
        rows = []
        before = host if subject(host) is not None or told.host is None else told.host
        if engines_of(host.spec):
            hot, role = heat_span(before, now if before is host else None)
            rows.append(row(("mode  ", "label"), (hot if before is host else f"{hot.rstrip(' ~')} {text.STALE_SIGN}", role)))
        runs: list[ActionRun] = [*([host.action] if host.action else []), *host.receipts]
        newest = max(runs, key=lambda run: run.began_at, default=None)
        if newest is not None:
            sign, look = outcome_span(newest)
            sign = "? not known whether it ended" if newest.running else sign
            took = f", took {text.duration(newest.seconds)}" if newest.seconds is not None else ""
            did = f"{newest.kind} {newest.target}".strip()
            rows += [
                row(("last action  ", "label"), did, "  ", (sign, "warn" if newest.running else look)),
                row(("  " + cut(f"{short_time(newest.began_at, now)} by {newest.who}{took}", width - 2), "label")),
            ]
        else:
            rows.append(row(("last action  ", "label"), ("?", "nothing"), ("  its receipts are kept on the host", "label")))
        if told.marks:
            rows.append(row(("events before", "label")))
        for mark in told.marks[:MOST_EVENTS]:
            rows.append(row(("  " + short_time(mark.at, now), "label"), "  ", cut(mark.words, width - 14)))
        return rows

    def _alerts(self, view: View, host: Host, width: int) -> list[Row]:
        state = view.state
        if view.config.alertmanager is None:
            return [row((f"  {text.UNSUPPORTED_SIGN} ", "nothing"), ("no Alertmanager is configured", "label"))]
        if state.alerts_at is None:
            return [row((f"  {text.UNKNOWN_SIGN} ", "nothing"), ("Alertmanager has not answered", "label"))]
        mine = alerts_of(state, host.spec.name)
        rows = []
        for alert in sorted(mine, key=lambda a: (a.state is not AlertState.ACTIVE, a.since or state.now)):
            ago = text.age((state.now - alert.since).total_seconds()) if alert.since else text.UNKNOWN_SIGN
            at = short_time(alert.since, state.now) if alert.since else "?"
            word = word_of(alert)
            right = row((f"{word} ", severity_role(alert)), (f"since {at}, {ago}" if width >= 44 else f"since {at}", "label"))
            rows.append(spread(row(("  ▲ ", severity_role(alert)), alert.name), right, width))
        old = (state.now - state.alerts_at).total_seconds()
        if old > 60:
            rows.append(row((f"  as of {text.age(old)} ago {text.STALE_SIGN}", "stale")))
        return rows or [row(("  0 ", "strong"), ("firing", "label"))]


def issue_row(issue: Issue, now: datetime, width: int) -> Row:
    """One line: sign, what, how long."""
    sign, role = GRADES[issue.grade]
    ago = text.age((now - issue.since).total_seconds()) if issue.since is not None else ""
    detail = f"  {issue.detail}" if issue.detail else ""
    return spread(row((f"{sign} ", role), issue.title, (detail, "label")), row((pad(ago, 4, RIGHT), "label")), width)


def disk_rows(host: Host, now: datetime, width: int, most: int = 6) -> list[Row]:
    """Each disk as a bar with its share and what is left, the fullest first."""
    found = []
    for mount in host.subjects("disk.total_bytes"):
        total, free = (host.reading(f"disk.{word}_bytes", mount) for word in ("total", "free"))
        if total.value and free.value is not None:
            found.append((1 - free.value / total.value, mount, free))
    if not found:
        return [row(("disk ", "label"), (text.UNKNOWN_SIGN, "nothing"))]
    rows = []
    names = min(18 if width >= 48 else 12, max(len(mount) for _, mount, _ in found))
    for used, mount, free in sorted(found, key=lambda one: -one[0])[:most]:
        grade = disk_grade(host, mount)
        role = "stale" if free.status is Status.STALE else GRADES[grade][1] if grade is not None else "label"
        left, look = value("disk.free_bytes", free, now)
        tail = row(
            (f" {used * 100:3.0f} % ", role if role != "label" else "plain"), (pad(left, 9, RIGHT), look), (" left", "label")
        )
        head = row((pad(mount, names), "plain"), " ")
        room = max(4, width - head.cells - tail.cells)
        rows.append(row(*head.spans, *bar([(used, "█", role)], room).spans, *tail.spans))
    return rows if len(found) <= most else [*rows, row((f"  and {len(found) - most} more disks", "label"))]


def last_figures(host: Host, then: Host | None, now: datetime) -> list[tuple[str, Span]]:
    """What is last known of it, from its link or from Prometheus, the newer of both, each with its age."""

    def newer(figure: str, subject: str = "") -> Reading:
        known = [h.reading(figure, subject) for h in (host, then) if h is not None]
        told = [r for r in known if r.value is not None and r.at is not None]
        return max(told, key=lambda r: r.at or now, default=known[0])

    def aged(figure: str, subject: str = "") -> Span:
        return _old_span(figure, newer(figure, subject), now)

    pairs = [
        *_memory(host, then, now),
        ("available", aged("memory.available_bytes")),
        ("CPU", aged("cpu.use_ratio")),
        ("load", aged("cpu.load_mean")),
    ]
    found = subject(host) or (subject(then) if then is not None else None)
    if found is not None:
        pairs.insert(0, ("decode", aged(DECODE, found.mode.name)))
        pairs.append(("running", aged("engine.running", found.mode.name)))
    for gpu in dict.fromkeys(s for h in (host, then) if h is not None for s in h.subjects("gpu.power_watts")):
        pairs += [
            ("GPU", aged("gpu.use_ratio", gpu)),
            ("power", aged("gpu.power_watts", gpu)),
            ("heat", aged("gpu.temperature_celsius", gpu)),
        ]
    for mount in dict.fromkeys(s for h in (host, then) if h is not None for s in h.subjects("disk.free_bytes")):
        pairs.append((f"{mount} left", aged("disk.free_bytes", mount)))
    return pairs


def _memory(host: Host, then: Host | None, now: datetime) -> list[tuple[str, Span]]:
    """What its GPU had free, of one with memory of its own: the newer of what is known."""
    rooms = [room for h in (host, then) if h is not None and (room := headroom(h)).of_gpu]
    if not rooms:
        return []
    known = [room.reading for room in rooms if room.reading.value is not None and room.reading.at is not None]
    return [
        ("GPU free", _old_span("gpu.memory_total_bytes", max(known, key=lambda r: r.at or now, default=rooms[0].reading), now))
    ]


def _old_span(figure: str, reading: Reading, now: datetime) -> Span:
    """A value of before with its age, also where it was fresh then."""
    words, role = value(figure, reading, now)
    old = reading.age_seconds(now)
    if reading.status is Status.FRESH and old is not None and old > 5:
        return f"{words} {text.STALE_SIGN}{text.age(old)}", "stale"
    return words, role


def short_time(at: datetime, now: datetime) -> str:
    """`14:03:07` today, else with the date."""
    return text.clock(at) if at.astimezone().date() == now.astimezone().date() else short_moment(at, now)


def _timers(host: Host) -> list[tuple[str, datetime]]:
    found = [(s.name, s.next_run_at) for s in host.services.values() if s.next_run_at is not None]
    return sorted(found, key=lambda one: one[1])[:4]
