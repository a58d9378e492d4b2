"""What systemd makes of a start, and what sovtui says of it: Debian's own units with drop-ins, on the booted box."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from sovtui import __main__ as program
from sovtui.actions.spec import Wish
from sovtui.config.load import loads
from sovtui.core.model import Backup
from sovtui.runtime.hub import Outcome
from tests.adapters.figures.estate import Room, source
from tests.box.box import Box, wait_for
from tests.integration.hub import hub_of
from tests.integration.operator import Operator

SAVE, TRIM, EXPORTER = "dpkg-db-backup.service", "fstrim.service", "prometheus-node-exporter.service"
UNITS = "/run/systemd/system"
CONFIG = f"""
[host.testbox]
address = "testbox"
role = "management"
watch = ["{EXPORTER}", "spent.timer", "daily.timer", "limited.service", "boot.timer"]

[[host.testbox.backup]]
name = "save"
service = "{SAVE}"
max_age = "26h"

[[host.testbox.backup]]
name = "trim"
service = "{TRIM}"

[[host.testbox.backup]]
name = "alias"
service = "another-name.service"
"""
OURS = {
    "spent.timer": "[Timer]\nUnit=true.service\nOnCalendar=2001-01-01\n",
    "daily.timer": "[Timer]\nUnit=true.service\nOnCalendar=daily\n",
    "boot.timer": "[Timer]\nUnit=true.service\nOnBootSec=1s\n",
    "true.service": "[Service]\nType=oneshot\nExecStart=/bin/true\n",
    "limited.service": "[Unit]\nStartLimitIntervalSec=1h\nStartLimitBurst=2\n[Service]\nExecStart=/usr/bin/test ! -e /run/limited.fail\n"
    "Type=oneshot\nRemainAfterExit=yes\nRestart=on-failure\nRestartSec=10ms\n",
    "vanish.service": "[Service]\nExecStart=/bin/sleep infinity\n",
}


@pytest.fixture(scope="module")
def operator(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """With the rights that `doctor --sudoers` prints, and no others."""
    one = Operator.at(box, tmp_path_factory.mktemp("operator"), config=CONFIG)
    for name, text in OURS.items():
        box.write(f"{UNITS}/{name}", text)
    box.root(["ln", "-s", box.show(SAVE, "FragmentPath")["FragmentPath"], f"{UNITS}/another-name.service"])
    box.systemctl("daemon-reload")
    box.systemctl("start", "spent.timer", "daily.timer", "boot.timer")
    box.write("/etc/sudoers.d/truth-units", one.ok("doctor", "--sudoers").stdout, mode="440")
    box.root(["visudo", "-cq"])
    yield one
    box.systemctl("stop", *OURS, SAVE, check=False)
    box.remove(
        "/etc/sudoers.d/truth-units",
        "/run/tried",
        *(f"{UNITS}/{name}" for name in (*OURS, "another-name.service")),
        *(f"{UNITS}/{u}.d" for u in (SAVE, EXPORTER)),
    )
    box.systemctl("daemon-reload")
    box.systemctl("reset-failed", check=False)
    box.systemctl("start", EXPORTER)


@dataclass(frozen=True)
class Start:
    """One start of the backup, with a drop-in: what comes of it and what is said."""

    drop_in: str
    outcome: str
    words: str
    result: str = "skipped"
    """Of its last start, as the screen and `status` have it."""


NOPE = "[Unit]\nConditionPathExists=/nope\n"
STARTS = {
    "as Debian has it": Start("", "done", "ended well", "success"),
    "Condition…=": Start(NOPE, "skipped", "skipped, because of an unmet condition check (ConditionPathExists=/nope)"),
    "Condition…=|": Start(
        "[Unit]\nConditionPathExists=|/nope\nConditionHost=|nobody\n",
        "skipped",
        "skipped, because no trigger condition checks were met",
    ),
    "ExecCondition=": Start(
        "[Service]\nExecCondition=/bin/false\n", "skipped", "skipped, because its ExecCondition= was not met (/bin/false)"
    ),
    "Assert…=": Start("[Unit]\nAssertPathExists=/nope\n", "skipped", "skipped, because AssertPathExists=/nope was not met"),
    "a failure": Start("[Service]\nExecStart=\nExecStart=/bin/false\n", "failed", "failed (exit-code, status 1)", "failed"),
    "Condition…= after a failure": Start(NOPE, "skipped", "because of an unmet condition check", "failed"),
    "Restart= after a failure": Start(
        "[Service]\nRestart=on-failure\nRestartSec=100ms\n"
        "ExecStart=\nExecStart=/bin/sh -c 'test -e /run/tried || { touch /run/tried; exit 1; }'\n",
        "done",
        "ended well",
        "success",
    ),
    "stopped by somebody": Start(
        "[Service]\nType=simple\nExecStart=\nExecStart=/bin/sh -c 'systemctl stop --no-block %n; sleep 600'\n",
        "failed",
        "was stopped by somebody else before its end",
        "failed",
    ),
    "RemainAfterExit=": Start("[Service]\nRemainAfterExit=yes\n", "done", "ended well", "success"),
    "RemainAfterExit= again": Start("[Service]\nRemainAfterExit=yes\n", "skipped", "it is active already", "success"),
}


async def test_a_start_that_ended_well_is_not_a_run(operator: Operator, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit is Debian's; nothing refers to it, so systemd forgets it at its end and only the journal tells."""
    wrong: list[object] = []
    async with hub_of(operator, monkeypatch) as hub:
        await hub.settle(60, whole=True)

        async def start(what: str, name: str) -> Outcome:
            return await hub.execute(hub.plan(what, Wish("testbox", name)))

        def backup(name: str) -> Backup:
            return hub.state.hosts["testbox"].backups[name]

        last = None
        for name, wanted in STARTS.items():
            drop_in(box, SAVE, wanted.drop_in)
            told = await start("backup", "save")
            assert told.run is not None
            if (told.run.outcome, told.exit_code) != (wanted.outcome, 0 if wanted.outcome == "done" else 1):
                wrong.append((name, told))
            if wanted.words not in told.message:
                wrong.append((name, told.message))
            async with asyncio.timeout(60):  # what is shown follows
                while backup("save").last_result != wanted.result or (
                    wanted.outcome == "done" and backup("save").last_success_at == last
                ):
                    await asyncio.sleep(0.05)
            if wanted.outcome != "done" and backup("save").last_success_at != last:
                wrong.append((name, "the last good one moved", backup("save")))
            last = backup("save").last_success_at
        assert not wrong, wrong
        box.systemctl("stop", SAVE)
        drop_in(box, SAVE, "")
        named = await start("backup", "alias")
        assert named.exit_code == 0, f"its journal is kept under its own name: {named.message}"
        trimmed = await start("backup", "trim")
        assert trimmed.exit_code == 1 and "(ConditionVirtualization=!container)" in trimmed.message, "a unit as Debian has it"
        drop_in(box, EXPORTER, NOPE)
        again = await start("restart", EXPORTER)
        assert again.exit_code == 1 and "skipped, because" in again.message and "does not run now" in again.message, again
        drop_in(box, EXPORTER, "")
        box.systemctl("start", EXPORTER)


