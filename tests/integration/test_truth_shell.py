"""A login shell that talks, reads, or ends otherwise than what it runs: every command says what is so all the same."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sovtui.ports.errors import PortError
from sovtui.ports.link import Link
from sovtui.runtime import box as onbox
from sovtui.runtime import exchange
from tests.box.box import Box, wait_for
from tests.integration.opensshd import Site
from tests.integration.operator import Operator, busy, empty, loaded

FAKES = (
    """echo '{"t":"error","reason":"fake"}'; echo '{"t":"action","id":"fake","running":true,"lines":[]}'; """
    """echo '{"t":"over","status":0}'; printf '{"t":"started","id":"fake"}'\n"""
)
TICKS = "(for i in 1 2 3 4 5 6 7 8; do printf tick; sleep 0.05; done) &\n"
FISH = "printf Hello\nfunction bye --on-event fish_exit\n  printf bye\nend\n"
QUIET = "bash, quiet"
SHELLS: dict[str, tuple[str, dict[str, str], str]] = {
    QUIET: ("/bin/bash", {}, ""),
    "bash, before, no line break": ("/bin/bash", {".bashrc": "printf 'Welcome'\n"}, "Welcome"),
    "bash, JSON like ours": ("/bin/bash", {".bashrc": FAKES}, "fake"),
    "bash, after, another status": ("/bin/bash", {".bashrc": "trap 'printf bye; exit 3' EXIT\n"}, "bye"),
    "bash, meanwhile": ("/bin/bash", {".bashrc": TICKS}, "tick"),
    "bash, three megabytes": ("/bin/bash", {".bashrc": "head -c 3000000 /dev/zero | tr '\\0' x\n"}, "xxx"),
    "bash, reads a line": ("/bin/bash", {".bashrc": 'read line; echo "got:$line:"\n'}, "got::"),
    "bash, reads it all": ("/bin/bash", {".bashrc": "cat > ~/eaten; printf done\n"}, "done"),
    "zsh, before and after": ("/bin/zsh", {".zshenv": "printf Hello; TRAPEXIT() { printf bye }\n"}, "bye"),
    "fish, before and after": ("/usr/bin/fish", {".config/fish/config.fish": FISH}, "bye"),
    "fish, reads a line": ("/usr/bin/fish", {".config/fish/config.fish": "read line\n"}, ""),
    "tcsh, before": ("/bin/tcsh", {".tcshrc": "printf Hello\n"}, "Hello"),
    "tcsh, reads a line": ("/bin/tcsh", {".tcshrc": "set line = $<\n"}, ""),
    "dash, the server's own rc": ("/bin/dash", {".ssh/rc": "printf Hello\n"}, "Hello"),
    "forced, before and after": ("/bin/bash", {}, "running: "),
    "forced, standard input closed": ("/bin/bash", {}, ""),
}
FORCED = {
    "forced, before and after": 'printf "running: %s" "$SSH_ORIGINAL_COMMAND"; sh -c "$SSH_ORIGINAL_COMMAND"; printf bye; exit 9',
    "forced, standard input closed": 'sh -c "$SSH_ORIGINAL_COMMAND" < /dev/null',
}
ACTION = "20261120T161300Z-restart-ab12"
START = {"v": 1, "id": ACTION, "kind": "restart", "target": "x", "who": "a@b", "host": "h", "plan": {"service": "user:x.service"}}


SWITCH = {
    **START,
    "kind": "switch",
    "target": "m",
    "plan": {"to": "m", "modes": [{"name": "m", "services": ["m.service"]}]},
}


async def _asked(link: Link) -> dict[str, Any]:
    """What every command is told there. Nothing in it may depend on what the shell writes."""

    async def said(work: Any) -> Any:
        try:
            return await work
        except PortError as error:
            return type(error).__name__, str(error)

    async def kinds(verb: str, request: dict[str, Any], last: str = "") -> list[str]:
        found: set[str] = set()
        async with aclosing(exchange.lines(link, verb, request)) as lines:
            async for line in lines:
                found.add(line["t"])
                if line["t"] == last:
                    break
        return sorted(found)

    async def followed() -> Any:
        async with aclosing(onbox.follow(link, ACTION)) as runs:
            return [(run.outcome, run.reason, [step.name for step in run.steps]) async for run in runs][-1]

    return {
        "none yet": await said(onbox.list_runs(link)),
        "start": await said(onbox.answer(link, "start", START)),
        "again": (await onbox.answer(link, "start", START))["t"],
        "follow": await said(followed()),
        "list": [(run.id, run.outcome) for run in await onbox.list_runs(link)],
        "cancel": await said(onbox.answer(link, "cancel", {"id": ACTION})),
        "rehearse": await said(onbox.answer(link, "rehearse", SWITCH)),
        "rights": await said(onbox.rights(link, [["/usr/bin/systemctl", "start", "x.service"]])),
        "probe": {"memory", "cpu", "hello"} <= set(await said(kinds("probe", {"services": [], "interval": 0.2}, "beat"))),
        "survey": "machine" in await said(kinds("survey", {}, "machine")),
        "logs": await said(kinds("logs", {"service": "x.service", "lines": 1, "follow": False})),
        "tailnet": await said(onbox.tailnet(link, datetime(2026, 11, 20, tzinfo=UTC))),
    }


async def _there(site: Site, name: str) -> dict[str, Any]:
    """The answers from a server with this login shell. What it writes is heard, and it has read nothing of ours."""
    shell, rc, expected = SHELLS[name]
    if not Path(shell).exists():
        pytest.skip(f"{shell} is not installed")
    sshd = site.server(f"ForceCommand {FORCED[name]}\n" if name in FORCED else "", shell=shell, rc=rc)
    site.trust(sshd)
    link = await site.dialer(sshd).dial(None)
    heard: list[str] = []
    link.on_banner = heard.append  # type: ignore[attr-defined]
    try:
        async with asyncio.timeout(120):
            answers = await _asked(link)
    finally:
        await link.aclose()
    assert expected in " ".join(heard) and len(heard) <= exchange.MAX_SHOWN, heard
    eaten = sshd.folder / "ops" / "eaten"
    assert not eaten.exists() or eaten.read_bytes() == b"", "a start-up file gets nothing of ours"
    return answers


_quiet: dict[str, Any] = {}


@pytest.mark.parametrize("name", [name for name in SHELLS if name != QUIET])
async def test_no_login_shell_changes_an_answer(site: Site, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "READY_SECONDS", 1.5)
    if not _quiet:
        _quiet.update(await _there(site, QUIET))
        assert _quiet["again"] == "exists" and _quiet["list"] == [(ACTION, "failed")] and _quiet["probe"] and _quiet["survey"]
        no_systemd = _quiet["rehearse"]
        assert no_systemd["outcome"] == "failed" and "systemd does not answer" in no_systemd["reason"], no_systemd
    assert await _there(site, name) == _quiet


# --- the same on a booted box, by the commands --------------------------------------------------------------------------

FORCED_FILE = "/etc/ssh/sshd_config.d/forced.conf"
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[a-z-]+-\w+")


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    profile = box.read("/home/ops/.bashrc")
    made = Operator.at(box, tmp_path)
    try:
        yield made
    finally:
        box.write("/home/ops/.bashrc", profile)
        box.remove(FORCED_FILE)
        box.systemctl("reload", "ssh")
        made.run("cancel")
        wait_for(lambda: not busy(box), 60, "the action's end")
        empty(box)


WORST = FAKES + "read -r line\ntrap 'printf bye; exit 3' EXIT\n"


@pytest.mark.parametrize("rc", ["printf 'no line break'\n", WORST], ids=["printf", "the worst"])
def test_every_command_on_a_box_with_such_a_shell(operator: Operator, box: Box, rc: str) -> None:
    known = set(RUN_ID.findall(operator.ok("actions").stdout))
    box.write("/home/ops/.bashrc", rc)
    box.tune("vllm-qwen36", load_seconds=60.0)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(box) == ["qwen"], 60, "the engine's start")
    told = operator.ok("actions").stdout
    (run_id,) = set(RUN_ID.findall(told)) - known
    assert "switch qwen  running" in told
    assert run_id in operator.ok("cancel").stderr
    _, errors = client.communicate(timeout=120)
    assert client.returncode == 1 and "cancelled" in errors and "testbox says:" in errors and "Traceback" not in errors, errors
    followed = operator.run("follow")
    assert followed.returncode == 1 and run_id in followed.stderr, followed.stderr
    doctor = operator.run("doctor")
    assert "does not run" not in doctor.stdout and "Traceback" not in doctor.stdout + doctor.stderr
    assert re.search(r"rights: ops lacks 6 of \d+ rights: it says “a password is required”", doctor.stdout), doctor.stdout
    if rc == WORST:
        return  # the rest is no different, and each command waits for the shell once
    box.tune("vllm-qwen36")
    operator.ok("switch", "qwen", "--yes")
    assert loaded(box) == ["qwen"]
    host = operator.host()
    assert host["link"]["phase"] == "up"
    assert {one["name"]: one["active"] for one in host["services"]}["vllm-qwen36.service"] == "active"
    assert operator.ok("logs", "vllm-qwen36.service").stdout
    new = operator.home / "new.toml"
    looked = operator.run("--config", str(new), "--host", "spark", "init", "testbox", "--write")
    assert looked.returncode == 0 and 'services = ["vllm-qwen36.service"]' in new.read_text(), looked.stderr


CUTS = """\
#!/bin/sh
# Lets through that a start is there, and nothing of its answer: as often as there are lines in the file.
case "$SSH_ORIGINAL_COMMAND" in
  *" start'"* | *" start")
    if [ -s /tmp/cuts ]; then sed 1d /tmp/cuts > /tmp/cuts.new; cat /tmp/cuts.new > /tmp/cuts; sh -c "$SSH_ORIGINAL_COMMAND" | head -n 2; exit 0; fi;;
esac
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


@pytest.mark.parametrize("times", [1, 3])
def test_an_answer_that_is_lost_is_unknown_and_the_next_look_finds_the_action(operator: Operator, box: Box, times: int) -> None:
    known = set(RUN_ID.findall(operator.ok("actions").stdout))
    box.write("/usr/local/bin/cuts", CUTS, "755")
    box.root(f"yes | head -n {times} > /tmp/cuts && chown ops /tmp/cuts")
    box.write(FORCED_FILE, "Match User ops\n ForceCommand /usr/local/bin/cuts\n")
    box.systemctl("reload", "ssh")
    done = operator.run("drop-caches", "--yes")
    assert box.read("/tmp/cuts") == "", "every answer that was to be lost is lost"
    if times == 1:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 3 and "it is not known whether" in done.stderr, done.stderr
    (run_id,) = set(RUN_ID.findall(done.stderr))
    wait_for(lambda: not busy(box), 60, "the action's end")
    assert set(RUN_ID.findall(operator.ok("actions").stdout)) - known == {run_id}, "begun once, and found"
    assert operator.ok("follow", run_id).returncode == 0
    box.remove("/tmp/cuts", "/tmp/cuts.new", "/usr/local/bin/cuts")
