"""Units and containers, the worst first."""

from __future__ import annotations

from sovtui.core import text
from sovtui.core.model import LinkPhase, Service
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Item, ListPane, View
from sovtui.tui.present import RIGHT, Row, pad, row, spread

RANK = {
    "failed": 0, "missing": 1, "activating": 2, "deactivating": 3, "reloading": 3, "active": 5, "inactive": 6, "unknown": 7,
}  # fmt: skip
SIGNS = {"failed": "✖", "missing": "✖", "activating": "◐", "deactivating": "◐", "reloading": "◐", "active": "●", "inactive": "○"}
ROLES = {
    "failed": "bad", "missing": "bad", "activating": "warn", "deactivating": "warn", "reloading": "warn", "active": "ok",
    "inactive": "label",
}  # fmt: skip
LOOPS_FROM = 3
"""A service restarted this often without being started by hand goes before the healthy ones."""


def rank(service: Service) -> tuple[int, str]:
    """The order: failed, restarting, active, inactive, unknown."""
    place = RANK.get(service.active, 4)
    if service.active == "active" and (service.restarts or 0) >= LOOPS_FROM:
        place = 4
    return place, service.name


def trouble(services: list[Service]) -> int:
    """How many failed or are missing."""
    return sum(1 for service in services if service.active in ("failed", "missing"))


class ServicesPane(ListPane):
    NAME = "services"
    TITLE = "Services"
    SHORT = "Serv"

    def want(self, view: View, width: int) -> Want:
        return Want(2 + max(1, min(10, len(view.host.services) if view.host else 1)), least=5, stretch=1)

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
        return [Item(s.name, (self._row(view, s, width),), f"{s.name} {s.active} {s.description}") for s in services]

    def _row(self, view: View, service: Service, width: int) -> Row:
        role = ROLES.get(service.active, "nothing")
        state = service.active if service.active != "unknown" else text.UNKNOWN_SIGN
        sign = SIGNS.get(service.active, "?")
        if service.active == "activating" and service.sub == "auto-restart":
            state = "restarting"
        elif service.active == "failed" and service.result not in ("", "failed", "exit-code", "success"):
            state = f"failed: {service.result}"
        stale = bool(service.reason) and service.active != "unknown"
        since = text.age((view.state.now - service.since).total_seconds()) if service.since else text.UNKNOWN_SIGN
        if service.active == "unknown":
            since = ""
        restarts, restarts_role = "", "label"
        if service.restarts:
            restarts, restarts_role = f"↻{service.restarts}", "warn" if service.restarts >= LOOPS_FROM else "label"
        if stale:
            role, old = "stale", (view.state.now - service.at).total_seconds() if service.at else None
            state += f" {text.STALE_SIGN}{text.age(old)}" if old is not None and width >= 52 else f" {text.STALE_SIGN}"
        short = service.name
        if width < 52:
            short = short.removesuffix(".service").replace("container:", "ctr:", 1)
        right = row(
            (pad(state, 16 if width >= 52 else 13), role),
            (pad(since, 4, RIGHT), "stale" if stale else "label"),
            (pad(restarts, 5 if width >= 52 else 4, RIGHT), restarts_role),
        )
        return spread(row((f"{sign} ", role), short), right, width)
