"""A proposed configuration: every line with its reason and its certainty, and how that is written as TOML. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sovtui.config.locate import written
from sovtui.core.clean import clean
from sovtui.core.servers import Certainty, Sign

COLUMN = 42
"""Where the reasons begin, if the line is not longer."""


@dataclass(frozen=True, slots=True)
class Item:
    """One element of a list."""

    value: str
    sign: Sign
    active: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One key. What is not `active` is written behind a `#`, for the operator to take up."""

    key: str
    value: str | bool | tuple[Item, ...] | Mapping[str, str]
    sign: Sign
    active: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    path: tuple[str, ...]
    many: bool = False
    """`[[…]]`."""
    lines: tuple[Line, ...] = ()
    about: tuple[str, ...] = ()
    """Sentences above it."""
    active: bool = True


@dataclass(frozen=True, slots=True)
class Proposal:
    """What was made of one machine."""

    host: str
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    """What no line can say."""
    unseen: tuple[str, ...] = ()
    """What could not be looked at, in sentences."""


def line(
    key: str,
    value: str | bool | tuple[Item, ...] | Mapping[str, str],
    reason: str,
    certainty: Certainty = Certainty.SURE,
    active: bool = True,
) -> Line:
    return Line(key, value, Sign(reason, certainty), active)


def write(tables: Iterable[Table]) -> str:
    """The tables as TOML, with a line break at the end."""
    blocks = []
    for table in tables:
        lines = [f"# {clean(sentence)}" for sentence in table.about]
        header = f"[[{written(table.path)}]]" if table.many else f"[{written(table.path)}]"
        lines.append(header if table.active else f"# {header}")
        for one in table.lines:
            lines += _lines(one if table.active else Line(one.key, one.value, one.sign, False))
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def head(sentences: Iterable[str]) -> str:
    """Comment lines before the first table."""
    return "".join(f"# {clean(sentence)}".rstrip() + "\n" for sentence in sentences)


def _lines(one: Line) -> list[str]:
    if not isinstance(one.value, tuple):
        if isinstance(one.value, Mapping):
            value = "{ " + ", ".join(f"{written((name,))} = {_text(text)}" for name, text in one.value.items()) + " }"
        else:
            value = ("true" if one.value else "false") if isinstance(one.value, bool) else _text(one.value)
        return [_with_reason(f"{'' if one.active else '# '}{one.key} = {value}", one.sign)]
    active = one.active and any(item.active for item in one.value)
    mark = "" if active else "# "
    if len(one.value) == 1:
        item = one.value[0]
        return [_with_reason(f"{mark}{one.key} = [{_text(item.value)}]", item.sign)]
    lines = [_with_reason(f"{mark}{one.key} = [", one.sign) if one.sign else f"{mark}{one.key} = ["]
    for item in one.value:
        behind = "# " if active and not item.active else ""
        lines.append(_with_reason(f"{mark}    {behind}{_text(item.value)},", item.sign))
    return [*lines, f"{mark}]"]


def _with_reason(text: str, sign: Sign) -> str:
    return f"{text:<{COLUMN}}  # {sign.certainty}: {clean(sign.reason)}"


def _text(value: str) -> str:
    """As a TOML string: literal where that reads better."""
    value = clean(value)
    return f"'{value}'" if '"' in value and "'" not in value else json.dumps(value, ensure_ascii=False)


def document(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """For `--json`: one object per line, list elements apart."""
    found: list[dict[str, Any]] = []
    counts: dict[tuple[str, ...], int] = {}
    for table in tables:
        place = written(table.path)
        if table.many:
            place += f"[{counts.get(table.path, 0)}]"
            counts[table.path] = counts.get(table.path, 0) + 1
        for one in table.lines:
            items = (
                [(i.value, i.sign, i.active) for i in one.value]
                if isinstance(one.value, tuple)
                else [(dict(one.value) if isinstance(one.value, Mapping) else one.value, one.sign, True)]
            )
            for value, sign, active in items:
                shown = table.active and one.active and active
                found.append(
                    {
                        "table": place,
                        "key": one.key,
                        "value": value,
                        "reason": sign.reason,
                        "certainty": str(sign.certainty),
                        "active": shown,
                    }
                )
    return found
