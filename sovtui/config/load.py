"""TOML to `Config`, strictly: every problem of the file is found in one go, each with file, line, key and what was expected.

Must not know adapters or actions: their names are passed in.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from sovtui.config import units
from sovtui.config.check import check
from sovtui.config.locate import Path as KeyPath
from sovtui.config.locate import Places, written
from sovtui.config.problems import ConfigError, Problem
from sovtui.config.reading import CONFIG_BYTES, read
from sovtui.config.schema import Bytes, Config, Seconds, Secret
from sovtui.config.words import nearest


class Wrong(ValueError):
    """A value is not what its key takes; the text says what was expected."""


NO_KEYS: Mapping[str, str] = {}


def load(path: Path, *, engines: Collection[str] = (), actions: Mapping[str, str] = NO_KEYS) -> Config:
    """Read and check a file. Raises ConfigError. `engines` and `actions` (with their usual keys) are the names that exist;
    empty: not checked."""
    name = str(path)
    try:
        text = read(path, CONFIG_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise ConfigError([Problem(name, 0, "", "no such file")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(name, line, "", "not UTF-8; save the file as UTF-8")]) from None
    except OSError as error:
        raise ConfigError([Problem(name, 0, "", f"cannot be read: {(error.strerror or str(error)).lower()}")]) from None
    return loads(text, name, engines=engines, actions=actions)


def loads(text: str, name: str = "config.toml", *, engines: Collection[str] = (), actions: Mapping[str, str] = NO_KEYS) -> Config:
    """`load` for a text; `name` stands in for the file in messages."""
    text = text.removeprefix("\ufeff")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError([_syntax(error, text, name)]) from None
    places = Places(text)
    found: list[tuple[KeyPath, int, str]] = []

    def say(path: KeyPath, message: str, place: KeyPath | None = None) -> None:
        found.append((path, places.line(path if place is None else place), message))

    config: Config | None = None
    try:
        config = _converter().structure(data, Config)
    except BaseValidationError as error:
        for path, message, place in _flatten(error, (), data, Config):
            say(path, message, place)
    check(data, say, engines=engines, actions=actions)
    if found or config is None:
        unique = sorted(dict.fromkeys(found), key=lambda f: f[1])
        raise ConfigError(Problem(name, line, written(path), message) for path, line, message in unique)
    return config


def _syntax(error: Exception, text: str, name: str) -> Problem:
    message = str(error) or "nested too deep"
    match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if match is None:
        return Problem(name, 1, "", f"not TOML: {message}")
    message = message[: match.start()]
    if match[1] is None:
        return Problem(name, len(text.rstrip().splitlines()) or 1, "", f"not TOML: {message} at the end of the file")
    return Problem(name, int(match[1]), "", f"not TOML: {message}, column {match[2]}")


# --- structure ------------------------------------------------------------------------------------------------------


def _converter() -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(str, _exactly(str))
    converter.register_structure_hook(bool, _exactly(bool))
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Bytes, _unit(units.parse_size, units.size_of))
    converter.register_structure_hook(Seconds, _unit(units.parse_duration, units.seconds_of))
    converter.register_structure_hook_factory(dataclasses.is_dataclass, lambda cls: _table(cls, converter))
    converter.register_structure_hook_factory(_is_list, lambda t: _list(t, converter))
    converter.register_structure_hook(Secret, _reference)
    converter.register_structure_hook_func(lambda kind: kind == str | Secret, _reference)
    converter.register_structure_hook_func(lambda kind: kind == bool | Literal["auto"], _flag)
    return converter


def _is_list(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is tuple


def _exactly(kind: type) -> Callable[[Any, Any], Any]:
    def hook(value: Any, expected: Any) -> Any:
        if type(value) is not kind:
            raise TypeError
        return value

    return hook


def _flag(value: Any, expected: Any) -> bool | str:
    """True, false, or the word that leaves it to sovtui."""
    if isinstance(value, bool) or value == "auto":
        return bool(value) if isinstance(value, bool) else "auto"
    raise TypeError


def _reference(value: Any, expected: Any) -> Secret | str:
    """A text, or what refers to a secret. What is wrong with it is said by `check`, which never says the value."""
    if not isinstance(value, dict):
        return value if isinstance(value, str) else ""
    command = value.get("command")
    words = tuple(str(word) for word in command) if isinstance(command, list) else ()
    return Secret(env=str(value.get("env", "")), file=str(value.get("file", "")), command=words)


def _number(value: Any, expected: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return float(value)


def _unit(of_text: Callable[[str], float], of_number: Callable[[float], float]) -> Callable[[Any, Any], float]:
    def hook(value: Any, expected: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise TypeError
        try:
            return of_text(value) if isinstance(value, str) else of_number(value)
        except ValueError as error:
            raise Wrong(f"{error}, found {_found(value)}") from None

    return hook


def _table(cls: type, converter: Converter) -> Callable[[Any, Any], Any]:
    inner: Callable[[Any, Any], Any] = make_dict_structure_fn(
        cls, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
    )

    def hook(value: Any, expected: Any) -> Any:
        if not isinstance(value, dict):
            raise TypeError
        return inner(value, cls)

    return hook


def _list(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    element = get_args(kind)[0]

    def hook(value: Any, expected: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError
        out, errors = [], []
        for index, item in enumerate(value):
            try:
                out.append(converter.structure(item, element))
            except Exception as error:  # noqa: BLE001 - cattrs' own way: every error is kept, with its place
                error.__notes__ = [*getattr(error, "__notes__", []), IterableValidationNote("", index, element)]
                errors.append(error)
        if errors:
            raise IterableValidationError("", errors, kind)
        return tuple(out)

    return hook


_SECRETIVE = frozenset(("headers", "switch_env", "password", "bearer"))
"""Keys whose values are never said, not even wrong ones."""


# --- errors in words ------------------------------------------------------------------------------------------------


def _flatten(error: BaseException, path: KeyPath, data: Any, kind: Any) -> Iterable[tuple[KeyPath, str, KeyPath | None]]:
    for note in getattr(error, "__notes__", []):
        if isinstance(note, AttributeValidationNote):
            path, kind = (*path, note.name), note.type
        elif isinstance(note, IterableValidationNote):
            path, kind = (*path, note.index), note.type
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _flatten(inner, path, data, kind)
    elif isinstance(error, ForbiddenExtraKeysError):
        known = [field.name for field in dataclasses.fields(error.cl)]
        for extra in sorted(error.extra_fields):
            hint = nearest(extra, known) or f"; known here: {', '.join(known)}"
            yield (*path, extra), f"unknown key{hint}", None
    elif isinstance(error, KeyError):
        yield path, f"missing; expected {expected(kind)}", path[:-1]
    elif isinstance(error, Wrong):
        yield path, str(error), None
    else:
        value = _value(data, path)
        hint = nearest(value, (w for w in get_args(kind) if isinstance(w, str))) if isinstance(value, str) else ""
        found = "something else" if _SECRETIVE.intersection(path) else _found(value)  # it may be a secret
        yield path, f"expected {expected(kind)}, found {found}{hint}", None


def _value(data: Any, path: KeyPath) -> Any:
    for part in path:
        data = data[part]
    return data


def expected(kind: Any) -> str:
    """What a type takes, in words."""
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(expected(arg) for arg in get_args(kind) if arg is not type(None))
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(f'"{word}"' for word in get_args(kind))
    if get_origin(kind) is tuple:
        element = get_args(kind)[0]
        return "tables in double brackets" if dataclasses.is_dataclass(element) else 'a list of texts, ["…"]'
    if get_origin(kind) is dict or dataclasses.is_dataclass(kind):
        return "a table"
    words: dict[Any, str] = {
        str: "a text in quotes",
        bool: "true or false",
        float: "a number",
        Bytes: units.SIZE_HINT,
        Seconds: units.DURATION_HINT,
    }
    return words.get(kind, "another value")


def _found(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"' if len(value) <= 40 else f'"{value[:39]}…"'
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"the date or time {value}"
