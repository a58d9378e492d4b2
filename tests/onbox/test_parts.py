"""The smaller parts of what runs on the box: requests, rights, causes, chores, parsers, lock, receipts."""

from __future__ import annotations

import ast
import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import box as machine_box
from sovtui.onbox import journal, keeping, launch, lock, locking, permission, receipt, rights, services, signatures
from sovtui.onbox.names import BadRequest, check_id, check_service, kind_of
from sovtui.onbox.plan import parse
from sovtui.onbox.words import Step
from tests.onbox.world import World, box, play, request

ONBOX = Path(__file__).parents[2] / "sovtui" / "onbox"
RAW = {
    "v": 1,
    "id": "20261120T161300Z-drop-caches-ab12",
    "kind": "drop-caches",
    "target": "",
    "who": "w",
    "host": "h",
    "plan": {},
}


def raw(**changes: object) -> dict[str, object]:
    return {**RAW, **changes}


# -- the whole ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(ONBOX.glob("*.py")), ids=lambda p: p.name)
def test_python_39_and_standard_library(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source, feature_version=(3, 9))
    assert len(source.splitlines()) < 440
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.split(".")[0] in {*sys.stdlib_module_names, "sovtui"}, name
            assert not name.startswith("sovtui") or name.startswith("sovtui.onbox"), name


@pytest.mark.parametrize(
    "name",
    [
        "machine",
        "switching",
        "switchstate",
        "preflight",
        "clearing",
        "loading",
        "failing",
        "undoing",
        "ending",
        "weighing",
        "forecast",
        "chores",
        "judge",
        "plan",
        "words",
        "work",
        "rights",
        "signatures",
        "asking",
        "loaded",
        "models",
    ],
)
def test_pure(name: str) -> None:
    tree = ast.parse((ONBOX / f"{name}.py").read_text())
    used = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    used |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not used & {"os", "time", "subprocess", "asyncio", "socket", "threading", "io", "pathlib"}
    of_dates = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and ast.unparse(n.value) in ("datetime", "date")}
    assert not of_dates & {"now", "utcnow", "today"}, "a clock"


# -- requests ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["a.service", "vllm@qwen.service", "user:x.service", "container:web-1", "a", r"dev-disk\x2d1.service"]
)
def test_good_service_names(name: str) -> None:
    assert check_service(name) == name


@pytest.mark.parametrize(
    "name", ["", "-x.service", "a b", "a;b", "../x", "user:-x", "container:--rm", "a\n", "a$b", 5, None, "x" * 300, "user:user:x"]
)
def test_bad_service_names(name: object) -> None:
    with pytest.raises(BadRequest):
        check_service(name)


@pytest.mark.parametrize("value", ["", "../../etc", "20261120T161300Z-switch-", "x/y", None, "20261120T161300Z-switch-ab12/.."])
def test_bad_ids(value: object) -> None:
    with pytest.raises(BadRequest):
        check_id(value)


@pytest.mark.parametrize(
    "bad",
    [
        [],
        raw(v=2),
        raw(kind="reboot"),
        raw(plan=[]),
        raw(more=1),
        raw(plan={"to": "x"}),
        raw(who="a\x1b[31m"),
        raw(kind="switch", plan={"to": "nosuch"}),
        raw(kind="switch", plan={"to": "a", "modes": [{"name": "a", "services": []}]}),
        raw(kind="switch", plan={"to": "none", "modes": [{"name": "none", "services": ["x"]}]}),
        raw(kind="switch", plan={"to": "none", "ready_timeout_s": -1}),
        raw(kind="switch", plan={"to": "none", "rollback": "yes"}),
        raw(kind="switch", plan={"to": "none", "modes": [{"name": "a", "url": "file:///x"}]}),
        raw(kind="backup", plan={}),
        raw(kind="restart", plan={"service": "a b"}),
    ],
)
def test_bad_requests(bad: object) -> None:
    with pytest.raises(BadRequest):
        parse(bad)


