"""The real bundle in real processes on this machine, without systemd: start, follow, list, cancel, busy, lost, probe."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import IO, Any, cast

import pytest

from sovtui.core import receipts
from sovtui.core.model import ActionRun
from sovtui.onbox import launch, receipt
from sovtui.onbox.gpus import Gpus
from sovtui.onbox.probe import Pace
from sovtui.runtime import bundle
from tests.onbox.dripping import dripping

pytestmark = pytest.mark.integration  # real processes and terminals, seconds each

PATIENCE_SECONDS = 120.0
"""For what takes a moment, on a machine however busy."""


def _oldest() -> list[str]:
    """The oldest Python that a box may have, where this machine has one; `test_house` checks the syntax everywhere."""
    path = shutil.which("python3.9")
    return [path] if path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0 else []


PYTHONS = [sys.executable, *_oldest()]

# A pretended systemctl: units are files in $UNITS whose content is their ActiveState. Never the machine's own.
SYSTEMCTL = r"""#!/bin/sh
while :; do case "$1" in --*) shift;; *) break;; esac; done
verb=$1; shift
case $verb in
list-units)
  echo list >> "$UNITS.asked"
  for u; do s=$(cat "$UNITS/$u" 2>/dev/null) && echo "$u loaded $s $s unit $u"; done;;
show)
  echo show >> "$UNITS.asked"
  while [ "$1" != -- ]; do shift; done; shift; n=0
  for u; do
    [ $n = 1 ] && echo; n=1
    s=$(cat "$UNITS/$u" 2>/dev/null || echo none)
    echo "Id=$u"; case $s in none) echo "LoadState=not-found"; echo "ActiveState=inactive";;
    *) echo "LoadState=loaded"; echo "ActiveState=$s";; esac
    [ "$s" = active ] && echo MainPID=77 || echo MainPID=0
    echo "Result=success"; echo "NRestarts=0"; echo "ControlGroup="; echo "Job=0"; echo "Description=unit $u"
  done;;
start) sleep "${START_SECONDS:-0}"; echo active > "$UNITS/$1";;
restart) echo active > "$UNITS/$1";;
stop) echo inactive > "$UNITS/$1";;
esac
"""
SUDO = """#!/bin/sh
[ "$1" = -V ] && { echo "Sudo version 1.9.13p3"; exit 0; }
while :; do
  case "$1" in
  -n) shift;;
  -u) shift 2;;
  -l) exit 0;;
  -D) echo "sudo: you are not permitted to use the -D option with $4" >&2; exit 1;;
  --) shift; break;;
  *) break;;
  esac
