"""What types cannot say: keys that must not meet, names that must exist, words that must be units or addresses.

Works on the raw tables, so that it finds its problems also where a type is wrong elsewhere. Values of a wrong type are passed over:
`load` has told of them already.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from sovtui.config.locate import Path
from sovtui.config.login import SOURCES, check_login
from sovtui.config.roles import check_command, check_roles
from sovtui.config.units import parse_duration
from sovtui.config.words import nearest
from sovtui.core.addresses import misread
from sovtui.core.clean import clean


class Say(Protocol):
    def __call__(self, path: Path, message: str, place: Path | None = None) -> None: ...


_UNIT = re.compile(r"[A-Za-z0-9_:.\\@][A-Za-z0-9_:.\\@-]*\.(service|timer|socket|target|path|mount)", re.ASCII)
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_WORD = re.compile(r"[^\s/\"'\\-][^\s/\"'\\]*")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9_-]*", re.ASCII)
PREFIXES = ("user", "container", "compose")


def check(data: Mapping[str, Any], say: Say, *, engines: Collection[str], actions: Mapping[str, str]) -> None:
    """Say everything that is wrong with a configuration beyond types."""
    hosts = _table(data.get("host"))
    if not hosts and "host" not in data:
        say((), "no [host.NAME] table; `sovtui init [USER@]HOST` proposes one, `sovtui config example spark` shows a whole file")
    _clean_texts(data, (), say)
    for name, host in hosts.items():
        if isinstance(host, dict):
            _host(("host", name), name, host, say, engines)
    for name in SOURCES:
        source = _table(data.get(name))
        _url((name,), source, say)
        check_login((name,), source, say)
        via = _text(source, "via")
        if via and via not in hosts:
            say((name, "via"), f"no host is named `{via}`{nearest(via, hosts) or _known(hosts)}")
    _unique(("profile",), _tables(data.get("profile")), "name", "profile", say)
    proxy = _text(_table(data.get("tailnet")), "socks5")
    if proxy and not re.fullmatch(r"(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]):[1-9]\d{0,4}", proxy, re.ASCII):
        say(("tailnet", "socks5"), "expected `HOST:PORT`, such as 127.0.0.1:1055")
    _keys(_table(_table(data.get("screen")).get("keys")), say, actions)


def _host(path: Path, name: str, host: Mapping[str, Any], say: Say, engines: Collection[str]) -> None:
    if not _WORD.fullmatch(name):
        say(path, "a host's name is one word without spaces, slashes or quotes that does not begin with a dash")
    elif _text(host, "link") != "local" and (wrong := misread(name)):  # it is an address too, and a name in known_hosts
        say(path, f"a host's name is one that no other program reads as more than a name ({wrong})")
    address = _text(host, "address")
    user, _, spot = address.rpartition("@")
    wrong = misread(user, user=True) or misread(spot.replace("[", "", 1).replace("]", "", 1) if spot.startswith("[") else spot)
    if wrong:
        say((*path, "address"), f"expected `USER@NAME` or a name of ssh_config ({wrong})")
    modes = _tables(host.get("mode"))
    for index, mode in modes:
        _mode((*path, "mode", index), mode, say, engines)
    _unique((*path, "mode"), modes, "name", "mode", say)
    _unique((*path, "mode"), modes, "key", "mode", say)
    _shared_urls((*path, "mode"), modes, say)
    beside = _tables(host.get("engine"))
    for index, engine in beside:
        place = (*path, "engine", index)
        _name(place, engine, say)
        _engine(place, engine, say, engines)
        _url(place, engine, say)
        _services((*place, "services"), engine.get("services"), say)
        if any(_text(mode, "name") == _text(engine, "name") for _, mode in modes):
            say((*place, "name"), f"a mode is named `{_text(engine, 'name')}` already")
    _unique((*path, "engine"), beside, "name", "engine", say)
    backups = _tables(host.get("backup"))
    for index, backup in backups:
        place = (*path, "backup", index)
        _name(place, backup, say)
        service = _text(backup, "service")
        if service:
            _service((*place, "service"), service, say)
            if service.endswith(".timer"):
                say((*place, "service"), f"a timer only starts it; expected the unit that runs, `{service[:-6]}.service`")
    _unique((*path, "backup"), backups, "name", "backup", say)
    _services((*path, "watch"), host.get("watch"), say)
    full = host.get("disk_full")
    if isinstance(full, int | float) and not isinstance(full, bool) and not 0 < full <= 1:
        say((*path, "disk_full"), f"expected a share above 0 and up to 1, as 0.9 for 90 %, found {full:g}")
    with contextlib.suppress(ValueError):
        if not 1 <= parse_duration(str(host.get("notice_loss", "5s"))) <= 600:
            say((*path, "notice_loss"), "expected 1 second to 10 minutes")
    switch = _table(host.get("switch"))
    for key in ("floor", "tenants", "hold"):
        _services((*path, "switch", key), switch.get(key), say)
    check_roles(path, modes, switch, say)
    for key in ("ready_timeout", "stop_timeout", "drain_timeout"):
        with contextlib.suppress(ValueError):
            if parse_duration(str(switch.get(key, "1s"))) > 86400:
                say((*path, "switch", key), "expected at most a day")


def _mode(path: Path, mode: Mapping[str, Any], say: Say, engines: Collection[str]) -> None:
    _name(path, mode, say)
    if _text(mode, "name") == "none":
        say((*path, "name"), "`none` is always there: it stops every mode; choose another name")
    key = _text(mode, "key")
    if key and (len(key) != 1 or key not in "123456789"):
        say((*path, "key"), f'expected one of "1" to "9" ("0" is `none`), found "{key}"')
    _engine(path, mode, say, engines)
    _url(path, mode, say)
    for list_ in ("services", "may_stay"):
        _services((*path, list_), mode.get(list_), say)
    if not mode.get("services") and not mode.get("url"):
        say(path, "neither `services` nor `url`: nothing shows whether this mode is hot")
    if _text(mode, "engine") and not mode.get("url"):
        say((*path, "engine"), "an engine is asked at its `url`, which is missing")
    check_command(path, mode, say)
    speed = mode.get("expect_tok_s")
    if isinstance(speed, int | float) and speed <= 0:
        say((*path, "expect_tok_s"), "expected a speed above zero; leave it out where none is known")


def _engine(path: Path, table: Mapping[str, Any], say: Say, engines: Collection[str]) -> None:
    engine = _text(table, "engine")
    check_login(path, {"bearer": table["bearer"]} if "bearer" in table else {}, say)
    if engine and engines and engine not in engines:
        say((*path, "engine"), f"no engine is named `{engine}`{nearest(engine, engines) or _known(sorted(engines))}")
    if engine == "comfyui" and table.get("model"):
        say((*path, "model"), "ComfyUI does not report which models it has: leave it out")


def _name(path: Path, table: Mapping[str, Any], say: Say) -> None:
    name = table.get("name")
    if isinstance(name, str) and not _WORD.fullmatch(name):
        say((*path, "name"), "expected one word without spaces, slashes or quotes that does not begin with a dash")


def _shared_urls(path: Path, modes: list[tuple[int, dict[str, Any]]], say: Say) -> None:
    seen: dict[str, list[int]] = {}
    for index, mode in modes:
        url = _text(mode, "url").rstrip("/")
        if url:
            seen.setdefault(url, []).append(index)
    for url, indexes in seen.items():
        models = {index: _text(dict(modes)[index], "model") for index in indexes}
        for index, model in models.items():
            others = [
                _text(dict(modes)[i], "name") or f"mode[{i}]" for i in indexes if i != index and (not model or models[i] == model)
            ]
            if not others:
                continue
            if not model and not _services_differ([dict(modes)[i] for i in indexes]):
                say(
                    (*path, index, "model"),
                    f"missing; `{others[0]}` answers at {url} too, and only `model` distinguishes them, or `services` of their own",
                    (*path, index),
                )
            elif model and index > min(i for i in indexes if models[i] == model):
                services = [dict(modes)[i].get("services") for i in indexes if models[i] == model]
                if any(not s for s in services):
                    say(
                        (*path, index, "model"),
                        f"`{others[0]}` serves the same model at {url}: only `services` could distinguish them",
                    )


def _services_differ(modes: list[dict[str, Any]]) -> bool:
    """Whether each has services, and no two the same: then those tell them apart."""
    lists = [mode.get("services") for mode in modes]
    told = [frozenset(map(str, one)) for one in lists if isinstance(one, list) and one]
    return len(told) == len(modes) == len(set(told))


def _unique(path: Path, tables: list[tuple[int, dict[str, Any]]], key: str, what: str, say: Say) -> None:
    first: dict[str, int] = {}
    for index, table in tables:
        value = _text(table, key)
        if not value:
            continue
        if value in first:
            owner = _text(dict(tables)[first[value]], "name") or f"{what}[{first[value]}]"
            text = f"another {what} has this name" if key == "name" else f'{what} `{owner}` has the key "{value}" already'
            say((*path, index, key), text)
        first.setdefault(value, index)


def _url(path: Path, table: Mapping[str, Any], say: Say) -> None:
    url = _text(table, "url")
    if not url:
        if table.get("url") == "" and len(path) == 1:
            say((*path, "url"), "expected an address such as http://127.0.0.1:8000")
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        say((*path, "url"), f"not an address ({url}); expected one such as http://127.0.0.1:8000")
        return
    if parts.scheme not in ("http", "https"):
        said = "has no scheme" if "://" not in url else f"begins with {parts.scheme}://"
        say((*path, "url"), f"expected http://… or https://…, and `{url.partition('@')[2] or url}` {said}")
    elif not parts.hostname or port == 0:
        say((*path, "url"), f"names no {'port' if parts.hostname else 'host'}; expected an address such as http://127.0.0.1:8000")
    elif parts.username is not None or parts.password is not None:
        say((*path, "url"), "holds a user name or password, which would end up in messages; sovtui stores no secrets")
    elif parts.query or parts.fragment or re.search(r"\s", url):
        say((*path, "url"), "expected a base address, without spaces, `?` or `#`")


def _services(path: Path, services: Any, say: Say) -> None:
    if not isinstance(services, list):
        return
    seen: set[str] = set()
    for index, service in enumerate(services):
        if isinstance(service, str):
            _service((*path, index), service, say)
            if service in seen:
                say((*path, index), f"`{service}` is listed twice")
            seen.add(service)


def _service(path: Path, service: str, say: Say) -> None:
    prefix, colon, rest = service.partition(":")
    if colon and prefix == "container":
        if not _CONTAINER.fullmatch(rest):
            say(path, f'"{service}" is not a container; expected `container:NAME`')
        return
    if colon and prefix == "compose":
        if not _PROJECT.fullmatch(rest):
            say(path, f'"{service}" is not a compose project; expected `compose:PROJECT`, in small letters as compose writes it')
        return
    if colon and prefix == "user":
        if not _UNIT.fullmatch(rest):
            say(path, f'"{service}" is not a unit; expected `user:NAME.service`')
        return
    if _UNIT.fullmatch(service):
        return
    if colon and (close := nearest(prefix, PREFIXES)):
        say(path, f'"{service}": unknown kind `{prefix}`{close}')
    elif not colon and _CONTAINER.fullmatch(service):
        say(path, f'"{service}" is not a unit; expected `{service}.service`, `user:{service}.service` or `container:{service}`')
    else:
        say(
            path,
            f'"{service}" is not a service; expected `NAME.service`, `user:NAME.service`, `container:NAME` or `compose:PROJECT`',
        )


def service_problem(service: str) -> str:
    """Why this cannot be the name of a service; empty if it can."""
    found: list[str] = []
    _service((), service, lambda path, message, place=None: found.append(message))
    return found[0] if found else ""


def _keys(keys: Mapping[str, Any], say: Say, actions: Mapping[str, str]) -> None:
    """No key may mean two things: neither two keys of the configuration nor one of it and a usual one that was left as it is."""
    names = [name for name in actions if not name.startswith("(")]
    usual = {key: name for name, word in actions.items() if name not in keys for key in _parts(word)}
    taken: dict[str, str] = {}

    def twins(one: str, other: str) -> bool:
        return one in actions and actions[one] == actions.get(other)  # such as acknowledge and its opposite: never both at once

    for action, value in keys.items():
        path: Path = ("screen", "keys", action)
        if actions and action not in names:
            say(path, f"no action has this name{nearest(action, names) or _known(sorted(names))}")
        if not isinstance(value, str):
            continue
        for key in _parts(value):
            if not key or re.search(r"\s", key):
                say(path, 'expected a key such as "d" or "ctrl+d"')
            elif key in "0123456789":
                say(path, f'"{key}" is a mode key')
            elif key in taken and not twins(action, taken[key]):
                say(path, f'"{key}" is the key of `{taken[key]}` already')
            elif usual.get(key, "").startswith("("):
                say(path, f'"{key}" means the same everywhere and cannot be given to anything else')
            elif key in usual and not twins(action, usual[key]):
                say(path, f'"{key}" is the key of `{usual[key]}` already; give that one another key too')
            else:
                taken[key] = action


def _parts(value: str) -> tuple[str, ...]:
    return (",",) if value.strip() == "," else tuple(key.strip() for key in value.split(","))


def _clean_texts(value: Any, path: Path, say: Say) -> None:
    match value:
        case str():
            if clean(value) != value:
                say(path, "holds control characters, line breaks or hidden characters, or is longer than 2000")
        case dict():
            for key, inner in value.items():
                _clean_texts(inner, (*path, key), say)
        case list():
            for index, inner in enumerate(value):
                _clean_texts(inner, (*path, index), say)
        case _:
            pass


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[tuple[int, dict[str, Any]]]:
    return [(i, t) for i, t in enumerate(value) if isinstance(t, dict)] if isinstance(value, list) else []


def _text(table: Mapping[str, Any], key: str) -> str:
    value = table.get(key, "")
    return value if isinstance(value, str) else ""


def _known(words: Iterable[str]) -> str:
    listed = ", ".join(words)
    return f"; there are: {listed}" if listed else "; there are none"
