"""How a moment that is not now is marked: its words, its line of time, its keys, its list of happenings. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sovtui.actions import all_specs
from sovtui.core import text
from sovtui.core.clean import clean
from sovtui.core.marks import Mark, MarkKind
from sovtui.tui.arrange import Kind
from sovtui.tui.keymap import Key
from sovtui.tui.panes.base import Then
from sovtui.tui.present import Row, Span, cut, pad, paragraph, row, spread
from sovtui.tui.screens.choose import Choice
from sovtui.tui.touches import MORE
from sovtui.tui.widgets.keybar import Touch
from sovtui.tui.widgets.timeline import Axis

HOUR = 3600.0
NEAR_SECONDS = 6.0
"""What happened so near to the moment is said beside it."""
MOST_CHOICES = 40
SIGNS: dict[MarkKind, Span] = {
    MarkKind.ALERT: ("▲", "warn"),
    MarkKind.ACTION: ("◆", "accent"),
    MarkKind.LINK: ("×", "bad"),
    MarkKind.SERVICE: ("✖", "bad"),
    MarkKind.ENGINE: ("✖", "bad"),
    MarkKind.BACK: ("○", "label"),
}
_WEIGHT = (MarkKind.SERVICE, MarkKind.ENGINE, MarkKind.LINK, MarkKind.ALERT, MarkKind.ACTION, MarkKind.BACK)
"""Which of several in one column is drawn."""


@dataclass(frozen=True, slots=True)
class Move:
    """A key while travelling."""

    id: str
    keys: tuple[str, ...]
    """As Textual names them, or the character."""
    shown: str
    title: str
    words: str
    seconds: float = 0.0


MOVES = (
    Move("then-back-10m", ("{", "left_curly_bracket"), "{", "-10m", "Ten minutes earlier", -600.0),
    Move("then-back-1m", ("[", "left_square_bracket", "shift+left"), "[", "-1m", "A minute earlier", -60.0),
    Move("then-back", ("left",), "←", "-10s", "Ten seconds earlier", -10.0),
    Move("then-on", ("right",), "→", "+10s", "Ten seconds later", 10.0),
    Move("then-on-1m", ("]", "right_square_bracket", "shift+right"), "]", "+1m", "A minute later", 60.0),
    Move("then-on-10m", ("}", "right_curly_bracket"), "}", "+10m", "Ten minutes later", 600.0),
    Move("then-before", (",", "comma"), ",", "prev", "To the event before this moment"),
    Move("then-after", (".", "full_stop"), ".", "next", "To the event after this moment"),
    Move("then-list", ("m",), "m", "events", "Events: alerts, actions, failures, lost links"),
    Move("then-oldest", ("home",), "home", "oldest", "The oldest moment that is kept"),
    Move("then-newest", ("end",), "end", "newest", "The newest moment"),
    Move("then-live", ("escape",), "esc", "live", "Back to now"),
)
BY_ID = {move.id: move for move in MOVES}
THUMBS = {
    1: ("then-back", "then-on", "then-live"),
    2: ("then-back-1m", "then-back", "then-on", "then-on-1m", "then-list", "then-before", "then-live"),
    3: (
        "then-back-10m", "then-back-1m", "then-on-1m", "then-on-10m", "then-before", "then-back", "then-on", "then-after",
        "then-oldest", "then-list", "then-live",
    ),
}  # fmt: skip
"""Tap targets on a phone, by rows of tiles."""
ON_A_LINE = {
    "then-live": 60, "then-back": 58, "then-on": 58, "then-list": 57, "then-back-1m": 55, "then-on-1m": 55,
    "then-before": 53, "then-after": 53, "then-back-10m": 51, "then-on-10m": 51,
}  # fmt: skip
"""Those of a bar of one row, with what stays where it is too short."""


def clock(at: datetime, now: datetime) -> str:
    """`12:31:07`, with the date where it was another day."""
    local = at.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == now.astimezone().date() else "%m-%d %H:%M:%S")


def refusal(then: Then, now: datetime) -> str:
    """Why nothing can be done there."""
    return f"This is {clock(then.moment, now)}, not now: Escape first"


# keys


def pressed(key: str, character: str | None) -> Move | None:
    return next((move for move in MOVES if key in move.keys or (character is not None and character in move.keys)), None)


def keys(others: Iterable[Key], then: Then, now: datetime) -> list[Key]:
    """The keys while travelling: the moves, what concerns the screen alone, and every action with the reason why not."""
    why = refusal(then, now)
    found = [Key(move.id, move.shown, move.title, move.words, "back in time") for move in MOVES]
    changes = all_specs()
    return found + [replace(key, refused=why) if key.id in changes else key for key in others]


def touches(all_keys: Sequence[Key], *, thumbs: bool, tiles: int) -> list[Touch]:
    """The key bar while travelling."""
    by_id = {key.id: key for key in all_keys if key.id in BY_ID}
    wanted = THUMBS[tiles] if thumbs else [move.id for move in (MOVES[-1], *MOVES) if move.id in ON_A_LINE]
    found = [
        Touch(id, by_id[id].key, by_id[id].title, current=id == "then-live", weight=ON_A_LINE.get(id, 0))
        for id in dict.fromkeys(wanted)
    ]
    if thumbs:
        return [*found, MORE]
    for key in all_keys:
        if key.id in BY_ID or key.id in ("zoom", "palette", "travel"):
            continue
        weight = 20 if key.id == "help" else 6 if key.refused else 5
        found.append(Touch(key.name, key.key or "·", cut(key.title.lower(), 9), not key.refused, weight=weight))
    return [*found, MORE]


# words and the line


def bar(
    then: Then,
    now: datetime,
    marks: Sequence[Mark],
    width: int,
    kind: Kind,
    *,
    oldest: datetime | None,
    note: str = "",
    trouble: bool = False,
) -> tuple[list[Row], Axis]:
    """The rows below the status line. `oldest`: from where on the record reaches; `note`: what is being asked, or why it failed."""
    ago = text.duration(max(0.0, (now - then.moment).total_seconds()))
    words = f" ◀ THEN {clock(then.moment, now)} · {ago} ago, not live"
    origin = {"record": "kept by sovtui", "prometheus": "from Prometheus"}.get(then.origin, "")
    here = near(marks, then.moment)
    said = note or (here.words if here else "")
    role = "bad" if trouble else "strong" if note else SIGNS[here.kind][1] if here else "label"
    rows: list[Row] = []
    if kind is Kind.PHONE or len(words) + len(said) + len(origin) + 6 > width:
        rows.append(row((pad(words, width), "then")))
        sign = f"{SIGNS[here.kind][0]} " if here and not note else ""
        rows += paragraph(f"{sign}{said or origin or 'nothing is known'}", width, role)[: 3 if trouble else 1]
    else:
        sign = f"{SIGNS[here.kind][0]} " if here and not note else ""
        head = f"{words}  {sign}{said}" if said else words
        rows.append(spread(row((head, "then")), row((f"{origin} ", "then")), width))
        rows[0] = Row(tuple((part, "then") for part, _ in rows[0].spans))
    tall = kind is Kind.PHONE
    line, axis = line_rows(then, now, marks, width, oldest=oldest, tall=tall, first_row=len(rows))
    return [*rows, *line], axis


def line_rows(
    then: Then, now: datetime, marks: Sequence[Mark], width: int, *, oldest: datetime | None, tall: bool, first_row: int
) -> tuple[list[Row], Axis]:
    """The line of time: an hour, its happenings, the moment."""
    begin, end = span(then.moment, now)
    same_day = datetime.fromtimestamp(begin).astimezone().date() == now.astimezone().date()
    left, right = (clock(datetime.fromtimestamp(at).astimezone(), now)[: 5 if same_day else 11] for at in (begin, end))
    if abs(end - now.timestamp()) < 1.0:
        right = "now"
    axis = Axis(begin, end, len(left) + 1, max(1, width - len(left) - len(right) - 2), first_row, 2 if tall else 1)
    drawn: dict[int, Mark] = {}
    for mark in marks:
        at = axis.column(mark.at.timestamp())
        if at >= 0 and (at not in drawn or _WEIGHT.index(mark.kind) < _WEIGHT.index(drawn[at].kind)):
            drawn[at] = mark
    axis = replace(axis, stops=tuple((column, mark.at.timestamp()) for column, mark in drawn.items()))
    from_here = axis.column(oldest.timestamp()) if oldest is not None and oldest.timestamp() > begin else -1
    if oldest is None or oldest.timestamp() >= end:
        from_here = width
    cursor = axis.column(then.moment.timestamp())
    signs: list[Span] = []
    rail: list[Span] = []
    for column in range(axis.left, axis.left + axis.cells):
        sign = SIGNS[drawn[column].kind] if column in drawn else (" ", "plain")
        track: Span = ("━", "label") if column >= from_here else ("┄", "label")
        if column == cursor:
            track = ("█", "warn") if tall or column not in drawn else (sign[0], "then")
        elif not tall and column in drawn:
            track = sign
        signs.append(sign)
        rail.append(track)
    rows = [_joined([(f"{left} ", "label"), *rail, (f" {right}", "label")])]
    if tall:
        rows.insert(0, _joined([(" " * axis.left, "plain"), *signs]))
    return rows, axis


def _joined(spans: Iterable[Span]) -> Row:
    """One row, neighbours of one role as one span."""
    found: list[Span] = []
    for words, role in spans:
        if found and found[-1][1] == role:
            found[-1] = (found[-1][0] + words, role)
        else:
            found.append((words, role))
    return Row(tuple(found))


def span(moment: datetime, now: datetime) -> tuple[float, float]:
    """The hour that the line shows, in unix seconds: the last one, or the one around a moment before it."""
    at, end = moment.timestamp(), now.timestamp()
    if end - at <= HOUR:
        return end - HOUR, end
    begin = at // 1800.0 * 1800.0 - 900.0
    return begin, begin + HOUR


def near(marks: Sequence[Mark], moment: datetime) -> Mark | None:
    """What happened at about this moment; the worst of several."""
    here = [mark for mark in marks if abs((mark.at - moment).total_seconds()) <= NEAR_SECONDS]
    return min(here, key=lambda mark: _WEIGHT.index(mark.kind), default=None)


# the list

FAR = (("1 hour earlier", HOUR), ("6 hours earlier", 6 * HOUR), ("1 day earlier", 24 * HOUR))


def choices(marks: Sequence[Mark], now: datetime, first: Mark | None = None) -> list[Choice]:
    """What happened and when, newest first; `first` is what the pane in front is about."""
    listed = [mark for mark in marks if mark.kind is not MarkKind.BACK]
    ordered = ([first] if first else []) + [mark for mark in listed if mark is not first]
    found = []
    for number, mark in enumerate(ordered[:MOST_CHOICES], 1):
        title = f"{SIGNS[mark.kind][0]} {mark.words}"
        host = f", {mark.host}" if mark.host else ""
        note = f"{clock(mark.at, now)}, {text.duration((now - mark.at).total_seconds())} ago{host}"
        found.append(Choice(f"at {mark.at.timestamp()}", clean(title, 200), note, str(number) if number < 10 else ""))
    return found + [Choice(f"far {seconds}", words, "from Prometheus") for words, seconds in FAR]