def test_kind_of() -> None:
    assert kind_of("x") == ("system", "x.service")
    assert kind_of("user:x.timer") == ("user", "x.timer")
    assert kind_of("container:x") == ("container", "x")
    assert kind_of("compose:x") == ("compose", "x")


# -- rights ------------------------------------------------------------------------------------------


def test_privileged_commands() -> None:
    b = {"name": "b", "services": ["b.service", "user:c", "container:d"], "url": "http://127.0.0.1:1"}
    modes = [{"name": "a", "services": ["a"]}, b]
    wish = raw(kind="switch", plan={"to": "b", "modes": modes, "floor": ["f.service"]})
    assert [" ".join(c) for c in rights.privileged_commands(wish)] == [
        "/usr/bin/systemctl stop a.service",
        "/usr/bin/systemctl start a.service",
        "/usr/bin/systemctl reset-failed a.service",
        "/usr/bin/systemctl start b.service",
        "/usr/bin/systemctl reset-failed b.service",
        "/usr/bin/systemctl stop b.service",
        "/usr/bin/systemctl kill --signal=SIGKILL b.service",  # of who answers nowhere nobody knows that it hangs
        "/usr/bin/tee /proc/sys/vm/drop_caches",
    ]
    assert rights.privileged_commands(RAW) == [["/usr/bin/tee", "/proc/sys/vm/drop_caches"]]
    assert rights.privileged_commands(raw(kind="restart", plan={"service": "user:x"})) == []


# What sudo 1.9.13 said on Debian 12 to `-l COMMAND` and to `-D NOWHERE COMMAND`, and what it then did with the command.
PASSWORD, LISTED = "sudo: a password is required\n", "/usr/bin/systemctl start x.service\n"
NO_FOLDER = "sudo: you are not permitted to use the -D option with /usr/bin/systemctl\n"
TTY = "sudo: sorry, you must have a tty to run sudo\n"
GONE = f"sudo: unable to change directory to {permission.NOWHERE}: No such file or directory\nsudo: unable to execute /usr/bin/systemctl\n"


@pytest.mark.parametrize(
    ("version", "listed", "asked", "ok", "words"),
    [
        ("1.9.13p3", (0, LISTED, ""), (1, "", NO_FOLDER), True, ""),
        ("1.9.13p3", (0, LISTED, ""), (1, "", GONE), True, ""),  # CWD=*
        ("1.9.13p3", (0, LISTED, ""), (1, "", PASSWORD), False, "a password is required"),  # a later entry wants one
        ("1.9.13p3", (0, LISTED, ""), (1, "", TTY), False, "sorry, you must have a tty to run sudo"),
        ("1.9.13p3", (1, "", PASSWORD), (1, "", NO_FOLDER), True, ""),  # listpw=always, or !authenticate for this command
        ("1.9.13p3", (1, "", PASSWORD), (1, "", PASSWORD), False, "a password is required"),
        ("1.9.13p3", (1, "", ""), (1, "", NO_FOLDER), False, "sudo does not allow it"),  # ALL, !COMMAND
        ("1.9.13p3", (0, LISTED, ""), (124, "", "sudo did not answer within 15 s"), None, "did not answer"),
        ("1.9.13p3", (0, LISTED, ""), (0, "", ""), None, "does not answer"),
        ("1.8.31", (0, LISTED, ""), (1, "", "sudo: invalid option -- 'D'"), None, "only sudo 1.9.3"),
        ("1.8.31", (1, "", PASSWORD), (1, "", ""), False, "a password is required"),
    ],
)
@pytest.mark.truth(of="sudo, polkit, users")
def test_what_sudo_is_understood_to_say(
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    listed: tuple[int, str, str],
    asked: tuple[int, str, str],
    ok: bool | None,
    words: str,
) -> None:
    ran: list[list[str]] = []

    def command(argv: list[str], timeout: float) -> tuple[int, str, str]:
        ran.append(argv)
        return (0, f"Sudo version {version}\n", "") if "-V" in argv else listed if "-l" in argv else asked

    monkeypatch.setattr("sovtui.onbox.box.command", command)
    told = permission.by_sudo(["/usr/bin/systemctl", "start", "x.service"], permission.version())
    assert told.ok is ok and words in told.words
    assert all("-V" in argv or "-l" in argv or permission.NOWHERE in argv for argv in ran), "nothing is run"


