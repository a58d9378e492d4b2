"""What went wrong in a login, in words: where, and what to do next. What was the way's fault is judged by `core.reach`."""

from __future__ import annotations

import errno
import shlex
import socket
from dataclasses import replace

import asyncssh

from sovtui.adapters.links._ssh_algorithms import nothing_in_common
from sovtui.adapters.links._ssh_knock import NoName
from sovtui.adapters.links._ssh_place import Place
from sovtui.core.clean import clean
from sovtui.core.reach import Evidence, Fault, Stage, Verdict, judge
from sovtui.core.tailnet_words import read_banner
from sovtui.ports.errors import PortError, Refused, TimedOut, Unreachable

_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL)


def explain(error: Exception, place: Place, seen: Evidence, *, typed: bool = False) -> PortError:
    """The exception as a sentence that says where and what to do next.

    `seen`: how far it had come. `typed`: a password or code was given.
    """
    at = place.label
    text = clean(str(error), 300)
    if isinstance(error, asyncssh.PermissionDenied):
        return _as(_denied(place, text, typed), Verdict.LOGIN_REFUSED)
    if isinstance(error, asyncssh.KeyExchangeFailed) and text.startswith("No "):
        refused = nothing_in_common(str(error), at)
        if refused is None:
            advice = "An old server needs HostKeyAlgorithms, KexAlgorithms, Ciphers or CASignatureAlgorithms in ssh_config."
            refused = Refused(f"{at} and this machine have no common method: {text}", advice)
        return _as(refused, Verdict.UNUSABLE)
    if isinstance(error, FileNotFoundError) and error.filename:
        return _as(Refused(clean(f"{error.filename}, needed for {at}, is not there"), "Correct ssh_config."), Verdict.UNUSABLE)
    if isinstance(error, PermissionError) and error.filename:
        missing = clean(f"{error.filename}, needed for {at}, may not be read")
        return _as(Refused(missing, "Correct its permissions."), Verdict.UNUSABLE)
    if "Too many authentication failures" in text:  # what the server calls a breach of the protocol
        who = f"{at} ended the login: it takes no more keys or answers from {place.user}@{place.host} in one login"
        advice = "Name the right key: IdentityFile and IdentitiesOnly yes in ssh_config; or raise MaxAuthTries there."
        return _as(Refused(who, advice), Verdict.LOGIN_REFUSED)
    fault = fault_of(error, seen.stage)
    if fault is not None:
        return of_way(replace(seen, fault=fault, detail=detail_of(error)))
    if isinstance(error, asyncssh.DisconnectError):
        return _as(Refused(f"{at} ended the login: {text}", "Its own log (journalctl -u ssh) says more."), Verdict.TURNED_AWAY)
    if isinstance(error, OSError):
        return _as(Unreachable(f"{at} cannot be reached: {text}", "Is the network (or the tailnet) up?"), Verdict.LOST)
    return _as(
        Refused(f"the login to {at} cannot be tried: {text}", "Correct ssh_config or the keys it names."), Verdict.UNUSABLE
    )


def of_way(seen: Evidence) -> PortError:
    """The error for what was seen of the way."""
    found = judge(seen)
    kind = TimedOut if seen.fault in (Fault.SILENCE, Fault.UNACKNOWLEDGED) else Unreachable
    error = Refused(found.sentence, found.advice) if seen.fault is Fault.FORBIDDEN else kind(found.sentence, found.advice)
    error.evidence, error.verdict = seen, found.verdict
    return error


