"""The tailnet as its own daemon tells it: who is in it, which of them a name means, how packets get there. Pure.

The document is `tailscale status --json` (the same as LocalAPI's `status`). Its format is declared unstable: every field is
read by itself, and one that is null or of a wrong type is unknown while the others stay known. Sentences for the user are in
`tailnet_words`.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sovtui.core import outside
from sovtui.core.clean import clean
from sovtui.core.model import PathKind, TailnetPath

RUNNING = "Running"
"""The one `BackendState` in which anything else in the document may be used."""
MOST = outside.Most(bytes=4 << 20, items=200_000)
"""Of the whole document: a node is told in some 1500 bytes."""
MAX_PEERS = 5000
ONE_WAY_SECONDS = 180.0
"""A WireGuard handshake is renewed every two minutes while packets go both ways."""

_HOST_KEY = re.compile(r"([a-z0-9@.-]{1,64}) ([A-Za-z0-9+/]{16,12000}={0,2})")
_URL = re.compile(r"https?://[A-Za-z0-9.\[\]:_-]+(?:/[!-~]*)?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_ZONED = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Peer:
    """A node of the tailnet; None and empty mean that it was not told."""

    id: str = ""
    """The stable id: the node's identity. A name may be given to another node, a key is renewed."""
    dns_name: str = ""
    """`spark.tail4c2f.ts.net`: lower case, without the final dot. Unique."""
    addresses: tuple[str, ...] = ()
    """Its tailnet addresses as the daemon orders them, IPv4 first."""
    host_name: str = ""
    """As the device calls itself: neither unique nor to be trusted, for showing only."""
    os: str = ""
    cur_addr: str = ""
    """Where direct packets go now; empty seconds after traffic ends."""
    relay: str = ""
    """Region code of its home relay: filled for nearly every peer and no sign that the link is relayed."""
    peer_relay: str = ""
    online: bool | None = None
    """Whether it is connected to the control plane."""
    active: bool | None = None
    """Whether we sent something there within 45 s, answered or not."""
    expired: bool | None = False
    rx_bytes: int | None = None
    tx_bytes: int | None = None
    last_seen: datetime | None = None
    """Only of one that is offline."""
    last_handshake: datetime | None = None
    key_expires_at: datetime | None = None
    """None where it never expires or is not told."""
    ssh_host_keys: tuple[str, ...] = ()
    """`algorithm base64`, each well-formed; empty where it does not run Tailscale SSH."""
    rejected_host_keys: int = 0
    """How many more it had that were no keys."""

    @property
    def base_name(self) -> str:
        return self.dns_name.partition(".")[0]

    @property
    def called(self) -> str:
        """A name to tell it by."""
        return self.dns_name or (self.addresses[0] if self.addresses else self.id) or "?"


@dataclass(frozen=True, slots=True)
class Tailnet:
    """What the daemon told at `at`."""

    at: datetime
    state: str = ""
    """`BackendState`; empty where it was not told."""
    tun: bool | None = None
    """False: userspace networking, no route and no DNS into the tailnet on this machine."""
    suffix: str = ""
    me: Peer | None = None
    peers: tuple[Peer, ...] = ()
    peers_told: bool = False
    """Whether there was a list of peers at all."""
    health: tuple[str, ...] = ()
    auth_url: str = ""
    version: str = ""

    @property
    def running(self) -> bool:
        return self.state == RUNNING


@dataclass(frozen=True, slots=True)
class Pong:
    """What a disco ping brought."""

    kind: PathKind = PathKind.UNKNOWN
    latency_seconds: float | None = None
    via: str = ""
    error: str = ""
    """Why there was none, in the daemon's words."""

    @property
    def answered(self) -> bool:
        return self.latency_seconds is not None


class NoSuchPeer(LookupError):
    """A name means no peer, or several."""

    def __init__(self, wanted: str, *, several: tuple[Peer, ...] = (), nearest: tuple[str, ...] = ()) -> None:
        super().__init__(wanted)
        self.wanted = wanted
        self.several = several
        self.nearest = nearest


def parse(raw: str | bytes, at: datetime) -> Tailnet:
    """The document as values. Raises `ValueError` with a clean reason if it is no JSON object at all."""
    peers: list[Peer] = []
    document = _take_peers(outside.each_member(raw, MOST, "Peer"), peers)
    if not isinstance(document, dict) or "BackendState" not in document:
        raise ValueError("it is no status document: it has no BackendState")
    current = document.get("CurrentTailnet")
    suffix = _text(current, "MagicDNSSuffix") if isinstance(current, dict) else ""
    me = document.get("Self")
    return Tailnet(
        at=at,
        state=_text(document, "BackendState", 40),
        tun=_flag(document, "TUN"),
        suffix=(suffix or _text(document, "MagicDNSSuffix")).strip(".").lower(),
        me=_peer(me) if isinstance(me, dict) else None,
        peers=tuple(peers),
        peers_told=isinstance(document.get("Peer"), dict),
        health=tuple(str(clean(line, 400)) for line in _list(document, "Health")[:20]),
        auth_url=url_in(document.get("AuthURL")),
        version=_text(document, "Version", 60),
    )


