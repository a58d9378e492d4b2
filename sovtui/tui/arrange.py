"""Where each pane goes at which size. Pure, except for the Textual layout at the end that carries it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from textual.geometry import NULL_OFFSET, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

PHONE_BELOW = 80
WIDE_FROM = 120
LEAST = (38, 14)
"""Below this many columns or rows a plain message is shown instead."""
HEIGHT_OF_THUMBS = 24
"""Below this many rows (a keyboard is up) tabs and keys are one row high."""
TWO_ROWS_FROM, THREE_ROWS_FROM = 50, 66
"""From this many rows on the phone's key bar has two, and three, rows of tiles."""
LOG_BELOW_FROM = 34
"""Rows for panes from which the log of the wide layout has the whole width."""
LOG_ROWS = 8
"""Then it has at least so many, and more only where the columns need them less."""
SERVICES_ROWS = 12
"""As many of the services come before more of the log."""
FEWER_SERVICES_ROWS = 7
"""Down to so many they make room on a phone for what would else not be there: alerts, backups."""

ORDER = ("inference", "memory", "services", "alerts", "backups", "actions", "log")
"""Panes in the order in which they matter; tab goes through them so."""
HOST = "host"
"""Stands in place of the first one where nothing is served, or nobody answers."""


def order(first: str) -> tuple[str, ...]:
    """The panes with this one in front."""
    return (first, *ORDER[1:])


class Kind(StrEnum):
    WIDE = "wide"
    NORMAL = "normal"
    PHONE = "phone"


def kind_of(width: int) -> Kind:
    return Kind.PHONE if width < PHONE_BELOW else Kind.NORMAL if width < WIDE_FROM else Kind.WIDE


def tile_rows(height: int) -> int:
    """Rows of tiles on a phone of this height."""
    return 1 + (height >= TWO_ROWS_FROM) + (height >= THREE_ROWS_FROM)


def bars(kind: Kind, height: int, *, roomy: bool, notice: int, filtering: bool, travel: int = 0, next: int = 0) -> dict[str, int]:
    """Rows of everything that is not a pane, by the part's id."""
    thumbs = kind is Kind.PHONE and height >= HEIGHT_OF_THUMBS
    return {
        "next": next,
        "status": {Kind.WIDE: 1, Kind.NORMAL: 2, Kind.PHONE: 3}[kind],
        "travel": travel,
        "notice": notice,
        "tabs": 0 if kind is not Kind.PHONE or not roomy else 3 if thumbs else 1,
        "filter": 1 if filtering and roomy else 0,
        "keys": 0 if not roomy else 3 * tile_rows(height) if thumbs else 1,
    }


@dataclass(frozen=True, slots=True)
class Want:
    """How many rows a pane wants, borders included, and the fewest it makes sense with."""

    rows: int
    least: int = 4
    stretch: int = 0
    """Its share of the rows nobody wants."""


def arrange(
    size: Size,
    wants: Mapping[str, Want],
    *,
    current: str = "inference",
    zoomed: bool = False,
    acting: bool = False,
    first: str = "inference",
) -> dict[str, Region]:
    """The region of each visible pane. Every pane is reachable: the current one is always among them."""
    if size.width <= 0 or size.height <= 0:
        return {}
    whole = Region(0, 0, size.width, size.height)
    if zoomed:
        return {current: whole}
    if size.width < PHONE_BELOW:
        regions = _phone(whole, wants, current, acting, first)
    elif size.width < WIDE_FROM:
        regions = _normal(whole, wants, current, acting, first)
    else:
        regions = _wide(whole, wants, first)
    return regions if current in regions else {current: whole}


