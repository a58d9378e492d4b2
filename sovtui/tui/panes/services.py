"""Units and containers, the worst first."""

from __future__ import annotations

import math
from functools import partial

from sovtui.core import text
from sovtui.core.issues import LOOPS_FROM, service_word
from sovtui.core.model import ActionRun, LinkPhase, Service
from sovtui.core.state import Host
from sovtui.tui.arrange import Want
from sovtui.tui.panes.actions import outcome_span
from sovtui.tui.panes.base import Copy, Item, Later, ListPane, View
from sovtui.tui.present import RIGHT, Row, Span, facts, pad, paragraph, row, spread, tell_apart

RANK = {
    "failed": 0, "missing": 1, "activating": 2, "deactivating": 3, "reloading": 3, "active": 5, "inactive": 6, "unknown": 7,
}  # fmt: skip
SIGNS = {"failed": "✖", "missing": "✖", "activating": "◐", "deactivating": "◐", "reloading": "◐", "active": "●", "inactive": "○"}
ROLES = {
    "failed": "bad", "missing": "bad", "activating": "warn", "deactivating": "warn", "reloading": "warn", "active": "ok",
    "inactive": "label",
}  # fmt: skip


def rank(service: Service) -> tuple[int, str]:
    """The order: failed, restarting, active, inactive, unknown."""
    place = RANK.get(service.active, 4)
    if service.active == "active" and (service.restarts or 0) >= LOOPS_FROM:
        place = 4
    return place, service.name


def trouble(services: list[Service]) -> int:
    """How many failed or are missing."""
    return sum(1 for service in services if service.active in ("failed", "missing"))


def told(service: Service) -> str:
    """Its state in words, and how it ended: `failed: exit-code, status 32`."""
    words = service.active if service.active != "unknown" else "not known"
    if service.restarting:
        words = "restart loop"
    parts = [service.result] if service.result not in ("", "success", service.active) else []
    if service.exit_status and service.active == "failed":
        parts.append(f"status {service.exit_status}")
    return f"{words}: {', '.join(parts)}" if parts else words


def until(service: Service, view: View) -> str:
    """`next in 4m` of a timer. Never to the second: that would repaint a row because time passed."""
    left = (service.next_run_at - view.state.now).total_seconds() if service.next_run_at else 0.0
    if left < -60:
        return f"late {text.age(-left)}"
    return f"next in {text.age(60 * math.ceil(left / 60))}" if left > 60 else "next in <1m"


def about(host: Host, service: Service) -> list[ActionRun]:
    """What was last done to it: the newest actions that name it, or the backup it makes."""
    names = {service.name, *(b.name for b in host.backups.values() if b.service == service.name)}
    runs = [*([host.action] if host.action else []), *host.receipts]
    found = {run.id: run for run in reversed(runs) if run.target in names and run.kind in ("restart", "backup")}
    return sorted(found.values(), key=lambda run: run.began_at, reverse=True)[:2]


