"""What went wrong in a login, in words: where, and what to do next."""

from __future__ import annotations

import errno
import shlex
import socket

import asyncssh

from sovtui.adapters.links._ssh_place import Place
from sovtui.core.clean import clean
from sovtui.core.tailnet_words import read_banner
from sovtui.ports.errors import PortError, Refused, TimedOut, Unreachable


def explain(error: Exception, place: Place, *, typed: bool = False, said: str = "") -> PortError:
    """The exception as a sentence that says where and what to do next.

    `typed`: a password or code was given; `said`: what the server told before.
    """
    at, port = place.label, place.port
    text = clean(str(error), 300)
    number = getattr(error, "errno", None)
    if isinstance(error, TimeoutError):
        advice = "Is it switched on, and is the network (or the tailnet) up?"
        return TimedOut(f"{at} did not answer within {place.timeout_seconds:g} s", advice)
    if isinstance(error, socket.gaierror):
        return Unreachable(f"nobody knows the name {place.host} of {at}", "Check the name, the DNS or the tailnet.")
    if isinstance(error, ConnectionRefusedError) or _all_refused(text):
        return Unreachable(f"{at} refused the connection on port {port}", f"Is sshd running on {place.host}, on that port?")
    if number in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETDOWN):
        return Unreachable(f"there is no way to {at}: {text}", "Is the network (or the tailnet) up?")
    if isinstance(error, asyncssh.PermissionDenied):
        return _denied(place, text, typed)
    if isinstance(error, asyncssh.ChannelOpenError):
        word = Refused if error.code == 1 else Unreachable
        return word(f"the jump host cannot reach {at} ({place.host} port {port}): {text}", "Check it from the jump host.")
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return Refused(
            f"{at} and this machine have no common method: {text}",
            "An old server needs HostKeyAlgorithms, KexAlgorithms or Ciphers in ssh_config.",
        )
    if isinstance(error, asyncssh.ProtocolError | asyncssh.ProtocolNotSupported):
        return Refused(f"{at} port {port} does not speak ssh properly: {text}", "Is the port right?")
    if isinstance(error, FileNotFoundError) and error.filename:
        return Refused(clean(f"{error.filename}, needed for {at}, is not there"), "Correct ssh_config.")
    if isinstance(error, PermissionError) and error.filename:
        return Refused(clean(f"{error.filename}, needed for {at}, may not be read"), "Correct its permissions.")
    if isinstance(error, ConnectionError | asyncssh.ConnectionLost):
        heard = f" (it said: {said})" if said else ""
        return Unreachable(
            f"{at} closed the connection during the login: {text or 'no reason given'}{heard}",
            f"Is it ssh that answers on port {port}? Its own log (journalctl -u ssh) tells more.",
        )
    if isinstance(error, asyncssh.DisconnectError):
        return Refused(f"{at} ended the login: {text}", "Its own log (journalctl -u ssh) tells more.")
    if isinstance(error, OSError):
        return Unreachable(f"{at} cannot be reached: {text}", "Is the network (or the tailnet) up?")
    return Refused(f"the login to {at} cannot be tried: {text}", "Correct ssh_config or the keys it names.")


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
    return Refused(clean(f"Tailscale SSH on {place.label} does not let {place.user} in: {refusal}"), clean(advice))


def not_approved(place: Place, url: str) -> PortError:
    """The login was held until somebody approves it, and nobody did."""
    return Refused(
        clean(f"{place.label} wants this login to be approved first, at {url}"), "Approve it there, then connect again."
    )


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
    agent = f"; {place.agent_trouble}" if place.agent_trouble else ""
    if place.wanted:
        return Refused(
            clean(
                f"no key was accepted for {who} ({place.label}){agent}; it may take {place.wanted}, and nobody can be asked here"
            ),
            f"Give it a key: ssh-copy-id {place.target}; or open the control room or run this in a terminal, and type it.",
        )
    more = agent if text.startswith("Permission denied") else f"{agent}: {text}"
    return Refused(
        f"no key was accepted for {who} ({place.label}){more}",
        f"Give it one: ssh-copy-id {place.target}; or name the right one with IdentityFile in ssh_config.",
    )


def _all_refused(text: str) -> bool:
    """Several addresses tried, each refused: asyncio has only a text for it."""
    return text.startswith("Multiple exceptions") and text.count("[Errno") == text.count(f"[Errno {errno.ECONNREFUSED}]")