def _wide(whole: Region, wants: Mapping[str, Want], first: str) -> dict[str, Region]:
    """Everything at once. Where there is the height the log lies below both columns: its lines are the longest there are."""
    left, right = [first, "services"], ["memory", "alerts", "backups", "actions"]
    at = round(whole.width * 0.57)
    if whole.height < LOG_BELOW_FROM:
        return _columns(whole, at, [*left, "log"], right, wants)
    least = max(sum(wants[name].rows for name in right), wants[first].rows + min(wants["services"].rows, SERVICES_ROWS))
    log = max(LOG_ROWS, min(whole.height // 3, whole.height - least))
    above, below = whole.split_horizontal(whole.height - log)
    return {**_columns(above, at, left, right, wants), "log": below}


def _normal(whole: Region, wants: Mapping[str, Want], current: str, acting: bool, first: str) -> dict[str, Region]:
    left, right = [first, "services"], ["memory", "alerts", "backups"]
    if whole.height >= 34:
        left, right = [*left, "log"], [*right, "actions"]
    elif acting:
        left = [first, "actions"]
    if current not in (*left, *right):
        return {current: whole}
    return _columns(whole, round(whole.width * 0.56), left, right, wants)


def _phone(whole: Region, wants: Mapping[str, Want], current: str, acting: bool, first: str) -> dict[str, Region]:
    """The current pane, whole; where rows are left over, what matters next below it."""
    below = []
    if acting and current != "actions" and whole.height >= 20:
        below.append("actions")
    if current in ("log", "actions"):
        return _stack(whole, [current], wants)
    left = whole.height - wants[current].rows - sum(wants[name].rows for name in below)
    wants = dict(wants)
    for name in order(first)[:5]:
        if name == current:
            continue
        short, services = max(0, wants[name].rows - left), wants["services"]
        if short and "services" in below and services.rows - short >= FEWER_SERVICES_ROWS:
            wants["services"], left, short = replace(services, rows=services.rows - short), left + short, 0
        if not short:
            below.append(name)
            left -= wants[name].rows
    return _stack(whole, [current, *below], wants)


def _columns(whole: Region, at: int, left: Sequence[str], right: Sequence[str], wants: Mapping[str, Want]) -> dict[str, Region]:
    one, two = whole.split_vertical(at)
    return {**_stack(one, left, wants), **_stack(two, right, wants)}


def _stack(region: Region, names: Sequence[str], wants: Mapping[str, Want]) -> dict[str, Region]:
    regions = {}
    y = region.y
    for name, rows in zip(names, share(region.height, [wants[name] for name in names]), strict=True):
        if rows > 0:
            regions[name] = Region(region.x, y, region.width, rows)
        y += rows
    return regions


def share(height: int, wants: Sequence[Want]) -> list[int]:
    """Rows for each: all they want if it fits, the rest to those that stretch; else those furthest above their least give way."""
    rows = [min(want.rows, height) for want in wants]
    spare = height - sum(rows)
    if spare >= 0:
        weight = sum(want.stretch for want in wants)
        takers = [want.stretch for want in wants] if weight else [0] * (len(wants) - 1) + [1]
        weight = sum(takers)
        given = [spare * taker // weight for taker in takers]
        last = max(i for i, taker in enumerate(takers) if taker)
        given[last] += spare - sum(given)
        return [r + g for r, g in zip(rows, given, strict=True)]
    missing = -spare
    while missing and any(r > want.least for r, want in zip(rows, wants, strict=True)):
        widest = max(range(len(rows)), key=lambda i: (rows[i] - wants[i].least, i))
        rows[widest] -= 1
        missing -= 1
    for index in reversed(range(len(rows))):
        give = min(missing, rows[index])
        rows[index] -= give
        missing -= give
    return rows


class Placed(Layout):
    """Puts each child where `regions` says, by its id."""

    name = "placed"

    def __init__(self) -> None:
        self.regions: dict[str, Region] = {}

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        parent.pre_layout(self)
        return [
            WidgetPlacement(self.regions[child.id], NULL_OFFSET, Spacing(), child)
            for child in children
            if child.id in self.regions
        ]
