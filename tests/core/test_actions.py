"""Guards: what is done at once, what is asked, what is refused and with which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.actions import all_specs
from sovtui.actions.request import agreed, asked_anew
from sovtui.actions.spec import Plan, Verdict, Wish
from sovtui.config.schema import (
    AlertmanagerConfig,
    BackupConfig,
    Bytes,
    Config,
    EngineConfig,
    HostConfig,
    ModeConfig,
    SwitchConfig,
)
from sovtui.config.specs import host_specs
from sovtui.core.events import ActionChanged, AlertsSeen, Curve, EngineSeen, LinkChanged, Sample, Samples, ServicesSeen
from sovtui.core.forecast import forecast_view
from sovtui.core.model import ActionRun, Alert, AlertState, Engine, EnginePhase, Link, LinkPhase, Part, Service, Silence
from sovtui.core.reading import fresh
from sovtui.core.state import State, initial, reduce
from sovtui.onbox.plan import parse

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
CONFIG = Config(
    host={
        "spark": HostConfig(
            mode=(
                ModeConfig(name="qwen", engine="vllm", url="http://x:1", services=("a.service",), needs=Bytes(20 * 2**30)),
                ModeConfig(name="mistral", engine="sglang", url="http://x:2", services=("b.service",), needs=Bytes(60 * 2**30)),
            ),
            switch=SwitchConfig(floor=("cpu.service",)),
            backup=(BackupConfig(name="nas", service="backup.service"),),
            watch=("other.service",),
        )
    },
    alertmanager=AlertmanagerConfig(url="http://x:3"),
)
ON_BOX = pytest.mark.parametrize(
    ("action", "target"), [("switch", "mistral"), ("drop-caches", ""), ("backup", "nas"), ("restart", "other.service")]
)


def state(*, hot: str = "qwen", available_gib: float = 100, running: float | None = 0) -> State:
    now = initial(host_specs(CONFIG), NOW)
    now = reduce(now, LinkChanged("spark", Link(LinkPhase.UP)))
    units = {"a.service": "qwen", "b.service": "mistral"}
    services = tuple(Service(name, "active" if hot == mode else "inactive") for name, mode in units.items())
    now = reduce(
        now, ServicesSeen("spark", (*services, Service("backup.service", "inactive"), Service("other.service", "active")))
    )
    if hot:
        now = reduce(now, EngineSeen("spark", hot, Engine(EnginePhase.READY)))
        if running is not None:
            now = reduce(now, Samples("spark", (Sample("engine.running", fresh(running, NOW, "prometheus"), hot),)))
    return reduce(now, Samples("spark", (Sample("memory.available_bytes", fresh(available_gib * 2**30, NOW, "probe")),)))


def plan(action: str, target: str = "", now: State | None = None, **options: str) -> Plan:
    return all_specs()[action].plan(now or state(), CONFIG, Wish("spark", target, options))


def test_resident_and_fitting_goes_at_once() -> None:
    made = plan("switch", "mistral")
    assert made.verdict is Verdict.GO
    assert made.request["plan"]["floor"] == ["cpu.service"]
    assert "systemctl start b.service" in made.commands and "systemctl stop a.service" in made.commands
    assert not any("cpu.service" in c or "other.service" in c for c in made.commands)


def test_busy_asks_with_the_number() -> None:
    made = plan("switch", "mistral", state(running=3))
    assert made.verdict is Verdict.ASK and "3 running requests would be cut off" in made.reason


def test_consent_is_what_was_asked_about() -> None:
    assert plan("switch", "mistral").request["consent"] == {}
    assert plan("switch", "mistral", state(running=3)).request["consent"] == {"busy": ["qwen"]}
    assert plan("switch", "mistral", state(available_gib=30)).request["consent"] == {"not_fitting": True}
    assert plan("switch", "mistral", consent="all").request["consent"] == {
        "busy": True,
        "not_fitting": True,
        "stuck": True,
        "takes": True,
        "beside": True,
    }


@ON_BOX
def test_a_yes_to_what_the_box_has_named_outlives_a_plan_made_anew(action: str, target: str) -> None:
    """Whatever the action is, another user's may run beside it; forgotten, the same question would come again and again."""
    asked = asked_anew(plan(action, target), {"beside": True}, "somebody runs a backup on this host")
    again = all_specs()[action].plan(state(), CONFIG, asked.wish)
    assert again.request["consent"] == asked.request["consent"] == {"beside": True}
    assert agreed(again) <= agreed(asked)


