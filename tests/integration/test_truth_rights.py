"""What sovtui says of a login's rights is what sudo and polkit then do; nothing acts in order to find out. On the booted box."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from sovtui.adapters.links.ssh import Dialer
from sovtui.core import drop_ins
from sovtui.ports.link import Link
from sovtui.runtime import box as onbox
from sovtui.runtime.hub import Rights
from tests.box.box import Box, wait_for
from tests.integration.operator import CONFIG, Operator, empty, loaded, ready

FILE = "/etc/sudoers.d/zz-truth"
RULES = "/etc/polkit-1/rules.d/50-truth.rules"
SYSTEMCTL = "/usr/bin/systemctl"
ELSEWHERE = "/usr/local/bin/systemctl"
START, STOP, RESTART = ([SYSTEMCTL, verb, "restartme.service"] for verb in ("start", "stop", "restart"))

SUDOERS = {
    "nothing": "",
    "exactly that": "viewer ALL=(root) NOPASSWD: /usr/bin/systemctl start restartme.service",
    "a password": "viewer ALL=(root) /usr/bin/systemctl start restartme.service",
    "another user's rights": "viewer ALL=(engine) NOPASSWD: ALL",
    "a group's rights": "viewer ALL=(:engine) NOPASSWD: ALL",
    "its other path": "viewer ALL=(root) NOPASSWD: /bin/systemctl start restartme.service",
    "a program elsewhere": f"viewer ALL=(root) NOPASSWD: {ELSEWHERE} start restartme.service",
    "without the suffix": "viewer ALL=(root) NOPASSWD: /usr/bin/systemctl start restartme",
    "a directory": "viewer ALL=(root) NOPASSWD: /usr/bin/",
    "a regular expression": "viewer ALL=(root) NOPASSWD: /usr/bin/systemctl ^start restart(me|you)[.]service$",
    "a pattern": "viewer ALL=(root) NOPASSWD: /usr/bin/systemctl start restart*",
    "!authenticate for the user": "Defaults:viewer !authenticate\nviewer ALL=(ALL) ALL",
    "!authenticate for the command": "Defaults!/usr/bin/systemctl !authenticate\nviewer ALL=(ALL) ALL",
    "requiretty": "Defaults:viewer requiretty\nviewer ALL=(root) NOPASSWD: ALL",
    "requiretty for the command": "Defaults!/usr/bin/systemctl requiretty\nviewer ALL=(root) NOPASSWD: ALL",
    "a list that wants a password": "Defaults:viewer listpw=always\nviewer ALL=(root) NOPASSWD: ALL",
    "another default user": "Defaults:viewer runas_default=engine\nviewer ALL=(ALL) NOPASSWD: ALL",
    "all but that": "viewer ALL=(root) NOPASSWD: ALL, !/usr/bin/systemctl start *",
    "any folder": "viewer ALL=(root) CWD=* NOPASSWD: ALL",
    "the last line wants a password": "viewer ALL=(root) NOPASSWD: ALL\nviewer ALL=(root) PASSWD: /usr/bin/systemctl start *",
    "the last line wants none": "viewer ALL=(ALL) ALL\nviewer ALL=(root) NOPASSWD: /usr/bin/systemctl start restartme.service",
    "another host's": "viewer otherhost=(root) NOPASSWD: ALL",
    "by number": "#1001 ALL=(root) NOPASSWD: /usr/bin/systemctl start restartme.service",
    "a terminal of its own": "Defaults:viewer use_pty\nviewer ALL=(root) NOPASSWD: NOEXEC: ALL",
    "not any more": "viewer ALL=(root) NOTAFTER=20200101000000Z NOPASSWD: ALL",
}


@asynccontextmanager
async def linked(box: Box, folder: Path, user: str) -> AsyncIterator[Link]:
    config = box.ssh_config(folder / f"ssh-{user}", user=user)
    link = await Dialer("testbox", f"{user}@testbox", config=[config]).dial(None)
    try:
        yield link
    finally:
        await link.aclose()


@pytest.fixture
def clean_box(box: Box) -> Iterator[Box]:
    assert box.ssh("id -u", user="viewer").stdout.strip() == "1001"
    try:
        yield box
    finally:
        box.remove(FILE, RULES, ELSEWHERE)
        box.systemctl("start", "restartme.service")
        empty(box)


def sudoers(box: Box, text: str) -> None:
    box.write(FILE, text + "\n", mode="440")
    box.root(["visudo", "-cq"])


def runs(box: Box, argv: list[str]) -> bool:
    """What then happens: sudo runs it in one of its forms, or a plain systemctl may."""
    forms = (argv, [*argv[:-1], argv[-1].removesuffix(".service")], [ELSEWHERE, *argv[1:]])
    tried = [shlex.join(["sudo", "-n", "-u", "root", "--", *form]) for form in forms]
    return (
        box.ssh(" || ".join([*tried, shlex.join(["systemctl", "--no-ask-password", *argv[1:]])]), user="viewer").returncode == 0
    )


def life(box: Box, *units: str) -> list[str]:
    """Which run of each unit this is, and what state it is in: anything that acts changes it."""
    return [json.dumps(box.show(unit, "InvocationID", "ActiveState", "StateChangeTimestampMonotonic", "Job")) for unit in units]


async def test_every_sudoers_file_is_answered_as_sudo_then_acts(clean_box: Box, tmp_path: Path) -> None:
    box, wrong, words = clean_box, [], {}
    box.systemctl("start", "restartme.service")
    async with linked(box, tmp_path, "viewer") as link:
        for name, text in SUDOERS.items():
            sudoers(box, text)
            box.root(["cp", SYSTEMCTL, ELSEWHERE] if ELSEWHERE in text else ["rm", "-f", ELSEWHERE])
            before = await asyncio.to_thread(life, box, "restartme.service")
            (right,) = (await onbox.rights(link, [START])).asked
            assert await asyncio.to_thread(life, box, "restartme.service") == before, f"{name}: asking did something"
            happens = await asyncio.to_thread(runs, box, START)
            words[name] = right.words
            if (bool(right.by), right.known) != (happens, True):
                wrong.append((name, right, happens))
    assert not wrong, wrong
    assert words["a password"] == words["another user's rights"] == "a password is required"
    assert words["requiretty"] == words["requiretty for the command"] == "sorry, you must have a tty to run sudo"


SIDECAR = """[Unit]
PartOf=vllm-qwen36.service sglang-mistral4.service restartme.service
[Service]
ExecStart=/bin/sleep infinity
"""
RULE = """polkit.addRule(function(action, subject) {
    if (action.id != "org.freedesktop.systemd1.manage-units" || subject.user != "viewer") return polkit.Result.NOT_HANDLED;
    %s
    return polkit.Result.NOT_HANDLED;
});
"""
POLKIT = {
    "nothing": "",
    "every unit": "return polkit.Result.YES;",
    "that unit": 'if (action.lookup("unit") == "restartme.service") return polkit.Result.YES;',
    "another unit": 'if (action.lookup("unit") == "backup-nas.service") return polkit.Result.YES;',
    "start alone": 'if (action.lookup("verb") == "start") return polkit.Result.YES;',
    "all but stop": 'return action.lookup("verb") == "stop" ? polkit.Result.NO : polkit.Result.YES;',
    "a password": "return polkit.Result.AUTH_ADMIN_KEEP;",
}


def _rules_read(box: Box) -> int:
    """How often polkit has read its rules; it does when a file of them has come whole."""
    return int(box.root("journalctl -q -u polkit.service | grep -c 'Finished loading' || true").stdout)


def _more_read(box: Box, before: int) -> bool:
    return _rules_read(box) > before


async def test_polkit_is_answered_for_as_it_then_acts_and_no_job_is_made(clean_box: Box, tmp_path: Path) -> None:
    """Also what is part of the unit and would go with a job of it stays as it is: it was stopped by asking once."""
    box, wrong = clean_box, []
    box.write("/run/systemd/system/sidecar.service", SIDECAR)
    box.systemctl("daemon-reload")
    box.systemctl("start", "polkit.service")
    wait_for(lambda: _rules_read(box) > 0, 60, "polkit to read its rules")
    verbs = [START, STOP, RESTART]
    async with linked(box, tmp_path, "viewer") as link:
        for name, text in POLKIT.items():
            read = _rules_read(box)
            box.write(RULES, RULE % text)
            await asyncio.to_thread(wait_for, partial(_more_read, box, read), 30, "polkit to read its rules")
            box.systemctl("start", "restartme.service", "sidecar.service")
            before = await asyncio.to_thread(life, box, "restartme.service", "sidecar.service")
            rights = (await onbox.rights(link, verbs)).asked
            assert await asyncio.to_thread(life, box, "restartme.service", "sidecar.service") == before, (
                f"{name}: asking did something"
            )
            for argv, right in zip(verbs, rights, strict=True):
                happens = await asyncio.to_thread(runs, box, argv)
                if (right.by, right.known) != ("polkit" if happens else "", True):
                    wrong.append((name, right, happens))
    box.systemctl("stop", "sidecar.service")
    box.remove("/run/systemd/system/sidecar.service")
    assert not wrong, wrong


# --- by the commands ----------------------------------------------------------------------------------------------------


@pytest.fixture
def viewer(clean_box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(clean_box)
    config = CONFIG.replace('address = "testbox"', 'address = "viewer@testbox"')
    yield Operator.at(clean_box, tmp_path, user="viewer", config=config)


def test_a_switch_that_may_not_start_is_refused_before_anything_is_stopped(viewer: Operator, box: Box) -> None:
    """Rights for another user are not root's; a terminal and a password are told in sudo's words, with the line that helps."""
    box.write("/run/systemd/system/sidecar.service", SIDECAR)
    box.systemctl("daemon-reload")
    box.systemctl("start", "vllm-qwen36.service", "sidecar.service")
    wait_for(lambda: ready(box, "qwen"), 60, "the engine")
    units = ("vllm-qwen36.service", "sidecar.service", "sglang-mistral4.service")
    before = life(box, *units)
    stop = "viewer ALL=(root) NOPASSWD: /usr/bin/systemctl stop *, /usr/bin/systemctl start vllm-qwen36.service, /usr/bin/tee *\n"
    password = "a password is required", "#1001 ALL=(root) NOPASSWD: /usr/bin/systemctl start sglang-mistral4.service"
    tty = "sorry, you must have a tty to run sudo", "Defaults:#1001 !requiretty"
    cases = {
        "viewer ALL=(engine) NOPASSWD: ALL": password,
        "viewer ALL=(root) /usr/bin/systemctl start sglang-mistral4.service": password,
        "Defaults:viewer requiretty\nviewer ALL=(root) NOPASSWD: ALL": tty,
    }
    for text, (words, helps) in cases.items():
        sudoers(box, stop + text)
        for tried in ("--dry-run", "--yes"):
            done = viewer.run("switch", "mistral", tried)
            said = " ".join((done.stdout + done.stderr).split())
            assert done.returncode == 1 and words in said, done.stdout + done.stderr
            assert "may not run" in said and "systemctl start sglang-mistral4.service" in said
            assert helps in said, said
            assert life(box, *units) == before, "nothing was touched, nor what is part of it"
    told = viewer.run("doctor").stdout
    assert "it says “sorry, you must have a tty to run sudo”" in told
    assert tty[1] in told
    sudoers(box, f"{stop}Defaults:viewer requiretty\nviewer ALL=(root) NOPASSWD: ALL\n{tty[1]}")
    told = " ".join(viewer.ok("switch", "mistral", "--dry-run").stdout.split())
    assert "verdict: ask" in told and "also stops sidecar.service" in told
    viewer.ok("switch", "mistral", "--yes")
    assert loaded(box) == ["mistral"]
    box.systemctl("stop", "sidecar.service")
    box.remove("/run/systemd/system/sidecar.service")


ODD = [
    "a\\x2db.service", "c@d:1.service", "e:f.service", "g\\x5ch.service", "i@j\\x2fk.service", "l.m.service", "n..o.service", "p--q.service",
    "r_s.service", "t@u@v.service", "w:x:y.service", "z\\x20a.service", "b\\c.service", "d\\\\e.service", "ALL.service", "root.service",
    "NOPASSWD:f.service", "Defaults.service", "g@h-i.j_k:l\\x3d.service", "0.service", "m@0.service", "n\\.service", "o@p\\x2c.service",
    "sudoedit.service", "q\\x23.service", "r\\x3as.service", "t\\x2a.service", "u\\x21.service", "v\\x5b.service", "w@%.service".replace("%", "\\x25"),
    "x.timer", "LONG-" + "y" * 180 + ".service",
]  # fmt: skip
"""Names of units with every sign that one may have, and with words of sudoers."""


def _near(unit: str) -> set[str]:
    """What is nearly that name, and what a reader of patterns or of quotes might take it for."""
    found = {
        unit.replace("\\", ""),
        unit.replace("\\", "\\\\"),
        unit.replace(":", "\\:"),
        unit.replace(":", ""),
        unit.replace(".", "x"),
    }
    found |= {
        unit.swapcase(),
        f"x{unit}",
        f"{unit}x",
        unit[1:],
        unit.replace("@", "@x"),
        unit.partition(".")[0] + ".*",
        f"{unit[:1]}*",
        "*",
    }
    found |= {f"{unit} other.service", f"{unit} --now", f"--user {unit}", unit.replace("\\x", "\\\\x"), unit.replace("@", "?")}
    return found - {unit}


async def test_the_printed_lines_allow_exactly_those_units(clean_box: Box, tmp_path: Path) -> None:
    box = clean_box
    config = f"[host.testbox]\naddress = 'testbox'\nrole = 'management'\nwatch = {json.dumps(ODD)}\n"
    operator = await asyncio.to_thread(lambda: Operator.at(box, tmp_path, user="viewer", config=config))
    printed = (await asyncio.to_thread(operator.ok, "doctor", "--sudoers")).stdout
    assert printed.count("\n#1001 ALL=(root) NOPASSWD: ") == 2 * len(ODD) and "#1001 is viewer there" in printed
    sudoers(box, printed)
    near = sorted(set().union(*map(_near, ODD)) - set(ODD))[::2]
    some = [name for name in near if name.endswith(".service") and " " not in name and "*" not in name and "?" not in name][::7]
    async with linked(box, tmp_path, "viewer") as link:
        found: Rights = await onbox.rights(link, [[SYSTEMCTL, "restart", unit] for unit in (*ODD, *some)])
    assert [right.command[-1] for right in found.asked if right.by == "sudo"] == ODD, found
    # sudo runs those alone; that systemd knows no such unit is another matter
    box.write("/run/names", "".join(f"restart {name}\n" for name in (*ODD, *near)) + "".join(f"stop {name}\n" for name in ODD))
    tries = (
        f"set -f; while IFS= read -r line; do IFS=' '; sudo -n {SYSTEMCTL} $line < /dev/null 2>&1 | grep -q 'password is required' ||"
        " printf '%s\\n' \"$line\"; done < /run/names"
    )
    ran = (await asyncio.to_thread(box.ssh, ["sh", "-c", tries], user="viewer")).stdout.splitlines()
    box.remove("/run/names")
    assert len(near) > 120 and ran == [f"restart {unit}" for unit in ODD]


def test_odd_logins_are_given_rights_by_number_or_quoted_and_nobody_else_is(clean_box: Box) -> None:
    box = clean_box
    users = {"Ops.X": 4001, "ALL": 4002, "CORP\\ops": 4003, "o,p=s": 4004, "%wheel": 4005, "a@b": 4006, "x$": 4007}
    passwd, shadow = box.read("/etc/passwd"), box.read("/etc/shadow")
    try:
        box.write("/etc/passwd", passwd + "".join(f"{name}:x:{uid}:1001::/tmp:/bin/sh\n" for name, uid in users.items()))
        box.write("/etc/shadow", shadow + "".join(f"{name}:*:19000:0:99999:7:::\n" for name in users), mode="640")
        ask = "setpriv --reuid $u --regid 1001 --clear-groups sudo -n -l /usr/bin/systemctl stop x.service > /dev/null 2>&1"
        every = f"for u in {' '.join(map(str, users.values()))}; do {ask} && echo $u; done; true"
        for name, uid in users.items():
            for who in (drop_ins.user(name, uid), drop_ins.user(name)):
                sudoers(box, drop_ins.sudoers_line(who, [SYSTEMCTL, "stop", "x.service"]))
                assert box.root(every).stdout.split() == [str(uid)], (name, who)
    finally:
        box.write("/etc/passwd", passwd)
        box.write("/etc/shadow", shadow, mode="640")


def test_a_dry_run_is_the_boxs_own_preflight(viewer: Operator, box: Box) -> None:
    """Missing, masked, unloadable, no systemd that answers: no, and nothing is touched."""
    sudoers(box, "viewer ALL=(root) NOPASSWD: ALL")

    def dry(*words: str) -> tuple[int, str]:
        done = viewer.run(*words, "--dry-run")
        assert loaded(box) == [] and "Traceback" not in done.stderr
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    known = viewer.run("actions").stdout
    code, said = dry("switch", "qwen")
    assert code == 0 and "verdict: go" in said, said
    unit = "/run/systemd/system/vllm-qwen36.service.d/truth.conf"
    text = viewer.config_path.read_text()
    box.root(["systemctl", "mask", "truth-masked.service"])
    viewer.config_path.write_text(text.replace('services = ["vllm-qwen36.service"]', 'services = ["truth-masked.service"]'))
    code, said = dry("switch", "qwen")
    viewer.config_path.write_text(text)
    box.root(["systemctl", "unmask", "truth-masked.service"])
    assert code == 1 and "verdict: no" in said and "is masked" in said, said
    box.write(unit, "[Service]\nType=nonsense\nExecStart=\n")
    box.systemctl("daemon-reload")
    code, said = dry("switch", "qwen")
    assert code == 1 and "verdict: no" in said and "cannot be loaded" in said, said
    box.remove(unit)
    box.systemctl("daemon-reload")
    viewer.config_path.write_text(text.replace('services = ["vllm-qwen36.service"]', 'services = ["vllm-qwen63.service"]'))
    code, said = dry("switch", "qwen")
    assert code == 1 and "does not exist" in said, said
    viewer.config_path.write_text(text)
    code, said = dry("restart", "backup-broken.service")
    assert code == 0 and "verdict: ask" in said, said
    sudoers(box, "")
    for wish in (["switch", "qwen"], ["drop-caches"], ["backup", "nas"], ["restart", "restartme.service"]):
        code, said = dry(*wish)
        assert code == 1 and "verdict: no" in said and "may not run" in said, (wish, said)
    assert viewer.run("actions").stdout == known, "no receipt is written"
