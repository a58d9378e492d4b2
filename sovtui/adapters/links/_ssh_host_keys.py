"""Whether a server is who it should be: which keys are trusted, and what an unknown, changed or revoked one means.

Must not accept a changed host key, whoever asks.
"""

from __future__ import annotations

import asyncio
import shlex

import asyncssh

from sovtui.adapters.links import _known_hosts
from sovtui.adapters.links._known_hosts import Entry, KnownHosts
from sovtui.adapters.links._ssh_client import Client
from sovtui.adapters.links._ssh_operator import Operator
from sovtui.adapters.links._ssh_place import Place
from sovtui.core.clean import clean
from sovtui.ports.errors import HostKeyError, Refused
from sovtui.ports.link import Question


async def judge(place: Place, client: Client, known: KnownHosts, reason: str, operator: Operator) -> None:
    """An unverified host key: return if the operator has accepted it, raise otherwise."""
    name, entries = remembered(place, known)
    every = believed(place, known)
    seen = client.seen or client.seen_ca
    revoked = [entry for entry in every if entry.marker == "revoked" and (entry.key == seen if seen else "revoked" in reason)]
    advice = "Do not log in there until you know why."
    if revoked:
        shown = revoked[0]
        message = f"{place.label} shows a host key that is revoked: {_shown(shown.key)}, {shown.where()}"
        print_of = shown.key.get_fingerprint()
        raise HostKeyError(clean(message), advice, changed=True, fingerprint=print_of, known=print_of)
    if client.seen is None and client.seen_ca is None and any(entry.marker == "ca" for entry in every):
        message = f"the host certificate of {place.label} is not valid: {clean(reason)}"
        raise HostKeyError(message, "Its owner has to issue another one: ssh-keygen -s.", changed=False, fingerprint="")
    old = [entry for entry in entries if entry.marker == ""]
    shown_text = _shown(seen) if seen is not None else clean(reason)
    print_of = seen.get_fingerprint() if seen is not None else ""
    if place.vouched:
        raise _contradicted(place, seen, old, shown_text, name)
    if old or any(entry.marker == "ca" for entry in entries):
        wrong = "; ".join(f"{_shown(entry.key)} in {entry.where()}" for entry in old or entries)
        message = f"the host key of {place.label} has changed: it shows {shown_text}, known is {wrong}"
        path = (old or entries)[0].path
        advice = (
            f"Somebody may be intercepting the connection. If the machine was reinstalled: ssh-keygen -f {shlex.quote(str(path))} "
            f"-R {shlex.quote(name)}, then compare the new fingerprint."
        )
        known_print = ", ".join(entry.key.get_fingerprint() for entry in old or entries)
        raise HostKeyError(clean(message), clean(advice), changed=True, fingerprint=print_of, known=known_print)
    if client.seen is None:
        message = f"the host key of {place.label} cannot be verified: {clean(reason)}"
        raise HostKeyError(message, "Run ssh once to see more.", changed=False, fingerprint=print_of)
    if place.strict == "accept-new":
        operator.tell(f"the host key of {place.label} is new and was accepted, as ssh_config says: {shown_text}")
        await _remember(place, client.seen, operator)
        return
    if not operator.there or place.strict == "yes":
        message = f"the host key of {place.label} is not known here: {shown_text}"
        if place.strict == "yes":
            message += ", and ssh_config says StrictHostKeyChecking yes"
        advice = f"Open the control room or run `ssh {place.target}` once, and compare the fingerprint."
        raise HostKeyError(clean(message), clean(advice), changed=False, fingerprint=print_of)
    peer = f" at {client.peer}" if client.peer and client.peer != place.host else ""
    lines = (
        f"{place.host} port {place.port}{peer} is not known here.",
        f"It shows the {_kind(client.seen)} key {print_of}",
        f"Compare it on the machine: ssh-keygen -lf /etc/ssh/ssh_host_{_kind(client.seen).lower()}_key.pub",
        "Trust it and remember it?" if place.writable else "Trust it this time?",
    )
    text = "\n".join(clean(line) for line in lines)
    answer = await operator.answer(Question("host-key", clean(f"Is this really {place.label}?"), text))
    if answer != "yes":
        raise HostKeyError(
            clean(f"the host key of {place.label} was not accepted: {shown_text}"),
            "Nothing was sent to it.",
            changed=False,
            fingerprint=print_of,
        )
    await _remember(place, client.seen, operator)


