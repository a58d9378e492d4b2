"""Recorded documents of a tailnet's daemon, and what they say: who is there, how packets go, what a user is told."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sovtui.core import path_words, tailnet, tailnet_words
from sovtui.core.clean import clean
from sovtui.core.model import PathKind, TailnetPath
from sovtui.core.tailnet import NoSuchPeer, Peer, Tailnet
from sovtui.core.tailnet_words import Knock

DATA = Path(__file__).parents[1] / "data" / "tailscale"
AT = datetime(2026, 11, 20, 14, 8, tzinfo=UTC)
GOOD = sorted(p.name for p in DATA.glob("status.*.json") if "truncated" not in p.name)


def status(name: str) -> Tailnet:
    return tailnet.parse((DATA / f"status.{name}.json").read_text(), AT)


def changed(name: str, change: Callable[[Any], None]) -> Tailnet:
    document = json.loads((DATA / f"status.{name}.json").read_text())
    change(document)
    return tailnet.parse(json.dumps(document), AT)


def node(document: Any, host: str) -> Any:
    return next(p for p in document["Peer"].values() if p["HostName"] == host)


def shown(net: Tailnet, name: str) -> str:
    return path_words.path(tailnet_words.judge(net, tailnet.find(net, name), name, AT), AT)


@pytest.mark.parametrize(
    ("name", "state", "peers", "told"),
    [
        ("running-mixed", "Running", 4, ""),
        ("running", "Running", 4, ""),
        ("active-only", "Running", 3, ""),
        ("no-peers", "Running", 0, ""),
        ("peer-offline-idle", "Running", 4, ""),
        ("peer-expired", "Running", 4, ""),
        ("control-plane-down", "Running", 4, ""),
        ("newer-client", "Running", 4, ""),
        ("hostile", "Running", 4, ""),
        ("malformed-types", "Running", 0, ""),
        ("stopped", "Stopped", 4, "Tailscale is off: `tailscale up`"),
        ("self-expired", "NeedsLogin", 4, "this machine's tailnet key expired on 2026-11-20: log in with `tailscale up`"),
        ("needs-login", "NeedsLogin", 0, "Tailscale is not logged in: log in with `tailscale up`"),
        (
            "needs-login-authurl",
            "NeedsLogin",
            0,
            "Tailscale is not logged in: log in at http://192.168.50.1:8080/register/se5bszf-ZTnku_1e24paEEXm",
        ),
        ("needs-machine-auth", "NeedsMachineAuth", 0, "this machine waits for approval by the tailnet's admin"),
        (
            "no-state",
            "NoState",
            0,
            "Tailscale is starting, or its control plane cannot be reached: You are logged out. The last login error was: "
            'fetch control key: Get "http://192.168.50.1:8080/key?v=115": dial tcp 192.168.50.1:8080: connect: connection refused',
        ),
        ("starting", "Starting", 0, "Tailscale is starting"),
    ],
)
def test_every_recorded_state_and_what_is_told_of_it(name: str, state: str, peers: int, told: str) -> None:
    net = status(name)
    assert (net.state, len(net.peers), tailnet_words.about_state(net)) == (state, peers, told)
    assert net.running is (state == "Running")


def test_every_capture_is_in_the_table_above() -> None:
    assert len(GOOD) == 17


@pytest.mark.parametrize(
    ("capture", "paths"),
    [
        ("running-mixed", {"spark": "direct", "gpu": "relay fra", "nas": "offline 33 s", "phone": "key expired"}),
        ("running", {"spark": "direct", "nas": "direct", "gpu": "relay fra", "phone": "idle"}),
        ("active-only", {"spark": "direct", "nas": "direct", "gpu": "relay fra"}),
        ("newer-client", {"spark": "direct", "nas": "direct", "gpu": "peer relay", "phone": "idle"}),
        ("control-plane-down", dict.fromkeys(("spark", "nas", "gpu", "phone"), "unknown")),
        ("peer-expired", {"spark": "key expired"}),
        ("stopped", dict.fromkeys(("spark", "nas", "gpu", "phone"), "unknown")),
        ("self-expired", dict.fromkeys(("laptop", "nas", "gpu", "phone"), "unknown")),
        ("hostile", {"gpu": "relay fra", "spark": "direct"}),
    ],
)
def test_the_path_of_each_peer(capture: str, paths: dict[str, str]) -> None:
    net = status(capture)
    assert {name: shown(net, name) for name in paths} == paths


def test_an_idle_offline_peer_tells_since_when() -> None:
    net = status("peer-offline-idle")
    judged = tailnet_words.judge(net, tailnet.find(net, "nas"), "nas", AT)
    assert judged.kind is PathKind.OFFLINE and judged.since is not None
    late = judged.since + timedelta(hours=3, minutes=50)
    assert path_words.path(judged, late) == "offline 3 h"
    told = tailnet_words.about_peer(net, tailnet.find(net, "nas"), "nas", late)
    assert told.startswith("nas is offline in the tailnet since 2026-11-20 ") and told.endswith("3 h 50 min ago")


def test_a_direct_path_is_known_although_the_control_plane_is_lost() -> None:
    def direct(document: Any) -> None:
        node(document, "spark")["CurAddr"] = "192.168.50.20:41641"

    net = changed("control-plane-down", direct)
    judged = tailnet_words.judge(net, tailnet.find(net, "spark"), "spark", AT)
    assert judged.kind is PathKind.DIRECT
    assert judged.reason == "Tailscale's control plane cannot be reached from here: who is online is not known"


@pytest.mark.parametrize("wrong", [None, 7, "yes", [], {}])
@pytest.mark.parametrize("field", ["Online", "Active", "CurAddr", "Expired"])
def test_a_wrong_type_never_makes_a_path_direct_and_leaves_the_other_fields(field: str, wrong: object) -> None:
    if field == "CurAddr" and isinstance(wrong, str):
        return

    def break_it(document: Any) -> None:
        spark = node(document, "phone")  # idle
        spark[field] = wrong

    net = changed("running", break_it)
    phone = tailnet.find(net, "phone")
    assert tailnet.path_of(net, phone).kind in (PathKind.IDLE, PathKind.UNKNOWN)
    assert phone.addresses == ("100.64.0.2", "fd7a:115c:a1e0::2")


def test_wrong_types_everywhere_are_unknown_for_that_field_only() -> None:
    net = status("malformed-types")
    assert (net.running, net.suffix, net.tun) == (True, "tail4c2f.example", True)
    assert (net.me, net.peers, net.peers_told, net.health) == (None, (), False, ())


@pytest.mark.parametrize("key", sorted(json.loads((DATA / "status.running.json").read_text())))
def test_any_field_at_the_top_may_be_null(key: str) -> None:
    if key == "BackendState":
        assert (
            tailnet_words.about_state(changed("running", lambda d: d.update({key: None})))
            == "Tailscale does not report its state"
        )
    else:
        assert changed("running", lambda d: d.update({key: None})).running


@pytest.mark.parametrize(
    "raw", [(DATA / "status.malformed-html.txt").read_text(), (DATA / "status.malformed-truncated.json").read_text()]
)
def test_what_is_no_document_is_told_as_such(raw: str) -> None:
    with pytest.raises(ValueError, match="it is no JSON"):
        tailnet.parse(raw, AT)


@pytest.mark.parametrize("raw", ["[" * 100_000, "[]", "null", "{}", b"\xff\xfe", ""])
def test_other_documents_raise_nothing_but_a_value_error(raw: str | bytes) -> None:
    with pytest.raises(ValueError, match="it is"):
        tailnet.parse(raw, AT)


@pytest.mark.parametrize(
    "wanted",
    [
        "spark",
        "SPARK",
        "spark.tail4c2f.example",
        "Spark.tail4c2f.example.",
        "100.64.0.3",
        "fd7a:115c:a1e0::3",
        "FD7A:115C:A1E0:0::3",
    ],
)
def test_all_ways_to_name_a_peer(wanted: str) -> None:
    net = status("running")
    assert tailnet.find(net, wanted).id == "3"


def test_a_stable_id_names_a_peer() -> None:
    assert tailnet.find(status("newer-client"), "n1003CNTRL").base_name == "gpu"
    assert tailnet.find(status("running"), "3").base_name == "spark"


def test_what_a_device_calls_itself_is_never_compared() -> None:
    net = changed("running", lambda d: node(d, "nas").update(HostName="vault"))
    with pytest.raises(NoSuchPeer):
        tailnet.find(net, "vault")
    impostor = changed("running", lambda d: node(d, "nas").update(HostName="spark"))
    assert tailnet.find(impostor, "spark").id == "3"


def test_several_matches_are_listed() -> None:
    net = changed("running", lambda d: node(d, "nas").update(DNSName="spark.other.example."))
    with pytest.raises(NoSuchPeer) as caught:
        tailnet.find(net, "spark")
    told = tailnet_words.about_missing(net, caught.value)
    assert "spark.tail4c2f.example (100.64.0.3)" in told and "spark.other.example (100.64.0.5)" in told
    assert tailnet.find(net, "spark.other.example").id == "5"


def test_a_missing_name_tells_the_nearest() -> None:
    net = status("running")
    with pytest.raises(NoSuchPeer) as caught:
        tailnet.find(net, "spork")
    assert tailnet_words.about_missing(net, caught.value) == (
        "spork is not in tailnet tail4c2f.example (nearest names: spark), or its policy hides it"
    )
    with pytest.raises(NoSuchPeer):
        tailnet.find(net, "")


def test_this_machine_is_found_and_its_path_is_not_direct() -> None:
    net = status("running")
    judged = tailnet_words.judge(net, tailnet.find(net, "laptop"), "laptop", AT)
    assert (judged.kind, judged.reason) == (PathKind.UNKNOWN, "laptop is this machine")


def test_host_keys_are_taken_only_if_each_is_one_key() -> None:
    spark = tailnet.find(status("running"), "spark")
    assert [key.split()[0] for key in spark.ssh_host_keys] == ["ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"]
    bad = tailnet.find(status("hostile"), "100.64.0.5")
    assert (bad.ssh_host_keys, bad.rejected_host_keys) == ((), 2)
    good = spark.ssh_host_keys[2]
    for wrong in (
        f"{good}\n",
        f"{good} a",
        good.replace("ssh-ed25519", "ssh-rsa"),
        f"{good}\nspark {good}",
        good[:40],
        f" {good}",
    ):

        def put(document: Any, wrong: str = wrong) -> None:
            node(document, "spark")["sshHostKeys"] = [wrong]

        assert tailnet.find(changed("running", put), "spark").ssh_host_keys == ()


def test_hostile_text_is_inert_wherever_it_is_shown() -> None:
    net = status("hostile")
    shown: list[str] = [*net.health]
    for peer in net.peers:
        shown += [peer.called, peer.host_name, peer.os, tailnet_words.about_peer(net, peer, peer.called, AT)]
    assert all(line == clean(line) and len(line) <= 400 for line in shown)
    assert net.health == ("line one line two red", "[bold]markup[/]")
    with pytest.raises(NoSuchPeer) as caught:
        tailnet.find(net, "a\x1b[2J\nb")
    told = tailnet_words.about_missing(net, caught.value)
    assert told == clean(told) and len(told) < 400


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "http://",
        "https://x/\x1b]8;;evil\x07",
        "file:///etc/passwd",
        7,
        None,
        "https://" + "a" * 2000 + "/",
    ],
)
def test_only_a_plain_url_is_shown(url: object) -> None:
    found = tailnet.url_in(url)
    assert found in ("", "https://x/") and found == clean(found)


@pytest.mark.parametrize(
    ("days", "told"),
    [(14.1, ()), (13.5, ("gpu's tailnet key expires in 13 days",)), (1.2, ("gpu's tailnet key expires in 1 day",))],
)
def test_a_key_that_expires_within_a_fortnight_is_told(days: float, told: tuple[str, ...]) -> None:
    net = status("running-mixed")
    gpu = tailnet.find(net, "gpu")
    assert gpu.key_expires_at == datetime(2026, 11, 23, 18, tzinfo=UTC)
    assert tailnet_words.about_keys(net, gpu, "gpu", gpu.key_expires_at - timedelta(days=days)) == told
    assert tailnet_words.about_keys(net, gpu, "gpu", AT) == ("gpu's tailnet key expires in 3 days",)


def test_the_own_key_is_told_too() -> None:
    net = changed("running", lambda d: d["Self"].update(KeyExpiry="2026-11-20T20:08:00Z"))
    assert tailnet_words.about_keys(net, None, "spark", AT) == ("this machine's tailnet key expires in 6 h",)


def test_an_expired_key_is_told_with_what_to_do_on_the_box() -> None:
    net = status("peer-expired")
    told = tailnet_words.about_peer(net, tailnet.find(net, "spark"), "spark", AT)
    assert (
        told
        == "spark's tailnet key expired on 2026-11-20; renew it on the box: `tailscale up --force-reauth` (not over this link)"
    )


@pytest.mark.parametrize(
    ("capture", "wanted", "answered", "knock", "told"),
    [
        ("running", "spark", True, Knock.TIMED_OUT, "spark is up; tailnet policy or its firewall blocks port 22"),
        ("running", "spark", True, Knock.REFUSED, "spark is up; no SSH server on port 22"),
        ("running", "spark", None, Knock.REFUSED, "spark is up; no SSH server on port 22"),
        ("running", "spark", None, Knock.TIMED_OUT, ""),
        ("running", "spark", False, Knock.TIMED_OUT, "spark is online in the tailnet, but does not answer there"),
        ("stopped", "spark", None, Knock.TIMED_OUT, "Tailscale is off: `tailscale up`"),
        ("running", "nope", None, None, "spark is not in tailnet"),
    ],
)
def test_why_a_link_is_down(capture: str, wanted: str, answered: bool | None, knock: Knock | None, told: str) -> None:
    why = tailnet_words.why_down(status(capture), wanted, "spark", AT, answered=answered, knock=knock, port=22)
    assert why == told if wanted == "spark" else why.startswith("nope is not in tailnet tail4c2f.example")


def test_packets_that_go_out_only() -> None:
    before = Peer(id="1", tx_bytes=100, rx_bytes=50, last_handshake=AT - timedelta(minutes=4))
    after = Peer(id="1", tx_bytes=300, rx_bytes=50, last_handshake=AT - timedelta(minutes=4))
    assert tailnet.one_way(before, after, AT)
    assert not tailnet.one_way(before, before, AT)
    assert not tailnet.one_way(before, Peer(id="1", tx_bytes=300, rx_bytes=None), AT)
    assert not tailnet.one_way(before, Peer(id="1", tx_bytes=300, rx_bytes=60, last_handshake=AT), AT)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({key for p in json.loads((DATA / "status.running-mixed.json").read_text())["Peer"].values() for key in p})


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK), st.dictionaries(st.sampled_from(["Self", "Health", "Peer", "TUN"]), JUNK))
@settings(max_examples=150, deadline=None)
def test_whatever_a_field_holds_the_others_are_read_and_nothing_is_direct_by_itself(peer: Any, top: Any) -> None:
    def change(document: Any) -> None:
        node(document, "phone").update(peer)
        document.update(top)

    net = changed("running", change)
    for one in (*net.peers, *([net.me] if net.me else [])):
        path = tailnet_words.judge(net, one, "phone", AT)
        told = [one.called, one.host_name, path.reason, path_words.path(path, AT), *path.notes]
        assert all(line == clean(line) for line in told)
        assert path.kind is not PathKind.DIRECT or one.cur_addr
        assert path.kind is not PathKind.RELAY or (one.active and one.relay)


LOCALAPI = [e for e in json.loads((DATA / "localapi.json").read_text()) if e["request"].startswith("POST /localapi/v0/ping")]


@pytest.mark.parametrize("entry", LOCALAPI, ids=lambda e: str(e["request"][-30:] + e["state"]))
def test_recorded_pings_of_localapi(entry: dict[str, Any]) -> None:
    pong = tailnet.read_pong(json.dumps(entry["body"]))
    kinds = {"direct": PathKind.DIRECT, "relayed": PathKind.RELAY, "peer relay": PathKind.PEER_RELAY}
    assert pong.kind is kinds.get(entry["state"], PathKind.UNKNOWN)
    assert pong.error == entry["body"]["Err"]
    assert pong.latency_seconds == (entry["body"]["LatencySeconds"] or None)


CLI = [e for e in json.loads((DATA / "cli.json").read_text()) if e["command"].startswith("tailscale ping")]


@pytest.mark.parametrize("entry", CLI, ids=lambda e: str(e["command"][15:] + e["state"]))
def test_recorded_pings_of_the_command_line(entry: dict[str, Any]) -> None:
    pong = tailnet.read_pong_lines(entry["stdout"], entry["stderr"])
    if "pong from" not in entry["stdout"]:
        assert not pong.answered and pong.error
    elif "DERP(fra)" in entry["stdout"].splitlines()[-1]:
        assert (pong.kind, pong.via, pong.latency_seconds) == (PathKind.RELAY, "fra", 0.001)
    elif "peer-relay" in entry["stdout"]:
        assert (pong.kind, pong.via) == (PathKind.PEER_RELAY, "203.0.113.7:40000:vni:12")
    elif "TSMP" in entry["stdout"] or "ICMP" in entry["stdout"]:
        assert pong.answered and pong.kind is PathKind.UNKNOWN
    else:
        assert pong.kind is PathKind.DIRECT


@pytest.mark.parametrize(
    ("took", "seconds"), [("0s", 0.0), ("2ms", 0.002), ("1.204s", 1.204), ("1m2.5s", 62.5), ("350µs", 0.00035), ("soon", None)]
)
def test_durations_of_go(took: str, seconds: float | None) -> None:
    got = tailnet.read_pong_lines(f"pong from spark (100.64.0.3) via 192.168.50.20:41641 in {took}\n").latency_seconds
    assert got == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (TailnetPath(PathKind.DIRECT, 0.002), "direct 2 ms"),
        (TailnetPath(PathKind.DIRECT, 0.0), "direct <1 ms"),
        (TailnetPath(PathKind.DIRECT, 0.00036), "direct 0.4 ms"),
        (TailnetPath(PathKind.RELAY, 0.048, "fra"), "relay fra 48 ms"),
        (TailnetPath(PathKind.RELAY, 1.204, "fra"), "relay fra 1.2 s"),
        (TailnetPath(PathKind.PEER_RELAY, None, "203.0.113.7:40000:vni:12"), "peer relay"),
        (TailnetPath(PathKind.OFFLINE), "offline"),
        (TailnetPath(), "unknown"),
    ],
)
def test_a_path_in_few_words(value: TailnetPath, told: str) -> None:
    assert path_words.path(value, AT) == told


SSH = json.loads((DATA / "ssh.json").read_text())


@pytest.mark.parametrize("entry", [e for e in SSH if e["banner"]], ids=lambda e: str(e["case"]))
def test_recorded_banners(entry: dict[str, Any]) -> None:
    banner = tailnet_words.read_banner(entry["banner"])
    if entry["case"].startswith("check mode,"):
        assert banner.url in entry["banner"] and banner.url.startswith("https://") and not banner.refusal
        assert banner.url.rpartition("/")[2] in ("c2e8ee2fe1cf", "abc123")
    else:
        assert banner.refusal and not banner.url


@pytest.mark.parametrize("greeting", ["Welcome! See https://intra.example/rules\n", "", "\x1b[2J", "policy"])
def test_a_greeting_is_neither_a_refusal_nor_a_check(greeting: str) -> None:
    assert tailnet_words.read_banner(greeting) == tailnet_words.Banner()


def test_nodes_are_read_one_at_a_time_however_many_are_told() -> None:
    told = (
        '{"BackendState":"Running","Peer":{' + ",".join(f'"k{n}":{{"RxBytes":{n},"Online":true}}' for n in range(30_000)) + "}}"
    )
    tracemalloc.start()
    try:
        net = tailnet.parse(told, AT)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(net.peers) == tailnet.MAX_PEERS and net.peers_told
    assert peak < held + 2 * len(told), f"{peak >> 10} KiB at once for {len(told) >> 10} KiB, {held >> 10} KiB of it are kept"