HANGS = "it was ready and no longer answers: its port takes connections, and nothing came back within 2.5 s"


def hanging(phase: EnginePhase = EnginePhase.HUNG, reason: str = HANGS) -> State:
    return reduce(state(running=None), EngineSeen("spark", "qwen", Engine(phase, reason=reason)))


def strained() -> State:
    """Its health check says that all is well: not one token for minutes, with requests in it."""
    now = state(running=3)
    samples = [Sample(f"engine.{x}_tok_s", fresh(0.0, NOW, "engine"), "qwen") for x in ("decode", "prompt")]
    now = reduce(now, Samples("spark", tuple(samples)))
    points = tuple((NOW.timestamp() - 400 + 2 * n, 0.0) for n in range(201))
    for figure in ("engine.decode_tok_s", "engine.prompt_tok_s"):
        now = reduce(now, Curve("spark", figure, "qwen", points))
    return now


def test_the_key_of_a_mode_that_hangs_says_so_and_what_happens() -> None:
    made = plan("switch", "qwen", hanging())
    assert made.verdict is Verdict.ASK and made.title == "Start qwen on spark again"
    assert made.reason.startswith(
        f"qwen hangs: {HANGS}. It is stopped, killed if it has not ended within 20 s, started again and asked"
    )
    assert made.request["plan"]["stuck"] == HANGS and made.request["consent"]["stuck"] is True
    assert any("stop a.service, and kill what has not ended within 20 s" in step for step in made.steps)
    assert "ask it for one token" in made.steps and "try once more if anything fails" in made.steps[-1]
    for command in ("stop a.service", "kill --signal=SIGKILL a.service", "start a.service"):
        assert f"systemctl {command}" in made.commands
    request = {"v": 1, "id": "20261120T161300Z-switch-ab12", "who": "t", "host": "spark", **made.request}
    assert parse(request).stuck == HANGS and parse(request).consent.stuck


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (
            hanging(EnginePhase.DEAD, "it was ready and nothing listens any more"),
            "qwen is dead: it was ready and nothing listens",
        ),
        (strained(), "qwen hangs: 3 running, and not one token for 5 min"),
    ],
)
def test_one_that_died_and_one_that_says_that_it_is_well_are_started_anew_too(now: State, says: str) -> None:
    made = plan("switch", "qwen", now)
    assert made.verdict is Verdict.ASK and made.reason.startswith(says) and made.request["plan"]["stuck"]


def test_a_healthy_one_and_one_that_starts_are_not() -> None:
    for now in (state(), state(running=3), hanging(EnginePhase.STARTING, "nothing answers on its port yet")):
        made = plan("switch", "qwen", now)
        assert "stuck" not in made.request["plan"] and made.verdict is Verdict.GO
    failed = reduce(hanging(), ServicesSeen("spark", (Service("a.service", "failed"),)))
    assert "stuck" not in plan("switch", "qwen", failed).request["plan"], "there is nothing to end"


def test_leaving_one_that_hangs_says_so_and_may_kill_it() -> None:
    made = plan("switch", "mistral", strained())
    assert made.verdict is Verdict.ASK and "qwen hangs: 3 running, and not one token" in made.reason and "busy" not in made.reason
    assert "systemctl kill --signal=SIGKILL a.service" in made.commands
    assert made.request["consent"] == {"busy": ["qwen"]}
    assert "systemctl kill --signal=SIGKILL a.service" not in plan("switch", "mistral").commands