def test_what_failed_too_often_is_started_all_the_same(operator: Operator, box: Box) -> None:
    """`Restart=` gave up an hour too early; the printed rights are enough. Also said then: what no timer will start again, and why."""
    box.systemctl("stop", SAVE)
    drop_in(box, SAVE, "")
    box.systemctl("start", SAVE, TRIM)  # as their timers would: no receipt tells of it, and systemd forgets it
    box.write("/run/limited.fail", "")
    box.systemctl("start", "limited.service", check=False)
    wait_for(lambda: box.show("limited.service", "ActiveState")["ActiveState"] == "failed", 60, "it to give up")
    box.remove("/run/limited.fail")
    assert box.systemctl("start", "limited.service", check=False).returncode == 1, "systemd refuses"
    operator.ok("restart", "limited.service", "--yes")
    box.root(["python3", "-c", TWICE, box.show(EXPORTER, "MainPID")["MainPID"]])
    told = operator.ok("logs", EXPORTER, "--since", "5m", "--lines", "500").stdout
    status = operator.json("status")
    issues = {issue["title"] for issue in status["issues"]}
    assert "spent.timer will not fire again" in issues
    assert not [title for title in issues if title.startswith(("daily", "boot", "limited"))], issues
    assert "backup trim was skipped" in issues
    save = next(one for one in status["hosts"][0]["backups"] if one["name"] == "save")
    assert save["last_success_at"] is not None and save["late"] is False
    assert "first of two" in told and "second of two" in told, told[-800:]


