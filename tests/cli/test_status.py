"""What status prints: the JSON contract, one screen of text, and what is not known."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from sovtui.cli import documents, output
from sovtui.config.load import loads
from sovtui.config.specs import host_specs
from sovtui.core.events import BackupsSeen, EngineSeen, LinkChanged, Samples, SourceChanged, Tick
from sovtui.core.model import Backup, Engine, EnginePhase, Link, LinkPhase, Part, Source
from sovtui.core.state import State, initial, reduce
from tests.cli.conftest import Command
from tests.fakes.hub import NOW, healthy, run

UP = {"mgmt": LinkChanged("mgmt", Link(LinkPhase.UP, "ssh", "ops@mgmt", NOW))}


def document(command: Command, *words: str) -> Any:
    told = command("status", "--json", *words)
    assert told.code == 0 and told.err == "", told.err
    return json.loads(told.out)


def test_the_keys_of_the_document(command: Command) -> None:
    whole = document(command)
    assert set(whole) == {
        "version",
        "at",
        "demo",
        "read_only",
        "issues",
        "hosts",
        "alerts_at",
        "alerts_untold",
        "alerts",
        "sources",
    }
    assert whole["version"] == 1 and whole["at"] == "2026-11-20T20:00:00+00:00"
    host = whole["hosts"][0]
    assert set(host) == {
        "name",
        "role",
        "link",
        "modes",
        "engines",
        "memory",
        "cpu",
        "disks",
        "gpu",
        "services",
        "backups",
        "action",
    }
    assert {k: host["link"][k] for k in ("phase", "reason", "latency_seconds")} == {
        "phase": "up",
        "reason": "",
        "latency_seconds": 0.023,
    }
    qwen = host["modes"][0]
    assert set(qwen) == {"name", "title", "key", "heat", "hot", "busy", "reason", "model", "seen_at"}
    assert (qwen["name"], qwen["heat"], qwen["hot"], qwen["busy"], qwen["model"]) == ("qwen", "hot", True, False, None)
    decode = host["engines"][0]["figures"]["engine.decode_tok_s"]
    assert decode == {"value": 0.0, "status": "fresh", "age_seconds": 0.0, "source": "engine", "reason": ""}
    assert host["memory"]["memory.total_bytes"]["value"] == 128e9
    assert host["gpu"] == [{"id": "0", **host["gpu"][0]}]
    assert host["gpu"][0]["gpu.use_ratio"]["value"] == 0.87
    broken = next(s for s in host["services"] if s["name"] == "broken.service")
    assert (broken["active"], broken["result"], broken["restarts"]) == ("failed", "exit-code", 3)
    assert (host["backups"][0]["late"], host["backups"][0]["age_seconds"]) == (False, 32400.0)
    assert whole["alerts"][0]["fingerprint"] == "0123456789abcdef"
    assert whole["sources"][0]["ok"] is True


def test_absent_is_null_with_its_status_never_zero(command: Command) -> None:
    host = document(command)["hosts"][0]
    waiting = host["engines"][0]["figures"]["engine.kv_use_ratio"]
    assert waiting["value"] is None and waiting["status"] == "unknown" and waiting["age_seconds"] is None
    management = document(command)["hosts"][1]
    assert management["memory"]["memory.total_bytes"]["value"] is None
    assert management["action"] is None


def test_a_stale_figure_says_so(command: Command) -> None:
    command.events = [*healthy()]
    command.options = {}
    stale = healthy()
    samples = next(e for e in stale if isinstance(e, Samples))
    assert samples is not None
    stale.append(Tick(NOW + timedelta(seconds=40)))
    command.events = stale
    host = document(command)["hosts"][0]
    assert host["memory"]["memory.available_bytes"]["status"] == "stale"
    assert host["memory"]["memory.available_bytes"]["age_seconds"] == 40.0
    assert "~40s" in command("status").out


def test_hostile_text_is_inert_in_both(command: Command) -> None:
    for words in (("status",), ("status", "--json"), ("alerts",), ("alerts", "--json")):
        told = command(*words)
        assert all(c == "\n" or 32 <= ord(c) < 127 for c in told.out), words


def test_one_screen_of_text_at_most_80_columns(command: Command) -> None:
    command.events = [*healthy(busy=True), LinkChanged("mgmt", Link(LinkPhase.DOWN, "ssh", "ops@mgmt", reason="no route " * 30))]
    told = command("status")
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) <= 80
    assert len(told.out.splitlines()) < 50
    for part in (
        "spark",
        "qwen",
        "busy",
        "57.2 tok/s of 57",
        "87 %",
        "broken.service failed",
        "restarted 3 times",
        "9h ago, in time",
        "3 active",
        "0123",
    ):
        assert part in told.out, part


def test_a_box_that_cannot_be_reached_is_exit_3_and_still_printed(command: Command) -> None:
    command.events = [
        *healthy(),
        LinkChanged("spark", Link(LinkPhase.DOWN, "ssh", "ops@spark", reason="the connection was lost")),
    ]
    told = command("status", "--json")
    assert told.code == 3
    assert json.loads(told.out)["hosts"][0]["link"]["reason"] == "the connection was lost"
    assert "spark cannot be reached: the connection was lost." in told.err


def test_a_management_host_that_is_down_matters_only_if_it_was_asked_for(command: Command) -> None:
    command.events = [*healthy(), LinkChanged("mgmt", Link(LinkPhase.DOWN, "ssh", "ops@mgmt", reason="no route"))]
    assert command("status").code == 0
    told = command("status", "--host", "mgmt")
    assert told.code == 3 and "spark" not in told.out
    assert command.asked[-1]["only_host"] == "mgmt"


def test_unknown_host_names_the_nearest(command: Command) -> None:
    told = command("status", "--host", "sparc")
    assert (told.code, told.out) == (2, "") and "did you mean `spark`?" in told.err


def test_options_count_before_and_after_the_command(command: Command) -> None:
    assert command("--host", "spark", "--read-only", "status").code == 0
    assert command.asked[-1] | {"ask": None} == {
        "read_only": True,
        "ask": None,
        "only_host": "spark",
        "interactive": False,
        "notes": (),
        "found": None,
        "history": True,
    }
    command("status", "--read-only", "--host", "spark")
    assert command.asked[-1]["read_only"] is True and command.asked[-1]["only_host"] == "spark"


def test_alerts(command: Command) -> None:
    told = command("alerts")
    assert told.code == 0 and told.out.count("DiskFull") == 2 and "no answer" in told.out
    listed = json.loads(command("alerts", "--json").out)
    assert [a["name"] for a in listed] == ["EngineDown", "DiskFull", "DiskFull"]
    assert set(listed[0]) == {
        "fingerprint", "name", "severity", "state", "since", "summary", "pulse", "told_by", "labels", "silences",
    }  # fmt: skip


def test_alertmanager_that_does_not_answer_is_exit_3(command: Command) -> None:
    command.events = [*healthy(), SourceChanged(Source("alertmanager", "", False, "nothing answers at 127.0.0.1:9093"))]
    told = command("alerts")
    assert (told.code, told.out) == (3, "") and "9093" in told.err
    told = command("alerts", config='[host.a]\nlink = "local"\n')
    assert told.code == 2 and "[alertmanager]" in told.err


def test_receipts(command: Command) -> None:
    command.options = {"receipts": {"spark": (run("done", "done", 12.0), run())}}
    told = command("actions")
    assert told.code == 0 and "switch qwen  done  12 s" in told.out and "me@phone" in told.out
    listed = json.loads(command("actions", "--json").out)
    assert (listed[0]["host"], listed[0]["outcome"], listed[1]["running"]) == ("spark", "done", True)
    command.options = {}
    told = command("actions")
    assert (told.code, told.out) == (0, "") and "No action has run" in told.err


def test_the_hub_is_closed(command: Command) -> None:
    command("status")
    assert command.hub is not None and command.hub.closed
    assert isinstance(command.hub.state, State)


@pytest.mark.parametrize("guessed", [False, True])
def test_an_engine_beside_the_modes_and_what_is_behind_it(guessed: bool) -> None:
    config = loads(
        '[host.box]\n[[host.box.engine]]\nname = "router"\nengine = "litellm"\nurl = "http://127.0.0.1:4000"\n',
        engines=("litellm",),
    )
    part = Part("chat: local", "cooldown", True, "local", ends_at=NOW + timedelta(seconds=90), ends_guessed=guessed)
    said = Engine(EnginePhase.READY, ("chat",), reason="1 in cooldown of 1 deployments", parts=(part,))
    state = reduce(initial(host_specs(config), NOW), EngineSeen("box", "router", said))
    (engine,) = documents.status(state, state.hosts.values())["hosts"][0]["engines"]
    assert (engine["mode"], engine["name"], engine["engine"], engine["strain"]) == (None, "router", "litellm", None)
    assert engine["parts"][0]["ends_at"] == documents.moment(part.ends_at) and engine["parts"][0]["size_bytes"] is None
    assert engine["parts"][0]["ends_guessed"] is guessed
    told = output.status(state, state.hosts.values())
    assert (
        "router: litellm ready, decode" in told
        and f"chat: local: cooldown, {'perhaps ' if guessed else ''}until" in told
        and "2 min" not in told.split("cooldown")[0]
    )


def test_a_spilled_model_is_said_with_its_share() -> None:
    config = loads(
        '[host.box]\n[[host.box.mode]]\nname = "m"\nengine = "ollama"\nurl = "http://127.0.0.1:11434"\n', engines=("ollama",)
    )
    part = Part("m:latest", "spilled", True, "33 %", size_bytes=3 << 30, accelerator_bytes=2 << 30, pinned=True)
    said = Engine(EnginePhase.SPILLED, ("m:latest",), reason="33 % of m:latest on the CPU", parts=(part,))
    state = reduce(initial(host_specs(config), NOW), EngineSeen("box", "m", said))
    told = output.status(state, state.hosts.values())
    assert "spilled: 33 % of m:latest on the CPU" in told and "33 % on the CPU, pinned, 3.00 GiB" in told
    (engine,) = documents.status(state, state.hosts.values())["hosts"][0]["engines"]
    assert (engine["strain"], engine["phase"], engine["mode"]) == ("spilled", "spilled", "m")


def test_what_a_server_says_at_the_login_is_narration(command: Command) -> None:
    said = ("Authorized use only.", "Approve: https://login.example/1")
    command.events = [*healthy(), LinkChanged("mgmt", Link(LinkPhase.UP, "ssh", "ops@mgmt", NOW, said=said))]
    told = command("status", "--json")
    assert told.err == "mgmt says:\n  Authorized use only.\n  Approve: https://login.example/1\n"
    assert json.loads(told.out)["version"] == 1


@pytest.mark.truth(of="one-shot commands and states")
def test_who_was_not_waited_for_is_named(command: Command) -> None:
    command.options = {"slow": ("prometheus", "engines of spark")}
    told = command("status")
    assert told.code == 0 and "Not waited for any longer after 30 s: prometheus, engines of spark." in told.err
    assert "Not waited for" in command("doctor").err
    assert "Not waited for" not in command("alerts").err, "that does what it is to do without them"


@pytest.mark.truth(of="one-shot commands and states")
def test_what_a_lost_host_last_was_is_told_with_its_age(command: Command) -> None:
    away = LinkChanged("spark", Link(LinkPhase.DOWN, "ssh", "ops@spark", NOW, reason="no answer"))
    command.events = [
        *healthy(),
        away,
        SourceChanged(Source("alertmanager", "", False, "no answer")),
        Tick(NOW + timedelta(seconds=40)),
    ]
    told = command("status").out
    assert "qwen           hot ~40s" in told and "qwen: vllm ready ~40s" in told and "3 active ~40s" in told
    (qwen, *_) = json.loads(command("status", "--json").out)["hosts"][0]["modes"]
    assert (qwen["heat"], qwen["seen_at"]) == ("hot", "2026-11-20T20:00:00+00:00")


def test_a_backup_whose_start_was_skipped(command: Command) -> None:
    """Its last good one stays what it was; that the newest start was no run is said everywhere."""
    why = "ConditionACPower=true was not met"
    command.events.append(
        BackupsSeen("spark", (Backup("nas", "nas.service", 93600.0, NOW - timedelta(hours=9), "skipped", NOW, skipped=why),))
    )
    backup = document(command)["hosts"][0]["backups"][0]
    assert (backup["last_result"], backup["skipped"], backup["age_seconds"], backup["late"]) == ("skipped", why, 32400.0, False)
    told = " ".join(command("status").out.split())
    assert f"nas: last success 9h ago, in time, last start skipped, because {why}" in told
    assert "backup nas was skipped" in told
    assert f"?   spark: backup nas: its last start was skipped, because {why}" in command("doctor").out
