"""The path through the tailnet on the command line: status, its JSON, and doctor with the box's own view."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sovtui.core.events import LinkChanged, PathSeen
from sovtui.core.model import Link, LinkPhase, PathKind, TailnetPath
from sovtui.core.tailnet import Tailnet, parse
from sovtui.ports.errors import AnswerLost, Malformed, Unsupported
from sovtui.ports.link import Completed
from sovtui.runtime import box
from sovtui.runtime.hub import TailnetView
from tests.adapters.tailnet.pretend import AT, node, recorded
from tests.cli.conftest import Command
from tests.fakes.hub import NOW

RELAY = TailnetPath(PathKind.RELAY, 0.048, "fra", notes=("spark's tailnet key expires in 3 days",), source="cli", verified=True)


def status(command: Command, path: TailnetPath) -> tuple[dict[str, Any], str]:
    command.events.append(PathSeen("spark", path))
    return json.loads(command("status", "--json").out)["hosts"][0]["link"]["path"], command("status").out


def test_the_path_in_status(command: Command) -> None:
    document, text = status(command, RELAY)
    assert document == {
        "kind": "relay", "latency_seconds": 0.048, "via": "fra", "since": None, "expired": False, "verified": True,
        "reason": "", "notes": ["spark's tailnet key expires in 3 days"], "source": "cli",
    }  # fmt: skip
    assert "relay fra 48 ms, host keys verified by the tailnet" in text and "spark's tailnet key expires in 3 days" in text


def test_an_unknown_path_says_why_and_is_not_called_direct(command: Command) -> None:
    document, text = status(command, TailnetPath(reason="Tailscale is off: `tailscale up`"))
    assert (document["kind"], document["latency_seconds"], document["source"]) == ("unknown", None, None)
    assert "unknown: Tailscale is off: `tailscale up`" in text and "direct" not in text


def test_without_a_tailnet_there_is_no_path(command: Command) -> None:
    assert json.loads(command("status", "--json").out)["hosts"][0]["link"]["path"] is None
    assert "path" not in command("status").out


def test_doctor_tells_the_path_and_the_key_and_what_the_box_sees(command: Command) -> None:
    command.events.append(PathSeen("spark", RELAY))
    net = replace(seen_on_spark(), at=NOW)
    command.options["tailnet"] = TailnetView(net, "100.64.0.1")
    told = command("doctor")
    assert "ok  spark: path: relay fra 48 ms, host keys verified by the tailnet" in told.out
    assert "?   spark: tailnet key: spark's tailnet key expires in 3 days" in told.out and "--force-reauth" in told.out
    assert "ok  spark: path, from there: spark sees us as laptop.tail4c2f.example: direct (192.168.50.11:41641)" in told.out


def test_doctor_on_a_phone_learns_the_path_from_the_box(command: Command) -> None:
    nobody = TailnetPath(reason="Tailscale is not on this machine; using the address in the configuration")
    command.events.append(PathSeen("spark", nobody))
    command.options["tailnet"] = TailnetView(replace(seen_on_spark(relayed=True), at=NOW), "100.64.0.1")
    told = command("doctor")
    assert "?   spark: path: unknown: Tailscale is not on this machine" in told.out
    assert "ok  spark: path, from there: spark sees us as laptop.tail4c2f.example: relay fra" in told.out


def test_doctor_where_the_box_has_no_tailscale(command: Command) -> None:
    command.events.append(PathSeen("spark", RELAY))
    assert "?   spark: path, from there: could not be asked: there is no command `tailscale`" in command("doctor").out


def seen_on_spark(relayed: bool = False) -> Tailnet:
    """A recorded document turned round: the box asks, and the laptop is among its peers."""

    def turn(document: Any) -> None:
        laptop = node(document, "nas")
        laptop |= {"ID": "1", "HostName": "laptop", "DNSName": "laptop.tail4c2f.example.", "TailscaleIPs": ["100.64.0.1"]}
        laptop["CurAddr"] = "" if relayed else "192.168.50.11:41641"

    return parse(recorded("running", turn), AT)


class Box:
    """A link to a box where one command answers."""

    host = "spark"
    own_address = "100.64.0.9"

    def __init__(self, stdout: bytes, status: int = 0, stderr: bytes = b"", *, shell: bytes = b"", cut: bool = False) -> None:
        """`status` of the command, `shell`: what a login shell writes before and after it."""
        self.stdout, self.status, self.stderr, self.shell, self.cut = stdout, status, stderr, shell, cut

    async def run(self, argv: list[str], *, stdin: bytes = b"", timeout_seconds: float) -> Completed:
        assert argv[:2] == ["sh", "-c"] and "tailscale status --json" in argv[2]
        mark = b"\n\x1e" + argv[3].encode()
        end = b"" if self.cut else mark + b"%d\n" % self.status
        return Completed(3, self.shell + mark + b"\n" + self.stdout + end + self.shell, self.stderr)


@pytest.mark.parametrize("exit_status", [0, 1])
async def test_the_box_is_asked_in_one_command_whose_status_tells_nothing(exit_status: int) -> None:
    ours = b"100.64.0.1 50022 100.64.0.3 22\n"
    view = await box.tailnet(Box(ours + recorded("running"), exit_status), AT)  # type: ignore[arg-type]
    assert (view.net.running, view.we) == (True, "100.64.0.1")
    view = await box.tailnet(Box(b"\n" + recorded("self-expired")), AT)  # type: ignore[arg-type]
    assert (view.net.state, view.we) == ("NeedsLogin", "100.64.0.9")  # Tailscale SSH may not set SSH_CONNECTION


async def test_a_box_without_the_command_and_one_that_talks_nonsense() -> None:
    with pytest.raises(Unsupported):
        await box.tailnet(Box(b"\n", 127), AT)  # type: ignore[arg-type]
    with pytest.raises(Malformed, match="failed to connect"):
        await box.tailnet(Box(b"\n", 1, b"failed to connect to local tailscaled\n"), AT)  # type: ignore[arg-type]


async def test_what_a_login_shell_writes_is_no_part_of_it() -> None:
    noise = b'{"BackendState": "Stopped"} and no line break'
    view = await box.tailnet(Box(b"\n" + recorded("running"), shell=noise), AT)  # type: ignore[arg-type]
    assert view.net.running
    with pytest.raises(AnswerLost, match="broke off"):
        await box.tailnet(Box(b"\n" + recorded("running"), shell=noise, cut=True), AT)  # type: ignore[arg-type]


def test_what_the_link_says_already_is_not_said_again(command: Command) -> None:
    command.events += [
        LinkChanged("spark", Link(LinkPhase.DOWN, "ssh", "ops@spark", reason="spark is offline in the tailnet")),
        PathSeen("spark", TailnetPath(PathKind.OFFLINE, reason="spark is offline in the tailnet")),
    ]
    (line,) = [line for line in command("status").out.splitlines() if line.strip().startswith("path")]
    assert line.split() == ["path", "offline"]