def _take_peers(told: Generator[Any, None, Any], peers: list[Peer]) -> Any:
    """The document without its nodes, which go into `peers` one at a time: thousands are never there as they were told."""
    while True:
        try:
            one = next(told)
        except StopIteration as end:
            return end.value
        if isinstance(one, dict) and len(peers) < MAX_PEERS:
            peers.append(_peer(one))


def find(net: Tailnet, wanted: str) -> Peer:
    """The node that `wanted` means, which may be this machine. Raises `NoSuchPeer`.

    `wanted` is a base name, a full name with or without final dot, a tailnet address, or a stable id; case does not matter
    in names. What the device calls itself (`HostName`) is never compared.
    """
    asked = clean(wanted, 300).strip()
    name = asked.rstrip(".").lower()
    number = _address(asked)
    found: list[Peer] = []
    nodes = (*net.peers, *((net.me,) if net.me is not None else ()))
    for peer in nodes:
        by_address = number is not None and number in peer.addresses
        by_name = bool(name) and name in (peer.base_name, peer.dns_name)
        if (by_address or by_name or (asked and asked == peer.id)) and not any(same(peer, other) for other in found):
            found.append(peer)
    if len(found) == 1:
        return found[0]
    if found:
        raise NoSuchPeer(asked, several=tuple(found))
    raise NoSuchPeer(asked, nearest=_nearest(name, [peer.base_name for peer in nodes]))


def same(one: Peer, other: Peer) -> bool:
    """Whether both are one node: by stable id, by unique name where no id was told."""
    if one.id and other.id:
        return one.id == other.id
    return bool(one.dns_name) and one.dns_name == other.dns_name


def path_of(net: Tailnet, peer: Peer) -> TailnetPath:
    """How packets to `peer` go now, without words; `relay` only where something was sent there lately."""
    if not net.running:
        return TailnetPath(at=net.at)
    if peer.expired:
        return TailnetPath(expired=True, since=peer.key_expires_at, at=net.at)
    if peer.online is False and (net.me is None or net.me.online is not False):
        return TailnetPath(PathKind.OFFLINE, since=peer.last_seen, at=net.at)
    if peer.cur_addr:
        return TailnetPath(PathKind.DIRECT, via=peer.cur_addr, at=net.at)
    if peer.peer_relay:
        return TailnetPath(PathKind.PEER_RELAY, via=peer.peer_relay, at=net.at)
    if peer.active:
        return TailnetPath(PathKind.RELAY if peer.relay else PathKind.UNKNOWN, via=peer.relay, at=net.at)
    if peer.online and peer.active is False and (net.me is None or net.me.online is not False):
        return TailnetPath(PathKind.IDLE, at=net.at)
    return TailnetPath(at=net.at)


def control_lost(net: Tailnet) -> bool:
    """Whether this machine has lost the control plane: everybody's `online` is as it last was."""
    return net.running and net.me is not None and net.me.online is False


def one_way(before: Peer, now: Peer, at: datetime) -> bool:
    """Whether packets go out and nothing comes back, whatever `online` says."""
    if None in (before.tx_bytes, now.tx_bytes, before.rx_bytes, now.rx_bytes) or not same(before, now):
        return False
    assert before.tx_bytes is not None and now.tx_bytes is not None
    old = now.last_handshake is None or (at - now.last_handshake).total_seconds() > ONE_WAY_SECONDS
    return now.tx_bytes > before.tx_bytes and now.rx_bytes == before.rx_bytes and old


def expires_within(peer: Peer | None, at: datetime, limit: timedelta) -> timedelta | None:
    """What is left of the node's key, if that is less than `limit`; negative once it has expired, None otherwise."""
    if peer is None or peer.key_expires_at is None:
        return None
    left = peer.key_expires_at - at
    return left if left < limit else None


def with_pong(path: TailnetPath, pong: Pong) -> TailnetPath:
    """The path as a ping has just found it: it went there, so it knows better than the status, unless nothing came back."""
    if not pong.answered or path.expired:
        return path
    if pong.kind is PathKind.UNKNOWN:
        return replace(path, latency_seconds=pong.latency_seconds)
    return replace(path, kind=pong.kind, via=pong.via, latency_seconds=pong.latency_seconds, since=None)


def steady(old: TailnetPath | None, new: TailnetPath) -> TailnetPath:
    """The new path with the old latency, where that has hardly changed: nothing repaints for a tenth of a millisecond."""
    if old is None or old.kind is not new.kind or old.latency_seconds is None or new.latency_seconds is None:
        return new
    near = abs(new.latency_seconds - old.latency_seconds) < 0.1 * old.latency_seconds + 0.0005
    return replace(new, latency_seconds=old.latency_seconds) if near else new


