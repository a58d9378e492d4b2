"""When each destination last had a good backup, against how old it may be."""

from __future__ import annotations

from sovtui.core import text
from sovtui.core.issues import backup_word
from sovtui.core.model import Backup
from sovtui.core.state import State
from sovtui.tui.arrange import Want
from sovtui.tui.panes.actions import outcome_span
from sovtui.tui.panes.base import Copy, Item, ListPane, View
from sovtui.tui.present import BLANK, RIGHT, Row, Span, facts, pad, paragraph, row, spread, tell_apart

_SIGNS = {"ok": "●", "late": "▲", "failed": "✖", "skipped": "▲", "running": "◐"}


_ROLES = {"ok": "ok", "late": "bad", "failed": "warn", "skipped": "warn", "running": "accent", "unknown": "nothing"}


def judge(backup: Backup, state: State) -> Span:
    """`ok`, `late`, `running`, `failed` or `unknown`, with a role."""
    word = backup_word(backup, state.now)
    return word, "bad" if word in ("failed", "skipped") and backup.last_success_at is None else _ROLES[word]


class BackupsPane(ListPane):
    NAME = "backups"
    TITLE = "Backups"
    SHORT = "Bkup"

    def want(self, view: View, width: int) -> Want:
        return Want(2 + max(1, len(view.host.backups) if view.host else 1), least=3)

    def badge(self, view: View) -> tuple[str, str]:
        backups = list(view.host.backups.values()) if view.host else []
        words = [judge(backup, view.state) for backup in backups]
        for worst in ("late", "failed", "skipped", "unknown", "running"):
            for word, role in words:
                if word == worst:
                    return ("?" if word == "unknown" else word), role
        return ("ok", "ok") if words else ("", "")

    def nothing(self, view: View, width: int) -> list[Row]:
        return [row(("no backups are configured", "label"))]

    def items(self, view: View, width: int) -> list[Item]:
        assert view.host is not None
        names = tuple(view.host.backups)
        return [Item(b.name, (self._row(view, b, width, names),)) for b in view.host.backups.values()]

    def story(self, view: View, id: str, width: int) -> list[Row]:
        host, now = view.host, view.state.now
        backup = host.backups.get(id) if host else None
        if backup is None or host is None:
            return []
        word, role = judge(backup, view.state)
        rows = paragraph(f"{_SIGNS.get(word, '?')} {word}", width, role)
        last: Span = (text.UNKNOWN_SIGN, "nothing")
        if backup.last_success_at is not None:
            old = text.age((now - backup.last_success_at).total_seconds())
            last = (f"{text.moment(backup.last_success_at)}, {old} ago", "plain")
        pairs: list[tuple[str, Span]] = [("last success", last)]
        if backup.max_age_seconds:
            pairs.append(("limit", (text.age(backup.max_age_seconds), "plain")))
        result = f"skipped, because {backup.skipped}" if backup.skipped else backup.last_result or text.UNKNOWN_SIGN
        pairs.append(("last run", (result, "bad" if result == "failed" else "plain" if backup.last_result else "nothing")))
        pairs.append(("source", (backup.source or text.UNKNOWN_SIGN, "label")))
        pairs.append(("service", (backup.service, "plain")))
        if backup.reason:
            pairs.append(("because" if backup.last_success_at is None else "note", (backup.reason, "stale")))
        rows += facts(pairs, width)
        rows += [BLANK, row(("runs with a receipt", "label"))]
        runs = [run for run in host.receipts if run.kind == "backup" and run.target in (backup.name, backup.service)]
        for run in runs[:10]:
            sign, look = outcome_span(run)
            took = f"  {text.duration(run.seconds)}" if run.seconds is not None else ""
            rows.append(row((f"{sign}  ", look), text.moment(run.began_at), (f"{took}  {run.who}", "label")))
            rows += paragraph(run.reason, width, "plain", indent=2) if run.reason else []
        return rows if runs else [*rows, row(("none: runs started by a timer leave none", "label"))]

    def journal_of(self, view: View, id: str) -> str:
        return view.host.backups[id].service if view.host and id in view.host.backups else ""

    def copies(self, view: View) -> list[Copy]:
        id = self.chosen(view)
        backup = view.host.backups.get(id) if view.host else None
        if backup is None:
            return []
        last = text.moment(backup.last_success_at) if backup.last_success_at else "not known"
        line = f"backup {id} on {view.host_name}: {judge(backup, view.state)[0]}, last success {last}"
        return [Copy("its state", line), Copy("its service", backup.service), Copy("its last error", log=backup.service)]

    def _row(self, view: View, backup: Backup, width: int, names: tuple[str, ...]) -> Row:
        word, role = judge(backup, view.state)
        sign = _SIGNS.get(word, "?")
        if backup.last_success_at is not None:
            age = text.age((view.state.now - backup.last_success_at).total_seconds()) + " ago"
        else:
            age = text.UNKNOWN_SIGN
        limit = f"of {text.age(backup.max_age_seconds)}" if backup.max_age_seconds else ""
        note = f"last run {backup.last_result}" if backup.last_result in ("failed", "skipped") and word == "late" else ""
        if word == "skipped" and backup.skipped:
            note = f"because {backup.skipped}"
        if backup.reason and (word == "unknown" or view.host is None):
            note = backup.reason
        if width < 48:
            note = ""
        if width < 36:
            word = text.UNKNOWN_SIGN if word == "unknown" else word
            right = row((pad(word, 5), role), (pad(age, 8, RIGHT), "plain"), (pad(limit, 7, RIGHT), "label"))
        else:
            right = row((pad(word, 8), role), (pad(age, 8, RIGHT), "plain"), (pad(limit, 8, RIGHT), "label"))
        name = tell_apart(names, max(0, width - right.cells - 3))[backup.name]
        return spread(row((f"{sign} ", role), name, (f"  {note}" if note else "", "label")), right, width)
