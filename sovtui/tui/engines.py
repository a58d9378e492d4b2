"""Rows that tell of engines: what strains one, what is behind it, and those that run beside the modes. Pure."""

from __future__ import annotations

from datetime import datetime

from sovtui.core import text
from sovtui.core.model import Engine, EnginePhase, Part
from sovtui.core.modes import Heat, ModeView, beside_views
from sovtui.core.parts import about, context
from sovtui.core.reading import Status
from sovtui.core.state import Host
from sovtui.tui.panes.base import View
from sovtui.tui.present import RIGHT, Row, Span, pad, paragraph, row, spread, value

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
MANY_UNSUPPORTED = 4
"""From so many on, figures that the engine never has are left out."""
_PHASE_ROLES = {EnginePhase.READY: "ok", EnginePhase.SPILLED: "bad", EnginePhase.DEAD: "bad", EnginePhase.HUNG: "bad"}
_STATE_ROLES = {"ready": "ok", "unloaded": "label", "unused": "label", "chain": "label", "remote": "label", "asleep": "label"}


def sign(view: ModeView) -> str:
    return STRAINED if view.strain else ASLEEP if view.asleep else SIGNS[view.heat]


def role(view: ModeView) -> str:
    return "bad" if view.strain else "label" if view.asleep else HEAT_ROLES[view.heat]


def said(view: ModeView, engine: Engine, *, up: bool = True) -> list[Span]:
    """Engine, phase, model and context, as the line under a mode's name has them; `up`: whether its host is reached."""
    name = f"{view.mode.engine} " if view.mode.engine else ""
    look = _PHASE_ROLES.get(engine.phase, "warn") if up else "stale"
    spans: list[Span] = [("   ", "plain"), (f"{name}{engine.phase}", look)]
    if engine.models:
        spans += [("   ", "plain"), (engine.models[0], "label")]
    if engine.context_tokens:
        spans += [("   ", "plain"), (context(engine.context_tokens), "label")]
    return spans


def strained(view: ModeView, width: int) -> list[Row]:
    """The loud line: what is wrong with one that serves all the same."""
    return paragraph(f"{STRAINED} {view.strain.word}: {view.strain.sentence}", width, "bad")[:3] if view.strain else []


def parts(engine: Engine, now: datetime, width: int, most: int) -> list[Row]:
    """What is behind an engine, the troubled first; those that have no room are counted."""
    rows = [_part(part, now, width) for part in engine.parts]
    if len(rows) <= max(0, most):
        return rows
    left = len(rows) - max(0, most - 1)
    bad = sum(1 for part in engine.parts[max(0, most - 1) :] if part.trouble)
    more = row((f"  and {left} more{f', {bad} of them in trouble' if bad else ''}", "warn" if bad else "label"))
    return [*rows[: most - 1], more] if most > 0 else []


def _part(part: Part, now: datetime, width: int) -> Row:
    mark = STRAINED if part.trouble else " "
    state = "bad" if part.trouble else _STATE_ROLES.get(part.state, "warn")
    left = row((f"{mark} ", state), (part.name, "plain"), "  ", (part.state, state))
    words = about(part, now)
    if left.cells + 2 + len(words) <= width:
        return spread(left, row((words, "label")), width)
    return row(*left.spans, "  ", (words, "label"))


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
        ("TTFT p50", "ttft_p50_seconds"), ("TTFT p95", "ttft_p95_seconds"), ("ITL mean", "itl_mean_seconds"),
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


def rows_wanted(host: Host, found: ModeView | None) -> int:
    """Rows for what is behind the mode's engine, and for those beside the modes."""
    mine = host.engines.get(found.mode.name, Engine()).parts if found else ()
    wanted = min(6, len(mine)) + (2 if found and found.strain else 0) + (1 + len(host.spec.beside) if host.spec.beside else 0)
    for other in host.spec.beside:
        engine = host.engines.get(other.name, Engine())
        wanted += (1 if engine.reason else 0) + min(5, sum(1 for part in engine.parts if part.trouble))
    return wanted


def beside(view: View, host: Host, width: int, most: int) -> list[Row]:
    """The engines beside the modes, each with its own trouble under it."""
    views = beside_views(host)
    if not views or most < 2:
        return []
    rows = [row((pad("beside", width), "label"))]
    for found in views:
        engine = host.engines.get(found.mode.name, Engine())
        rows.append(_beside(view, host, found, engine, width))
        rows += strained(found, width)
        reason = "" if found.strain else found.reason or engine.reason
        if reason and found.heat is not Heat.COLD:
            rows += paragraph(reason, width, role(found) if found.reason else "stale", indent=2)[:2]
        spare = most - len(rows) - (len(views) - views.index(found) - 1)
        bad = sum(1 for part in engine.parts if part.trouble)
        rows += parts(engine, view.state.now, width, min(len(engine.parts), max(bad, spare) if spare > 0 else 0))
    return rows[:most]


def _beside(view: View, host: Host, found: ModeView, engine: Engine, width: int) -> Row:
    left = row((f"{sign(found)} ", role(found)), (found.mode.title, "plain"), "  ", (found.word, role(found)))
    name, now = found.mode.name, view.state.now
    tail: list[Span] = []
    for figure, word in (("running", "running"), ("waiting", "waiting"), ("decode_tok_s", "")):
        reading = host.reading(f"engine.{figure}", name)
        if found.heat is Heat.HOT and reading.known:
            said_, look = value(f"engine.{figure}", reading, now)
            tail += [(f"{said_} {word}".strip(), look), ("  ", "plain")]
    tail.append((pad(found.mode.engine, 9, RIGHT), "label"))
    return spread(left, row(*tail), width)


def no_speed(host: Host, view: ModeView, width: int) -> list[Row]:
    """In the place of the speed, where the engine never tells one: why."""
    reading = host.reading("engine.decode_tok_s", view.mode.name)
    return paragraph(f"decode {text.UNSUPPORTED_SIGN}: {reading.reason}", width, "label")[:2]
