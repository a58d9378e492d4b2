"""Why a host cannot be reached: what was seen of the way to it, and the one sentence that says what is wrong. Pure.

Causes are told apart by how far the way was gone (`Stage`) and how it ended there (`Fault`), and by what this machine and the tailnet
know of the way (`Here`, `Tailnet`). Nothing is guessed: what was not looked at is None and changes no verdict.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from enum import StrEnum

SLOW_SECONDS = 0.4
"""A round trip above this is called slow: a key press and its answer are then seen apart."""
_TAILNET_NETS = (ipaddress.ip_network("100.64.0.0/10"), ipaddress.ip_network("fd7a:115c:a1e0::/48"))


class Verdict(StrEnum):
    """What is wrong with the way to a host, in the words of the status line."""

    NONE = ""
    SLOW = "slow"
    LOST = "link lost"
    """It was up and is not; why, the next dial finds out."""
    OFFLINE = "offline here"
    NO_NAME = "name unknown"
    NO_ROUTE = "no route"
    HOST_DOWN = "host silent"
    SSHD_DOWN = "sshd down"
    HANGS = "host hangs"
    TURNED_AWAY = "turned away"
    NOT_SSH = "not ssh"
    BLOCKED = "port blocked"
    TAILNET_OFF = "tailnet off"
    JUMP_DOWN = "jump host down"
    KEY_CHANGED = "key changed"
    KEY_UNKNOWN = "key unknown"
    LOGIN_REFUSED = "login refused"
    UNUSABLE = "cannot log in"
    """Something in the configuration here or there has to be changed first."""


class Stage(StrEnum):
    """How far a dial has come."""

    NAME = "name"
    CONNECT = "connect"
    GREETING = "greeting"
    """TCP is up; the server has yet to say its version."""
    LOGIN = "login"
    UP = "up"


class Fault(StrEnum):
    """How it ended there."""

    NONE = "none"
    """It has not ended: it is being waited for."""
    SILENCE = "silence"
    UNACKNOWLEDGED = "unacknowledged"
    """Silence, and not even what was sent has arrived."""
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    FORBIDDEN = "forbidden"
    """This machine itself does not let it out."""
    CLOSED = "closed"
    DAMAGED = "damaged"
    """What came was not what was sent."""
    FOREIGN = "foreign"
    """Whatever answers does not speak ssh."""
    UNKNOWN_NAME = "unknown-name"
    NO_NAME_SERVER = "no-name-server"
    MOVED = "moved"
    """This machine's own address has changed under the connection."""


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine knows of its own way out; asked of its kernel, without a packet."""

    source: str = ""
    """The address that a packet to the host would leave from; empty: it would not leave."""
    online: bool | None = None
    """Whether there is a way to anywhere; None: not looked at."""


@dataclass(frozen=True, slots=True)
class Tailnet:
    """What the tailnet's own program on this machine says of the host; None: not told."""

    running: bool | None = None
    online: bool | None = None
    """Whether the host is connected to the tailnet."""
    answered: bool | None = None
    """Whether it answered the tailnet's own ping just now."""
    words: str = ""
    """Its sentence about all this, with what to do; empty where it has nothing to say to it."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of one try to reach a host, or of the end of a connection."""

    label: str
    """`spark (ops@spark)`: of whom this is told. A jump host's begins with `the jump host`."""
    host: str = ""
    port: int = 22
    stage: Stage = Stage.CONNECT
    fault: Fault = Fault.NONE
    seconds: float = 0.0
    """How long it was waited for."""
    detail: str = ""
    """Clean text of whoever ended it."""
    said: str = ""
    """What the server said before, clean."""
    addresses: tuple[str, ...] = ()
    """Of the host, as far as they are known."""
    target: str = ""
    """Whom it was on the way to, if `label` is a jump host."""
    via: str = ""
    """The jump host that tried it for us and told the fault; empty: we tried it ourselves."""
    here: Here | None = None
    tailnet: Tailnet | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is told: the verdict, what happened and where, what to do next."""

    verdict: Verdict
    sentence: str
    advice: str = ""

    def text(self) -> str:
        return f"{self.sentence}. {self.advice}" if self.advice else self.sentence


def judge(seen: Evidence) -> Finding:
    """The finding for what was seen. An own network that is gone explains everything else; so does a tailnet that is off."""
    found = _own(seen)
    if found is None and seen.via:
        found = _behind(seen)
    if found is None:
        found = _STAGES[seen.stage](seen)
    if seen.target and found.verdict not in (Verdict.OFFLINE, Verdict.TAILNET_OFF):
        sentence = f"{found.sentence}, so {seen.target} is not reached"
        verdict = Verdict.JUMP_DOWN if found.verdict in _DOWN else found.verdict
        return replace(found, verdict=verdict, sentence=sentence)
    return found


def is_tailnet(address: str) -> bool:
    """Whether it is an address of a tailnet (100.64.0.0/10, fd7a:115c:a1e0::/48)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed in net for net in _TAILNET_NETS if parsed.version == net.version)


