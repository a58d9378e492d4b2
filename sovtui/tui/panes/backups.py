"""When each destination last had a good backup, against how old it may be."""

from __future__ import annotations

from sovtui.core import text
from sovtui.core.model import Backup
from sovtui.core.state import State
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Item, ListPane, View
from sovtui.tui.present import RIGHT, Row, Span, pad, row, spread


def judge(backup: Backup, state: State) -> Span:
    """`ok`, `late`, `running`, `failed` or `unknown`, with a role."""
    if backup.last_result == "running":
        return "running", "accent"
    if backup.last_success_at is None:
        return ("failed", "bad") if backup.last_result == "failed" else ("unknown", "nothing")
    old = (state.now - backup.last_success_at).total_seconds()
    if backup.max_age_seconds is not None and old > backup.max_age_seconds:
        return "late", "bad"
    return ("failed", "warn") if backup.last_result == "failed" else ("ok", "ok")


class BackupsPane(ListPane):
    NAME = "backups"
    TITLE = "Backups"
    SHORT = "Bkup"

    def want(self, view: View, width: int) -> Want:
        return Want(2 + max(1, len(view.host.backups) if view.host else 1), least=3)

    def badge(self, view: View) -> tuple[str, str]:
        backups = list(view.host.backups.values()) if view.host else []
        words = [judge(backup, view.state) for backup in backups]
        for worst in ("late", "failed", "unknown", "running"):
            for word, role in words:
                if word == worst:
                    return ("?" if word == "unknown" else word), role
        return ("ok", "ok") if words else ("", "")

    def nothing(self, view: View, width: int) -> list[Row]:
        return [row(("no backups are configured", "label"))]

    def items(self, view: View, width: int) -> list[Item]:
        assert view.host is not None
        return [Item(b.name, (self._row(view, b, width),)) for b in view.host.backups.values()]

    def _row(self, view: View, backup: Backup, width: int) -> Row:
        word, role = judge(backup, view.state)
        sign = {"ok": "●", "late": "▲", "failed": "✖", "running": "◐"}.get(word, "?")
        if backup.last_success_at is not None:
            age = text.age((view.state.now - backup.last_success_at).total_seconds()) + " ago"
        else:
            age = text.UNKNOWN_SIGN
        limit = f"of {text.age(backup.max_age_seconds)}" if backup.max_age_seconds else ""
        note = f"last run {backup.last_result}" if backup.last_result in ("failed",) and word != "failed" else ""
        if backup.reason and (word == "unknown" or view.host is None):
            note = backup.reason
        if width < 48:
            note = ""
        right = row((pad(word, 8), role), (pad(age, 8, RIGHT), "plain"), (pad(limit, 8, RIGHT), "label"))
        return spread(row((f"{sign} ", role), backup.name, (f"  {note}" if note else "", "label")), right, width)