@pytest.mark.truth(of="sudo, polkit, users")
def test_without_sudo_and_with_another_program_of_that_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"-V": (127, "", "sudo: not found")}
    monkeypatch.setattr("sovtui.onbox.box.command", lambda argv, timeout: answers.get(argv[1], (0, "", "")))
    assert permission.by_sudo(["/x"], permission.version()) == permission.Told(False, "there is no sudo")
    answers["-V"] = (0, "sudo-rs 0.2.5\n", "")
    assert permission.by_sudo(["/x"], permission.version()).ok is None


@pytest.mark.parametrize(
    ("errors", "ok"),
    [
        ("Call failed: --job-mode=triggering is only valid for stop.", True),
        ("Call failed: Isolate is only valid for start.", True),
        ("Call failed: Interactive authentication required.", False),
        ("Call failed: Access denied", False),
        ("Call failed: Job mode triggering invalid", None),  # a systemd before 246
        ("Failed to connect to bus: No such file or directory", None),
    ],
)
@pytest.mark.truth(of="sudo, polkit, users")
def test_what_systemd_is_understood_to_say_of_polkit(monkeypatch: pytest.MonkeyPatch, errors: str, ok: bool | None) -> None:
    monkeypatch.setattr("sovtui.onbox.box.command", lambda argv, timeout: (1, "", errors + "\n"))
    assert permission.by_polkit("start", "x.service").ok is ok


# -- causes ------------------------------------------------------------------------------------------

CAPTURES = Path(__file__).parents[1] / "data" / "vllm"


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("kv-cache-too-small", "the context is too long"),
        ("kv-space-over-memory", "not enough memory for the KV cache"),
        ("max-model-len-too-large", "cannot do a context that long"),
        ("missing-weight-file", "download of the model is not complete"),
        ("no-such-model-dir", "no model at that path"),
        ("port-in-use", "its port is taken"),
        ("unknown-flag", "a flag that the engine does not know"),
    ],
)
def test_causes_of_captured_failures(name: str, meaning: str) -> None:
    lines = (CAPTURES / f"0.32.0-fail-{name}.log").read_text(errors="replace").splitlines()
    assert meaning in signatures.find_cause([line.partition("]: ")[2] for line in lines])


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 17000.00 MiB on device 0: cudaMalloc failed: out of memory",
            "not enough GPU memory",
        ),
        ("start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080", "its port is taken by another process"),
        (
            "gguf_init_from_file: failed to open GGUF file '/srv/m.gguf' (No such file or directory)",
            "there is no model at that path",
        ),
        ("error: invalid argument: --flash-attnn", "the unit passes a flag that the engine does not know"),
        ("srv    load_model: failed to load model, '/srv/m.gguf'", "the model could not be loaded"),
        ("Error: model requires more system memory (20.1 GiB) than is available (9.9 GiB)", "not enough memory for the model"),
    ],
)
def test_causes_of_other_engines(line: str, meaning: str) -> None:
    assert signatures.find_cause(["main: loading model", line, "main: exiting due to model loading error"]).startswith(meaning)


def test_our_own_looks_are_noise_in_every_journal() -> None:
    for line in (
        "srv  log_server_r: done request: GET /slots 127.0.0.1 200",
        "srv  log_server_r: done request: GET /health 127.0.0.1 200",
        '[GIN] 2026/11/20 - 14:30:02 | 200 | 1.2ms | 127.0.0.1 | GET      "/api/ps"',
        'INFO:     127.0.0.1:4000 - "GET /health/liveliness HTTP/1.1" 200 OK',
    ):
        assert signatures.is_noise(line), line
    assert not signatures.is_noise('[GIN] 2026/11/20 - 14:30:02 | 200 | 1.2s | 127.0.0.1 | POST     "/api/generate"')
    assert not signatures.is_noise("srv  log_server_r: done request: POST /v1/chat/completions 127.0.0.1 200")


