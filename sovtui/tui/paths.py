"""The path of a link through the tailnet, in the few cells that a line has for it. Pure."""

from __future__ import annotations

from datetime import datetime

from sovtui.core import tailnet_words, text
from sovtui.core.model import LinkPhase, PathKind, TailnetPath
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


def span(host: Host, now: datetime, *, narrow: bool) -> Span | None:
    """`relay fra 48 ms`, `path unknown`; None where there is no tailnet on the way. On a phone only the little there is room for."""
    path = host.path
    if path is None:
        return None
    words = tailnet_words.path(path, now)
    if path.kind in (PathKind.UNKNOWN, PathKind.IDLE) and not path.expired:
        words = f"path {text.UNKNOWN_SIGN if narrow and path.kind is PathKind.UNKNOWN else words}"
    return words, role(path)


def instead_of_phase(host: Host, *, narrow: bool) -> bool:
    """Whether on a narrow screen the path stands for `link up 23 ms`: it says that the link is up, and how good it is."""
    return narrow and host.link.phase is LinkPhase.UP and host.path is not None and host.path.kind in KNOWN


def told(host: Host, now: datetime) -> str:
    """The whole of it in one line, for lists and stories; empty where there is no tailnet on the way."""
    path = host.path
    if path is None:
        return ""
    words = tailnet_words.path(path, now)
    if path.kind in (PathKind.UNKNOWN, PathKind.IDLE) and not path.expired:
        words = f"path {words}"
    return f"{words}, verified by the tailnet" if path.verified else words


def notice(host: Host) -> str:
    """What there is to say of the path while the link is up: a key that expires, a tailnet that has lost its way."""
    path = host.path
    if path is None:
        return ""
    if path.notes:
        return "; ".join(path.notes)
    return path.reason if path.source else ""