@pytest.mark.parametrize(
    ("gib", "cached", "word", "says"),
    [
        (100, 0, "fits", "it fits"),
        (50, 40, "fits-after-drop", "it fits after dropping 40.0 GiB of page cache"),
        (30, 0, "too-small", "about 20.0 GiB come back from qwen: it does not fit, short by 10.0 GiB"),
    ],
)
def test_the_screen_sees_the_same_forecast(gib: float, cached: float, word: str, says: str) -> None:
    now = reduce(
        state(available_gib=gib), Samples("spark", (Sample("memory.droppable_bytes", fresh(cached * 2**30, NOW, "probe")),))
    )
    host = now.hosts["spark"]
    told, sentence = forecast_view(host, next(m for m in host.spec.modes if m.name == "mistral"))
    assert told == word and says in sentence
    assert forecast_view(host, next(m for m in host.spec.modes if m.name == "qwen")) == ("unknown", "")


def test_not_knowing_whether_it_is_busy_asks() -> None:
    assert plan("switch", "mistral", state(running=None)).verdict is Verdict.ASK


def test_not_fitting_asks_and_says_by_how_much() -> None:
    made = plan("switch", "mistral", state(available_gib=30))
    assert made.verdict is Verdict.ASK and "short by 10.0 GiB" in made.reason


def test_none_needs_no_configuration() -> None:
    assert plan("switch", "none").verdict is Verdict.GO


def test_unknown_names_give_the_nearest() -> None:
    made = plan("switch", "qwn")
    assert made.verdict is Verdict.NO and made.exit_code == 2 and '"qwen"' in made.reason
    assert '"nas"' in plan("backup", "nass").reason


@ON_BOX
def test_nothing_is_started_over_a_dead_link_or_beside_another_action_or_read_only(action: str, target: str) -> None:
    down = reduce(state(), LinkChanged("spark", Link(LinkPhase.DOWN, reason="connection refused")))
    refused = plan(action, target, down)
    assert refused.verdict is Verdict.NO and refused.exit_code == 3 and "connection refused" in refused.reason
    run = ActionRun("1", "switch", "qwen", "ann@phone", NOW - timedelta(seconds=90))
    busy = plan(action, target, reduce(state(), ActionChanged("spark", run)))
    assert busy.verdict is Verdict.NO and busy.exit_code == 4 and "ann@phone" in busy.reason and "1 min 30 s" in busy.reason
    assert plan(action, target, replace(state(), read_only=True)).verdict is Verdict.NO
    assert plan(action, target).verdict is not Verdict.NO