def is_slow(latency_seconds: float | None) -> bool:
    return latency_seconds is not None and latency_seconds > SLOW_SECONDS


def slow_words(label: str, latency_seconds: float) -> str:
    return f"{label} is slow: a round trip takes {latency_seconds * 1000:.0f} ms"


_FULL = ("maxstartups", "not allowed at this time", "too many")
"""What an sshd says before its version if it takes no more."""
_DOWN = frozenset(
    {
        *(Verdict.LOST, Verdict.NO_NAME, Verdict.NO_ROUTE, Verdict.HOST_DOWN, Verdict.SSHD_DOWN),
        *(Verdict.HANGS, Verdict.TURNED_AWAY, Verdict.NOT_SSH, Verdict.BLOCKED),
    }
)
"""Verdicts that say of a jump host that it is down; what it refuses keeps its own name."""


def _own(seen: Evidence) -> Finding | None:
    """What is wrong on this machine, if that explains it."""
    here, tailnet = seen.here, seen.tailnet
    if here is not None and here.online is False and not here.source:
        return Finding(
            Verdict.OFFLINE,
            f"this machine is offline: it has no way out, not to {seen.label} either",
            "It continues by itself when the network is back.",
        )
    if seen.fault in (Fault.REFUSED, Fault.FOREIGN, Fault.DAMAGED) or seen.stage in (Stage.GREETING, Stage.LOGIN):
        return None  # somebody answered
    if tailnet is not None and tailnet.running is False and (seen.stage is Stage.NAME or _in_tailnet(seen)):
        return Finding(
            Verdict.TAILNET_OFF,
            f"the tailnet is off on this machine, so {seen.label} is not reached{_added(seen)}",
            "" if tailnet.words else "Turn it on: tailscale up.",
        )
    if here is not None and _in_tailnet(seen) and here.source and not is_tailnet(here.source) and seen.fault is not Fault.NONE:
        return Finding(
            Verdict.TAILNET_OFF,
            f"{seen.label} has a tailnet address, and this machine is not in the tailnet now (packets to it leave from {here.source})",
            "Turn it on: tailscale up, or the app.",
        )
    return None


def _in_tailnet(seen: Evidence) -> bool:
    return bool(seen.addresses) and all(is_tailnet(address) for address in seen.addresses)


def _behind(seen: Evidence) -> Finding | None:
    """What a jump host told of its own try."""
    where = f"{seen.label} ({seen.host} port {seen.port})"
    text = seen.detail.casefold()
    told = f"the jump host cannot reach {where}: {seen.detail or 'no reason given'}"
    advice = f"Check it from {seen.via}."
    if seen.fault is Fault.FORBIDDEN:
        return Finding(
            Verdict.BLOCKED, f"{seen.via} may not connect to {where}: {seen.detail}", "Allow it there: AllowTcpForwarding."
        )
    if seen.fault is not Fault.UNREACHABLE:
        return None
    if "refused" in text:
        return Finding(Verdict.SSHD_DOWN, told, f"Is sshd running on {seen.host}, on that port?")
    if "name or service" in text or "resolve" in text or "name resolution" in text or "not known" in text:
        return Finding(Verdict.NO_NAME, told, advice)
    if "network is unreachable" in text:
        return Finding(Verdict.NO_ROUTE, told, advice)
    return Finding(Verdict.HOST_DOWN, told, advice)


def _name(seen: Evidence) -> Finding:
    if seen.fault is Fault.UNKNOWN_NAME:
        return Finding(
            Verdict.NO_NAME, f"cannot resolve the name {seen.host} of {seen.label}", "Check the name, the DNS or the tailnet."
        )
    what = "no name server answers" if seen.fault is Fault.NO_NAME_SERVER else f"no name server has answered for {_waited(seen)}"
    return Finding(
        Verdict.NO_NAME,
        f"the name {seen.host} of {seen.label} cannot be looked up: {what}",
        "Is the network (or the tailnet) up? An address instead of the name needs no name server.",
    )