def test_cause_since_the_last_start() -> None:
    lines = [
        "Started x.",
        "ValueError: old",
        "Started x.",
        "RuntimeError: Engine core initialization failed. x",
        "KeyError: 'new'",
    ]
    assert signatures.find_cause(lines) == "KeyError: 'new'"
    assert signatures.find_cause(["Started x.", "all is well"]) == ""
    assert signatures.find_cause([]) == ""


def test_last_error() -> None:
    lines = [
        "Starting Backup...",
        "repository opened",
        "Fatal: unable to open repository",
        "x.service: Deactivated successfully.",
    ]
    assert signatures.last_error(lines) == "Fatal: unable to open repository"


# -- chores ------------------------------------------------------------------------------------------


def test_drop_caches() -> None:
    story = play(box(), request("drop-caches", to=""))
    assert story.outcome == "done"
    assert "page cache dropped" in story.reason
    assert story.names() == ["preflight", "drop-caches"]
    assert [f.when for f in story.figures] == ["before", "after"]


def test_drop_caches_without_rights() -> None:
    world = box()
    world.missing = ("no",)
    story = play(world, request("drop-caches", to=""))
    assert (story.outcome, story.reason, world.drops) == ("failed", "no", 0)


@pytest.mark.parametrize("bad", [True, False])
def test_backup(bad: bool) -> None:
    world = box()
    if not bad:
        world.services["job.service"].lines = []
    story = play(world, request("backup", to="nas", service="job.service"))
    assert story.outcome == ("failed" if bad else "done"), story.reason
    assert ("Fatal: unable to open repository" in story.reason) is bad
    assert len(story.figures) == 2


@pytest.mark.truth(of="systemd")
def test_backup_that_runs_already() -> None:
    world = box().start_up("job.service")
    assert "is already running" in play(world, request("backup", to="nas", service="job.service")).reason


def test_backup_cancelled() -> None:
    story = play(box(), request("backup", to="nas", service="job.service"), cancel_at="backup")
    assert story.outcome == "cancelled"


@pytest.mark.parametrize(("fate", "outcome"), [("", "done"), ("fail", "failed"), ("restart", "failed"), ("exit0", "failed")])
def test_restart(fate: str, outcome: str) -> None:
    world = box(a=fate)
    story = play(world, request("restart", to="a", service="a.service"))
    assert story.outcome == outcome, story.reason


@pytest.mark.truth(of="systemd")
def test_restart_never_loads_a_second_mode() -> None:
    story = play(box(), request("restart", to="b", service="b.service"))
    assert story.outcome == "failed"
    assert "switch to b instead" in story.reason
    assert story.world.commands == []


def test_restart_of_an_unknown_unit() -> None:
    assert "does not exist" in play(box(), request("restart", to="q", service="q.service")).reason


@pytest.mark.parametrize("kind", ["drop-caches", "backup", "restart"])
def test_chores_cancelled_at_once(kind: str) -> None:
    plan: dict[str, Any] = {} if kind == "drop-caches" else {"service": "job.service" if kind == "backup" else "a.service"}
    world: World = box()
    story = play(world, request(kind, to="", **plan), cancel_at="preflight")
    assert story.outcome == "cancelled"
    assert world.commands == []


def test_steps_are_closed() -> None:
    story = play(box(b="fail"), request())
    opened: list[str] = []
    for step in story.steps:
        assert isinstance(step, Step)
        if step.state == "running":
            if step.name not in opened:
                opened.append(step.name)
        elif step.name in opened:
            opened.remove(step.name)
    assert opened == []


