"""The action that runs or has just ended, step by step, and the receipts of earlier ones."""

from __future__ import annotations

from datetime import datetime
from statistics import median

from sovtui.core import text
from sovtui.core.model import ActionRun, Step
from sovtui.core.state import Host
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Item, ListPane, View
from sovtui.tui.present import RIGHT, Row, Span, pad, paragraph, row, spread

JUST_ENDED_SECONDS = 60.0
"""How long an ended action stays in front."""
_STEP_SIGNS = {"running": ("◐", "accent"), "done": ("✔", "ok"), "failed": ("✖", "bad"), "skipped": ("–", "label")}


def outcome_span(run: ActionRun) -> Span:
    """Sign and word for how an action ended, or that it runs."""
    if run.running:
        return "◐ running", "accent"
    if run.outcome == "done":
        return "✔ done", "ok"
    return (f"▲ {run.outcome}", "warn") if run.outcome == "warned" else (f"✖ {run.outcome}", "bad")


def acting(host: Host | None, now: datetime) -> bool:
    """Whether an action runs or has just ended."""
    run = host.action if host else None
    if run is None:
        return False
    if run.running:
        return True
    return run.seconds is not None and (now - run.began_at).total_seconds() - run.seconds < JUST_ENDED_SECONDS


def usual_seconds(host: Host, run: ActionRun) -> float | None:
    """What the same action took before, as far as receipts tell."""
    took = [
        r.seconds
        for r in host.receipts
        if (r.kind, r.target) == (run.kind, run.target) and r.seconds and outcome_span(r)[1] == "ok"
    ]
    return median(took) if took else None


def elapsed(run: ActionRun, now: datetime) -> float:
    return run.seconds if run.seconds is not None else max(0.0, (now - run.began_at).total_seconds())


def run_span(host: Host, now: datetime) -> Span | None:
    """The running action in a few words, for the status line."""
    run = host.action
    if run is None or not run.running:
        return None
    step = f": {run.steps[-1].name}" if run.steps else ""
    return f"◐ {run.kind} {run.target}".rstrip() + step, "accent"


class ActionsPane(ListPane):
    NAME = "actions"
    TITLE = "Actions"
    SHORT = "Act"
    DETAIL_FROM = 16

    def want(self, view: View, width: int) -> Want:
        host = view.host
        if host is None or not acting(host, view.state.now) or host.action is None:
            return Want(2 + max(2, min(6, len(host.receipts) if host else 1)), least=3, stretch=1)
        return Want(2 + 2 + max(6, len(host.action.steps)) + 3, least=9, stretch=1)

    def badge(self, view: View) -> tuple[str, str]:
        run = view.host.action if view.host else None
        return ("◐", "accent") if run is not None and run.running else ("", "")

    def heading(self, view: View) -> str:
        host = view.host
        if host is None or host.action is None or not host.action.running:
            return ""
        usual = usual_seconds(host, host.action)
        return f"usually {text.duration(usual)}" if usual else ""

    def nothing(self, view: View, width: int) -> list[Row]:
        if view.host is not None and acting(view.host, view.state.now):
            return []
        return [row(("no receipts seen yet", "label"))]

    def head(self, view: View, width: int) -> list[Row]:
        host, now = view.host, view.state.now
        if host is None or host.action is None or not acting(host, now):
            return []
        run = host.action
        what = f"{run.kind} {run.target}".strip()
        took = row(
            (text.duration(elapsed(run, now)), "strong"), *((("  by ", "label"), (run.who, "label")) if width >= 60 else ())
        )
        rows = [spread(row(outcome_span(run), "  ", (what, "strong")), took, width)]
        if run.reason:
            rows += paragraph(run.reason, width, "bad" if outcome_span(run)[1] == "bad" else "plain", indent=2)[:4]
        height = self.size.height or 12
        steps = run.steps[-max(3, height - len(rows) - (3 if run.running else 1)) :]
        rows += [self._step(step, now, width) for step in steps]
        lines = run.lines[-max(0, min(3, height - len(rows))) :] if run.running or outcome_span(run)[1] == "bad" else ()
        rows += [row((f"  {line}", "label")) for line in lines]
        return rows[:height]

    def _step(self, step: Step, now: datetime, width: int) -> Row:
        sign, role = _STEP_SIGNS.get(step.state, ("?", "nothing"))
        seconds = step.seconds
        if seconds is None and step.state == "running":
            seconds = max(0.0, (now - step.began_at).total_seconds())
        took = pad(text.duration(seconds) if seconds is not None else "", 10, RIGHT)
        left = row((f"  {sign} ", role), (step.name, "strong" if step.state == "running" else "plain"))
        if step.detail:
            left = row(*left.spans, (f"  {step.detail}", "label"))
        return spread(left, row((took, role if step.state == "running" else "label")), width)

    def items(self, view: View, width: int) -> list[Item]:
        host = view.host
        assert host is not None
        shown = host.action.id if host.action is not None and acting(host, view.state.now) else ""
        return [self._item(view, run, width) for run in host.receipts if run.id != shown]

    def _item(self, view: View, run: ActionRun, width: int) -> Item:
        word, role = outcome_span(run)
        age = text.age((view.state.now - run.began_at).total_seconds()) + " ago"
        took = text.duration(run.seconds) if run.seconds is not None else text.UNKNOWN_SIGN
        what = f"{run.kind} {run.target}".strip()
        right = row((pad(took, 10, RIGHT), "label"), (pad(age, 9, RIGHT), "label"))
        line = spread(row((f"{word}  ", role), what, (f"  {run.who}" if width >= 48 else "", "label")), right, width)
        return Item(run.id, (line,), f"{what} {run.outcome} {run.who} {run.reason}")

    def detail(self, view: View, cursor: str, width: int) -> list[Row]:
        run = next((r for r in view.host.receipts if r.id == cursor), None) if view.host else None
        if run is None or (view.host is not None and acting(view.host, view.state.now)):
            return []
        rows = [row((f"{run.kind} {run.target}".strip(), "strong"), ("  by ", "label"), run.who)]
        rows.append(row(("began ", "label"), text.moment(run.began_at)))
        rows += paragraph(run.reason, width)[:3] if run.reason else []
        rows += [self._step(step, view.state.now, width) for step in run.steps[-6:]]
        return rows