async def _remember(place: Place, key: asyncssh.SSHKey, operator: Operator) -> None:
    """Trust the key now, and from now on if it can be written. Where it cannot, that is told, as ssh does."""
    place.accepted.append(key)
    if place.writable is None:
        return
    name = place.known_name if place.alias else place.known_name.lower()
    try:
        await asyncio.to_thread(_known_hosts.add, place.writable, _known_hosts.hashed(name) if place.hashed else name, key)
    except OSError as error:
        operator.tell(f"the host key of {place.label} is trusted this time only: {place.writable}: {error.strerror}")


def believed(place: Place, known: KnownHosts) -> list[Entry]:
    """Every line that counts for the place, revoked keys of other files too. Raises `Refused`."""
    found = [*remembered(place, known)[1], *fallback(place, known)]
    if place.revoked is not None:
        try:
            found += _known_hosts.revoked(place.revoked)
        except (OSError, ValueError) as error:
            reason = clean(str(getattr(error, "strerror", None) or error), 200)
            raise Refused(
                clean(f"RevokedHostKeys {place.revoked}, needed for {place.label}, cannot be read: {reason}"),
                "Correct it: without it no host key is trusted.",
            ) from None
    return found


def _contradicted(place: Place, seen: asyncssh.SSHKey | None, old: list[Entry], shown: str, name: str) -> HostKeyError:
    """Somebody vouches for other keys than the server shows, or than known_hosts has."""
    told = ", ".join(_shown(key) for key in place.vouched)
    print_of = seen.get_fingerprint() if seen is not None else ""
    if seen is None or seen not in place.vouched:
        message = (
            f"the host key of {place.label} is not the one that {place.vouched_by} reports: it shows {shown}, reported is {told}"
        )
        known = ", ".join(key.get_fingerprint() for key in place.vouched)
        advice = "Somebody may be intercepting the connection. Do not log in there until you know why."
        return HostKeyError(clean(message), advice, changed=True, fingerprint=print_of, known=known)
    wrong = "; ".join(f"{_shown(entry.key)} in {entry.where()}" for entry in old) or "a certificate authority"
    message = f"{place.vouched_by} and known_hosts do not agree about {place.label}: {place.vouched_by} reports {shown}, known is {wrong}"
    advice = "One of them is wrong. Compare the fingerprint on the machine itself"
    if old:
        remove = f"ssh-keygen -f {shlex.quote(str(old[0].path))} -R {shlex.quote(name)}"
        advice += f"; if known_hosts is the old one: {remove}"
    known = ", ".join(entry.key.get_fingerprint() for entry in old)
    return HostKeyError(clean(message), clean(f"{advice}."), changed=True, fingerprint=print_of, known=known)


def remembered(place: Place, known: KnownHosts) -> tuple[str, list[Entry]]:
    """The name by which known_hosts speaks of the place, and what it says; an address only if the name is not in it yet."""
    entries = known.lookup(place.known_name)
    older = known.lookup(place.formerly) if place.formerly and not entries else []
    return (place.formerly, older) if older else (place.known_name, entries)


def fallback(place: Place, known: KnownHosts) -> list[Entry]:
    """On another port OpenSSH also takes a key that the host has on port 22, but only the same key."""
    if place.alias or place.port == 22 or known.lookup(place.known_name):
        return []
    return known.lookup(place.host.lower())


def _kind(key: asyncssh.SSHKey) -> str:
    name = key.get_algorithm()
    return "ED25519" if "ed25519" in name else "ECDSA" if "ecdsa" in name else "RSA" if "rsa" in name else clean(name).upper()


def _shown(key: asyncssh.SSHKey) -> str:
    return f"{_kind(key)} {key.get_fingerprint()}"
