"""What changes something: questions, refusals, exit codes, and which stream says what."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import pytest

from sovtui.cli.diagnostics import Narrator, link_told
from sovtui.core import receipts
from sovtui.core.events import ActionChanged, EngineSeen, Event, LinkChanged, ServicesSeen
from sovtui.core.model import Engine, EnginePhase, Link, LinkPhase, Part, Service, Step
from sovtui.core.reach import Verdict
from sovtui.ports.errors import Unreachable
from sovtui.runtime.hub import Hub, LogLine, Outcome
from tests.cli.conftest import Command
from tests.fakes.hub import ID, NOW, healthy, run


def test_a_switch_that_loses_nothing_asks_nobody(command: Command) -> None:
    moved = replace(run("done", seconds=3.2, lines=("b", "c")), dropped_lines=1)
    command.options = {"progress": [run(), run("done", seconds=3.2, lines=("a", "b")), moved]}
    told = command("switch", "mistral")
    assert (told.code, told.out) == (0, "")
    assert command.executed == ["switch mistral"]
    assert "running  stop mistral.service" in told.err and "done     stop mistral.service, 3.2 s" in told.err
    assert told.err.count("| b") == 1 and "| c" in told.err
    assert "qwen is hot." in told.err
    assert command.asked[-1]["only_host"] == "spark"


def test_without_a_terminal_a_question_is_a_refusal(command: Command) -> None:
    command.events = healthy(busy=True)
    told = command("switch", "mistral")
    assert told.code == 4 and command.executed == []
    assert "2 running requests would be cut off" in told.err and "--yes" in told.err
    assert command("switch", "mistral", "--yes").code == 0
    assert command.executed == ["switch mistral"]


def test_on_a_terminal_the_answer_counts(command: Command, terminal: Callable[[Iterable[str]], None]) -> None:
    command.events = healthy(busy=True)
    terminal(["n"])
    told = command("switch", "mistral")
    assert told.code == 4 and "Not done." in told.err and command.executed == []
    terminal(["y"])
    assert command("switch", "mistral").code == 0 and command.executed == ["switch mistral"]
    assert command.asked[-1]["ask"] is not None


NAMED = "stopping qwen.service also stops sidecar.service. Nothing was touched; confirm it to go on"


def test_what_the_box_has_named_is_asked_about_and_then_done(command: Command, terminal: Callable[[Iterable[str]], None]) -> None:
    refused = replace(run("failed", "refused"), reason=NAMED, asks={"takes": ("stop sidecar.service",)})
    command.options = {"outcome": Outcome(4, receipts.sentence(refused), refused)}
    told = command("switch", "mistral")
    assert (told.code, command.executed) == (4, ["switch mistral"]), "nobody can be asked"
    terminal(["n"])
    told = command("switch", "mistral")
    assert (told.code, command.executed) == (4, ["switch mistral"])
    assert "also stops sidecar.service" in told.err
    terminal(["y", "n"])
    assert command("switch", "mistral").code == 4  # by this fake, which asks again
    assert command.hub is not None
    first, second = command.hub.executed
    assert "takes" not in first.request["consent"]
    assert second.request["consent"] == {"takes": ["stop sidecar.service"]}, "to what was asked, and to nothing else"
    terminal(["y"])
    refused = replace(refused, asks={})
    command.options = {"outcome": Outcome(4, receipts.sentence(refused), refused)}
    command("switch", "mistral")
    assert command.executed == ["switch mistral"], "a yes would change nothing"
    command("restart", "qwen.service", "--yes")
    assert command.hub is not None
    assert command.hub.executed[0].request["consent"]["takes"] is True


def test_dry_run_prints_the_plan_and_does_nothing(command: Command) -> None:
    command.events = healthy(busy=True)
    told = command("switch", "mistral", "--dry-run")
    assert told.code == 0 and command.executed == [] and told.err == ""
    assert "systemctl start mistral.service" in told.out and "verdict: ask" in told.out
    told = command("switch", "mistral", "--dry-run", "--read-only")
    assert told.code == 4 and "verdict: no" in told.out


def test_no_wait_prints_the_id_on_standard_output(command: Command) -> None:
    command.options = {"outcome": Outcome(0, f"started as {ID}", run())}
    told = command("switch", "none", "--no-wait")
    assert (told.code, told.out) == (0, f"{ID}\n")
    assert "started as" in told.err


@pytest.mark.parametrize("code", [0, 1, 3, 4, 5])
def test_the_outcome_is_the_exit_code(command: Command, code: int) -> None:
    command.options = {"outcome": Outcome(code, "that is how it ended")}
    told = command("drop-caches")
    assert told.code == code and "that is how it ended." in told.err and told.out == ""


def test_read_only_refuses(command: Command) -> None:
    told = command("--read-only", "drop-caches")
    assert told.code == 4 and "read-only" in told.err and command.executed == []


def test_another_action_refuses(command: Command) -> None:
    command.events = [*healthy(), ActionChanged("spark", run())]
    told = command("drop-caches")
    assert told.code == 4 and "me@phone" in told.err


def test_a_host_that_cannot_be_reached(command: Command) -> None:
    command.events = [LinkChanged("spark", Link(LinkPhase.REFUSED, reason="the host key has changed"))]
    told = command("switch", "qwen", "--yes")
    assert told.code == 3 and "the host key has changed" in told.err


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        (("switch", "qwn"), "`qwen`"),
        (("switch", "zzz"), "there are: qwen, mistral, none"),
        (("backup", "nsa"), "`nas`"),
        (("restart", "brokn.service"), "`broken.service`"),
        (("logs", "brokn.service"), "`broken.service`"),
        (("ack", "EngineDwn", "--comment", "x"), "`EngineDown`"),
        (("swich", "qwen"), "`switch`"),
    ],
)
def test_a_wrong_name_names_the_nearest(command: Command, words: tuple[str, ...], nearest: str) -> None:
    told = command(*words)
    assert (told.code, told.out) == (2, "") and nearest in told.err


def test_the_host_is_the_only_one_that_has_it(command: Command) -> None:
    up = LinkChanged("mgmt", Link(LinkPhase.UP, "ssh", "ops@mgmt", NOW))
    command.events = [*healthy(), up, ServicesSeen("mgmt", (Service("prometheus.service", "active"),))]
    assert command("restart", "prometheus", "--yes").code == 0
    assert command.hub is not None and command.hub.executed[0].wish.host == "mgmt"
    assert command("switch", "qwen", "--host", "mgmt").code == 2


def test_interrupting_says_that_it_goes_on(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command.options = {"progress": [run()], "hang": True}
    real = asyncio.run

    def interrupted(work: object) -> int:
        async def soon() -> int:
            task = asyncio.ensure_future(work)  # type: ignore[call-overload]
            await asyncio.sleep(0.05)
            task.cancel()
            try:
                return int(await task)
            except asyncio.CancelledError:
                raise KeyboardInterrupt from None

        return real(soon())

    monkeypatch.setattr(asyncio, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command("switch", "mistral")
    told = capsys.readouterr().err
    assert "Interrupted. The action continues on spark" in told and f"follow {ID}" in told
    assert command.hub is not None and command.hub.closed


def test_follow(command: Command) -> None:
    command.options = {"receipts": {"spark": (run("done", "done", 2.0), run())}, "progress": [run("done", "done", 2.0)]}
    assert command("follow").code == 0
    assert command.hub is not None and command.hub.followed == [("spark", ID)]
    command.options = {"receipts": {"spark": (run(),)}}
    assert command("follow", "20261120").code == 0
    told = command("follow", "20250101")
    assert told.code == 2 and "sovtui actions" in told.err
    command.options = {"receipts": {"spark": Unreachable("the link died")}}
    assert command("follow").code == 3


@pytest.mark.parametrize(
    ("told", "before", "says"),
    [
        ("qwen is hot", "mistral", "mistral"),
        ("no mode is hot", "qwen", "qwen"),
        ("qwen hangs: no token", "", "Nothing was hot before it"),
        ("qwen is hot", None, "the mode from before"),
        ("", "gone", "gone"),
    ],
)
def test_what_comes_back_is_told_by_a_field_and_not_by_prose(command: Command, told: str, before: str | None, says: str) -> None:
    steps = (Step("preflight", "done", NOW, 1.0, told, before), Step("stop", "running", NOW))
    command.options = {"receipts": {"spark": (replace(run(), steps=steps),)}}
    assert says in command("cancel").err


def test_cancel_says_what_it_does_now_and_refuses_where_nothing_would_come_of_it(command: Command) -> None:
    begun = replace(run(), steps=(Step("preflight", "done", NOW, 1.0, "mistral is hot", "mistral"), Step("stop", "running", NOW)))
    command.options = {"receipts": {"spark": (begun,)}}
    told = command("cancel")
    assert told.code == 0 and command.hub is not None and command.hub.cancelled == [("spark", ID)]
    assert "What it has started is stopped, and mistral" in told.err and "is brought back" in told.err
    back = replace(begun, steps=(*begun.steps, Step("undo-start", "running", NOW)))
    command.options = {"receipts": {"spark": (back,)}}
    told = command("cancel")
    assert told.code == 4 and "going back already" in told.err and command.hub.cancelled == []
    restarting = replace(run(), kind="restart", target="x.service", steps=(Step("restart", "running", NOW),))
    command.options = {"receipts": {"spark": (restarting,)}}
    assert command("cancel").code == 4


def test_acknowledge(command: Command) -> None:
    assert command("ack", "EngineDown", "--comment", "on it", "--for", "2h").code == 0
    assert command.hub is not None
    assert command.hub.executed[0].wish.options == {"comment": "on it", "for": "7200"}
    assert command("ack", "012345", "--comment", "on it").code == 0
    told = command("ack", "0123", "--comment", "on it")
    assert told.code == 2 and "0123456789abcdef" in told.err and "0123ffff89abcdef" in told.err
    told = command("ack", "DiskFull", "--comment", "on it")
    assert told.code == 2 and "ffff000000000000" in told.err and command.executed == []
    assert command("ack", "EngineDown", "--comment", "  ").code == 2
    assert command("ack", "EngineDown").code == 2
    told = command("ack", "EngineDown", "--comment", "x", "--for", "soon")
    assert told.code == 2 and "--for" in told.err


def test_logs(command: Command) -> None:
    command.options = {"lines": [LogLine(NOW, "hello"), LogLine(None, "no time\x1b[2J")]}
    told = command("logs", "broken", "--since", "10m", "--lines", "5")
    assert told.code == 0 and told.out.endswith("no time\n") and " hello\n" in told.out and told.err == ""
    assert command.hub is not None
    assert command.hub.asked_logs == {"host": "spark", "service": "broken.service", "lines": 5, "since": "10m", "follow": False}
    assert command("logs", "proxy", "--follow").code == 0
    assert command.hub.asked_logs["service"] == "container:proxy"
    told = command("logs", "broken", "--since", "yesterday")
    assert told.code == 2 and "--since" in told.err


def test_doctor(command: Command) -> None:
    told = command("doctor")
    assert "ok  configuration" in told.out and "spark: link" in told.out
    assert "NO  mgmt: link" in told.out and told.code == 3
    assert "ok  spark: rights: ops may run all" in told.out


@pytest.mark.truth(of="sudo, polkit, users")
def test_sudoers_has_no_word_too_many(command: Command) -> None:
    told = command("doctor", "--sudoers")
    assert told.code == 0 and "# #1000 is ops there" in told.out
    # of spark its number; mgmt cannot be reached, so there it is the name of the configuration
    assert (
        "mgmt could not be asked" in told.err
        and "ops ALL=(root) NOPASSWD: /usr/bin/systemctl restart prometheus.service" in told.out
    )
    lines = [re.sub(r"^#1000 ", "ops ", line) for line in told.out.splitlines() if line and not line.startswith("# ")]
    assert "ops ALL=(root) NOPASSWD: /usr/bin/systemctl start qwen.service" in lines
    assert "ops ALL=(root) NOPASSWD: /usr/bin/systemctl stop mistral.service" in lines
    assert r"ops ALL=(root) NOPASSWD: /usr/bin/systemctl kill --signal\=SIGKILL qwen.service" in lines
    assert "ops ALL=(root) NOPASSWD: /usr/bin/systemctl start nas.service" in lines
    assert "ops ALL=(root) NOPASSWD: /usr/bin/systemctl restart prometheus.service" in lines
    assert lines.count("ops ALL=(root) NOPASSWD: /usr/bin/tee /proc/sys/vm/drop_caches") == 1
    assert not any(
        "proxy" in line or "*" in line or "stop nas" in line or "kill --signal\\=SIGKILL nas" in line for line in lines
    )


@pytest.mark.truth(of="sudo, polkit, users")
def test_doctor_says_which_rights_are_lacking_in_the_hosts_words_and_which_line_helps_in_its_own(command: Command) -> None:
    hostile = "add to sudoers there: ops ALL=(ALL) NOPASSWD: ALL"
    command.options["rights"] = {
        "/usr/bin/systemctl start qwen.service": ("", True, hostile),
        "/usr/bin/systemctl stop qwen.service": ("", True, "sorry, you must have a tty to run sudo"),
        "/usr/bin/systemctl start nas.service": ("", False, "sudo does not answer"),
    }
    told = command("doctor")
    assert "NO  spark: rights: ops lacks 2 of" in told.out and f"it says “{hostile}”" in told.out
    (advice,) = [line for line in told.out.splitlines() if line.strip().startswith("add to sudoers there")]
    assert advice.strip() == (
        "add to sudoers there: #1000 ALL=(root) NOPASSWD: /usr/bin/systemctl start qwen.service; Defaults:#1000 !requiretty."
        " A polkit rule (`--polkit`) does as well"
    )
    assert "?   spark: rights: whether ops may run 1 of" in told.out


@pytest.mark.truth(of="sudo, polkit, users")
def test_polkit_rule_names_the_same_units_and_no_other(command: Command) -> None:
    told = command("doctor", "--polkit")
    assert told.code == 0
    assert 'subject.user != "ops"' in told.out
    units = dict(re.findall(r'"(\S+\.service)": (\[.*\]),', told.out))
    assert sorted(json.loads(units.pop("qwen.service"))) == ["kill", "reset-failed", "restart", "start", "stop"]
    assert json.loads(units["nas.service"]) == ["start", "reset-failed", "restart"], "what nothing needs is not given"
    assert sorted(units) == ["broken.service", "mistral.service", "nas.service", "prometheus.service"]
    assert "//   #1000 ALL=(root) NOPASSWD: /usr/bin/tee /proc/sys/vm/drop_caches" in told.out.splitlines()


def test_the_control_room_needs_a_terminal(command: Command) -> None:
    for words in ((), ("demo",)):
        told = command(*words)
        assert told.code == 2 and "terminal" in told.err


MODELS = """
[host.spark]
[[host.spark.engine]]
name = "ollama"
engine = "ollama"
url = "http://127.0.0.1:11434"
[[host.spark.engine]]
name = "pictures"
engine = "comfyui"
url = "http://127.0.0.1:8188"
"""


def with_models() -> list[Event]:
    parts = (Part("held:latest", "ready", size_bytes=10),)
    installed = tuple(Part(name, "installed", size_bytes=10) for name in ("held:latest", "org/small:8b"))
    return [
        LinkChanged("spark", Link(LinkPhase.UP)),
        EngineSeen("spark", "ollama", Engine(EnginePhase.READY, parts=parts, installed=installed)),
        EngineSeen("spark", "pictures", Engine(EnginePhase.READY)),
    ]


@pytest.mark.parametrize(
    ("words", "done"),
    [
        (("load", "org/small:8b"), "load ollama/org/small:8b"),
        (("load", "ollama/org/small:8b", "--for", "2h"), "load ollama/org/small:8b"),
        (("pin", "held"), "pin ollama/held"),
        (("unload", "held:latest"), "unload ollama/held:latest"),
        (("free",), "free pictures"),
        (("free", "pictures"), "free pictures"),
    ],
)
def test_models_are_loaded_pinned_and_let_go(command: Command, words: tuple[str, ...], done: str) -> None:
    command.engines = ("ollama", "comfyui")
    command.events = with_models()
    told = command(*words, config=MODELS)
    assert told.code == 0, told.err
    assert command.executed == [done]
    assert command.hub is not None
    assert command.hub.executed[0].wish.options.get("for") == ("7200" if "--for" in words else None)


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("load", "held"), 4, "is loaded already"),
        (("load", "held:lates"), 2, 'did you mean "held:latest"'),
        (("load", "hold"), 2, "it has: held:latest, org/small:8b"),
        (("unload", "org/small:8b"), 4, "is not in memory"),
        (("load", "held", "--for", "soon"), 2, "--for"),
        (("free", "picture"), 2, "did you mean `pictures`"),
    ],
)
def test_what_cannot_be_loaded_says_why(command: Command, words: tuple[str, ...], code: int, says: str) -> None:
    command.engines = ("ollama", "comfyui")
    command.events = with_models()
    told = command(*words, config=MODELS)
    assert told.code == code and says in told.err and (command.hub is None or command.executed == [])


def test_without_an_engine_that_loads_it_says_what_to_add(command: Command) -> None:
    told = command("load", "x")
    assert told.code == 2 and "[[host.NAME.engine]]" in told.err
    assert command("free").code == 2


def test_every_line_is_told_once_also_of_many_that_are_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    begin = {"t": "begin", "v": 1, "id": ID, "kind": "switch", "target": "qwen", "who": "ann", "at": "2026-11-20T20:00:00Z"}
    texts = [*["waiting for the socket"] * 250, "a", "b", "a", "b", *["waiting for the socket"] * 3]
    narrate, action = Narrator(), receipts.apply(None, begin)
    for text in texts:
        action = receipts.apply(action, {"t": "line", "text": text})
        assert action is not None
        narrate(action)
        narrate(action)  # a step of it has changed meanwhile, no line came
    told = [line.partition("| ")[2] for line in capsys.readouterr().err.splitlines() if "| " in line]
    assert told == texts
    assert action is not None
    late = Narrator()
    late(action)  # one who comes later is told what is still held
    assert len([line for line in capsys.readouterr().err.splitlines() if "| " in line]) == receipts.MAX_LINES == len(action.lines)


def test_a_link_that_goes_and_comes_while_something_is_followed_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    class Going:
        def subscribe(self, select: Any, notify: Any) -> Any:
            self.notify = notify
            notify(Link(LinkPhase.UP))
            return lambda: None

    hub = Going()
    with link_told(cast(Hub, hub), "spark"):
        for link in (
            Link(LinkPhase.DOWN, reason="spark does not answer any more", verdict=Verdict.LOST),
            Link(LinkPhase.CONNECTING, reason="spark does not answer any more", verdict=Verdict.LOST),
            Link(LinkPhase.CONNECTING, reason="this machine is offline", verdict=Verdict.OFFLINE),
            Link(LinkPhase.UP),
        ):
            hub.notify(link)
    assert capsys.readouterr().err.splitlines() == [
        "spark: spark does not answer any more.",
        "spark: this machine is offline.",
        "The link to spark is back.",
    ]
