"""Rows that tell of engines: what strains one, what is behind it, and those that run beside the modes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sovtui.core import text
from sovtui.core.model import Engine, EnginePhase, Part
from sovtui.core.modes import Heat, ModeView, beside_views
from sovtui.core.parts import about, context
from sovtui.core.reading import Status
from sovtui.core.state import Host
from sovtui.tui.panes.base import View
from sovtui.tui.present import RIGHT, Row, Span, cell_len, cut, fit, flow, pad, paragraph, row, spread, value

SIGNS = {Heat.HOT: "●", Heat.STARTING: "◐", Heat.STOPPING: "◑", Heat.BROKEN: "✖", Heat.COLD: "○", Heat.UNKNOWN: "?"}
HEAT_ROLES = {
    Heat.HOT: "ok",
    Heat.STARTING: "warn",
    Heat.STOPPING: "warn",
    Heat.BROKEN: "bad",
    Heat.COLD: "label",
    Heat.UNKNOWN: "nothing",
}
STRAINED, ASLEEP = "▲", "◌"
"""Signs of a hot one that does not work as it should, and of one whose model is not in memory."""
WORDS_KEPT = 16
"""Cells for `33 % on the CPU` beside a name that is too long."""
SHORT_LINES = 60
"""Below this width a sentence may take a line more."""
PARTS_BESIDE = 16
"""Rows at most for what is well behind one engine beside the modes."""
MANY_UNSUPPORTED = 4
"""From so many on, figures that the engine never has are left out."""
_PHASE_ROLES = {EnginePhase.READY: "ok", EnginePhase.SPILLED: "bad", EnginePhase.DEAD: "bad", EnginePhase.HUNG: "bad"}
_STATE_ROLES = {"ready": "ok", "unloaded": "label", "unused": "label", "chain": "label", "remote": "label", "asleep": "label"}


def sign(view: ModeView) -> str:
    return STRAINED if view.strain else ASLEEP if view.asleep else SIGNS[view.heat]


def role(view: ModeView) -> str:
    return "bad" if view.strain else "label" if view.asleep else HEAT_ROLES[view.heat]


def said(view: ModeView, engine: Engine, *, up: bool = True) -> list[Row]:
    """Engine, phase, model and context, as what follows a mode's name; `up`: whether its host is reached."""
    phase = "" if str(engine.phase) == view.word else str(engine.phase)
    look = _PHASE_ROLES.get(engine.phase, "warn") if up else "stale"
    found = [row((f"{view.mode.engine} {phase}".strip(), look))]
    if engine.models:
        found.append(row((engine.models[0], "label")))
    if engine.context_tokens:
        found.append(row((context(engine.context_tokens), "label")))
    return found


def strained(view: ModeView, width: int) -> list[Row]:
    """The loud line: what is wrong with one that serves all the same."""
    return paragraph(f"{STRAINED} {view.strain.word}: {view.strain.sentence}", width, "bad")[:3] if view.strain else []


def parts(engine: Engine, now: datetime, width: int, most: int) -> list[Row]:
    """What is behind an engine, the troubled first; on two lines each where they need and find them. What has no room is counted."""
    ordered = sorted(engine.parts, key=lambda part: not part.trouble)
    for roomy in (True, None, False):  # all that need two lines, only the troubled, none
        rows: list[Row] = []
        for part in ordered:
            two = part.trouble if roomy is None else roomy
            rows += _tall(part, now, width) if two else [_part(part, now, width)]
        if len(rows) <= max(0, most):
            return rows
    left = len(rows) - max(0, most - 1)
    bad = sum(1 for part in ordered[max(0, most - 1) :] if part.trouble)
    more = row((f"  and {left} more{f', {bad} of them in trouble' if bad else ''}", "warn" if bad else "label"))
    return [*rows[: most - 1], more] if most > 0 else []


