"""The path of a link through the tailnet, in the few cells that a line has for it. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sovtui.core import path_words, text
from sovtui.core.model import LinkPhase, PathKind, TailnetPath
from sovtui.core.reach import is_slow
from sovtui.core.state import Host
from sovtui.tui.present import Span

KNOWN = (PathKind.DIRECT, PathKind.RELAY, PathKind.PEER_RELAY)


def role(path: TailnetPath) -> str:
    """A relayed link is slow and may be paid for by somebody else; nothing known is nothing."""
    if path.expired or path.kind is PathKind.OFFLINE:
        return "bad"
    if path.relayed or path.notes:
        return "warn"
    return "nothing" if path.kind is PathKind.UNKNOWN else "label"


def span(host: Host, now: datetime, *, brief: bool) -> Span | None:
    """`path unknown`, `path ?`, `key expired`, beside the phase of a link that is up; None where there is no tailnet on the way."""
    path = host.path
    if path is None:
        return None
    words = path_words.path(path, now)
    if path.kind in (PathKind.UNKNOWN, PathKind.IDLE) and not path.expired:
        words = f"path {text.UNKNOWN_SIGN if brief and path.kind is PathKind.UNKNOWN else words}"
    return words, role(path)


def instead_of_phase(host: Host, now: datetime) -> Span | None:
    """`direct 2 ms`, `relay fra 48 ms`: it says that the link is up and how good it is, so it stands for `link up 23 ms`.

    None where the path is not known, and where ssh itself is slow: then that must be seen.
    """
    path, link = host.path, host.link
    if path is None or path.kind not in KNOWN or path.expired or is_slow(link.latency_seconds):
        return None
    if path.latency_seconds is None and link.latency_seconds is not None:
        path = replace(path, latency_seconds=link.latency_seconds)  # no ping answered: measured by the link itself
    return path_words.path(path, now), role(path)


def in_a_list(host: Host, now: datetime) -> str:
    """What stands for `link up 23 ms` in a list of hosts; empty where that says more."""
    instead = instead_of_phase(host, now) if host.link.phase is LinkPhase.UP else None
    return instead[0] if instead is not None else ""


def verified(host: Host) -> str:
    """`, verified` in a list of hosts, where the tailnet told the host keys that its link was made with."""
    return ", verified" if host.path is not None and host.path.verified and host.link.phase is LinkPhase.UP else ""


def notice(host: Host) -> str:
    """What there is to say of the path while the link is up: a key that expires, a tailnet that has lost its way."""
    path = host.path
    if path is None:
        return ""
    if path.notes:
        return "; ".join(path.notes)
    return path.reason if path.source else ""