# -- parsers -----------------------------------------------------------------------------------------

BLOCK = """Id=x.service
MainPID=12
NRestarts=3
LoadState=loaded
ActiveState=active
SubState=running
Result=success
MemoryCurrent=18446744073709551615
Description=A = B
StateChangeTimestamp=Fri 2026-11-20 09:00:00 UTC
ControlGroup=/system.slice/x.service
ExecMainStatus=0
Job=0"""


def test_unit() -> None:
    told = services._unit("x", BLOCK)
    assert (told["pid"], told["restarts"], told["memory"], told["description"]) == (12, 3, None, "A = B")
    assert told["since"] == 1795165200.0
    missing = services._unit("y", "LoadState=not-found\nActiveState=inactive\nResult=success\nMemoryCurrent=[not set]")
    assert (missing["active"], missing["memory"], missing["since"], missing["pid"]) == ("missing", None, None, None)
    queued = services._unit("z", "LoadState=loaded\nActiveState=inactive\nJob=77")
    assert queued["active"] == "activating"


@pytest.mark.truth(of="systemd")
def test_a_timers_next_run_is_the_earlier_of_its_two_clocks() -> None:
    timer = "LoadState=loaded\nActiveState=active\nNextElapseUSecRealtime={}\nNextElapseUSecMonotonic={}"

    def told(realtime: str, monotonic: str) -> float | None:
        found = services._unit("x.timer", timer.format(realtime, monotonic))["next"]
        assert found is None or isinstance(found, float)
        return found

    assert told("Fri 2026-11-20 09:00:00 UTC", "infinity") == 1795165200.0
    assert told("", "infinity") is None and told("", "0") is None
    boot = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    assert told("", "1d 2h 3min 4.5s") == pytest.approx(boot + 86400 + 7200 + 180 + 4.5, abs=1.5)
    assert told("Fri 2126-11-20 09:00:00 UTC", "5min 250ms") == pytest.approx(boot + 300.25, abs=1.5)
    assert services._unit("x.service", BLOCK)["next"] is None


def test_a_journal_until_a_moment() -> None:
    unit = journal.argv("a.service", 40, None, False, 1795165200.5)
    assert "--until=@1795165200.500000" in unit and "--lines=40" in unit and "--follow" not in unit
    container = journal.argv("container:web", 40, 1795165000.0, False, 1795165200.5)
    assert container[container.index("--until") + 1] == "1795165200.500" and "--tail" not in container
    assert container[container.index("--since") + 1] == "1795165000.000"


def test_journal_lines() -> None:
    def one(**entry: object) -> object:
        line = journal.decode(json.dumps(entry).encode(), False)
        return line and (line["at"], line["text"], line["priority"])

    assert one(MESSAGE="x", PRIORITY="6", __REALTIME_TIMESTAMP="1795165200000000") == (1795165200.0, "x", 6)
    assert one(MESSAGE=[104, 105, 255]) == (None, "hi�", None)
    assert one(MESSAGE=["first", "second"], PRIORITY=["6", "3"]) == (None, "first\nsecond", 3)
    assert one(MESSAGE=["a", [98, 1, 99], None]) == (None, "a\nb\x01c", None)
    assert one(MESSAGE=None) == (None, "", None)
    assert one(MESSAGE="a 1%\ra 2%\r") == (None, "a 2%", None)
    assert journal.decode(b"{torn", False) is None


def test_since() -> None:
    before = time.time()
    assert before <= (journal.since_unix("2h30m") or 0) + 9000 <= time.time()
    assert journal.since_unix("2026-11-20T09:00:00Z") == 1795165200.0
    assert journal.since_unix("2026-11-20 09:00") == 1795165200.0
    assert journal.since_unix("--all") is None


