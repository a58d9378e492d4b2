"""How a host is reached, in full: what the link's detail shows. Pure."""

from __future__ import annotations

from sovtui.core import text
from sovtui.core.issues import lost
from sovtui.core.metered import Wish
from sovtui.core.model import LinkPhase
from sovtui.core.state import Host
from sovtui.tui.panes.base import View
from sovtui.tui.present import Row, Span, facts, paragraph, row

METERED = {
    Wish.ON: "{} is updated every ten seconds from now on.",
    Wish.OFF: "{} is updated every second again.",
    Wish.AUTO: "{} is metered while its path is a relay or its round trips are slow.",
}


def link_rows(view: View, width: int) -> list[Row]:
    """Everything that is known of the way to the host that is looked at."""
    host = view.host
    if host is None:
        return [row(("no host is configured", "nothing"))]
    link, now = host.link, view.state.now
    role = "ok" if link.phase is LinkPhase.UP else "bad" if lost(link) else "warn"
    rows = paragraph(f"{'●' if link.phase is LinkPhase.UP else '✖' if lost(link) else '◐'} {link.phase}", width, role)
    if link.reason:
        rows += paragraph(link.reason, width, role)
    pairs: list[tuple[str, Span]] = [("host", (f"{host.spec.name}, {host.spec.role}", "plain"))]
    pairs.append(("via", (f"{link.kind} {link.address}".strip(), "plain")))
    if link.since is not None:
        pairs.append(("since", (f"{text.moment(link.since)}, {text.age((now - link.since).total_seconds())}", "plain")))
    if link.retry_at is not None and link.phase is LinkPhase.DOWN:
        pairs.append(("next try", (f"{text.clock(link.retry_at)}, attempt {link.attempt} failed", "plain")))
    pairs.append(("round trip", _latency(host)))
    if host.path is not None:
        via = f", {host.path.via}" if host.path.via else ""
        pairs.append(("path", (f"{host.path.kind}{via}", "warn" if host.path.relayed else "plain")))
        if host.path.reason:
            pairs.append(("", (host.path.reason, "label")))
    pairs.append(("metered", (f"yes: {host.metered}", "warn") if host.metered else ("no", "plain")))
    pairs += _traffic(host, view)
    rows += facts(pairs, width)
    if host.metered:
        words = "Updated every ten seconds; what is rarely asked for, more rarely still. A lost link is noticed later than usual."
        rows += paragraph(words, width, "label")
    return rows


def _latency(host: Host) -> Span:
    seconds = host.link.latency_seconds
    if host.link.phase is not LinkPhase.UP or seconds is None:
        return text.UNKNOWN_SIGN, "nothing"
    return f"{seconds * 1000:.0f} ms", "warn" if seconds > 0.4 else "plain"


def _traffic(host: Host, view: View) -> list[tuple[str, Span]]:
    told = host.traffic
    if told is None:
        return [("traffic", (text.UNSUPPORTED_SIGN, "nothing")), ("", ("not counted on this link or this system", "label"))]
    note = f"TCP payload, this session, {text.age((view.state.now - told.at).total_seconds())} ago"
    return [
        ("sent", (text.size(told.sent_bytes), "plain")),
        ("received", (text.size(told.received_bytes), "plain")),
        ("", (note, "label")),
    ]
