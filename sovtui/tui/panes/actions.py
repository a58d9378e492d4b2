"""The action that runs or has just ended, step by step, and the receipts of earlier ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sovtui.core import text
from sovtui.core.catalog import CATALOG
from sovtui.core.model import ActionRun, LinkPhase, Step
from sovtui.core.receipts import outcome_word, step_word
from sovtui.core.state import Host
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Copy, Item, ListPane, View
from sovtui.tui.present import BLANK, RIGHT, Row, Span, facts, pad, paragraph, row, spread, tell_apart

JUST_ENDED_SECONDS = 60.0
"""How long an ended action stays in front."""
_STEP_SIGNS = {"running": ("◐", "accent"), "done": ("✔", "ok"), "failed": ("✖", "bad"), "skipped": ("–", "label")}


def outcome_span(run: ActionRun, *, cancelling: bool = False) -> Span:
    """Sign and word for how an action ended, or that it runs."""
    if run.running:
        return ("◐ being cancelled", "warn") if cancelling else ("◐ running", "accent")
    if run.outcome == "done":
        return "✔ done", "ok"
    return (f"▲ {outcome_word(run)}", "warn") if run.outcome in ("warned", "skipped") else (f"✖ {outcome_word(run)}", "bad")


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
    if not took:
        return None
    from statistics import median  # brings decimal and fractions along, and most starts see no action

    return median(took)


def elapsed(run: ActionRun, now: datetime) -> float:
    """Never less than its steps took together: the moment that is shown may be a second older than the newest step."""
    if run.seconds is not None:
        return run.seconds
    return max((now - run.began_at).total_seconds(), sum(step.seconds or 0.0 for step in run.steps))


def run_span(host: Host, now: datetime) -> Span | None:
    """The running action in a few words, for the status line."""
    run = host.action
    if run is None or not run.running:
        return None
    step = f": {step_word(run.steps[-1].name)}" if run.steps else ""
    doing = "cancelling " if host.cancelling == run.id else ""
    words = f"◐ {doing}{run.kind} {run.target}".rstrip() + step
    if host.link.phase is LinkPhase.UP or host.link.since is None:
        return words, "accent"
    return f"{words} {text.STALE_SIGN}{text.age((now - host.link.since).total_seconds())}", "stale"


def _find(view: View, id: str) -> ActionRun | None:
    runs = [*([view.host.action] if view.host.action else []), *view.host.receipts] if view.host else []
    return next((run for run in runs if run.id == id), None)


def _figures(run: ActionRun) -> list[tuple[str, str]]:
    """Each figure of the receipt, before and after side by side."""
    told: dict[str, dict[str, float]] = {}
    for name, level in run.figures:
        when, _, figure = name.partition(".")
        told.setdefault(figure, {})[when] = level
    found = []
    for figure, levels in told.items():
        spec = CATALOG.get(figure)
        words = [
            text.UNKNOWN_SIGN if when not in levels else text.quantity(levels[when], spec.unit) if spec else f"{levels[when]:g}"
            for when in ("before", "after")
        ]
        found.append((spec.label if spec else figure, " → ".join(words)))
    return found


def _written(pane: ActionsPane, view: View, run: ActionRun) -> list[Row]:
    return [row(f"{run.kind} {run.target} on {view.host_name}".replace("  ", " ")), *pane.story(view, run.id, 100)]


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
        rows = [spread(row(outcome_span(run, cancelling=host.cancelling == run.id), "  ", (what, "strong")), took, width)]
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
        left = row((f"  {sign} ", role), (step_word(step.name), "strong" if step.state == "running" else "plain"))
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
        whats = tuple(dict.fromkeys(f"{one.kind} {one.target}".strip() for one in view.host.receipts)) if view.host else ()
        shown = tell_apart(tuple(dict.fromkeys((*whats, what))), max(8, width - right.cells - len(word) - 3))[what]
        line = spread(row((f"{word}  ", role), shown, (f"  {run.who}" if width >= 48 else "", "label")), right, width)
        return Item(run.id, (line,), f"{what} {outcome_word(run)} {run.who} {run.reason}")

    def stays(self, view: View) -> bool:
        return not acting(view.host, view.state.now)

    def chosen(self, view: View) -> str:
        """What runs or has just ended is before the list, and what one means."""
        if view.host is not None and view.host.action is not None and not self._held and acting(view.host, view.state.now):
            return view.host.action.id
        return super().chosen(view)

    def story(self, view: View, id: str, width: int) -> list[Row]:
        run = _find(view, id)
        if run is None:
            return []
        now = view.state.now
        word, role = outcome_span(run)
        rows = paragraph(word, width, role)
        rows += paragraph(run.reason, width) if run.reason else []
        pairs: list[tuple[str, Span]] = [("by", (run.who, "plain")), ("began", (text.moment(run.began_at), "plain"))]
        pairs.append(("took" if not run.running else "runs", (text.duration(elapsed(run, now)), "plain")))
        rows += [*facts([*pairs, ("receipt", (run.id, "label"))], width), BLANK]
        for step in run.steps:
            rows.append(self._step(replace(step, detail=""), now, width))
            rows += paragraph(step.detail, width, "label", indent=4) if step.detail else []
        figures = [(name, (words, "plain")) for name, words in _figures(run)]
        if figures:
            rows += [BLANK, row(("before and after", "label")), *facts(figures, width)]
        if run.lines:
            rows += [BLANK, row(("last log lines", "label"))]
            rows += [line for words in run.lines for line in paragraph(words, width, "plain")]
        return rows

    def entry_title(self, view: View, id: str) -> str:
        run = _find(view, id)
        return f"{run.kind} {run.target}".strip() if run else id

    def copies(self, view: View) -> list[Copy]:
        run = _find(view, self.chosen(view))
        if run is None:
            return []
        found = [
            Copy("the receipt", "\n".join(line.plain.rstrip() for line in _written(self, view, run))),
            Copy("its id", run.id),
        ]
        return [*found, Copy("its reason", run.reason)] if run.reason else found

    def detail(self, view: View, cursor: str, width: int) -> list[Row]:
        run = next((r for r in view.host.receipts if r.id == cursor), None) if view.host else None
        if run is None or (view.host is not None and acting(view.host, view.state.now)):
            return []
        rows = [row((f"{run.kind} {run.target}".strip(), "strong"), ("  by ", "label"), run.who)]
        rows.append(row(("began ", "label"), text.moment(run.began_at)))
        rows += paragraph(run.reason, width)[:3] if run.reason else []
        rows += [self._step(step, view.state.now, width) for step in run.steps[-6:]]
        return rows