def test_a_look_is_never_older_than_the_command_that_was_told_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow look that began before `start` returned must not tell afterwards that the service is down."""
    import threading

    from sovtui.onbox import effects
    from sovtui.onbox.authority import Authority
    from sovtui.onbox.things import Unit
    from sovtui.onbox.words import Look, Looked, Ran, Run

    state, looking, go_on = {"active": "inactive"}, threading.Event(), threading.Event()

    def units(names: tuple[str, ...]) -> tuple[tuple[Unit, ...], str]:
        seen = state["active"]
        looking.set()
        assert go_on.wait(60)
        return tuple(Unit(name, seen) for name in names), ""

    def control(self: object, verb: str, service: str) -> tuple[bool, str]:
        state["active"] = "active"
        return True, ""

    monkeypatch.setattr(services, "units", units)
    monkeypatch.setattr(Authority, "control", control)
    hands = effects.Hands(parse(raw()))
    hands.perform(Look(("a.service",)))
    assert looking.wait(60)
    hands.perform(Run("start", "a.service"))
    assert isinstance(hands.take(), Ran)
    go_on.set()
    seen = hands.take()
    assert isinstance(seen, Looked) and seen.unit("a.service").active == "active"


# -- lock and receipt --------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOVTUI_LOCK", str(tmp_path / "lock"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    """Where a unit names a script, another user's pipe may lie."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    assert [machine_box.read(str(tmp_path / name)) for name in ("pipe", "", "none", "file")] == ["", "", "", "x"]


def test_lock(state: Path) -> None:
    assert lock.holder() is None
    held = locking.take()
    assert held
    assert lock.holder() == {}
    held.tell({"who": "m", "id": "i", "step": "gone", "odd": [1]})
    assert lock.holder() == {"who": "m", "id": "i", "step": "gone"}
    Path(lock.own()).write_text('{"id": "i", "step": "start"}: "before"}')  # as it is between writing and cutting off
    assert lock.holder() == {"id": "i", "step": "start"}
    assert locking.take(0.05) is None
    held.release()
    assert lock.holder() is None
    again = locking.take()
    assert again
    assert (state / "lock").stat().st_mode & 0o777 == 0o666
    again.release()


def test_lock_survives_nonsense_in_its_file(state: Path) -> None:
    (state / "lock").write_text("[1,2")
    held = locking.take()
    assert held
    assert lock.holder() == {}
    held.release()


def test_lock_follows_no_link(state: Path) -> None:
    (state / "victim").write_text("x")
    (state / "lock").symlink_to(state / "victim")
    held = locking.take()
    assert held and held.passed == [f"the lock {state}/lock is passed over: it is a link"]
    held.tell({"id": "i"})
    held.release()
    assert (state / "victim").read_text() == "x"


def test_receipt(state: Path) -> None:
    writer = receipt.Writer(str(state))
    writer.write("begin", id="i", kind="switch")
    for n in range(receipt.MAX_LINES + 50):
        writer.line("u", f"line {n} api_key=abcdefgh")
    writer.line("u", "ValueError: bad", bad=True)
    writer.close()
    with (state / "receipt.jsonl").open("a") as file:
        file.write('{"t":"en')
    lines = receipt.read(str(state))
    assert len(lines) == receipt.MAX_LINES + 2
    assert lines[-1]["text"] == "ValueError: bad"
    assert "abcdefgh" not in (state / "receipt.jsonl").read_text()
    assert not receipt.has_ended(lines)
    short = receipt.summary(lines, 20)
    assert len(short) == 21
    assert short[0]["t"] == "begin"