TWICE = """
import socket, sys
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.connect('/run/systemd/journal/socket')
journal.send(b'MESSAGE=first of two\\nMESSAGE=second of two\\nPRIORITY=6\\nOBJECT_PID=' + sys.argv[1].encode() + b'\\n')
"""


def drop_in(box: Box, unit: str, text: str) -> None:
    """The only one of that unit; it begins anew, without any record, as it would after a boot."""
    path = f"{UNITS}/{unit}.d/truth.conf"
    box.write(path, text)
    box.systemctl("daemon-reload")


async def test_no_record_is_not_never(operator: Operator, box: Box, tmp_path: Path) -> None:
    """systemd has forgotten the run of the backup; who may read neither its journal nor our receipts is told just that."""
    box.systemctl("stop", SAVE)
    drop_in(box, SAVE, "")
    box.systemctl("start", SAVE)
    kept = box.show(SAVE, "InvocationID", "ExecMainStartTimestamp")
    assert not any(kept.values()), "systemd keeps no record"
    journal = (await asyncio.to_thread(operator.host))["backups"][0]
    assert (journal["source"], journal["last_result"]) == ("journal", "success") and journal["last_success_at"]
    viewer = await asyncio.to_thread(
        lambda: Operator.at(box, tmp_path, user="viewer", config=CONFIG.replace('"testbox"', '"viewer@testbox"', 1))
    )
    dumb = (await asyncio.to_thread(viewer.host))["backups"][0]
    assert dumb["last_success_at"] is None and dumb["last_result"] is None
    assert dumb["reason"].startswith("systemd keeps no record of its runs, and viewer may not read the journal"), dumb


async def test_a_unit_that_vanished_from_the_exporter(operator: Operator, box: Box) -> None:
    """Where Prometheus is the only witness, on the box's own: the questions are ours, the answers the real ones."""
    made = loads(
        '[host.far]\nrole = "box"\nwatch = ["vanish.service", "ssh.service"]\n[prometheus]\nurl = "http://127.0.0.1:9090"\n',
        engines=program._engines(),
    )
    room = Room(made)

    def forward(request: httpx.Request) -> httpx.Response:
        words = ["curl", "-s", "-m", "20", "--data-binary", "@-", f"http://127.0.0.1:9090{request.url.raw_path.decode()}"]
        done = box.root(words if request.method == "POST" else [*words[:4], words[-1]], input=request.content.decode())
        return httpx.Response(200, json=json.loads(done.stdout))

    prometheus = source(made, forward)

    async def word() -> tuple[str, str]:
        await prometheus.poll(room.state, room.put)
        service = room.state.hosts["far"].services["vanish.service"]
        return service.active, service.sub

    async def until(wanted: tuple[str, str]) -> None:
        async with asyncio.timeout(60):
            while await word() != wanted:
                await asyncio.sleep(0.5)

    box.systemctl("start", "vanish.service")
    await until(("active", ""))
    box.systemctl("stop", "vanish.service")
    await until(("inactive", "not loaded"))
    assert room.state.hosts["far"].services["ssh.service"].active == "active"
