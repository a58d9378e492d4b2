"""Load, unload, pin, free: the real machine against a pretended Ollama and ComfyUI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sovtui.onbox import asking, loaded
from sovtui.onbox.names import BadRequest
from sovtui.onbox.rights import commands_of
from tests.box.pretend_loader import Comfyui, Llamaswap, Ollama
from tests.onbox.world import GIB, WALL, Service, Story, World, box, play, request

SMALL, BIG = "llama3.1:8b", "qwen2.5-coder:32b"
ENGINE = {"name": "ollama", "services": ["ollama.service"], "url": "http://x:9", "engine": "ollama", "model": ""}
SWAPPED = "qwen/qwen3-8b:q4"
SWAP = {"name": "swap", "services": ["llama-swap.service"], "url": "http://x:7", "engine": "llamaswap", "model": ""}
COMFY = {"name": "pictures", "services": [], "url": "http://x:8", "engine": "comfyui", "model": ""}


def world(ollama: Ollama | None = None, comfy: Comfyui | None = None) -> World:
    """A box whose mode a is hot, with a 12 GB card, an Ollama and a ComfyUI beside it."""
    made = box()
    made.services["ollama.service"] = Service("ollama.service", lines=['msg="load_tensors: loading model tensors"'])
    made.start_up("ollama.service")
    made.loaders = {"http://x:9": ollama or Ollama({SMALL: 4.9e9, BIG: 19e9}, load_seconds=3.0), "http://x:8": comfy or Comfyui()}
    made.gpu = (10.5 * GIB, 0.5 * GIB)
    return made


def run(
    kind: str, on: World, model: str = SMALL, consent: dict[str, bool] | None = None, cancel_at: str = "", **plan: Any
) -> Story:
    engine = COMFY if kind == "free" else ENGINE
    whole = {"engine": engine, **({} if kind == "free" else {"model": model}), **plan}
    return play(on, request(kind, consent=consent, **whole), cancel_at=cancel_at)


def ollama_of(on: World) -> Ollama:
    found = on.loaders["http://x:9"]
    assert isinstance(found, Ollama)
    return found


def test_load_is_asked_for_seen_and_told() -> None:
    on = world()
    story = run("load", on, needs_bytes=4.9e9)
    assert (story.outcome, story.reason) == ("done", f"{SMALL} is loaded, 5.0 GiB")
    assert story.names() == ["preflight", "load"] and [f.when for f in story.figures] == ["before", "after"]
    assert "needs 4.6 GiB; 10.5 GiB of GPU memory are free: it fits" in story.steps[1].detail
    assert on.commands == [], "no unit was touched"
    assert ollama_of(on).loaded[SMALL][1] - WALL - on.now < 310  # its own five minutes
    assert story.lines and any(step.detail == "loading weights" for step in story.steps)


def test_how_long_it_stays_can_be_said() -> None:
    on = world()
    assert run("load", on, keep_s=7200).outcome == "done"
    assert 7100 < ollama_of(on).loaded[SMALL][1] - WALL - on.now < 7300


def test_pin_keeps_it_for_ever_and_unload_lets_it_go() -> None:
    on = world()
    story = run("pin", on)
    assert story.outcome == "done" and story.reason.endswith("and stays until it is unloaded")
    assert run("pin", on).outcome == "done", "one that is loaded is not weighed again"
    story = run("unload", on)
    assert (story.outcome, story.reason) == ("done", f"{SMALL} is unloaded: 5.0 GiB came back")
    assert ollama_of(on).loaded == {}


def test_a_name_without_a_tag_means_latest() -> None:
    on = world(Ollama({"nomic:latest": 3e8}))
    ollama_of(on).models["nomic"] = 3e8
    assert loaded.find((loaded.Held("nomic:latest"),), "nomic") is not None
    assert loaded.find((loaded.Held("org/nomic:q4"),), "org/nomic") is None


def test_what_does_not_fit_is_refused_before_anything_is_asked() -> None:
    on = world()
    story = run("load", on, BIG, needs_bytes=19e9)
    assert story.outcome == "refused" and "does not fit, short by 7.2 GiB" in story.reason and "confirm it" in story.reason
    assert ("POST", "/api/generate") not in ollama_of(on).asked
    agreed = run("load", world(), BIG, consent={"not_fitting": True}, needs_bytes=19e9)
    assert agreed.outcome == "warned" and "43 % of it on the CPU" in agreed.reason


def test_a_busy_engine_refuses_a_load_and_not_an_unload() -> None:
    on = world()
    on.services["a.service"].requests = 2
    story = run("load", on)
    assert story.outcome == "refused" and "a is busy" in story.reason
    assert run("load", on, consent={"busy": True}).outcome == "done"
    assert run("unload", on).outcome == "done"


def test_a_request_that_runs_ends_before_its_model_goes() -> None:
    on = world()
    run("load", on)
    ollama_of(on).working.add(SMALL)
    story = run("unload", on)
    assert story.outcome == "warned" and "unloaded when its request ends" in story.reason
    on = world()
    run("load", on)
    ollama_of(on).working.add(SMALL)
    on.at(4.0, ollama_of(on).working.clear)
    assert run("unload", on).outcome == "done"


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("unknown", "it answers 404: model 'nosuch' not found"),
        ("down", "cannot be asked what it has loaded: it did not answer"),
        ("stopped", "ollama.service does not run"),
        ("other", "what it says is not understood"),
    ],
)
def test_what_cannot_be_done_says_why(what: str, says: str) -> None:
    on = world()
    if what == "down":
        del on.loaders["http://x:9"]
    elif what == "stopped":
        on.die(on.services["ollama.service"], "inactive")
    elif what == "other":
        on.loaders["http://x:9"].answer = lambda *_: (200, "hello")  # type: ignore[method-assign]
    story = run("load", on, "nosuch" if what == "unknown" else SMALL)
    assert story.outcome == "failed" and says in story.reason


def test_yes_without_an_effect_is_not_believed() -> None:
    on = world()
    ollama_of(on).deaf = True
    story = run("load", on)
    assert story.outcome == "warned" and f"{SMALL} is not in memory" in story.reason


def test_a_load_that_takes_too_long_says_so() -> None:
    on = world(Ollama({SMALL: 4.9e9}, load_seconds=500))
    story = run("load", on, timeout_s=60)
    assert story.outcome == "failed" and "did not answer within 1 min" in story.reason


def test_a_cancelled_load_is_unloaded_again() -> None:
    on = world()
    story = run("load", on, cancel_at="load")
    assert story.outcome == "cancelled" and "was unloaded again" in story.reason and ollama_of(on).loaded == {}
    early = run("load", world(), cancel_at="preflight")
    assert early.outcome == "cancelled" and "before anything was changed" in early.reason


def test_a_cancelled_pin_of_a_loaded_model_leaves_it_loaded() -> None:
    on = world()
    run("load", on)
    run("pin", on, cancel_at="pin")
    assert SMALL in ollama_of(on).loaded


def test_free_gives_memory_back_and_never_cuts_a_picture_off() -> None:
    story = run("free", world())
    assert (story.outcome, story.reason) == ("done", "6.5 GiB of GPU memory came back")
    busy = run("free", world(comfy=Comfyui(queue=2)))
    assert busy.outcome == "done" and "once the 2 prompts in its queue have ended" in busy.reason
    deaf = Comfyui()
    deaf.deaf = True
    assert run("free", world(comfy=deaf)).outcome == "warned"
    assert run("free", world(comfy=Comfyui(held=0))).reason == "it held nothing"


def swap_box(swap: Llamaswap) -> World:
    on = world()
    on.services["llama-swap.service"] = Service("llama-swap.service")
    on.start_up("llama-swap.service")
    on.loaders["http://x:7"] = swap
    return on


def run_swap(kind: str, on: World, model: str = SWAPPED, consent: dict[str, bool] | None = None, cancel_at: str = "") -> Story:
    return play(on, request(kind, consent=consent, engine=SWAP, model=model), cancel_at=cancel_at)


def test_llama_swap_loads_by_being_asked_for_its_server_and_its_list_is_the_proof() -> None:
    swap = Llamaswap(SWAPPED, "gpt-oss-120b", load_seconds=3.0)
    on = swap_box(swap)
    story = run_swap("load", on)
    assert (story.outcome, story.reason) == ("done", f"{SWAPPED} is loaded")
    assert ("GET", "/upstream/qwen/qwen3-8b%3Aq4/") in swap.asked and on.commands == []
    assert run_swap("load", on, "gpt-oss-120b").outcome == "done" and swap.state == {"gpt-oss-120b": "ready"}
    story = run_swap("unload", on, "gpt-oss-120b")
    assert (story.outcome, story.reason, swap.state) == ("done", "gpt-oss-120b is unloaded", {})


def test_llama_swap_does_not_wait_so_a_busy_one_is_unloaded_only_when_that_was_agreed() -> None:
    swap = Llamaswap(SWAPPED)
    on = swap_box(swap)
    run_swap("load", on)
    swap.working = {SWAPPED: 2}
    on.services["llama-swap.service"].requests = 2
    story = run_swap("unload", on)
    assert story.outcome == "refused" and "swap is busy" in story.reason and swap.cut_off == 0
    assert not [path for _, path in swap.asked if "unload" in path]
    assert run_swap("unload", on, consent={"busy": True}).outcome == "done" and swap.cut_off == 2


@pytest.mark.parametrize(
    ("fault", "outcome", "says"),
    [
        ("unknown", "failed", "it answers 404: llama-swap: model not found"),
        ("broken", "failed", "it answers 502: llama-swap: upstream command exited prematurely"),
        ("deaf", "warned", f"{SWAPPED} is not in memory"),
        ("busy elsewhere", "refused", "a is busy"),
    ],
)
def test_what_llama_swap_cannot_do_says_why(fault: str, outcome: str, says: str) -> None:
    swap = Llamaswap() if fault == "unknown" else Llamaswap(SWAPPED)
    on = swap_box(swap)
    swap.broken, swap.deaf = {SWAPPED} if fault == "broken" else set(), fault == "deaf"
    on.services["a.service"].requests = 2.0 if fault == "busy elsewhere" else 0.0
    story = run_swap("load", on)
    assert story.outcome == outcome and says in story.reason


def test_a_cancelled_load_of_llama_swap_is_unloaded_again() -> None:
    swap = Llamaswap(SWAPPED, load_seconds=3.0)
    story = run_swap("load", swap_box(swap), cancel_at="load")
    assert story.outcome == "cancelled" and "was unloaded again" in story.reason and not swap.state


def test_answers_of_llama_swap() -> None:
    running = {"running": [{"model": "a", "state": "starting"}, {"model": "b", "state": "stopping"}]}
    rows = loaded.held("llamaswap", json.dumps(running), 0.0)
    assert rows is not None and loaded.held("llamaswap", '{"models": []}', 0.0) is None
    assert loaded.proof("load", "a", (), rows) == loaded.Proof("waits", "a is still starting")
    assert loaded.proof("load", "b", (), rows).word == "waits" and loaded.proof("unload", "b", rows, rows).word == "waits"
    refusal = loaded.refusal(404, '{"src": "llama-swap", "error": {"message": "model not found"}}', "llamaswap", "load")
    assert refusal == "it answers 404: model not found"
    assert loaded.refusal(404, '{"error": "Model not found"}', "llamaswap", "load").endswith("Model not found")  # v200
    assert loaded.refusal(404, '{"error": {"message": "File Not Found"}}', "llamaswap", "load") == "", "its server's own word"
    assert loaded.refusal(404, '{"error": {"message": "File Not Found"}}', "llamaswap", "unload")
    with pytest.raises(BadRequest, match="cannot be asked to pin"):
        request("pin", engine=SWAP, model=SWAPPED)


@pytest.mark.parametrize("kind", ["load", "unload", "pin", "free"])
def test_no_rights_are_needed(kind: str) -> None:
    wish = request(kind, engine=COMFY) if kind == "free" else request(kind, engine=ENGINE, model=SMALL)
    assert commands_of(wish) == []


@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"engine": {"name": "x"}},
        {"engine": ENGINE, "model": "a\nb"},
        {"engine": ENGINE, "keep_s": -1},
        {"engine": ENGINE, "model": SMALL, "hold": []},
        {"engine": ENGINE},
        {"engine": COMFY, "model": SMALL},
        {"engine": {**ENGINE, "url": ""}, "model": SMALL},
    ],
)
def test_what_is_not_understood_is_not_done(plan: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        request("load", **plan)


@pytest.mark.parametrize("kind", ["load", "pin", "unload"])
def test_killed_after_every_event_it_leaves_nothing_half_done(kind: str) -> None:
    """Whatever is asked again afterwards is done."""
    for count in range(12):
        on = world()
        play(on, request(kind, engine=ENGINE, model=SMALL), kill_after=count)
        on.run_until(on.now + 20)
        assert run(kind, on).outcome == "done", count


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-20T13:38:31Z", 1795181911.0),
        ("2026-11-20T14:38:31.837530119+01:00", 1795181911.0),
        ("2026-11-20T08:08:31.1-05:30", 1795181911.0),
        ("2026-13-20T08:08:31Z", None),
        ("soon", None),
    ],
)
def test_moments(text: str, at: float | None) -> None:
    assert asking.moment(text) == at


def test_answers_of_the_recorded_kind() -> None:
    assert loaded.held("ollama", "[]", 0.0) is None and loaded.held("ollama", "<html>", 0.0) is None
    (row,) = (
        loaded.held("ollama", '{"models": [{"name": "m", "size": 10, "expires_at": "2318-09-06T10:00:00.1+00:00"}]}', WALL) or ()
    )
    assert row.pinned and row.on_gpu == 0.0  # a field that is zero is left out
    assert loaded.refusal(503, '{"error": "server busy"}') == "it answers 503: server busy"
    assert loaded.waiting("[]") == 0.0