def _part(part: Part, now: datetime, width: int) -> Row:
    """One line: of a long name and of many words the end is cut off, of its state nothing."""
    words = about(part, now)
    left = _named(part, len(part.name))
    if left.cells + 2 + len(words) <= width:
        return spread(left, row((words, "label")), width)
    kept = min(len(words), WORDS_KEPT) + 2 if words else 0
    left = _named(part, max(8, width - left.cells + cell_len(part.name) - kept))
    return fit(row(*left.spans, "  ", (words, "label")), width)


def _tall(part: Part, now: datetime, width: int) -> list[Row]:
    """The same with what is to be said of it below, where both do not fit on a line."""
    words, left = about(part, now), _named(part, len(part.name))
    if left.cells + 2 + len(words) <= width:
        return [_part(part, now, width)]
    left = _named(part, max(8, width - left.cells + cell_len(part.name)))
    return [left, *paragraph(words, width, "label", indent=4)[:2]]


def _named(part: Part, cells: int) -> Row:
    state = "bad" if part.trouble else _STATE_ROLES.get(part.state, "warn")
    return row((f"{STRAINED if part.trouble else ' '} ", state), cut(part.name, cells), "  ", (part.state, state))


def figures(host: Host, view: ModeView, now: datetime) -> list[tuple[str, Span]]:
    """Label and value of every figure worth a place. What the engine never has is left out where that is most of it."""
    name = view.mode.name

    def told(figure: str) -> Span:
        return value(f"engine.{figure}", host.reading(f"engine.{figure}", name), now)

    running = told("running")
    slots = host.reading("engine.slots", name)
    if slots.value is not None and host.reading("engine.running", name).value is not None:
        running = (f"{running[0]} of {slots.value:.0f}", running[1])
    drafts, look = told("accept_ratio")
    length = host.reading("engine.accept_length", name)
    if length.fresh_value is not None and look == "plain":
        drafts = f"{drafts} ×{length.fresh_value:.1f}"
    always = [
        ("running", "running"), ("waiting", "waiting"), ("KV", "kv_use_ratio"), ("prompt", "prompt_tok_s"),
        ("TTFT p50", "ttft_p50_seconds"), ("TTFT p95", "ttft_p95_seconds"), ("TPOT", "itl_mean_seconds"),
        ("prefix", "prefix_hit_ratio"), ("drafts", "accept_ratio"),
    ]  # fmt: skip
    known = [("held", "memory_bytes"), ("on CPU", "cpu_share_ratio")]
    never = [f for _, f in always if host.reading(f"engine.{f}", name).status is Status.UNSUPPORTED]
    pairs = [
        (label, running if figure == "running" else (drafts, look) if figure == "accept_ratio" else told(figure))
        for label, figure in always
        if not (figure in never and len(never) >= MANY_UNSUPPORTED)
    ]
    return pairs + [(label, told(figure)) for label, figure in known if host.reading(f"engine.{figure}", name).known]


def rows_wanted(view: View, host: Host, found: ModeView | None, width: int) -> int:
    """Rows for what is behind the mode's engine, and for those beside the modes."""
    wanted = 0
    if found:
        engine = host.engines.get(found.mode.name, Engine())
        wanted += min(8, len(parts(engine, view.state.now, width, 100)))
    return wanted + (len(beside(view, host, width, 60)) if host.spec.beside else 0)


def _reason(found: ModeView, engine: Engine, width: int) -> list[Row]:
    """Why it is not simply well: up to two lines, three where lines are short."""
    reason = "" if found.strain else found.reason or engine.reason
    role_ = role(found) if found.reason else "stale"
    return paragraph(reason, width, role_, indent=2)[: 3 if width < SHORT_LINES else 2] if reason else []


def reason(host: Host, found: ModeView, width: int, *, up: bool) -> list[Row]:
    """The lines under a mode's name that say why it is not simply well."""
    rows = _reason(found, host.engines.get(found.mode.name, Engine()), width)
    return rows if up else [Row(tuple((words, "stale") for words, _ in line.spans)) for line in rows]