class ServicesPane(ListPane):
    NAME = "services"
    TITLE = "Services"
    SHORT = "Serv"

    def stays(self, view: View) -> bool:
        return any(service.active != "unknown" for service in view.host.services.values()) if view.host else False

    def want(self, view: View, width: int) -> Want:
        rows = max(1, len(view.host.services) if view.host else 1)
        return Want(2 + min(10, rows), least=2 + min(3, rows), stretch=1)

    def badge(self, view: View) -> tuple[str, str]:
        services = list(view.host.services.values()) if view.host else []
        failed = trouble(services)
        if failed:
            return f"✖{failed}", "bad" if view.host and view.host.link.phase is LinkPhase.UP else "stale"
        if services and all(s.active == "unknown" for s in services):
            return "?", "nothing"
        return str(len(services)), "label"

    def heading(self, view: View) -> str:
        services = list(view.host.services.values()) if view.host else []
        failed = trouble(services)
        words = f"{failed} failed of {len(services)}" if failed else str(len(services)) if services else ""
        if services and all(s.active == "unknown" for s in services):
            words += ", not seen yet"
        elif view.host and view.host.link.phase is not LinkPhase.UP and words:
            words += ", as last seen"
        return words

    def nothing(self, view: View, width: int) -> list[Row]:
        return [row(("no services are configured", "label"))]

    def items(self, view: View, width: int) -> list[Item]:
        assert view.host is not None
        services = sorted(view.host.services.values(), key=rank)
        names = tuple(_short(s.name, width) for s in services)
        return [
            Item(s.name, Later(partial(self._row, view, s, width, names)), f"{s.name} {s.active} {s.description}")
            for s in services
        ]

    def lead(self, view: View, id: str, width: int) -> list[Row]:
        service = view.host.services.get(id) if view.host else None
        if service is None or view.host is None:
            return []
        role = ROLES.get(service.active, "nothing") if not service.reason else "stale"
        rows = paragraph(f"{SIGNS.get(service.active, '?')} {told(service)}", width, role)
        if service.reason:
            rows += paragraph(f"{text.STALE_SIGN} {service.reason}", width, "stale")
        for run in about(view.host, service):
            word, look = outcome_span(run)
            rows.append(row((f"{word}  ", look), f"{run.kind} {run.target}", (f"  {text.moment(run.began_at)}", "label")))
            rows += paragraph(run.reason, width, "plain", indent=2) if run.reason else []
        return rows

    def story(self, view: View, id: str, width: int) -> list[Row]:
        service = view.host.services.get(id) if view.host else None
        if service is None:
            return []
        now = view.state.now
        unknown: Span = (text.UNKNOWN_SIGN, "nothing")
        since: Span = unknown
        if service.since is not None:
            since = (f"{text.moment(service.since)}, {text.age((now - service.since).total_seconds())} ago", "plain")
        pairs: list[tuple[str, Span]] = [("description", (service.description, "plain")), ("since", since)]
        if service.sub not in ("", service.active):
            pairs.append(("state", (f"{service.active}, {service.sub}", "plain")))
        if service.restarts is not None:
            role = "warn" if service.restarts >= LOOPS_FROM else "plain"
            pairs.append(("restarts", (f"{service.restarts} since the last manual start", role)))
        if service.next_run_at is not None:
            pairs.append(("next run", (f"{text.moment(service.next_run_at)}, {until(service, view)}", "plain")))
        if service.ended_at is not None:
            ago = text.age((now - service.ended_at).total_seconds())
            pairs.append(("ended well", (f"{text.moment(service.ended_at)}, {ago} ago", "plain")))
        if service.skipped:
            pairs.append(("last start", (f"skipped, because {service.skipped}", "plain")))
        if service.memory_bytes is not None:
            pairs.append(("memory", (text.size(service.memory_bytes), "plain")))
        if service.main_pid:
            pairs.append(("process", (str(service.main_pid), "plain")))
        if service.at is not None:
            pairs.append(("seen", (f"{text.age((now - service.at).total_seconds())} ago, by {service.source}", "label")))
        return facts(pairs, width)

    def journal_of(self, view: View, id: str) -> str:
        return id if view.host and view.host.services.get(id, Service(id, "missing")).active != "missing" else ""

    def copies(self, view: View) -> list[Copy]:
        id = self.chosen(view)
        service = view.host.services.get(id) if view.host else None
        if service is None:
            return []
        since = f" since {text.moment(service.since)}" if service.since else ""
        return [
            Copy("its name", service.name.partition(":")[2] or service.name),
            Copy("its state", f"{service.name} on {view.host_name}: {told(service)}{since}"),
            Copy("its last error", log=id),
        ]

    def _row(self, view: View, service: Service, width: int, names: tuple[str, ...]) -> Row:
        """`names`: of all services, as short as they are here: no two of them may look the same."""
        role = ROLES.get(service.active, "nothing")
        state = service.active if service.active != "unknown" else text.UNKNOWN_SIGN
        sign = SIGNS.get(service.active, "?")
        if service.restarting:
            state = "restarting"
        elif service.active == "failed" and service.result not in ("", "failed", "exit-code", "success"):
            state = f"failed: {service.result}"
        elif service_word(service, view.state.now) == "spent":
            state, role = "will not fire", "warn"
        stale = bool(service.reason) and service.active != "unknown"
        since = text.age((view.state.now - service.since).total_seconds()) if service.since else text.UNKNOWN_SIGN
        if service.active == "unknown":
            since = ""
        if service.next_run_at is not None and not stale and width >= 40:
            state = until(service, view)
        restarts, restarts_role = "", "label"
        if service.restarts:
            restarts, restarts_role = f"↻{service.restarts}", "warn" if service.restarts >= LOOPS_FROM else "label"
        if stale:
            role, old = "stale", (view.state.now - service.at).total_seconds() if service.at else None
            state += f" {text.STALE_SIGN}{text.age(old)}" if old is not None and width >= 52 else f" {text.STALE_SIGN}"
        right = row(
            (pad(state, 16 if width >= 52 else 13), role),
            (pad(since, 4, RIGHT), "stale" if stale else "label"),
            (pad(restarts, 5 if width >= 52 else 4, RIGHT), restarts_role),
        )
        name = tell_apart(names, max(0, width - right.cells - 3))[_short(service.name, width)]
        return spread(row((f"{sign} ", role), name), right, width)


def _short(name: str, width: int) -> str:
    """Where it is narrow without what can be guessed."""
    if width >= 52:
        return name
    return name.removesuffix(".service").replace("container:", "ctr:", 1).replace("compose:", "cmp:", 1)