def _connect(seen: Evidence) -> Finding:
    up, online = (seen.tailnet.answered, seen.tailnet.online) if seen.tailnet is not None else (None, None)
    if seen.fault is Fault.REFUSED:
        return Finding(
            Verdict.SSHD_DOWN,
            f"{seen.label} refused the connection on port {seen.port}{_added(seen)}",
            f"Is sshd running on {seen.host}, on that port?",
        )
    if seen.fault is Fault.FORBIDDEN:
        return Finding(
            Verdict.BLOCKED,
            f"this machine itself does not let a connection to {seen.label} out: {seen.detail}",
            "Look at its firewall, and at the permissions of this program.",
        )
    if up and seen.fault is Fault.SILENCE:
        return Finding(
            Verdict.BLOCKED,
            f"{seen.label} did not answer within {_waited(seen)}{_added(seen)}",
            "Look at the tailnet's policy and at the firewall of the host.",
        )
    if online is False:
        words = f"{seen.label} did not answer within {_waited(seen)}{_added(seen)}"
        return Finding(Verdict.HOST_DOWN, words, "Is it switched on and awake?")
    if seen.fault is Fault.UNREACHABLE:
        if seen.here is not None and seen.here.source:
            return Finding(
                Verdict.HOST_DOWN,
                f"nothing answers at the address of {seen.label}: {seen.detail}{_added(seen)}",
                "Is it switched on and awake?",
            )
        return Finding(
            Verdict.NO_ROUTE,
            f"there is no way to {seen.label}: {seen.detail}{_added(seen)}",
            "Is the network (or the tailnet) up?",
        )
    return Finding(
        Verdict.HOST_DOWN,
        f"{seen.label} did not answer within {_waited(seen)}{_added(seen)}",
        "Is it switched on, and is the network (or the tailnet) up?",
    )


def _added(seen: Evidence) -> str:
    """What the tailnet says besides."""
    return f": {seen.tailnet.words.rstrip('.')}" if seen.tailnet is not None and seen.tailnet.words else ""


def _greeting(seen: Evidence) -> Finding:
    if seen.fault is Fault.UNACKNOWLEDGED:
        return _gone_again(seen)
    foreign = bool(seen.said) and not any(word in seen.said.casefold() for word in _FULL)
    if seen.fault is Fault.FOREIGN or foreign:
        words = f"it says “{seen.said}”" if seen.said else seen.detail
        return Finding(
            Verdict.NOT_SSH, f"{seen.label} port {seen.port} does not speak ssh properly: {words}", "Is the port right?"
        )
    if seen.fault in (Fault.CLOSED, Fault.REFUSED):
        return Finding(
            Verdict.TURNED_AWAY,
            f"{seen.label} closed the connection before its greeting{_heard(seen)}",
            f"Is it ssh that answers on port {seen.port}? A full or strict sshd does so too (MaxStartups, PerSourcePenalties).",
        )
    return Finding(
        Verdict.HANGS,
        f"{seen.label} takes connections on port {seen.port} but did not answer within {_waited(seen)}",
        "It hangs or is overloaded; its console says more.",
    )


def _login(seen: Evidence) -> Finding:
    if seen.fault is Fault.UNACKNOWLEDGED:
        return _gone_again(seen)
    if seen.fault is Fault.DAMAGED:
        return _damaged(seen)
    if seen.fault is Fault.FOREIGN:
        return _greeting(seen)
    if seen.fault is Fault.CLOSED:
        return Finding(
            Verdict.TURNED_AWAY,
            f"{seen.label} closed the connection during the login: {seen.detail or 'no reason given'}{_heard(seen)}",
            "Its own log (journalctl -u ssh) says more.",
        )
    return Finding(
        Verdict.HANGS,
        f"{seen.label} greeted, but did not answer within {_waited(seen)} in the middle of the login",
        "It hangs or is overloaded, or the network was lost again.",
    )


def _up(seen: Evidence) -> Finding:
    """The end of a connection that stood."""
    if seen.fault is Fault.DAMAGED:
        return _damaged(seen)
    if seen.fault is Fault.MOVED:
        return Finding(Verdict.LOST, f"the address of this machine has changed, so the connection to {seen.label} was lost")
    if seen.fault is Fault.SILENCE:
        return Finding(Verdict.LOST, f"{seen.label} does not answer any more")
    if not seen.detail:
        return Finding(Verdict.LOST, f"{seen.label} closed the connection")
    return Finding(Verdict.LOST, f"the connection to {seen.label} was lost: {seen.detail}")


def _gone_again(seen: Evidence) -> Finding:
    return Finding(
        Verdict.HOST_DOWN, f"{seen.label} was reached, and then nothing got through any more", "The network comes and goes."
    )


def _damaged(seen: Evidence) -> Finding:
    return Finding(
        Verdict.LOST,
        f"what came from {seen.label} was damaged on the way, so the connection was ended: {seen.detail}",
        "Something between here and there changes what passes.",
    )


def _heard(seen: Evidence) -> str:
    return f" (it said: {seen.said})" if seen.said else ""


def _waited(seen: Evidence) -> str:
    return f"{seen.seconds:.1f} s".replace(".0 s", " s")


_STAGES = {Stage.NAME: _name, Stage.CONNECT: _connect, Stage.GREETING: _greeting, Stage.LOGIN: _login, Stage.UP: _up}
