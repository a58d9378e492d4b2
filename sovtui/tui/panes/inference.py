"""What is hot, is it busy, how fast, and what else could be loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from textual import events
from textual.message import Message

from sovtui.core import text
from sovtui.core.forecast import forecast_view
from sovtui.core.model import Engine, EnginePhase, LinkPhase, Mode
from sovtui.core.modes import Heat, ModeView, beside_views, mode_views, pace, seen_at, serving, switchable
from sovtui.core.reading import Status
from sovtui.core.state import Host
from sovtui.tui import engines
from sovtui.tui.arrange import Want
from sovtui.tui.panes.base import Copy, Pane, View
from sovtui.tui.present import (
    BLANK,
    LEFT,
    RIGHT,
    Row,
    Span,
    big,
    curve,
    cut,
    fit,
    flow,
    grid,
    pad,
    paragraph,
    reading_role,
    row,
    spread,
    tell_apart,
    value,
)

FORECASTS = {"fits": ("fits", "ok"), "fits-after-drop": ("fits after drop", "ok"), "too-small": ("too big", "warn")}
DECODE = "engine.decode_tok_s"
FIGURE_CELLS = 20
"""Least width of one label with its value."""
ROOMY_ROWS = 16
"""From so many on, what an engine serves may take a second line."""
CURVE_SECONDS = 600.0
LEAST_POINTS = 20
"""Fewer make no band."""
LEAST_FIGURES = 3
"""Rows of figures that stay before a mode has to go."""
NEED_CELLS = 24
"""`83.8 GiB fits after drop`."""


def subject(host: Host) -> ModeView | None:
    """The mode that the figures are about: hot, else starting, else broken."""
    views = mode_views(host)
    for heat in (Heat.HOT, Heat.STARTING, Heat.BROKEN, Heat.STOPPING):
        for view in views:
            if view.heat is heat:
                return view
    return None


def in_front(host: Host) -> ModeView | None:
    """What the headline is about: the mode, or where none is up the first engine that serves."""
    return subject(host) or next(iter(serving(host)), None)


def live(host: Host, role: str) -> str:
    """The role, or that of stale things while the link is not up: nothing looks live that cannot be."""
    return role if host.link.phase is LinkPhase.UP or role == "nothing" else "stale"


def heat_span(host: Host, now: datetime | None = None) -> Span:
    """One word for the whole box, as the status line and the host list show it; while the link is down with its age (by `now`)."""
    words, role = _heat_span(host)
    old = live(host, role)
    return (f"{words} {stale_age(host, subject(host), now)}" if old == "stale" else words), old


def stale_age(host: Host, view: ModeView | None, now: datetime | None) -> str:
    """The sign for stale, with how long ago a mode (none: any) was last seen as it is shown."""
    modes = (*host.spec.modes, *host.spec.beside) if view is None else (view.mode,)
    last = max((at for mode in modes if (at := seen_at(host, mode)) is not None), default=None)
    return (
        f"{text.STALE_SIGN}{text.age((now - last).total_seconds())}" if now is not None and last is not None else text.STALE_SIGN
    )


def _heat_span(host: Host) -> Span:
    views = mode_views(host)
    hot = [view for view in views if view.heat is Heat.HOT]
    if len(hot) > 1:
        return f"✖ {len(hot)} modes are hot", "bad"
    view = subject(host)
    if view is not None:
        return f"{engines.sign(view)} {view.mode.name} {view.word}", engines.role(view)
    if any(view.heat is Heat.UNKNOWN for view in views):
        return "? mode unknown", "nothing"
    return _beside_span(host) or (("○ no mode is hot", "label") if views else ("no modes", "label"))


def _beside_span(host: Host) -> Span | None:
    """Where no mode is up: the engine that needs a look, else what serves; None where nothing does."""
    up = serving(host)
    first = troubled(host) or next(iter(up or beside_views(host)), None)
    if first is None or (not up and first.heat is not Heat.BROKEN and host.spec.modes):
        return None
    words = f"{engines.sign(first)} {first.mode.name} {first.word}"
    more = len(up) - (first in up)
    words += f", {more} more" if more else ""
    return f"{words}, no mode" if host.spec.modes else words, engines.role(first)


def troubled(host: Host) -> ModeView | None:
    """The first engine beside the modes that does not work as it should."""
    return next((view for view in beside_views(host) if view.heat is Heat.BROKEN or view.strain), None)


def band(points: Sequence[tuple[float, float]], now: float) -> tuple[float, float] | None:
    """Between which speeds it decoded eight tenths of the time that it worked in the last ten minutes; None with too little to tell."""
    since = now - CURVE_SECONDS
    worked = sorted([level for at, level in points if level > 0 and at >= since])
    if len(worked) < LEAST_POINTS:
        return None
    return worked[len(worked) // 10], worked[-1 - len(worked) // 10]


class InferencePane(Pane):
    NAME = "inference"
    TITLE = "Inference"
    SHORT = "Infer"

    class Switched(Message):
        """A mode was tapped."""

        def __init__(self, mode: str) -> None:
            super().__init__()
            self.mode = mode

    def on_click(self, event: events.Click) -> None:
        super().on_click(event)
        place, view = event.get_content_offset(self), self.view
        came, self._tapped_from_outside = self._tapped_from_outside, False
        if place is None or came or view is None or view.host is None or not self._modes_at <= place.y < len(self.shown):
            return
        mode = self.meant().get(place.y)
        if mode is not None:
            self.post_message(self.Switched(mode) if self.steady.holds(place.y) else self.TooSoon())

    def meant(self) -> Mapping[int, str]:
        host = self.view.host if self.view is not None else None
        if host is None or not host.spec.modes:
            return {}
        names = [*(mode.name for mode in host.spec.modes), "none"][: self._modes_shown]
        return {self._modes_at + index: name for index, name in enumerate(names)}

    _modes_at = 10**6
    """The row of the first mode."""
    _modes_shown = 0

    def want(self, view: View, width: int) -> Want:
        host = view.host
        found = subject(host) if host else None
        figures = -(-9 // max(1, width // FIGURE_CELLS))
        rows = 2 + 1 + 1  # borders, a gap, a heading
        if found or (host and any(one.heat is Heat.UNKNOWN for one in mode_views(host))):
            rows += 3 + 1 + figures  # speed and what it is held against
        hot = found is not None and found.heat is Heat.HOT  # of others the reason stands where the speed would be
        rows += len(self._engine(host, found, width, view.state.now, roomy=True)) if host and found and hot else 1
        rows += len(host.spec.modes) + 1 + engines.rows_wanted(view, host, found, width) if host else 1
        besides = len(host.spec.beside) if host else 0
        return Want(rows, least=min(14, 11 + 3 * besides) if besides else 10)

    def badge(self, view: View) -> tuple[str, str]:
        if view.host is None:
            return "", ""
        found = subject(view.host)
        if found is None or engines.role(found) != "bad":
            found = troubled(view.host) or found
        return (engines.sign(found), live(view.host, engines.role(found))) if found else ("", "")

    def heading(self, view: View) -> str:
        found = subject(view.host) if view.host else None
        return found.mode.title if found else ""

    def rows(self, view: View, width: int, height: int) -> Sequence[Row]:
        host = view.host
        assert host is not None
        found = subject(host)
        hot = [v for v in mode_views(host) if v.heat is Heat.HOT]
        modes = self._modes(view, host, width)
        rows: list[Row] = []
        if len(hot) > 1:
            names = ", ".join(v.mode.title for v in hot)
            rows += paragraph(f"✖ {len(hot)} modes are hot at once: {names}. Switch to one of them.", width, "bad")
        if found is None:
            if modes:
                rows.append(row(heat_span(host, view.state.now)))
            reasons = {v.reason for v in mode_views(host) if v.reason}
            for reason in sorted(reasons)[:2]:
                rows += paragraph(reason, width, "label")[:2]
        else:
            rows += self._engine(host, found, width, view.state.now, roomy=height >= ROOMY_ROWS)
            if found.heat is Heat.HOT or host.reading(DECODE, found.mode.name).value is not None:
                figures = grid(engines.figures(host, found, view.state.now), width, FIGURE_CELLS)
                spare = height - len(rows) - len(modes) - len(figures)
                if host.reading(DECODE, found.mode.name).status is Status.UNSUPPORTED:
                    rows += engines.no_speed(host, found, width)
                else:
                    rows += self._speed(view, host, found.mode, width, tall=spare >= 4)
                left = height - len(rows)
                rows += figures[: max(1, min(left - 3, max(LEAST_FIGURES, left - len(modes) + 1)))]  # `none` has its key
                said = host.engines.get(found.mode.name, Engine())
                rows += engines.parts(said, view.state.now, width, height - len(rows) - len(modes) - 1)
        if modes and rows and height - len(rows) - len(modes) >= 2:
            rows.append(BLANK)
        if modes and height - len(rows) - len(modes) >= 1:
            rows.append(row((pad("modes", width), "label")))
        self._modes_at = len(rows)
        shown = modes[: max(0, height - len(rows))]
        self._modes_shown = len(shown)
        if shown and (left_out := len(modes) - len(shown)) > 1:
            self._modes_shown -= 1
            shown[-1] = row((cut(f"↓ {left_out + 1} more", width), "label"))
        rows += shown
        rows = [*rows, *engines.beside(view, host, width, height - len(rows))][:height]
        bad = troubled(host)
        if bad is not None and not any(bad.mode.title in line.plain for line in rows[self._modes_at + len(modes) :]):
            rows[-1:] = [engines.name_line(bad, width)]  # there is no room for those beside: for the one in trouble there is
        return rows

    def copies(self, view: View) -> list[Copy]:
        found = subject(view.host) if view.host else None
        if view.host is None or found is None:
            return []
        told = [("decode", value(DECODE, view.host.reading(DECODE, found.mode.name), view.state.now))]
        told += engines.figures(view.host, found, view.state.now)
        figures = [Copy(label, f"{label}: {words}") for label, (words, _) in told]
        head = f"{found.mode.name} on {view.host_name}, {found.word}, {text.moment(view.state.now)}"
        engine = view.host.engines.get(found.mode.name)
        models = [Copy("model id", model) for model in (engine.models if engine else ())[:1]]
        return [Copy("all figures", "\n".join([head, *(one.text for one in figures)])), *models, *figures]

    def _engine(self, host: Host, view: ModeView, width: int, now: datetime, *, roomy: bool) -> list[Row]:
        engine = host.engines.get(view.mode.name)
        up = host.link.phase is LinkPhase.UP
        role = live(host, engines.role(view))
        word = f"{view.word} {stale_age(host, view, now)}" if role == "stale" else view.word
        parts = [row((f"{engines.sign(view)} ", role), (view.mode.name, "strong"), " ", (word, role))]
        if engine is not None and engine.phase is not EnginePhase.UNKNOWN:
            parts += engines.said(view, engine, up=up)
        rows = [fit(row(*(span for part in parts for span in (*part.spans, ("   ", "plain")))), width)]
        if roomy:
            first, *more = flow(parts, width, ("   ", "plain"))
            rows = [first, *(fit(row("  ", *line.spans), width) for line in more)]
        return [*rows, *engines.strained(view, width), *engines.reason(host, view, width, up=up)]

    def _speed(self, view: View, host: Host, mode: Mode, width: int, *, tall: bool) -> list[Row]:
        reading = host.reading(DECODE, mode.name)
        now = view.state.now
        role = reading_role(reading) if reading.status is not Status.FRESH else "strong"
        against: Row = row(("decode", "label"))
        if mode.expect_tok_s:
            expected = f" of {mode.expect_tok_s:g} expected"
            if reading.status is Status.FRESH and reading.value:
                ratio = reading.value / mode.expect_tok_s
                word = pace(host, mode, now)
                share = (f"{ratio * 100:.0f} %", "warn" if word else "ok")
                against = row(("decode ", "label"), share, (expected, "label"), (f" {word}" if word else "", "warn"))
            else:
                against = row((f"decode, {mode.expect_tok_s:g} expected", "label"))
        points = host.curves.get((DECODE, mode.name), ())
        top = mode.expect_tok_s or 0.0
        look = "curve" if reading.status is Status.FRESH else "stale"
        if not tall:
            words, _ = value(DECODE, reading, now)
            left = row((words, role), "  ", *against.spans)
            if left.cells > width:
                left = row((words, role), "  ", *against.spans[1:])  # that it is decode says the unit too
            room = width - left.cells - 2
            line = curve(points, room, 1, now.timestamp(), top=top) if room >= 10 else []
            return [spread(left, row((line[0], look)), width) if line else left]
        words = text.UNSUPPORTED_SIGN if reading.status is Status.UNSUPPORTED else text.UNKNOWN_SIGN
        if reading.value is not None:
            words = f"{reading.value:.0f}" if reading.value >= 99.95 or not reading.value else f"{reading.value:.1f}"
        unit = "tok/s"
        if reading.status is Status.STALE:
            old = reading.age_seconds(now)
            unit = f"tok/s {text.STALE_SIGN}{text.age(old)}" if old is not None else f"tok/s {text.STALE_SIGN}"
        digits = big(words) if words[0].isdigit() or words == "?" else ("", words, "")
        wide = max(19, *(len(line) for line in digits))
        room = width - wide - 2 - len(unit)
        lines = curve(points, room, 3, now.timestamp(), top=top) if room >= 8 else ["", "", ""]
        units = ("", "", unit)
        rows = [
            row(
                (pad(d, wide - 4), role),
                (pad(u, len(unit) + 2, LEFT), "label" if u == "tok/s" else role),
                "    ",
                (line, look),
            )
            for d, u, line in zip(digits, units, lines, strict=True)
        ]
        peak = max([level for _, level in points], default=0.0)
        usual = band(points, now.timestamp())
        told = [f"10 min: usually {usual[0]:.0f}–{usual[1]:.0f}, peak {peak:.0f}"] if usual else []
        told += [f"10 min: peak {peak:.0f}", f"peak {peak:.0f}"] if points else []
        room = width - against.cells - 2  # what is said of now is never cut for what was before
        right = next((row((words, "label")) for words in told if len(words) <= room), BLANK)
        return [*rows, spread(against, right, width)]

    def _modes(self, view: View, host: Host, width: int) -> list[Row]:
        """Every mode with key, title, heat and need, and whether that need is free now."""
        views = mode_views(host)
        if len(views) == 1 and not switchable(host.spec) and subject(host) is not None:
            return []  # it is told in full, and there is nothing to choose
        rows = []
        titles = tuple(dict.fromkeys(found.mode.title for found in views))
        for found in views:
            mode, heat_role = found.mode, live(host, engines.role(found))
            word = f"{found.word} {text.STALE_SIGN}" if heat_role == "stale" else found.word
            need, need_role = "", "label"
            if mode.needs_bytes is not None:
                need = text.size(mode.needs_bytes)
                if found.heat is Heat.COLD:
                    fits, need_role = FORECASTS.get(forecast_view(host, mode)[0], ("", "label"))
                    need = f"{need} {fits}".rstrip()
            right = row((pad(word, max(9, len(word))), heat_role), (pad(need, NEED_CELLS, RIGHT), need_role))
            if width < 52:
                right = row((f" {word}", heat_role)) if not need else row((f" {need}", need_role))
                if found.heat is not Heat.COLD:
                    right = row((f" {word}", heat_role))
            title = tell_apart(titles, max(0, width - right.cells - 5))[mode.title]
            left = row((pad(mode.key or " ", 2), "key"), (engines.sign(found) + " ", heat_role), title)
            rows.append(spread(left, right, width))
        if not views:
            return [] if host.spec.beside else [row((cut("no modes are configured", width), "label"))]
        if not switchable(host.spec):
            return rows
        return [*rows, row((pad("0", 2), "key"), ("  none: nothing loaded", "label"))]