def read_pong(raw: str | bytes) -> Pong:
    """LocalAPI's answer to a ping. Raises `ValueError` if it is no JSON object."""
    answer = outside.document(raw)
    if not isinstance(answer, dict):
        raise ValueError("it is no answer to a ping")
    if said := _text(answer, "Err", 200):
        return Pong(error=said)
    seconds = answer.get("LatencySeconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 3600:
        return Pong(error="the answer has no latency")
    for key, kind in (("Endpoint", PathKind.DIRECT), ("PeerRelay", PathKind.PEER_RELAY), ("DERPRegionCode", PathKind.RELAY)):
        if via := _text(answer, key, 100):
            return Pong(kind, float(seconds), via)
    return Pong(PathKind.UNKNOWN, float(seconds))


def read_pong_lines(stdout: str, stderr: str = "") -> Pong:
    """The answer of `tailscale ping`, told by its last `pong` line whatever its exit status."""
    for line in reversed(stdout[:20_000].splitlines()):
        if found := re.fullmatch(r"pong from .{1,300} via (\S{1,120}) in (\S{1,40})\s*", line):
            where, seconds = clean(found[1]), _seconds(found[2])
            if seconds is None:
                continue
            if relay := re.fullmatch(r"DERP\((.*)\)", where):
                return Pong(PathKind.RELAY, seconds, relay[1])
            if relay := re.fullmatch(r"peer-relay\((.*)\)", where):
                return Pong(PathKind.PEER_RELAY, seconds, relay[1])
            return Pong(PathKind.DIRECT if re.search(r":\d+$", where) else PathKind.UNKNOWN, seconds, where)
    said = [clean(line, 200) for line in (*stderr[:4000].splitlines(), *stdout[:4000].splitlines()) if line.strip()]
    return Pong(error=said[0] if said else "no reply")


def url_in(value: Any) -> str:
    """The first http(s) URL in a text from outside, with nothing in it that a terminal or a shell could take amiss; else empty."""
    found = _URL.search(value[:8192]) if isinstance(value, str) else None
    return found[0].rstrip(".,;)'\"") if found is not None and len(found[0]) <= 1000 else ""


def _peer(raw: Mapping[str, Any]) -> Peer:
    keys = _list(raw, "sshHostKeys")
    good = tuple(key for key in keys[:20] if _is_host_key(key))
    return Peer(
        id=_text(raw, "ID", 60),
        dns_name=_text(raw, "DNSName", 260).rstrip(".").lower(),
        addresses=tuple(a for one in _list(raw, "TailscaleIPs")[:20] if (a := _address(one)) is not None),
        host_name=_text(raw, "HostName", 80),
        os=_text(raw, "OS", 30),
        cur_addr=_text(raw, "CurAddr", 100),
        relay=_text(raw, "Relay", 30),
        peer_relay=_text(raw, "PeerRelay", 100),
        online=_flag(raw, "Online"),
        active=_flag(raw, "Active"),
        expired=_flag(raw, "Expired") if raw.get("Expired") is not None else False,
        rx_bytes=_count(raw, "RxBytes"),
        tx_bytes=_count(raw, "TxBytes"),
        last_seen=_time(raw, "LastSeen"),
        last_handshake=_time(raw, "LastHandshake"),
        key_expires_at=_time(raw, "KeyExpiry"),
        ssh_host_keys=good,
        rejected_host_keys=len(keys) - len(good),
    )


def _text(raw: Mapping[str, Any], key: str, limit: int = 260) -> str:
    value = raw.get(key)
    return clean(value, limit) if isinstance(value, str) else ""


def _list(raw: Mapping[str, Any], key: str) -> list[str]:
    value = raw.get(key)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _flag(raw: Mapping[str, Any], key: str) -> bool | None:
    value = raw.get(key)
    return value if isinstance(value, bool) else None


def _count(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _time(raw: Mapping[str, Any], key: str) -> datetime | None:
    """A moment, UTC; None for Go's zero time too."""
    value = raw.get(key)
    if not isinstance(value, str) or not _ZONED.search(value):
        return None
    return outside.moment(value)


def _address(text: str) -> str | None:
    """An IP address in its usual spelling."""
    try:
        return str(ipaddress.ip_address(text)) if "%" not in text and len(text) < 50 else None
    except ValueError:
        return None


def _is_host_key(line: str) -> bool:
    """Whether this is one public key and nothing else: whole fields, the first of which names the algorithm before it."""
    found = _HOST_KEY.fullmatch(line)
    if found is None:
        return False
    try:
        blob = base64.b64decode(found[2], validate=True)
    except (binascii.Error, ValueError):
        return False
    fields: list[bytes] = []
    while len(blob) >= 4 and len(fields) < 10:
        size = 4 + int.from_bytes(blob[:4], "big")
        if size > len(blob):
            return False
        fields.append(blob[4:size])
        blob = blob[size:]
    return not blob and len(fields) > 1 and fields[0] == found[1].encode()


def _nearest(name: str, names: Iterable[str]) -> tuple[str, ...]:
    from difflib import get_close_matches  # only for a mistake

    known = sorted({other for other in names if other})
    close = get_close_matches(name.partition(".")[0], known, 3, 0.5)
    return tuple(close or known[:3])


def _seconds(duration: str) -> float | None:
    """A Go duration: `0s`, `2ms`, `1.204s`, `1m2s`."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        return None
    return float(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))
