"""What a job takes along on the booted box: told before as systemd then does it, never the floor, brought back with its mode."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import box as onbox
from sovtui.onbox import jobs
from sovtui.onbox.things import Need
from tests.box.box import Box, BoxError, wait_for
from tests.integration.operator import Operator, busy, empty, loaded, ready

SLEEPS = "[Service]\nExecStart=/bin/sleep infinity\n"
UNITS = {
    "t-eng": "PropagatesStopTo=t-told.service\nWants=t-wanted.service\nRequires=t-store.service\nUpholds=t-upheld.service",
    "t-needs": "Requires=t-eng.service",
    "t-bound": "BindsTo=t-eng.service\nAfter=t-eng.service",
    "t-part": "PartOf=t-eng.service",
    "t-told": "",
    "t-wanted": "",
    "t-upheld": "",
    "t-store": "StopWhenUnneeded=yes",
    "t-rival": "Conflicts=t-eng.service",
    "t-second": "PartOf=t-needs.service",
    "t-middle": "Requires=t-eng.service",
    "t-through": "Requires=t-middle.service",
    "t-must\\x2dhave": "Requisite=t-eng.service\nAfter=t-eng.service",
    "t-beside": "",
}
JOBS = [
    ("stop", "t-eng"), ("restart", "t-eng"), ("start", "t-rival"), ("stop", "t-needs"), ("restart", "t-needs"), ("restart", "t-store"), ("stop", "t-store"), ("stop", "t-beside"),
]  # fmt: skip
ALL = [f"{name}.service" for name in UNITS]


class Manager:
    """One of the box's two managers."""

    def __init__(self, box: Box, kind: str) -> None:
        self.box, self.kind = box, kind
        self.folder = "/run/systemd/system" if kind == "system" else "/run/systemd/user"

    def run(self, *words: str) -> Any:
        return self.box.root(["systemctl", *(["--user", "-M", "ops@"] if self.kind == "user" else []), *words], check=False)

    def command(self, argv: Any, timeout: float | None = 20.0, stdin: bytes = b"") -> tuple[int, str, str]:
        """What the on-box part runs, run in the box."""
        done = self.run(*(word for word in argv[1:] if word != "--user"))
        return done.returncode, done.stdout, done.stderr

    def life(self) -> dict[str, tuple[str, str]]:
        """State and run of every unit."""
        out = self.run("show", "-p", "Id,ActiveState,InvocationID", *ALL).stdout
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
        return {b["Id"]: (b["ActiveState"], b["InvocationID"]) for b in blocks}

    def changed(self, before: dict[str, tuple[str, str]], but: str) -> set[tuple[str, str]]:
        """Of what ran: what has stopped since, and what is another run of itself."""
        after = self.life()
        ran = [x for x in ALL if before[x][0] == "active" and after[x] != before[x] and x != but]
        return {(x, "restart" if after[x][0] == "active" else "stop") for x in ran}


