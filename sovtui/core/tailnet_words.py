"""What a user is told of the tailnet: one sentence for each thing that can be seen. Pure; names are clean already."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sovtui.core import path_words, text
from sovtui.core.clean import clean
from sovtui.core.model import PathKind, TailnetPath
from sovtui.core.tailnet import NoSuchPeer, Peer, Tailnet, control_lost, expires_within, find, path_of, url_in

NOT_HERE = "Tailscale is not on this machine; using the address in the configuration"
NOT_RUNNING = "Tailscale is not running here: start it (`sudo systemctl start tailscaled`, or open the app)"
EXPIRES_SOON = timedelta(days=14)
SSH_PORT = 22


class Knock(StrEnum):
    """How a TCP connection to the host ended."""

    TIMED_OUT = "timed-out"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Banner:
    """What a Tailscale SSH server said before it let somebody in, or did not."""

    url: str = ""
    """Where the login is approved, if it waits for that: authentication is held until it was visited."""
    refusal: str = ""
    """Why it is refused, if it is."""


def not_believed(why: str) -> str:
    """`why`: what was found, and why it is not asked."""
    return f"Tailscale is not asked here: {why}; using the address in the configuration"


def about_state(net: Tailnet) -> str:
    """Why the tailnet cannot be used from this machine; empty while it can."""
    match net.state:
        case "Running":
            return ""
        case "Stopped":
            return "Tailscale is off: `tailscale up`"
        case "NeedsLogin":
            do = f"log in at {net.auth_url}" if net.auth_url else "log in with `tailscale up`"
            if net.me is not None and net.me.expired:
                when = f" on {_day(net.me.key_expires_at)}" if net.me.key_expires_at else ""
                return f"this machine's tailnet key expired{when}: {do}"
            return f"Tailscale is not logged in: {do}"
        case "NeedsMachineAuth":
            return "this machine waits for approval by the tailnet's admin"
        case "NoState":
            if net.health:
                return f"Tailscale is starting, or its control plane cannot be reached: {net.health[-1]}"
            return "Tailscale is starting, or its control plane cannot be reached"
        case "Starting":
            return "Tailscale is starting"
        case "InUseOtherUser":
            return "Tailscale is used by another user of this machine"
        case "":
            return "Tailscale does not report its state"
        case other:
            return f"Tailscale is in the state {other}"


def about_missing(net: Tailnet, error: NoSuchPeer) -> str:
    """Why a name finds no host."""
    if error.several:
        several = sorted(error.several, key=lambda peer: peer.called)[:8]
        names = ", ".join(
            f"{path_words.short(peer.called)} ({peer.addresses[0] if peer.addresses else peer.id})" for peer in several
        )
        return f"{path_words.short(error.wanted)} means several nodes of the tailnet: {names}. Write the whole name in `tailnet`"
    where = f"tailnet {net.suffix}" if net.suffix else "the tailnet"
    near = f" (nearest names: {', '.join(map(path_words.short, error.nearest))})" if error.nearest else ""
    return f"{path_words.short(error.wanted)} is not in {where}{near}, or its policy hides it"


def about_peer(net: Tailnet, peer: Peer, name: str, now: datetime) -> str:
    """What is wrong with the way to the host that the user calls `name`; empty where nothing is known to be."""
    if state := about_state(net):
        return state
    if peer.expired:
        when = f" on {_day(peer.key_expires_at)}" if peer.key_expires_at else ""
        return f"{name}'s tailnet key expired{when}; renew it on the box: `tailscale up --force-reauth` (not over this link)"
    if control_lost(net):
        return "Tailscale's control plane cannot be reached from here: who is online is not known"
    if peer.online is False:
        if peer.last_seen is None:
            return f"{name} is offline in the tailnet"
        ago = text.duration((now - peer.last_seen).total_seconds())
        return f"{name} is offline in the tailnet since {text.moment(peer.last_seen)}, {ago} ago"
    return ""


def about_knock(name: str, knock: Knock, port: int = SSH_PORT) -> str:
    """Why ssh does not get in although a ping through the tailnet is answered."""
    if knock is Knock.REFUSED:
        return f"{name} is up; no SSH server on port {port}"
    return f"{name} is up; tailnet policy or its firewall blocks port {port}"


def about_keys(net: Tailnet, peer: Peer | None, name: str, now: datetime) -> tuple[str, ...]:
    """Keys that expire within 14 days, the host's and this machine's."""
    if not net.running:
        return ()
    said = []
    for whose, node in ((f"{name}'s", peer), ("this machine's", net.me)):
        left = expires_within(node, now, EXPIRES_SOON)
        if left is not None and left > timedelta(0) and not (node is not None and node.expired):
            days = left.days
            when = f"in {days} day{'' if days == 1 else 's'}" if days else f"in {text.duration(left.total_seconds())}"
            said.append(f"{whose} tailnet key expires {when}")
    return tuple(said)


def why_down(
    net: Tailnet, wanted: str, name: str, now: datetime, *, answered: bool | None, knock: Knock | None, port: int
) -> str:
    """The one sentence for a link that does not come up; empty where the tailnet has nothing to say to it.

    `answered`: whether a ping was (None: not asked); `knock`: how the TCP connection ended, if one was tried.
    """
    if state := about_state(net):
        return state
    try:
        peer = find(net, wanted)
    except NoSuchPeer as error:
        return about_missing(net, error)
    if answered and knock is not None:
        return about_knock(name, knock, port)
    if knock is Knock.REFUSED:
        return about_knock(name, knock, port)  # somebody said no: it is up
    said = about_peer(net, peer, name, now)
    if not said and answered is False and peer.online:
        return f"{name} is online in the tailnet, but does not answer there"
    return said


def judge(net: Tailnet, peer: Peer, name: str, now: datetime) -> TailnetPath:
    """The path of the link with all there is to say of it."""
    path = path_of(net, peer)
    mine = net.me is not None and peer is net.me
    reason = f"{name} is this machine" if mine else about_peer(net, peer, name, now)
    return TailnetPath(
        PathKind.UNKNOWN if mine else path.kind,
        via=path.via,
        since=path.since,
        reason=reason,
        expired=path.expired,
        notes=about_keys(net, None if mine else peer, name, now),
        at=net.at,
    )


def seen_from_box(net: Tailnet, we: str, name: str, now: datetime) -> str:
    """How the box `name` sees the way to us, who are at the address `we`; a phone cannot ask anybody else."""
    if state := about_state(net):
        return f"on {name}: {state}"
    if not we:
        return f"{name} does not report where we come from"
    try:
        peer = find(net, we)
    except NoSuchPeer:
        return f"{name} sees us at {we}, which is none of the tailnet's addresses that it sends to"
    seen = path_of(net, peer)
    via = f" ({seen.via})" if seen.via and seen.kind is not PathKind.RELAY else ""
    return f"{name} sees us as {path_words.short(peer.called)}: {path_words.path(seen, now)}{via}"


def read_banner(said: str) -> Banner:
    """What a banner of Tailscale SSH (or Headscale's) means; empty fields where it is only a greeting."""
    lines = [str(clean(line, 300)).strip() for line in said[:8192].splitlines()[:40]]
    url = url_in("\n".join(lines))
    if url and re.search(r"additional check|to authenticate, visit", said, re.IGNORECASE):
        return Banner(url=url)
    for line in lines:
        plain = line.removeprefix("tailscale:").strip()
        if "policy does not permit" in plain:
            return Banner(refusal=plain)
        if "failed to evaluate SSH policy" in plain:
            return Banner(refusal="the tailnet's SSH policy does not let this user in, or could not be evaluated")
        if "failed to look up local user" in plain:
            return Banner(refusal=f"{plain}: there is no such user on the box")
        if "check mode unavailable" in plain:
            return Banner(refusal=plain)
    return Banner()


def _day(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d") if at is not None else "?"