done
echo "$@" >> "$SUDO_DID"
case "$1" in */tee) cat >> "$SUDO_DID"; sleep "${DROP_SECONDS:-0}";; */systemctl) shift; exec systemctl "$@";; esac
"""
# Makes the parts under test believe that they are not root: then nothing of this machine is ever written to.
SITE = "import os, sys; os.geteuid = lambda: 1234; os.sync = lambda: None"


def said(output: IO[bytes]) -> Iterator[dict[str, Any]]:
    """The lines of one run as they come, without those that open and close it."""
    while raw := output.readline():
        framed = raw.partition(b"\x1e")[2][16:]
        if framed and (line := json.loads(framed))["t"] not in ("ready", "over"):
            yield line


def answers(stdout: bytes) -> list[dict[str, Any]]:
    """The lines that a command said."""
    assert stdout.endswith(b"}\n") and b'"over"' in stdout.splitlines()[-1]
    return list(said(io.BytesIO(stdout)))


class Box:
    """A home, a PATH and a lock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        bin_ = path / "bin"
        for folder in (bin_, path / "units", path / "home"):
            folder.mkdir()
        for name, text in (
            ("systemctl", SYSTEMCTL),
            ("sudo", SUDO),
            ("journalctl", "#!/bin/sh\nexit 0\n"),
            ("nvidia-smi", "#!/bin/sh\nexit 9\n"),
        ):
            (bin_ / name).write_text(text)
            (bin_ / name).chmod(0o755)
        self.env = {
            "PATH": f"{bin_}:/usr/bin:/bin",
            "HOME": str(path / "home"),
            "SOVTUI_LOCK": str(path / "lock"),
            "UNITS": str(path / "units"),
            "SUDO_DID": str(path / "did"),
        }
        self.python = sys.executable
        self.running: list[subprocess.Popen[bytes]] = []

    @property
    def actions(self) -> Path:
        return self.path / "home" / ".local" / "state" / "sovtui" / "actions"

    def unit(self, name: str, state: str | None = None) -> str:
        file = self.path / "units" / name
        if state is not None:
            file.write_text(state + "\n")
        return file.read_text().strip()

    def words(self, verb: str, request: dict[str, Any]) -> tuple[list[str], bytes]:
        call = bundle.call(verb, self.python)
        return call.argv, call.head + bundle.request_line(request)

    def call(self, verb: str, request: dict[str, Any], **env: str) -> list[dict[str, Any]]:
        argv, data = self.words(verb, request)
        done = subprocess.run(argv, input=data, capture_output=True, timeout=60, env={**self.env, **env})
        assert done.stderr == b"", done.stderr.decode()
        return answers(done.stdout)

    def one(self, verb: str, request: dict[str, Any], **env: str) -> dict[str, Any]:
        (line,) = self.call(verb, request, **env)
        return line

    def stream(self, verb: str, request: dict[str, Any]) -> subprocess.Popen[bytes]:
        argv, data = self.words(verb, request)
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env)
        assert process.stdin
        process.stdin.write(data)
        process.stdin.flush()
        self.running.append(process)
        return process

    def follow(self, action: str = "", seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        process = self.stream("follow", {"id": action})
        assert process.stdout
        found = list(said(process.stdout))
        process.wait(seconds)
        return found

    def runners(self, action: str) -> list[int]:
        """The pids of this box's runner of an action and of its guard, in this order; another test may run one of the same name."""
        program, found = bytes(self.actions / action / "runner.py"), []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    if len(words) > 3 and words[2] == program:
                        found.append((b"release" in words, int(folder.name)))
        return [number for _, number in sorted(found)]

    def runner(self, action: str) -> int:
        return self.runners(action)[0]

    def close(self) -> None:
        for process in self.running:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.kill()
            process.wait()
        for folder in self.actions.glob("*"):
            for number in reversed(self.runners(folder.name)):
                with contextlib.suppress(OSError):
                    os.kill(number, signal.SIGKILL)


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    original = bundle._sources

    def disguised() -> dict[str, str]:
        sources = original()
        return {**sources, "memory": sources["memory"].replace("import sys\n", f"import sys\n{SITE}\n", 1)}

    monkeypatch.setattr(bundle, "_sources", disguised)
    bundle._payload.cache_clear()
    made = Box(tmp_path)
    yield made
    made.close()
    bundle._payload.cache_clear()


def wish(kind: str = "drop-caches", tail: str = "ab12", **plan: Any) -> dict[str, Any]:
    return {
        "v": 1, "id": f"20261120T161300Z-{kind}-{tail}", "kind": kind, "target": plan.get("to", ""), "who": "marco@laptop",
        "host": "spark", "plan": plan,
    }  # fmt: skip


def switch(tail: str = "ab12", to: str = "b") -> dict[str, Any]:
    modes = [{"name": "a", "services": ["a.service"]}, {"name": "b", "services": ["b.service"]}]
    return wish("switch", tail, to=to, modes=modes, floor=["f.service"])


def outcome(lines: list[dict[str, Any]]) -> tuple[str, str]:
    run = reduce(receipts.apply, lines, cast(ActionRun | None, None))
    assert run is not None
    return run.outcome, run.reason


@pytest.mark.parametrize("python", PYTHONS)
def test_drop_caches_from_start_to_end(box: Box, python: str) -> None:
    box.python = python
    assert box.one("start", wish()) == {"t": "started", "id": wish()["id"], "by": "detached"}
    lines = box.follow()
    assert [line["t"] for line in lines if line["t"] != "step"] == ["begin", "figures", "figures", "end"]
    assert lines[0]["who"] == "marco@laptop"
    assert lines[0]["request"] == wish()
    assert outcome(lines)[0] == "done"
    assert (box.path / "did").read_text() == "/usr/bin/tee /proc/sys/vm/drop_caches\n3\n"
    assert box.one("start", wish()) == {"t": "exists", "id": wish()["id"]}
    (listed,) = box.call("list", {"limit": 10})
    assert abs(listed["now"] - time.time()) < 60, "by its own clock, so that times can be carried over"
    assert (listed["id"], listed["running"], listed["lines"][-1]["t"]) == (wish()["id"], False, "end")
    assert (box.actions / wish()["id"]).stat().st_mode & 0o777 == 0o700


def test_switch(box: Box) -> None:
    for name, state in (("a.service", "active"), ("b.service", "inactive"), ("f.service", "active")):
        box.unit(name, state)
    assert box.one("start", switch())["t"] == "started"
    lines = box.follow(switch()["id"])
    assert outcome(lines) == ("done", "b is hot")
    assert (box.unit("a.service"), box.unit("b.service")) == ("inactive", "active")
    did = (box.path / "did").read_text().splitlines()
    assert did == [
        "/usr/bin/systemctl stop a.service",
        "/usr/bin/tee /proc/sys/vm/drop_caches",
        "3",
        "/usr/bin/systemctl start b.service",
    ]
    run = reduce(receipts.apply, lines, cast(ActionRun | None, None))
    assert run is not None
    assert [s.name for s in run.steps] == ["preflight", "stop", "gone", "memory", "drop-caches", "start", "ready", "verify"]


JUMPS = """
import time
class Jumping:
    begun = time.monotonic()
    really = staticmethod(time.time)
    def __call__(self):
        return self.really() + (0, 3600, -3600)[int((time.monotonic() - self.begun) / 0.4) % 3]
time.time = Jumping()
"""


def test_a_clock_that_jumps_changes_nothing(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SITE", SITE + JUMPS)
    bundle._payload.cache_clear()
    for name, state in (("a.service", "active"), ("b.service", "inactive"), ("f.service", "active"), ("x.timer", "active")):
        box.unit(name, state)
    assert box.one("start", hold("ab12"), START_SECONDS="1.5")["t"] == "started"
    lines = box.follow(hold("ab12")["id"])
    assert outcome(lines) == ("done", "b is hot") and box.unit("x.timer") == "active"
    times = [line["at"] for line in lines]
    assert times != sorted(times), "the clock did jump"
    assert all(
        0 <= line.get("seconds", 0) < 600 for line in lines if line["t"] in ("step", "end") and line.get("seconds") is not None
    )
    assert box.one("start", hold("cd34", to="a"))["t"] == "started"
    second = box.follow(hold("cd34")["id"])
    assert outcome(second) == ("done", "a is hot")
    assert not any("held by an action that was lost" in str(line.get("detail", "")) for line in second)


@pytest.mark.truth("what is said not to have started does not start afterwards", of="exec channel")
def test_a_runner_that_is_too_late_finds_its_request_withdrawn(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, state in (("a.service", "active"), ("b.service", "inactive"), ("f.service", "active")):
        box.unit(name, state)
    sources, gate, place = bundle._sources, box.path / "gate", "    _quiet(directory)\n"

    def slow() -> dict[str, str]:
        made = sources()
        waits = f"{place}    while not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
        changed = {
            "runner": made["runner"].replace(place, waits, 1),
            "launch": made["launch"].replace("BEGUN_SECONDS = 20.0", "BEGUN_SECONDS = 0.3"),
        }
        assert all(made[name] != text for name, text in changed.items())
        return {**made, **changed}

    monkeypatch.setattr(bundle, "_sources", slow)
    bundle._payload.cache_clear()
    told = box.one("start", switch())
    assert told["t"] == "error" and "the runner did not start" in told["reason"], told
    runners = box.runners(switch()["id"])
    gate.touch()
    end = time.monotonic() + PATIENCE_SECONDS
    while any(Path(f"/proc/{runner}").exists() for runner in runners):
        assert time.monotonic() < end
        time.sleep(0.02)
    assert receipt.read(str(box.actions / switch()["id"])) == []
    assert (box.unit("a.service"), box.unit("b.service")) == ("active", "inactive")


def test_a_runner_that_has_begun_is_not_said_to_have_failed_however_long_its_first_line_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "BEGUN_SECONDS", 0.05)
    assert receipt.claim(str(tmp_path)) and not receipt.claim(str(tmp_path))
    assert launch._answer(str(tmp_path), "x", "systemd", None) == {"t": "started", "id": "x", "by": "systemd"}


def test_busy_then_cancel(box: Box) -> None:
    for name, state in (("a.service", "active"), ("b.service", "inactive"), ("f.service", "active")):
        box.unit(name, state)
    assert box.one("start", switch(), START_SECONDS="60")["t"] == "started"
    deadline = time.monotonic() + PATIENCE_SECONDS
    second: dict[str, Any] = {}
    while time.monotonic() < deadline and second.get("step") != "start":
        second = box.one("start", wish(tail="cd34"))
        assert second["t"] == "busy"
        time.sleep(0.2)
    assert second["step"] == "start"
    assert (second["who"], second["id"], second["kind"], second["target"]) == ("marco@laptop", switch()["id"], "switch", "b")
    assert not (box.actions / wish(tail="cd34")["id"]).exists()
    (listed,) = box.call("list", {})
    assert listed["running"]
    assert box.one("cancel", {"id": switch()["id"]})["t"] == "cancelling"
    assert box.one("cancel", {"id": wish(tail="zz99")["id"]})["t"] == "error"
    # the start of a.service on the way back takes as long: enough to see that the way back has begun
    process = box.stream("follow", {"id": switch()["id"]})
    assert process.stdout
    for line in said(process.stdout):
        if line.get("name") == "undo-start":
            break
    assert box.unit("b.service") == "inactive"


def test_a_cancel_does_not_wait_for_an_engine_that_answers_without_end(box: Box) -> None:
    for name, state in (("a.service", "active"), ("b.service", "inactive"), ("f.service", "active")):
        box.unit(name, state)
    wished = switch()
    with dripping("slow body") as engine:
        wished["plan"]["modes"][1].update(url=engine.url, engine="vllm")
        assert box.one("start", wished)["t"] == "started"
        assert engine.asked.wait(PATIENCE_SECONDS)
        assert box.one("cancel", {"id": wished["id"]})["t"] == "cancelling"
        assert outcome(box.follow(wished["id"]))[0] == "cancelled"
        assert not engine.tired.is_set(), "it was not the engine that ended it"
    assert box.unit("a.service") == "active"
    assert box.one("start", wish(tail="cd34"))["t"] == "started", "nobody holds the lock any more"


def test_client_gone_runner_stays(box: Box) -> None:
    process = box.stream("start", wish())
    assert process.stdout and process.stdin
    next(said(process.stdout))
    process.kill()
    assert outcome(box.follow())[0] == "done"


def test_killed_runner_is_lost(box: Box) -> None:
    assert box.one("start", wish(), DROP_SECONDS="30")["t"] == "started"
    process = box.stream("follow", {"id": ""})
    assert process.stdout
    for line in said(process.stdout):
        if line.get("name") == "drop-caches":
            break
    os.kill(box.runner(wish()["id"]), signal.SIGKILL)
    rest = list(said(process.stdout))
    assert [line["t"] for line in rest] == ["lost"]
    (listed,) = box.call("list", {})
    assert outcome(listed["lines"]) == ("lost", "its runner was killed in the middle of it")
    assert listed["running"] is False
    assert box.one("start", wish(tail="cd34"))["t"] == "started"  # the lock went with the process
    assert outcome(box.follow(wish(tail="cd34")["id"]))[0] == "done"


def hold(tail: str, to: str = "b", **plan: Any) -> dict[str, Any]:
    whole = switch(tail, to)
    return {**whole, "plan": {**whole["plan"], "hold": ["x.timer"], "drop_caches": False, **plan}}


def begin_and_kill(box: Box, wished: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner killed while the new mode starts, with a timer held."""
    box.unit("a.service", "active"), box.unit("b.service", "inactive"), box.unit("f.service", "active")
    box.unit("x.timer", "active")
    slow = box.path / "bin" / "systemctl"
    slow.write_text(SYSTEMCTL.replace('start) sleep "${START_SECONDS:-0}"', "start) [ $1 = x.timer ] || sleep 20"))
    assert box.one("start", wished)["t"] == "started"
    end = time.monotonic() + PATIENCE_SECONDS
    while '"name":"start","state":"running"' not in (box.actions / wished["id"] / "receipt.jsonl").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert box.unit("x.timer") == "inactive"


def test_guard_releases_what_a_killed_runner_held(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    wished = hold("ab12")
    begin_and_kill(box, wished, monkeypatch)
    os.kill(box.runner(wished["id"]), signal.SIGKILL)
    lines = box.follow(wished["id"])
    assert lines[-1]["t"] == "lost" and lines[-1]["holds"] == []
    assert [line["services"] for line in lines if line["t"] == "released"] == [["x.timer"]]
    assert box.unit("x.timer") == "active"


def test_what_no_guard_released_is_told_and_released_first_of_all(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    wished = hold("ab12")
    begin_and_kill(box, wished, monkeypatch)
    for number in reversed(box.runners(wished["id"])):  # the guard first, as in a power cut
        os.kill(number, signal.SIGKILL)
    lines = box.follow(wished["id"])
    assert "holds left: x.timer" in lines[-1]["reason"]
    (listed,) = box.call("list", {"limit": 10})
    assert listed["lines"][-1]["holds"] == ["x.timer"]
    assert box.one("start", wish(tail="ab13"))["t"] == "started"
    lines = box.follow(wish(tail="ab13")["id"])
    assert next(line["name"] for line in lines if line["t"] == "step") == "release"
    assert box.unit("x.timer") == "active"
    lost = next(line for line in box.call("list", {"limit": 10}) if line["id"] == wished["id"])
    assert lost["lines"][-1]["holds"] == []


def test_request_is_kept_without_values(box: Box) -> None:
    box.unit("a.service", "active"), box.unit("b.service", "active"), box.unit("f.service", "active")
    script = box.path / "bin" / "switch.sh"
    script.write_text("#!/bin/sh\nprintf '\\033[1mto %s\\033[0m\\n' $1; systemctl stop a.service\n")
    script.chmod(0o755)
    wished = switch()
    wished["plan"]["drop_caches"] = False
    wished["plan"]["modes"][1].update(switch=[str(script), "b"], switch_env={"KEY": "correcthorse"})
    assert box.one("start", wished)["t"] == "started"
    lines = box.follow()
    assert outcome(lines)[0] == "done", outcome(lines)
    assert "to b" in [line["text"] for line in lines if line["t"] == "line"]
    assert "correcthorse" not in str(lines)
    assert "correcthorse" not in (box.actions / wished["id"] / "request.json").read_text()


def test_term_is_a_cancel(box: Box) -> None:
    assert box.one("start", wish("backup", service="job.service"), START_SECONDS="0")["t"] == "started"
    assert outcome(box.follow())[0] == "failed"  # there is no such unit
    box.unit("job.service", "inactive")
    assert box.one("start", wish("backup", "cd34", service="job.service"))["t"] == "started"
    os.kill(box.runner(wish("backup", "cd34")["id"]), signal.SIGTERM)
    assert outcome(box.follow(wish("backup", "cd34")["id"]))[0] == "cancelled"


@pytest.mark.parametrize("verb", ["follow", "probe", "logs"])
def test_long_verbs_end_with_standard_input(box: Box, verb: str) -> None:
    assert box.one("start", wish(), DROP_SECONDS="150")["t"] == "started"
    (box.path / "bin" / "journalctl").write_text("#!/bin/sh\nexec sleep 150\n")
    process = box.stream(verb, {"id": "", "service": "a.service", "services": ["a.service"], "follow": True})
    assert process.stdin and process.stdout
    time.sleep(0.5)
    assert process.poll() is None
    process.stdin.close()
    process.wait(PATIENCE_SECONDS)  # long before what it waited for ends


def test_probe_takes_another_pace_while_it_runs(box: Box) -> None:
    process = box.stream("probe", {"services": [], "interval": 60.0})
    assert process.stdin and process.stdout
    while next(said(process.stdout))["t"] != "beat":
        pass
    process.stdin.write(b'not json\n{"interval":0.2}\n')
    process.stdin.flush()
    while next(said(process.stdout))["t"] != "beat":
        pass
    process.stdin.close()
    process.wait(PATIENCE_SECONDS)


def test_another_pace_is_taken_at_once_and_what_is_none_changes_nothing() -> None:
    pace = Pace(60.0, Gpus())
    pace.hear(b'{"interval": 0.2}')
    pace.wait()  # for nothing
    assert pace.heard
    pace.hear(b"not json")
    pace.wait()  # for a fifth of a second
    assert not pace.heard


def test_probe_tells_changes(box: Box) -> None:
    box.unit("a.service", "inactive")
    process = box.stream("probe", {"services": ["a.service", "none.service"], "interval": 0.4})
    assert process.stdout
    seen: list[dict[str, Any]] = []

    def wait_for(kind: str) -> dict[str, Any]:
        assert process.stdout
        while True:
            line = next(said(process.stdout))
            seen.append(line)
            if line["t"] == kind:
                return dict(line)

    assert wait_for("hello")["user"]
    first = wait_for("services")["services"]
    assert [(s["name"], s["active"]) for s in first] == [("a.service", "inactive"), ("none.service", "missing")]
    assert set(first[0]) == {
        "name",
        "active",
        "sub",
        "result",
        "since",
        "restarts",
        "pid",
        "memory",
        "description",
        "load",
        "status",
        "next",
        "kept",
    }
    assert wait_for("memory")["available"] > 0
    assert wait_for("action")["id"] is None
    box.unit("a.service", "active")
    changed = wait_for("services")["services"]
    assert [(s["name"], s["active"], s["pid"]) for s in changed] == [("a.service", "active", 77)]
    box.one("start", wish(), DROP_SECONDS="3")
    held = wait_for("action")
    assert held["id"] == wish()["id"]
    assert held["who"] == "marco@laptop"


def test_rights(box: Box) -> None:
    lines = box.call("rights", {"commands": [["/usr/bin/systemctl", "start", "x.service"]]})
    assert lines[0]["t"] == "rights"
    assert lines[0]["uid"] == 1234 and (lines[1]["number"], lines[1]["by"]) == (0, "sudo")


def test_missing_right_is_a_sentence(box: Box) -> None:
    (box.path / "bin" / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
    assert box.one("start", wish())["t"] == "started"
    result, reason = outcome(box.follow())
    assert result == "failed"
    assert (
        reason
        == "1234 may not run `tee /proc/sys/vm/drop_caches` on spark (a password is required); `sovtui doctor` says what helps"
    )


@pytest.mark.parametrize(
    ("verb", "request_"),
    [
        ("start", {"v": 1}),
        ("logs", {"service": "a;b"}),
        ("probe", {"services": ["-x"]}),
        ("follow", {"id": "../x"}),
        ("cancel", {}),
    ],
)
def test_nonsense_is_an_error_line(box: Box, verb: str, request_: dict[str, Any]) -> None:
    assert box.call(verb, request_)[-1]["t"] == "error"


def test_the_probes_first_figures_come_before_it_is_given_anything(box: Box) -> None:
    argv, data = box.words("probe", {"services": []})
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=box.env) as process:
        assert process.stdin and process.stdout
        first = next(said(process.stdout))
        assert first["t"] == "memory" and first["total"] > first["available"] > 0
        process.stdin.write(data)
        process.stdin.flush()
        assert next(said(process.stdout))["t"] == "hello"
        process.stdin.close()


def test_follow_of_nothing(box: Box) -> None:
    assert box.one("follow", {"id": ""})["t"] == "error"
    assert box.call("list", {}) == []


def test_payload_is_small_and_made_once() -> None:
    assert len(bundle.payload("probe")) < 25_000
    assert len(bundle.payload("start")) < 82_500
    assert bundle.payload("start") is bundle.payload("start")
    argv = bundle.call("probe").argv
    assert argv[:3] == ["python3", "-IS", "-c"]
    assert len(argv[3]) < 1700
    assert bundle.call("probe").marker != bundle.call("probe").marker, "nobody can know it beforehand"


def test_old_python_says_so() -> None:
    compile(bundle.LOADER, "loader", "exec")
    old = bundle.LOADER.replace("(3, 9)", "(9, 9)")
    done = subprocess.run([sys.executable, "-c", old, "0123456789abcdef", "probe"], capture_output=True, input=b"")
    assert "Python 3.9 or newer" in answers(done.stdout)[-1]["reason"]


def test_what_lies_where_receipts_belong_is_told_and_not_taken_for_an_action(box: Box) -> None:
    box.actions.parent.mkdir(parents=True)
    box.actions.touch()
    said = box.one("start", wish())
    assert said["t"] == "error" and "cannot be written" in said["reason"], said