@pytest.mark.parametrize("kind", ["system", "user"])
def test_what_is_told_is_what_systemd_then_does(box: Box, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, wrong = Manager(box, kind), []
    for name, text in UNITS.items():
        service = "[Service]\nType=oneshot\nExecStart=/bin/true\n" if name == "t-middle" else SLEEPS
        box.write(f"{manager.folder}/{name}.service", f"[Unit]\n{text}\n{service}")
    manager.run("daemon-reload")
    monkeypatch.setattr(onbox, "command", manager.command)
    prefix = "user:" if kind == "user" else ""
    try:
        for verb, unit in JOBS if kind == "system" else JOBS[:4]:
            manager.run("start", *(x for x in ALL if x != "t-rival.service"))
            before = manager.life()
            takes, reason = jobs.takes([Need(verb, f"{prefix}{unit}.service")])
            assert manager.life() == before, "asking did something"
            manager.run(verb, f"{unit}.service")
            told = {(x.service.removeprefix("user:"), x.verb) for x in takes if x.verb in ("stop", "restart")}
            try:  # what stops because nobody needs it any more stops a moment later
                wait_for(lambda: manager.changed(before, f"{unit}.service") == told, 60, f"{told} with {verb} {unit}")  # noqa: B023
            except BoxError:
                wrong.append((verb, unit, reason, told ^ manager.changed(before, f"{unit}.service")))
        assert not wrong, wrong
    finally:
        manager.run("stop", *ALL)
        box.remove(*(f"{manager.folder}/{x}" for x in ALL))
        manager.run("daemon-reload")


# -- a switch ----------------------------------------------------------------------------------------

QWEN, MISTRAL = "vllm-qwen36.service", "sglang-mistral4.service"
BESIDE = {
    "sidecar": f"[Unit]\nPartOf={QWEN}\n",
    "bridge": "[Unit]\nRequires=sidecar.service\nAfter=sidecar.service\n",
    "cpu-only": f"[Unit]\nConflicts={MISTRAL}\n",
}
SOCKET = f"[Socket]\nListenStream=/run/wake.sock\nService={QWEN}\n"
NAMES = tuple(f"{name}.service" for name in BESIDE)
RULES = "".join(f"ops ALL=(root) NOPASSWD: /usr/bin/systemctl start {name}\n" for name in NAMES)
SCRIPT = f"""#!/bin/sh
sudo -n /usr/bin/systemctl stop {QWEN}
sudo -n /usr/bin/systemctl start {MISTRAL}
sleep 600
"""


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    for name, text in BESIDE.items():
        box.write(f"/run/systemd/system/{name}.service", text + SLEEPS)
    box.write("/usr/local/bin/wait.sh", SCRIPT, mode="755")
    for unit in (QWEN, MISTRAL):
        box.tune(unit.removesuffix(".service"), load_seconds=0.2)
    box.systemctl("daemon-reload")
    with box.rights(lambda sudoers: sudoers + RULES):
        try:
            yield Operator.at(box, tmp_path)
        finally:
            wait_for(lambda: not busy(box), 90, "the action's end")
            box.systemctl("stop", *NAMES, check=False)
            empty(box)
            box.remove("/usr/local/bin/wait.sh", *(f"/run/systemd/system/{name}" for name in NAMES))
            box.systemctl("daemon-reload")


def up(box: Box) -> list[str]:
    return [name for name in NAMES if box.show(name, "ActiveState")["ActiveState"] == "active"]


def configured(operator: Operator, *changes: tuple[str, str]) -> None:
    text = operator.config_path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    operator.config_path.write_text(text)


def test_what_goes_with_a_mode_is_named_and_comes_back_with_it(operator: Operator, box: Box) -> None:
    box.systemctl("start", QWEN, *NAMES)
    lives = json.dumps([box.show(x, "InvocationID", "ActiveState") for x in (QWEN, *NAMES)])

    asked = operator.run("switch", "mistral")
    assert asked.returncode == 4, asked.stderr
    assert f"stopping {QWEN} also stops sidecar.service and bridge.service" in asked.stderr.replace("\n", " ")
    assert f"starting {MISTRAL} also stops cpu-only.service" in asked.stderr.replace("\n", " ")
    dry = operator.run("switch", "mistral", "--dry-run")
    assert "verdict: ask" in dry.stdout and "cpu-only.service" in dry.stdout
    assert json.dumps([box.show(x, "InvocationID", "ActiveState") for x in (QWEN, *NAMES)]) == lives, "nothing was touched"

    operator.ok("switch", "mistral", "--yes")
    assert (loaded(box), up(box)) == (["mistral"], [])
    operator.ok("switch", "qwen", "--yes")
    assert (loaded(box), up(box)) == (["qwen"], [*NAMES])

    box.fail("sglang-mistral4", "oom")
    failed = operator.run("switch", "mistral", "--yes")
    assert failed.returncode == 1
    assert ready(box, "qwen") and up(box) == [*NAMES], "the way back brings them too"


def test_a_floor_that_would_go_along_is_refused(operator: Operator, box: Box) -> None:
    configured(
        operator,
        ('stop_timeout = "60s"\n', 'stop_timeout = "60s"\nfloor = ["bridge.service"]\n'),
        ("watch = [", f'watch = ["{QWEN}", '),
    )
    box.systemctl("start", QWEN, *NAMES)
    for words in (("switch", "none"), ("restart", QWEN)):
        done = operator.run(*words, "--yes")
        assert done.returncode == 1 and "bridge.service must always run" in done.stderr, (words, done.stderr)
    dry = operator.run("switch", "mistral", "--dry-run")
    assert dry.returncode == 1 and "verdict: no" in dry.stdout, dry.stdout
    assert (loaded(box), up(box)) == (["qwen"], [*NAMES])


def test_what_a_socket_would_start_again_is_asked_about(operator: Operator, box: Box) -> None:
    box.write("/run/systemd/system/wake.socket", SOCKET)
    box.systemctl("daemon-reload")
    box.systemctl("start", "wake.socket")
    box.systemctl("start", QWEN)
    wait_for(lambda: ready(box, "qwen"), 60, "the mode before")  # else its start is what is asked about
    try:
        for words in (("switch", "none"), ("switch", "mistral", "--dry-run")):
            done = operator.run(*words)
            said = " ".join((done.stdout + done.stderr).split())
            assert f"wake.socket starts {QWEN} again when somebody uses it" in said, said
        assert loaded(box) == ["qwen"]
        operator.ok("switch", "none", "--yes")
    finally:
        box.systemctl("stop", "wake.socket")
        box.remove("/run/systemd/system/wake.socket")
        box.systemctl("daemon-reload")


def test_a_mode_without_services_is_refused_while_it_is_hot(operator: Operator, box: Box) -> None:
    configured(operator, (f'services = ["{QWEN}"]\n', ""))
    box.systemctl("start", QWEN)
    wait_for(lambda: ready(box, "qwen"), 60, "the engine that is run by hand")
    done = operator.run("switch", "mistral", "--yes")
    assert done.returncode == 4 and "has no `services` that could be stopped" in done.stderr.replace("\n", " "), done.stderr
    dry = operator.run("switch", "none", "--dry-run")
    assert dry.returncode == 4 and "verdict: no" in dry.stdout, dry.stdout
    assert loaded(box) == ["qwen"]


def test_a_dead_engine_ends_the_owners_script_and_the_wait(operator: Operator, box: Box) -> None:
    """The script would sleep for ten minutes; its engine dies for want of memory while it loads."""
    own = 'switch = ["/usr/local/bin/wait.sh"]\nswitch_timeout = "10m"'
    configured(operator, ('model = "mistral4"\n', f'model = "mistral4"\n{own}\n'))
    box.systemctl("start", QWEN)
    wait_for(lambda: ready(box, "qwen"), 60, "the mode before")
    box.fail("sglang-mistral4", "oom")
    began = time.monotonic()
    done = operator.run("switch", "mistral", "--yes", timeout=300)
    assert time.monotonic() - began < 200
    assert done.returncode == 1
    assert "while mistral's own command was still at work" in done.stderr.replace("\n", " "), done.stderr
    assert loaded(box) == ["qwen"] and ready(box, "qwen")
    assert not box.root(shlex.join(["pgrep", "-f", "[w]ait.sh"]) + " || true").stdout.strip(), "the script has ended"