def test_restarting_the_tailnets_daemon_says_that_it_disconnects() -> None:
    watching = replace(CONFIG.host["spark"], watch=("tailscaled.service", "other.service"), tailnet="spark")
    for tailnet, words in (("spark", "It will disconnect you: the link to spark"), ("", "If the link to spark goes through")):
        config = replace(CONFIG, host={"spark": replace(watching, tailnet=tailnet)})
        now = reduce(initial(host_specs(config), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
        made = all_specs()["restart"].plan(now, config, Wish("spark", "tailscaled.service"))
        assert made.verdict is Verdict.ASK and words in made.reason
        assert "disconnect" not in all_specs()["restart"].plan(now, config, Wish("spark", "other.service")).reason


def test_a_restart_never_loads_a_second_mode() -> None:
    refused = plan("restart", "b.service")
    assert refused.verdict is Verdict.NO and "two modes" in refused.reason
    assert plan("restart", "a.service").verdict is Verdict.ASK


def test_acknowledge_needs_a_comment_and_an_active_alert() -> None:
    alert = Alert("f1", "Disk", labels=(("alertname", "Disk"),))
    firing = reduce(state(), AlertsSeen((alert,), NOW))
    assert plan("acknowledge", "f1", firing).verdict is Verdict.ASK
    assert plan("acknowledge", "f1", firing, comment="seen").verdict is Verdict.GO
    assert plan("acknowledge", "f1", firing, comment=" ").verdict is Verdict.NO
    assert plan("acknowledge", "gone", firing).verdict is Verdict.NO
    assert plan("unacknowledge", "f1", firing).verdict is Verdict.NO
    hushed = replace(alert, state=AlertState.ACKNOWLEDGED, silences=(Silence("s", "ann", "why", NOW),))
    quiet = reduce(state(), AlertsSeen((hushed,), NOW))
    assert plan("acknowledge", "f1", quiet).verdict is Verdict.NO
    assert plan("unacknowledge", "f1", quiet).verdict is Verdict.ASK


def test_ids_and_keys_are_unique() -> None:
    keys = [s.key for s in all_specs().values() if s.key]
    assert len(keys) == len(set(keys))
    assert {"switch", "drop-caches", "backup", "restart", "acknowledge", "unacknowledge"} <= set(all_specs())


# -- models ------------------------------------------------------------------------------------------

BESIDE = Config(
    host={
        "spark": HostConfig(
            mode=(ModeConfig(name="qwen", engine="vllm", url="http://x:1", services=("a.service",)),),
            engine=(
                EngineConfig(name="ollama", engine="ollama", url="http://x:9", services=("ollama.service",)),
                EngineConfig(name="router", engine="litellm", url="http://x:4"),
                EngineConfig(name="pictures", engine="comfyui", url="http://x:8"),
            ),
        )
    }
)
SMALL, BIG, HELD, FIXED = "llama3.1:8b", "qwen2.5-coder:32b", "mistral:latest", "nomic:latest"


def loading(*, phase: EnginePhase = EnginePhase.READY, running: float = 0, free_gib: float = 10.5) -> State:
    now = reduce(initial(host_specs(BESIDE), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
    now = reduce(now, ServicesSeen("spark", (Service("a.service", "active"), Service("ollama.service", "active"))))
    sizes = {SMALL: 4.9e9, BIG: 19e9, HELD: 4.4e9, FIXED: 3e8}
    installed = tuple(Part(name, "installed", size_bytes=int(size)) for name, size in sizes.items())
    installed = (*installed, Part("big-cloud", "remote"))
    parts = (Part(HELD, "ready", size_bytes=10), Part(FIXED, "ready", size_bytes=3, pinned=True))
    for name, said in (
        ("qwen", Engine(EnginePhase.READY)),
        ("ollama", Engine(phase, reason="so it is", parts=parts, installed=installed)),
        ("pictures", Engine(phase)),
    ):
        now = reduce(now, EngineSeen("spark", name, said))
    samples = [Sample("engine.running", fresh(running, NOW, "prometheus"), "qwen")]
    samples += [Sample("gpu.memory_total_bytes", fresh(11 * 2**30, NOW, "nvml"), "0")]
    samples += [Sample("gpu.memory_used_bytes", fresh((11 - free_gib) * 2**30, NOW, "nvml"), "0")]
    return reduce(now, Samples("spark", tuple(samples)))


def ask(action: str, target: str, now: State | None = None, **options: str) -> Plan:
    return all_specs()[action].plan(now or loading(), BESIDE, Wish("spark", target, options))


def test_a_load_that_fits_beside_what_rests_goes_at_once() -> None:
    made = ask("load", f"ollama/{SMALL}")
    assert made.verdict is Verdict.GO and made.title == f"Load {SMALL} in ollama on spark" and made.commands == ()
    told = made.request["plan"]
    assert (told["model"], told["needs_bytes"], told["engine"]["url"]) == (SMALL, 4_900_000_000, "http://x:9")
    assert [m["name"] for m in told["modes"]] == ["qwen", "pictures"], "the router holds no memory"
    assert "keep_s" not in told and ask("load", f"ollama/{SMALL}", None, **{"for": "600"}).request["plan"]["keep_s"] == 600
    parse({"v": 1, "id": "20261120T200000Z-load-abcd", "who": "me", "host": "spark", **made.request})


def test_what_does_not_fit_or_would_slow_others_down_is_asked() -> None:
    made = ask("load", f"ollama/{BIG}")
    assert made.verdict is Verdict.ASK and "does not fit, short by 7.2 GiB" in made.reason and "on the CPU" in made.reason
    assert made.request["consent"] == {"not_fitting": True}
    made = ask("pin", f"ollama/{SMALL}", loading(running=2))
    assert made.verdict is Verdict.ASK and "qwen is busy" in made.reason
    assert made.request["consent"] == {"busy": ["qwen"]}
    assert ask("pin", f"ollama/{HELD}", loading(running=2)).verdict is Verdict.GO, "it is loaded: nothing more is taken"


def test_unload_asks_only_about_a_pinned_model() -> None:
    assert ask("unload", f"ollama/{HELD}").verdict is Verdict.GO
    made = ask("unload", f"ollama/{FIXED}")
    assert made.verdict is Verdict.ASK and "pinned" in made.reason
    assert ask("free", "pictures").verdict is Verdict.GO


@pytest.mark.parametrize(
    ("action", "target", "exit_code", "says"),
    [
        ("load", f"ollama/{HELD}", 4, "is loaded already"),
        ("pin", f"ollama/{FIXED}", 4, "is pinned already"),
        ("unload", f"ollama/{SMALL}", 4, "is not in memory"),
        ("load", "ollama/llama3.1:8", 2, f'did you mean "{SMALL}"?'),
        ("load", "ollama/big-cloud", 2, "runs elsewhere"),
        ("load", SMALL, 2, "Engines that load models: ollama"),
        ("load", "router/x", 2, "is no ENGINE/MODEL"),
        ("free", "ollama", 2, "known: pictures"),
    ],
)
def test_what_makes_no_sense_is_refused(action: str, target: str, exit_code: int, says: str) -> None:
    made = ask(action, target)
    assert (made.verdict, made.exit_code) == (Verdict.NO, exit_code) and says in made.reason


def test_an_engine_that_does_not_serve_loads_nothing() -> None:
    for action, target in (("load", f"ollama/{SMALL}"), ("unload", f"ollama/{HELD}"), ("free", "pictures")):
        made = ask(action, target, loading(phase=EnginePhase.DEAD))
        assert made.verdict is Verdict.NO and "is not serving now" in made.reason


def test_what_can_be_chosen() -> None:
    specs, host = all_specs(), loading().hosts["spark"]
    told = {id: specs[id].targets(host) for id in ("load", "pin", "unload", "free")}  # type: ignore[misc]
    assert told["load"] == (f"ollama/{SMALL}", f"ollama/{BIG}")
    assert told["pin"] == (f"ollama/{HELD}", f"ollama/{SMALL}", f"ollama/{BIG}")
    assert told["unload"] == (f"ollama/{HELD}", f"ollama/{FIXED}") and told["free"] == ("pictures",)


def test_a_switch_needs_to_know_what_runs_a_mode() -> None:
    """Of what was started by hand, or found without a configuration, only the address is known."""
    by_hand = ModeConfig(name="hand", engine="llamacpp", url="http://x:9")
    config = Config(host={"spark": HostConfig(mode=(*CONFIG.host["spark"].mode, by_hand))})
    known = reduce(initial(host_specs(config), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
    told = all_specs()["switch"].plan(known, config, Wish("spark", "hand"))
    assert told.verdict is Verdict.NO and "services" in told.reason and "sovtui init" in told.reason
    assert all_specs()["switch"].plan(known, config, Wish("spark", "none")).verdict is not Verdict.NO
    alone = Config(host={"spark": HostConfig(mode=(by_hand,))})
    known = reduce(initial(host_specs(alone), NOW), LinkChanged("spark", Link(LinkPhase.UP)))
    for target in ("hand", "none"):
        assert all_specs()["switch"].plan(known, alone, Wish("spark", target)).verdict is Verdict.NO