class FullDisk:
    """No room for the receipt until the reserve goes (`reserve`), or until `freed`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, reserve: bool) -> None:
        self.folder, self.reserve, self.full = folder, reserve, False
        really = os.write

        def write(descriptor: int, data: bytes) -> int:
            ours = os.path.realpath(f"/proc/self/fd/{descriptor}").endswith("receipt.jsonl")
            if ours and self.full and not (self.reserve and not (self.folder / "reserve").exists()):
                if len(data) > 10:
                    return really(descriptor, data[:7])  # what still fitted
                raise OSError(errno.ENOSPC, "No space left on device")
            return really(descriptor, data)

        monkeypatch.setattr(os, "write", write)
        monkeypatch.setattr(keeping, "set_aside", lambda *_: None)  # a file system that cannot


def test_room_behind_the_receipt_is_its_own_and_is_given_back(state: Path) -> None:
    path = state / "receipt.jsonl"
    writer = receipt.Writer(str(state))
    if (state / "reserve").exists():
        pytest.skip("this file system sets no room aside behind a file")
    writer.write("begin", id="i", kind="switch")
    assert path.stat().st_blocks * 512 >= receipt.RESERVE > path.stat().st_size
    for number in range(300):
        writer.line("u", f"{number} {'x' * 900}")
        assert path.stat().st_blocks * 512 >= path.stat().st_size + receipt.RESERVE // 2, "room for the end, whatever a unit says"
    writer.close()
    assert path.stat().st_blocks * 512 < path.stat().st_size + receipt.RESERVE // 2
    assert len(receipt.read(str(state))) == 301


@pytest.mark.parametrize("apart_seconds", [1.0, 0.0])
def test_what_is_held_is_told_in_the_order_of_what_happened(
    state: Path, monkeypatch: pytest.MonkeyPatch, apart_seconds: float
) -> None:
    """Whatever the clock says, and however soon one comes after the other."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    now = time.time()
    for number, (at, what) in enumerate(
        ((now, "held"), (now - 3600, "released"), (now - 7200, "held"), (now - 3000, "released"))
    ):
        monkeypatch.setattr(time, "time", lambda at=at: at)  # the clock is set back, twice
        monkeypatch.setattr(time, "monotonic", lambda number=number: 100.0 + number * apart_seconds)
        folder = Path(receipt.folder(f"20261120T16130{number}Z-switch-ab12"))
        folder.mkdir(parents=True)
        writer = receipt.Writer(str(folder))
        writer.write(what, services=["x.timer"])
        writer.close()
        assert receipt.leftovers() == (("x.timer",) if what == "held" else ())


def test_receipt_on_a_disk_that_fills_up_goes_on_in_its_reserve(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(state, monkeypatch, reserve=True)
    writer = receipt.Writer(str(state))
    writer.write("begin", id="i", kind="switch")
    disk.full = True
    writer.write("step", name="stop", state="running")
    writer.line("u", "left out: the room is for the steps")
    writer.write("end", outcome="done")
    writer.close()
    assert [line["t"] for line in receipt.read(str(state))] == ["begin", "step", "end"]


def test_receipt_waits_for_room_and_is_whole_then(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FullDisk(state, monkeypatch, reserve=False)
    writer = receipt.Writer(str(state))
    writer.write("begin", id="i", kind="switch")
    disk.full = True
    writer.write("step", name="stop", state="running")  # never raises: the switch goes on
    writer.write("step", name="stop", state="done")
    disk.full = False
    writer.write("end", outcome="done")
    writer.close()
    assert [line["t"] for line in receipt.read(str(state))] == ["begin", "step", "step", "end"]
    assert not (state / "reserve").exists()


def test_reserve_of_a_killed_runner_is_taken_away(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    folder = Path(receipt.folder("20261120T161300Z-switch-ab12"))
    folder.mkdir(parents=True)
    monkeypatch.setattr(keeping, "set_aside", lambda *_: None)
    receipt.Writer(str(folder)).write("begin", id="i", kind="switch")
    (folder / "runner.py").touch()
    assert (folder / "reserve").exists()
    launch._prune()
    assert not (folder / "reserve").exists()
    assert receipt.read(str(folder))


def test_alive_across_processes(state: Path) -> None:
    code = f"import sys,time; sys.path.insert(0,{str(ONBOX.parents[1])!r}); from sovtui.onbox import receipt; d=receipt.stay_alive({str(state)!r}); print(1,flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    assert receipt.alive(str(state))
    process.kill()
    process.communicate()
    assert not receipt.alive(str(state))