def fault_of(error: Exception | None, stage: Stage) -> Fault | None:
    """What an exception says of the way; None if it is not the way that failed."""
    number = getattr(error, "errno", None)
    text = str(error)
    if isinstance(error, TimeoutError) or "not responding to keepalive" in text:
        return Fault.SILENCE
    if isinstance(error, NoName):
        return Fault.UNKNOWN_NAME if error.known else Fault.NO_NAME_SERVER
    if isinstance(error, socket.gaierror):
        return Fault.NO_NAME_SERVER if number == socket.EAI_AGAIN else Fault.UNKNOWN_NAME
    if isinstance(error, asyncssh.ChannelOpenError):
        return Fault.FORBIDDEN if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED else Fault.UNREACHABLE
    if isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED
    if number in _NO_ROUTE:
        return Fault.UNREACHABLE
    if isinstance(error, PermissionError):
        return Fault.FORBIDDEN
    if isinstance(error, asyncssh.ProtocolError | asyncssh.ProtocolNotSupported):
        return Fault.DAMAGED if stage in (Stage.LOGIN, Stage.UP) else Fault.FOREIGN
    if isinstance(error, asyncssh.MACError | asyncssh.CompressionError | asyncssh.KeyExchangeFailed):
        return Fault.DAMAGED
    if error is None or isinstance(error, ConnectionError | asyncssh.ConnectionLost):
        return Fault.CLOSED
    return None


def detail_of(error: Exception) -> str:
    """What the system or the other side calls it; empty where it only says that the connection is gone."""
    if isinstance(error, asyncssh.ChannelOpenError):
        return clean(error.reason, 200)
    text = getattr(error, "strerror", None) or str(error)
    return "" if text == "Connection lost" else clean(text, 300)


def _as(error: PortError, verdict: Verdict) -> PortError:
    error.verdict = verdict
    return error


def turned_away(place: Place, heard: str) -> PortError | None:
    """What Tailscale SSH says in a banner before it closes the connection, if that is why it is closed."""
    refusal = read_banner(heard).refusal
    if not refusal:
        return None
    advice = "The tailnet's admin decides that, in the section `ssh` of its policy."
    if "local user" in refusal:
        advice = f"Name another user in the address, or make {place.user} there."
    elif "check mode" in refusal:
        advice = "The tailnet's control plane cannot hold the check that its policy wants; its admin sees more."
    refused = Refused(clean(f"Tailscale SSH on {place.label} does not let {place.user} in: {refusal}"), clean(advice))
    return _as(refused, Verdict.LOGIN_REFUSED)


def not_approved(place: Place, url: str) -> PortError:
    """The login was held until somebody approves it, and nobody did."""
    text = clean(f"{place.label} wants this login to be approved first, at {url}")
    return _as(Refused(text, "Approve it there, then connect again."), Verdict.LOGIN_REFUSED)


def _denied(place: Place, text: str, typed: bool) -> PortError:
    who = f"{place.user}@{place.host}"
    if typed:
        return Refused(f"{place.label} did not accept what was typed for {who}", "Try again, or give it a key: ssh-copy-id.")
    if place.locked:
        names = ", ".join(str(path) for path in place.locked)
        verb = "needs its passphrase" if len(place.locked) == 1 else "need their passphrases"
        return Refused(
            clean(f"no key was accepted for {who} ({place.label}); {names} {verb}"),
            clean(f"Load it: ssh-add {shlex.quote(str(place.locked[0]))}, or open the control room and type it."),
        )
    if place.too_old:
        return Refused(
            f"no key was accepted for {who} ({place.label}); it takes RSA keys with SHA-1 signatures only, and none was given so",
            "Give it an Ed25519 key, or update its sshd; else write `PubkeyAcceptedAlgorithms +ssh-rsa` for it in ssh_config.",
        )
    agent = f"; {place.agent_trouble}" if place.agent_trouble else ""
    if place.wanted:
        return Refused(
            clean(
                f"no key was accepted for {who} ({place.label}){agent}; it may take {place.wanted}, and there is no terminal to ask on"
            ),
            f"Give it a key: ssh-copy-id {place.target}; or open the control room or run this in a terminal, and type it.",
        )
    more = agent if text.startswith("Permission denied") else f"{agent}: {text}"
    return Refused(
        f"no key was accepted for {who} ({place.label}){more}",
        f"Give it one: ssh-copy-id {place.target}; or name the right one with IdentityFile in ssh_config.",
    )
