"""The configuration as text: every key with its meaning, the effective values, the shipped examples.

Everything is told by `schema.py` itself, so that it cannot disagree with what `load` accepts.
"""

from __future__ import annotations

import ast
import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Union, get_args, get_origin, get_type_hints

from sovtui.config import units
from sovtui.config.locate import written
from sovtui.config.schema import Bytes, Config, Seconds, Secret

EXAMPLES = ("spark", "mesh", "modes")
HIDDEN = "***"
"""In place of a value of `switch_env`: it may be a password."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration, for `config schema` and the README."""

    table: str
    """`[host.NAME.switch]`, `[[profile]]`, or empty for the file itself."""
    name: str
    type: str
    default: str
    """As it would be written; `required`, or empty where absence is the default."""
    meaning: str


def example(name: str) -> str:
    """One of EXAMPLES, as shipped. KeyError for another name."""
    if name not in EXAMPLES:
        raise KeyError(name)
    return files("sovtui.config").joinpath("examples", f"{name}.toml").read_text(encoding="utf-8")


# --- schema ---------------------------------------------------------------------------------------------------------


def schema_keys() -> tuple[Key, ...]:
    """Every key there is, tables in the order of the file."""
    return tuple(_keys(Config, ""))


def schema_text() -> str:
    """`config schema`: one block per table, each key as TOML with its meaning above it."""
    lines = ['# Sizes: "22 GB" (10^9), "22 GiB" (2^30). Durations: "15m", "26h", "2h30m", "8d"; plain numbers are seconds.', ""]
    table = ""
    for key in schema_keys():
        if key.table != table:
            table = key.table
            lines += ["", table, f"# {_table_meanings()[table]}", ""]
        lines.append(f"# {key.meaning}")
        default = f"{key.name} = {key.default}" if key.default not in ("", "required") else f"{key.name} ="
        lines.append(f"{default:<36}  # {key.type}{', required' if key.default == 'required' else ''}")
    return "\n".join(lines).strip() + "\n"


def _keys(cls: type, table: str) -> list[Key]:
    docs, types = _documentation()[cls.__name__], get_type_hints(cls)
    keys, inner = [], []
    for field in dataclasses.fields(cls):
        nested, name = _nested(types[field.name])
        if nested is None:
            keys.append(Key(table, field.name, _type(types[field.name]), _default(field, types[field.name]), docs[field.name]))
        else:
            inner += _keys(nested, _child(table, field.name, name))
    return keys + inner


def _child(table: str, name: str, many: str) -> str:
    path = ".".join(p for p in (table.strip("[]"), name) if p)
    return {"list": f"[[{path}]]", "dict": f"[{path}.NAME]"}.get(many, f"[{path}]")


def _nested(kind: Any) -> tuple[type | None, str]:
    """The dataclass inside a type that has a table of its own, and whether it comes as one, a `list` or a `dict`."""
    if Secret in get_args(kind):
        return None, ""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind, ""
    origin: Any = get_origin(kind)
    for arg in get_args(kind):
        if isinstance(arg, type) and dataclasses.is_dataclass(arg):
            return arg, {tuple: "list", dict: "dict"}.get(origin, "")
    return None, ""


@cache
def _table_meanings() -> dict[str, str]:
    docs = _documentation()
    meanings = {"": docs["Config"][""]}

    def walk(cls: type, table: str) -> None:
        types = get_type_hints(cls)
        for field in dataclasses.fields(cls):
            nested, many = _nested(types[field.name])
            if nested is not None:
                child = _child(table, field.name, many)
                meanings[child] = docs[nested.__name__][""]
                walk(nested, child)

    walk(Config, "")
    return meanings


@cache
def _documentation() -> dict[str, dict[str, str]]:
    """Class to field to docstring, from the source: Python keeps no docstrings of fields. The class's own is under an empty name."""
    source = files("sovtui.config").joinpath("schema.py").read_text(encoding="utf-8")
    docs: dict[str, dict[str, str]] = {}
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        fields: dict[str, str] = {}
        for base in node.bases:
            fields |= docs.get(base.id, {}) if isinstance(base, ast.Name) else {}
        fields[""] = ast.get_docstring(node) or ""
        name = ""
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                name = part.target.id
                fields.setdefault(name, "")
            elif (
                name and isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
            ):
                fields[name] = " ".join(part.value.value.split())
                name = ""
            else:
                name = ""
        docs[node.name] = fields
    return docs


def _type(kind: Any) -> str:
    words: dict[Any, str] = {
        str: "text",
        bool: "true or false",
        float: "number",
        Bytes: "size",
        Seconds: "duration",
        Secret: '{ env = "NAME" } | { file = "PATH" } | { command = ["…"] }',
    }
    if kind in words:
        return words[kind]
    args = [arg for arg in get_args(kind) if arg not in (type(None), Ellipsis)]
    if args and all(isinstance(arg, str) for arg in args):
        return " | ".join(json.dumps(arg) for arg in args)
    origin: Any = get_origin(kind)
    if origin is tuple:
        return "list of texts"
    if origin is dict:
        return "table of texts and references" if str | Secret in get_args(kind) else "table of texts"
    if origin is Union:
        return " | ".join(_type(arg) for arg in args)
    return _type(args[0]) if len(args) == 1 else str(kind)


def _default(field: dataclasses.Field[Any], kind: Any) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return _value(field.default_factory(), kind)
    if field.default is dataclasses.MISSING:
        return "required"
    return "" if field.default is None else _value(field.default, kind)


# --- effective values -----------------------------------------------------------------------------------------------


def config_text(config: Config) -> str:
    """`config show`: the effective values as TOML that `load` reads back to the same, but for the values of `switch_env`, which
    are not shown; those that are defaults say so."""
    lines: list[str] = []
    _write(config, Config, (), lines)
    return "\n".join(lines).strip() + "\n"


def _write(value: Any, cls: type, path: tuple[str, ...], lines: list[str]) -> None:
    types, inner = get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        content = getattr(value, field.name)
        nested, many = _nested(types[field.name])
        if nested is not None:
            inner.append((field.name, nested, many, content))
        elif content is not None and content != {}:
            shown = dict.fromkeys(content, HIDDEN) if field.name == "switch_env" else content
            text = f"{field.name} = {_value(shown, types[field.name])}"
            default = field.default is not dataclasses.MISSING and content == field.default
            lines.append(f"{text}  # default" if default else text)
    for name, nested, many, content in inner:
        place = (*path, name)
        if many == "list":
            for item in content:
                lines += ["", f"[[{written(place)}]]"]
                _write(item, nested, place, lines)
        elif many == "dict":
            for key, item in content.items():
                lines += ["", f"[{written((*place, key))}]"]
                _write(item, nested, (*place, key), lines)
        elif content is not None:
            lines += ["", f"[{written(place)}]"]
            _write(content, nested, place, lines)


def _value(value: Any, kind: Any) -> str:
    kinds = {kind, *get_args(kind)}
    if isinstance(value, bool):
        return "true" if value else "false"
    if Bytes in kinds:
        return json.dumps(units.write_size(value))
    if Seconds in kinds:
        return json.dumps(units.write_duration(value))
    if isinstance(value, int | float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Secret):  # where it is found, never what it is
        given = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return "{ " + ", ".join(f"{name} = {_value(word, None)}" for name, word in given if word) + " }"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written((k,))} = {_value(v, None)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(_value(item, None) for item in value) + "]"
