"""A fake tailnet daemon behind its socket."""

from __future__ import annotations

import json
from typing import Any

from tests.hostile.case import DEEP, LONG_NUMBER, NASTY, Case, body, doc, drip, endless, head, listed, raw
from tests.hostile.world import DATA

AT, STATUS = "tailnet", "/localapi/v0/status"
REAL = json.loads((DATA / "tailscale" / "status.running.json").read_text())


def case(name: str, give: Any, words: str = "", **more: Any) -> Case:
    return Case(name, AT, give, STATUS, words, seconds=more.pop("seconds", 13.0), **more)


def changed(**more: Any) -> Any:
    return doc({**REAL, **more})


def peer(**more: Any) -> Any:
    """A node that is told wrongly beside the real ones."""
    return changed(Peer={**REAL["Peer"], "nodekey:x": {**next(iter(REAL["Peer"].values())), **more}})


CASES = [
    case(
        "twenty thousand nodes",
        body(listed(20_000, lambda n: f'"k{n}":{{"HostName":"h{n}"}}', '{"BackendState":"Running","Peer":{', "}}")),
    ),
    case(
        "a hundred thousand nodes",
        body(
            listed(
                100_000, lambda n: f'"k{n}":{{"HostName":"h{n}","DNSName":"h{n}.x."}}', '{"BackendState":"Running","Peer":{', "}}"
            )
        ),
    ),
    case("an endless reply", endless(b" ", b"{")),
    case("an endless reply in chunks of a byte", endless(b" ", b"{", chunked=True)),
    case("interim answers without end", lambda: (b"HTTP/1.1 100 Continue\r\n\r\n" * 500 for _ in iter(int, 1)), quick=True),
    case("a byte now and then", drip(head() + b"{}" * 100, 0.3)),
    case("nothing at all", raw(60.0)),
    case("nested a hundred thousand times", body(b"[" * DEEP)),
    case("a list", body(b"[]")),
    case("nothing in it", body(b"")),
    case("random bytes", raw(bytes(range(256)) * 100)),
    case("a number of 4,000 digits", body(f'{{"BackendState":"Running","Peer":{{"a":{{"RxBytes":{LONG_NUMBER}}}}}}}')),
    case("a state of nasty bytes", changed(BackendState=NASTY)),
    case("a state that is a list", changed(BackendState=[[]])),
    case("nodes that are a list", changed(Peer=[1, 2])),
    case("a node that is null", changed(Peer={"a": None, "b": 5, "c": [], **REAL["Peer"]})),
    case("a node of nasty bytes", peer(HostName=NASTY, DNSName=NASTY, OS=NASTY, Relay=NASTY, CurAddr=NASTY)),
    case("a time before all calendars", peer(LastSeen="0001-01-01T00:00:00+23:59", KeyExpiry="9999-12-31T23:59:59-23:59")),
    case("times that are numbers", peer(LastSeen=1, LastHandshake=[], KeyExpiry={})),
    case("addresses that are none", peer(TailscaleIPs=["x", "999.1.1.1", "::%eth0", 5, None])),
    case("ten thousand addresses", peer(TailscaleIPs=["100.64.0.1"] * 10_000)),
    case("host keys that are none", peer(sshHostKeys=["ssh-ed25519 AAAA", NASTY, 5, "x" * 100_000])),
    case("complaints of nasty bytes", changed(Health=[NASTY] * 1000)),
    case("an address to log in of nasty bytes", changed(BackendState="NeedsLogin", AuthURL="https://x/\x1b]0;owned\x07" + NASTY)),
    case("status 500", body(NASTY.encode("utf-8", "replace") * 100, 500)),
    case("status 403", body(b"no", 403)),
]