def beside(view: View, host: Host, width: int, most: int) -> list[Row]:
    """The engines beside the modes, each with its own trouble under it; where that has no room, each in a line, or how many more."""
    views = beside_views(host)
    if not views or most < 2:
        return []
    rows = [row((pad("other engines", width), "label"))]
    for index, found in enumerate(views):
        engine = host.engines.get(found.mode.name, Engine())
        rows += _beside(view, host, found, width)
        rows += strained(found, width)
        if found.heat is not Heat.COLD:
            rows += _reason(found, engine, width)
        spare = most - len(rows) - sum(_least(view, host, later, width) for later in views[index + 1 :])
        bad = sum(1 for part in engine.parts if part.trouble)
        rows += parts(engine, view.state.now, width, max(bad, min(spare, PARTS_BESIDE)) if spare > 0 else 0)
    if len(rows) <= most:
        return rows
    lines = [name_line(found, width) for found in views]
    if len(lines) < most:
        return [rows[0], *lines]
    if most == 2:
        return [rows[0], _and_more(view, host, views, width)]
    shown = lines[: most - 2]
    return [rows[0], *shown, row((f"↓ {len(lines) - len(shown)} more", "label"))]


def _and_more(view: View, host: Host, views: Sequence[ModeView], width: int) -> Row:
    """One line for several: the first, its figures where they fit, and how many more there are."""
    more = row((f" ↓ {len(views) - 1} more", "label")) if len(views) > 1 else row()
    figures = [span for words, look in _told(view, host, views[0]) for span in (("  ", "plain"), (words, look))]
    first = row(*name_line(views[0], width).spans, *figures)
    return spread(first if first.cells + more.cells <= width else name_line(views[0], width - more.cells), more, width)


def _least(view: View, host: Host, found: ModeView, width: int) -> int:
    """Rows that one beside the modes needs for itself and for what is in trouble behind it."""
    engine = host.engines.get(found.mode.name, Engine())
    why = [] if found.heat is Heat.COLD else _reason(found, engine, width)
    bad = sum(1 for part in engine.parts if part.trouble)
    behind = bad + (len(engine.parts) > bad)
    return len(_beside(view, host, found, width)) + len(strained(found, width)) + len(why) + behind


def _beside(view: View, host: Host, found: ModeView, width: int) -> list[Row]:
    """Name and state always; the figures on the same line where they fit, else below."""
    left = row((f"{sign(found)} ", role(found)), (found.mode.title, "plain"), "  ", (found.word, role(found)))
    kind = row((pad(found.mode.engine, 9, RIGHT), "label"))
    told = [row((words, look)) for words, look in _told(view, host, found)]
    tail = row(*[span for one in told for span in (*one.spans, ("  ", "plain"))])
    if left.cells + 1 + tail.cells + kind.cells <= width:
        return [spread(left, row(*tail.spans, *kind.spans), width)]
    first = spread(left, kind, width) if left.cells + 1 + kind.cells <= width else fit(left, width)
    return [first, *(row("  ", *line.spans) for line in flow(told, width - 2))]


def name_line(found: ModeView, width: int) -> Row:
    """One line for one beside the modes: its state, and why."""
    left = [(f"{sign(found)} ", role(found)), (found.mode.title, "plain"), (f"  {found.word}", role(found))]
    return fit(row(*left, (f"  {found.strain.sentence if found.strain else found.reason}", "label")), width)


def _told(view: View, host: Host, found: ModeView) -> list[Span]:
    """The figures of one beside the modes, as words."""
    spans = []
    for figure, word in (("running", "running"), ("waiting", "waiting"), ("decode_tok_s", "")):
        reading = host.reading(f"engine.{figure}", found.mode.name)
        if found.heat is Heat.HOT and reading.known:
            words, look = value(f"engine.{figure}", reading, view.state.now)
            spans.append((f"{words} {word}".strip(), look))
    return spans


def no_speed(host: Host, view: ModeView, width: int) -> list[Row]:
    """In the place of the speed, where the engine never tells one: why."""
    reading = host.reading("engine.decode_tok_s", view.mode.name)
    return paragraph(f"decode {text.UNSUPPORTED_SIGN}: {reading.reason}", width, "label")[:2]
