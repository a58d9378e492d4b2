"""LiteLLM's deployments, cooldowns and chains, from its lists and its counters. Pure. No engine by itself: see `litellm`.

A cooldown's end is told nowhere: it is the moment its counter went up, plus the configured time. Its gauge of states is not
believed where it says 2: nothing ever sets that series back.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, MutableMapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sovtui.adapters.engines.scrape import Scrape
from sovtui.core.clean import clean
from sovtui.core.model import Part

FALLBACK_SECONDS = 300.0
"""A chain that was taken within this is told as taken."""
MOST_PARTS = 60
LOCAL_PROVIDERS = ("hosted_vllm", "ollama", "ollama_chat", "lm_studio", "llamafile", "vllm")

_STATE, _COOLED = "litellm_deployment_state", "litellm_deployment_cooled_down_total"
_SUCCESS, _FAILURE = "litellm_deployment_success_responses_total", "litellm_deployment_failure_responses_total"
_TAKEN, _MISSED = "litellm_deployment_successful_fallbacks_total", "litellm_deployment_failed_fallbacks_total"

Own = MutableMapping[str, Any]
"""What the adapter keeps between two looks: `counters`, `cooled`, `states`, `hops`, `info`, `settings`."""


def take(own: Own, page: Scrape) -> None:
    """Notice what has happened since the last page."""
    new = {name: _by(page, name, "model_id") for name in (_COOLED, _SUCCESS, _FAILURE)}
    old: dict[str, dict[str, float]] | None = own.get("counters")
    cooled: dict[str, datetime | None] = own.setdefault("cooled", {})
    if old is None:
        for id_ in new[_COOLED]:
            cooled[id_] = None  # some time before we looked
    else:
        for id_, count in new[_COOLED].items():
            if count > old[_COOLED].get(id_, 0.0):
                cooled[id_] = page.at
        for id_, count in new[_SUCCESS].items():
            if count > old[_SUCCESS].get(id_, 0.0) and cooled.get(id_) != page.at:
                cooled.pop(id_, None)  # it serves again
        if any(count < old[_COOLED].get(id_, 0.0) for id_, count in new[_COOLED].items()) or set(old[_COOLED]) - set(
            new[_COOLED]
        ):
            cooled.clear()  # the proxy restarted: cooldowns live in its memory
            own.pop("hops", None)
    own["counters"] = new
    states: dict[str, float] = {}
    for labels, value in page.named(_STATE).items():
        id_ = dict(labels).get("model_id", "")
        if id_ and value < 2:
            states[id_] = max(states.get(id_, 0.0), value)
    own["states"] = states
    hops = {kind: _by(page, name, "requested_model", "fallback_model") for kind, name in (("taken", _TAKEN), ("missed", _MISSED))}
    history: list[tuple[float, dict[str, dict[str, float]]]] = own.setdefault("hops", [])
    history.append((page.monotonic, hops))
    while len(history) > 2 and page.monotonic - history[1][0] >= FALLBACK_SECONDS:
        history.pop(0)


def parts(own: Own, now: datetime | None) -> tuple[Part, ...]:
    """Deployments, those in trouble first, then the configured chains."""
    found = [_deployment(own, row, now) for row in _rows(own)]
    found += _chains(own)
    return tuple(sorted(found, key=lambda part: not part.trouble))[:MOST_PARTS]


def trouble(told: tuple[Part, ...]) -> str:
    """One sentence about what is not well; empty if all is."""
    counts = {word: sum(1 for p in told if p.state == word) for word in ("cooldown", "failing")}
    said = [f"{n} {'in cooldown' if word == 'cooldown' else word}" for word, n in counts.items() if n]
    deployments = sum(1 for p in told if p.state in ("ready", "cooldown", "failing", "unused"))
    return f"{' and '.join(said)} of {deployments} deployments" if said else ""


def _deployment(own: Own, row: Mapping[str, Any], now: datetime | None) -> Part:
    params, info = _map(row.get("litellm_params")), _map(row.get("model_info"))
    id_, group, model = (
        str(info.get("id") or ""),
        clean(str(row.get("model_name") or "?"), 120),
        clean(str(params.get("model") or ""), 160),
    )
    where = location(params, info)
    host = clean(urlsplit(str(params.get("api_base") or "")).netloc.rpartition("@")[2], 120)
    detail = " ".join(word for word in (where, f"at {host}" if host else "", model) if word)
    name = f"{group}: {clean(id_, 80)}" if id_ else group
    state, ends_at = _state(own, id_, now)
    return Part(name, state, state in ("cooldown", "failing"), detail, ends_at=ends_at)


def _state(own: Own, id_: str, now: datetime | None) -> tuple[str, datetime | None]:
    cooled: dict[str, datetime | None] = own.get("cooled", {})
    states: dict[str, float] = own.get("states", {})
    if id_ in cooled:
        since, seconds = cooled[id_], cooldown_seconds(own)
        if since is not None and seconds is None:
            return "cooldown", None
        if since is not None and seconds is not None and now is not None and now < since + timedelta(seconds=seconds):
            return "cooldown", since + timedelta(seconds=seconds)
    if id_ in states:
        return ("failing" if states[id_] else "ready"), None
    return ("unused" if "states" in own else "unknown"), None


def cooldown_seconds(own: Own) -> float | None:
    """As configured; None where the key may not read it."""
    seconds = _current(own).get("cooldown_time")
    return float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else None


def location(params: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    """`local` or `cloud`: as its owner says in `model_info.location`, else by its address, else by its provider."""
    said = info.get("location")
    if said in ("local", "cloud"):
        return str(said)
    host = urlsplit(str(params.get("api_base") or "")).hostname
    if host:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return (
                "local"
                if host == "localhost" or "." not in host or host.endswith((".local", ".lan", ".internal", ".ts.net"))
                else "cloud"
            )
        return "local" if address.is_private or address.is_loopback else "cloud"
    provider = str(info.get("litellm_provider") or str(params.get("model") or "").partition("/")[0])
    return "local" if provider in LOCAL_PROVIDERS else "cloud"


def _chains(own: Own) -> list[Part]:
    """Every configured chain, and how often it was taken lately."""
    history = own.get("hops") or []
    found = []
    for kind in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        rows = _current(own).get(kind)
        for row in rows if isinstance(rows, list) else ():
            for group, rungs in _map(row).items():
                if isinstance(rungs, list) and rungs:
                    name = clean(" → ".join(str(rung) for rung in (group, *rungs)), 200)
                    about = {"context_window_fallbacks": "when too long", "content_policy_fallbacks": "when refused"}.get(
                        kind, ""
                    )
                    taken = _gained(history, "taken", str(group)) if kind == "fallbacks" else 0.0
                    missed = _gained(history, "missed", str(group)) if kind == "fallbacks" else 0.0
                    said = [f"taken {taken:.0f}×" if taken else "", f"failed {missed:.0f}×" if missed else ""]
                    words = ", ".join(word for word in said if word)
                    detail = f"{words} in {FALLBACK_SECONDS / 60:.0f} min" if words else about
                    found.append(Part(name, "chain", bool(taken or missed), detail))
    return found


def _gained(history: list[tuple[float, dict[str, dict[str, float]]]], kind: str, group: str) -> float:
    """Hops from this group since the oldest page of the window; a first page alone tells nothing of when."""
    if len(history) < 2:
        return 0.0
    first, last = history[0][1][kind], history[-1][1][kind]
    return sum(max(0.0, n - first.get(hop, 0.0)) for hop, n in last.items() if hop.partition("\x00")[0] == group)


def _by(page: Scrape, name: str, *labels: str) -> dict[str, float]:
    """The sum of a counter by labels; without what has no such label."""
    found: dict[str, float] = {}
    for key, value in page.named(name).items():
        words = [dict(key).get(label, "") for label in labels]
        if all(words):
            joined = "\x00".join(words)
            found[joined] = found.get(joined, 0.0) + value
    return found


def _rows(own: Own) -> list[Mapping[str, Any]]:
    data = _map(own.get("info")).get("data")
    return [row for row in data if isinstance(row, Mapping)] if isinstance(data, list) else []


def _current(own: Own) -> Mapping[str, Any]:
    return _map(_map(own.get("settings")).get("current_values"))


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
