"""What fires, what of it can be acted on now, and what somebody has acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sovtui.core import text
from sovtui.core.clean import clean
from sovtui.core.issues import actionable, missing_pulses, severity_rank
from sovtui.core.model import Alert, AlertState
from sovtui.core.state import State
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Copy, Item, ListPane, View
from sovtui.tui.present import BLANK, Row, Span, cut, facts, pad, paragraph, row, spread, tell_apart, wrap

STATES = (
    AlertState.ACTIVE,
    AlertState.PENDING,
    AlertState.UNPROCESSED,
    AlertState.UNTOLD,
    AlertState.ACKNOWLEDGED,
    AlertState.INHIBITED,
)
_SIGNS = {AlertState.ACTIVE: "▲", AlertState.ACKNOWLEDGED: "✔", AlertState.INHIBITED: "–", AlertState.UNTOLD: "?"}
_WORDS = {AlertState.UNTOLD: "not reported yet"}
PULSE = "pulse"
"""What an alert that always fires is called: that it does is well."""
OLD_AFTER_SECONDS = 60.0
"""A list of alerts older than this is shown as stale."""


def order(alert: Alert) -> tuple[bool, int, int, float, str]:
    """Actionable first, then by severity, then the newest; at the end those that always fire."""
    since = alert.since.timestamp() if alert.since else 0.0
    return alert.pulse, STATES.index(alert.state), severity_rank(alert), -since, alert.fingerprint


def sign_of(alert: Alert) -> str:
    return "●" if alert.pulse else _SIGNS.get(alert.state, "△")


def word_of(alert: Alert) -> str:
    """Its severity if it fires, else what else it is."""
    if alert.pulse:
        return PULSE
    return alert.severity or "no severity" if alert.state is AlertState.ACTIVE else _WORDS.get(alert.state, str(alert.state))


def old_seconds(state: State) -> float | None:
    """How old the list is, if that is too old or whoever told it does not answer now."""
    if state.alerts_at is None:
        return None
    old = max(0.0, (state.now - state.alerts_at).total_seconds())
    source = state.sources.get(("alertmanager", ""))
    return old if old > OLD_AFTER_SECONDS or (source is not None and source.ok is False) else None


def severity_role(alert: Alert) -> str:
    if alert.pulse:
        return "ok"
    if alert.state is not AlertState.ACTIVE:
        return "label"
    rank = severity_rank(alert)
    return "bad" if rank <= 1 else "warn" if rank <= 3 else "accent"


def count_span(view: View) -> tuple[str, str]:
    """`2 alerts`, with the sign of its kind of nothing where there is no answer."""
    state = view.state
    if view.config.alertmanager is None:
        return "alerts n/a", "label"
    if state.alerts_at is None:
        return "alerts ?", "nothing"
    count = len(actionable(state))
    if state.alerts_untold and not count:
        return "alerts ?", "nothing"
    more = "+" if state.alerts_untold else ""
    words = f"▲ {count}{more} alert{'' if count == 1 and not more else 's'}" if count else "0 alerts"
    if missing_pulses(state):
        words += ", no pulse"
    old = old_seconds(state)
    if old is not None:
        return f"{words} {text.STALE_SIGN}{text.age(old)}", "stale"
    worst = min((severity_rank(alert) for alert in actionable(state)), default=9)
    if not count:
        return words, "warn" if missing_pulses(state) else "label"
    return words, "bad" if worst <= 1 else "warn"


class AlertsPane(ListPane):
    NAME = "alerts"
    TITLE = "Alerts"
    SHORT = "Alert"
    DETAIL_FROM = 14

    def want(self, view: View, width: int) -> Want:
        if view.config.alertmanager is None:
            return Want(3, least=3, stretch=2)  # one line says so
        head = len(self.head(view, width))
        return Want(2 + max(2, min(13, 1 + 2 * len(view.state.alerts) + head)), least=4, stretch=2)

    def badge(self, view: View) -> tuple[str, str]:
        if view.config.alertmanager is None:
            return "n/a", "label"
        if view.state.alerts_at is None:
            return "?", "nothing"
        count = len(actionable(view.state))
        if not count and view.state.alerts_untold:
            return "?", "nothing"
        return (f"▲{count}", count_span(view)[1]) if count else ("0", count_span(view)[1])

    def heading(self, view: View) -> str:
        state = view.state
        if state.alerts_at is None:
            return ""
        hushed = sum(1 for alert in state.alerts if alert.state is AlertState.ACKNOWLEDGED)
        words = f"{len(actionable(state))} firing" + (f", {hushed} acknowledged" if hushed else "")
        if untold := sum(1 for alert in state.alerts if alert.state is AlertState.UNTOLD):
            words += f", {untold} not reported yet"
        old = old_seconds(state)
        return f"{words} {text.STALE_SIGN}{text.age(old)}" if old is not None else words

    def nothing(self, view: View, width: int) -> list[Row]:
        if view.config.alertmanager is None:
            return [row((text.UNSUPPORTED_SIGN, "nothing"), (cut("  no Alertmanager is configured", width - 3), "label"))]
        source = next((s for (name, _), s in view.state.sources.items() if name == "alertmanager"), None)
        if view.state.alerts_at is None:
            reason = source.reason if source is not None and source.reason else "Alertmanager has not answered yet"
            first, *rest = paragraph(reason, width - 2, "label") or [BLANK]
            return [row((f"{text.UNKNOWN_SIGN} ", "nothing"), *first.spans), *(row("  ", *line.spans) for line in rest[:2])]
        if view.state.alerts_untold:
            return []
        return [row(("0 ", "strong"), ("alerts firing", "label"))]

    def head(self, view: View, width: int) -> list[Row]:
        rows = [row(("? ", "nothing"), (cut(view.state.alerts_untold, width - 2), "label"))] if view.state.alerts_untold else []
        for name, last in missing_pulses(view.state):
            ago = text.age((view.state.now - last).total_seconds()) if last is not None else text.UNKNOWN_SIGN
            rows.append(
                spread(
                    row(("✖ ", "bad"), f"{name} is missing"), row((PULSE, "bad"), (pad(f" {ago}", 5, "right"), "label")), width
                )
            )
        return rows

    def items(self, view: View, width: int) -> list[Item]:
        alerts = sorted(view.state.alerts, key=order)
        room = self.room - len(self.head(view, width)) if self.room else 3 * len(alerts)
        role = "stale" if old_seconds(view.state) is not None else ""
        names = tuple(dict.fromkeys(alert.name for alert in view.state.alerts))
        shown: dict[int, Mapping[str, str]] = {}  # by the cells that there are for a name: of thousands there are some
        made = []
        for alert in alerts:
            since = text.age((view.state.now - alert.since).total_seconds()) if alert.since else text.UNKNOWN_SIGN
            right = row((word_of(alert), role or severity_role(alert)), (pad(f" {since}", 5, "right"), "label"))
            cells = max(0, width - right.cells - 3)
            if cells not in shown:
                shown[cells] = tell_apart(names, cells)
            made.append(self._item(alert, shown[cells][alert.name], right, width, room, len(alerts), view))
        return made

    def _item(self, alert: Alert, name: str, right: Row, width: int, room: int, count: int, view: View) -> Item:
        """`room`: lines for all of them."""
        first = spread(
            row(
                (f"{sign_of(alert)} ", right.spans[0][1]),
                (name, "strong" if alert.state is AlertState.ACTIVE and not alert.pulse else "plain"),
            ),
            right,
            width,
        )
        short = room < 2 * count  # then only the chosen one says more than its name, and more of them are seen
        shown: list[str] = []
        if alert.fingerprint == self.cursor and self.room < self.DETAIL_FROM:
            lines = wrap(_note(alert, view), max(8, width - 2))
            shown = lines[: max(1, min(3, room - count if short else 1 + room - 2 * count))]
        elif not short:
            shown = [cut(_note(alert, view), width - 2)]
        words = f"{alert.name} {alert.severity} {word_of(alert)} {alert.state} {alert.summary}"
        return Item(alert.fingerprint, (first, *(row("  ", (line, "label")) for line in shown)), words)

    def story(self, view: View, id: str, width: int) -> list[Row]:
        alert = _find(view, id)
        if alert is None:
            return []
        now = view.state.now
        known = PULSE if alert.pulse else _WORDS.get(alert.state, str(alert.state))
        rows = paragraph(f"{sign_of(alert)} {alert.severity or 'no severity'}, {known}", width, severity_role(alert))
        if alert.told_by:
            rows += paragraph("Prometheus reports it; Alertmanager has not received it yet.", width, "label")
        elif alert.state is AlertState.UNTOLD:
            rows += paragraph(view.state.alerts_untold, width, "label")
        rows += paragraph(alert.summary or "no summary", width)
        pairs: list[tuple[str, Span]] = []
        if alert.since is not None:
            old = text.age((now - alert.since).total_seconds())
            pairs.append(("since", (f"{text.moment(alert.since)}, {old} ago", "plain")))
        for silence in alert.silences:
            pairs.append(("acknowledged", (f"by {silence.author}: {silence.comment}", "plain")))
            pairs.append(("until", (text.moment(silence.ends_at), "plain")))
        rows += facts(pairs, width)
        notes = [(key, (words, "plain")) for key, words in alert.annotations if words != alert.summary]
        for title, told in (("annotations", notes), ("labels", _labels(alert))):
            if told:
                rows += [BLANK, row((title, "label")), *facts(told, width)]
        return rows

    def entry_title(self, view: View, id: str) -> str:
        alert = _find(view, id)
        return alert.name if alert else id

    def copies(self, view: View) -> list[Copy]:
        alert = _find(view, self.chosen(view))
        if alert is None:
            return []
        pairs = [("alertname", (alert.name, "")), *_labels(alert)]
        labels = ", ".join(f'{key}="{words}"' for key, (words, _) in pairs)
        since = f", since {text.moment(alert.since)}" if alert.since else ""
        found = [
            Copy("its summary", f"{alert.name} ({alert.severity or 'no severity'}, {alert.state}{since}): {alert.summary}"),
            Copy("its name", alert.name),
            Copy("its labels", "{" + labels + "}"),
        ]
        return found + [Copy(key, words) for key, words in alert.annotations if words != alert.summary]

    def detail(self, view: View, cursor: str, width: int) -> list[Row]:
        alert = _find(view, cursor)
        if alert is None:
            return []
        rows = paragraph(alert.summary or "no summary", width)[:4]
        if alert.since:
            rows.append(row(("since ", "label"), text.moment(alert.since)))
        for silence in alert.silences:
            rows += paragraph(f"acknowledged by {silence.author}: {silence.comment}", width, "label")[:2]
            rows.append(row(("until ", "label"), text.moment(silence.ends_at)))
        labels = "  ".join(f"{key}={cut(words, 200)}" for key, (words, _) in _labels(alert))
        return rows + paragraph(labels, width, "label")[:3]


def _note(alert: Alert, view: View) -> str:
    if alert.silences and alert.state is AlertState.ACKNOWLEDGED:
        silence = alert.silences[0]
        return f"until {short_moment(silence.ends_at, view.state.now)}, {silence.author}: {silence.comment}"
    return alert.summary or "no summary"


def _find(view: View, fingerprint: str) -> Alert | None:
    return next((a for a in view.state.alerts if a.fingerprint == fingerprint), None)


def _labels(alert: Alert) -> list[tuple[str, Span]]:
    """All but its name, clean."""
    return [(clean(key, 100), (clean(words), "plain")) for key, words in alert.labels if key != "alertname"]


def short_moment(at: datetime, now: datetime) -> str:
    """`16:40` today, else with the date."""
    local = at.astimezone()
    return local.strftime("%H:%M" if local.date() == now.astimezone(UTC).astimezone().date() else "%m-%d %H:%M")
