"""When an engine that serves hangs or thrashes, and when it only has a lot to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.core.activity import Activity, address_of
from sovtui.core.events import ActivitySeen, Curve, EngineSeen, Sample, Samples
from sovtui.core.model import Engine, EnginePhase, HostSpec, Mode
from sovtui.core.reading import fresh, unknown
from sovtui.core.state import State, initial, reduce
from sovtui.core.strain import Strain, strain

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
MODE = Mode("qwen", engine="llamacpp", url="http://127.0.0.1:8080/v1")
AT = "127.0.0.1:8080"


class Play:
    """Ten minutes of one engine; by default two requests run and nothing moves."""

    def __init__(self) -> None:
        self.state: State = initial((HostSpec("box", modes=(MODE,)),), NOW)
        self.put(EngineSeen("box", "qwen", Engine(EnginePhase.READY)))
        self.figures(running=2.0, waiting=0.0)
        self.curve("decode_tok_s", 0.0)
        self.curve("prompt_tok_s", 0.0)
        self.curve("kv_use_ratio", 0.3)

    def put(self, *events: object) -> None:
        for event in events:
            self.state = reduce(self.state, event)  # type: ignore[arg-type]

    def figures(self, **values: float) -> None:
        samples = (Sample(f"engine.{name}", fresh(value, NOW, "engine"), "qwen") for name, value in values.items())
        self.put(Samples("box", tuple(samples)))

    def curve(self, name: str, level: float, *, moved: float = 0.0, ago: float = 100.0) -> None:
        """`level` all the time, and `moved` more at some time."""
        points = [(NOW.timestamp() - back, level + (moved if abs(back - ago) < 2 else 0.0)) for back in range(600, 0, -2)]
        self.put(Curve("box", f"engine.{name}", "qwen", tuple(points)))
        self.figures(**{name: level})

    def activity(self, cores: float | None, still_seconds: float, connections: int | None = 2) -> None:
        one = Activity(cores, connections, at=NOW, computed_at=NOW - timedelta(seconds=still_seconds))
        self.put(ActivitySeen("box", ((AT, one),)))

    @property
    def told(self) -> Strain | None:
        return strain(self.state.hosts["box"], MODE)

    @property
    def word(self) -> str:
        return self.told.word if self.told is not None else ""


def test_no_progress_of_any_kind_is_a_hang() -> None:
    play = Play()
    assert play.told == Strain("hung", "2 running, and not one token for 5 min")
    play.activity(0.0, 400)
    assert play.told == Strain("hung", "2 running, and neither a token nor processor time for 5 min")


@pytest.mark.parametrize("progress", ["decode", "prompt", "cache", "processor", "nothing runs", "lately"])
def test_any_progress_is_none(progress: str) -> None:
    play = Play()
    play.activity(0.0, 400)
    match progress:
        case "decode":
            play.curve("decode_tok_s", 0.0, moved=3.0)
        case "prompt":
            play.curve("prompt_tok_s", 0.0, moved=40.0, ago=250)
        case "cache":
            play.curve("kv_use_ratio", 0.3, moved=0.01)
        case "processor":
            play.activity(1.0, 0)
        case "nothing runs":
            play.figures(running=0.0)
        case "lately":
            play.activity(0.0, 200)
    assert play.word == ""


def test_progress_longer_ago_is_none() -> None:
    play = Play()
    play.curve("decode_tok_s", 0.0, moved=3.0, ago=400)
    assert play.word == "hung"


def test_a_prompt_whose_batch_takes_minutes_is_no_hang_as_long_as_its_process_works() -> None:
    play = Play()
    play.put(Samples("box", (Sample("engine.prompt_tok_s", unknown("a batch is being computed", "engine", NOW), "qwen"),)))
    play.activity(1.0, 0)
    assert play.word == ""
    play.activity(0.0, 400)
    assert play.word == "hung"  # nobody computes it
    play.put(ActivitySeen("box", ((AT, Activity()),)))
    assert play.word == ""  # neither is known: nothing is said


def test_one_that_does_not_even_say_how_its_requests_stand_hangs_sooner() -> None:
    play = Play()
    play.put(Samples("box", (Sample("engine.running", unknown("no answer within 5 s", "engine"), "qwen"),)))
    play.activity(1.0, 0)
    assert play.word == ""
    play.activity(0.0, 30)
    assert play.word == ""
    play.activity(0.0, 70)
    assert play.told is not None and play.told.sentence.startswith("2 running when it last reported")
    play.activity(0.0, 70, connections=0)
    assert play.word == ""  # whoever waited has gone


def test_what_its_host_told_long_ago_counts_for_nothing() -> None:
    play = Play()
    old = Activity(1.0, 2, at=NOW - timedelta(seconds=60), computed_at=NOW - timedelta(seconds=60))
    play.put(ActivitySeen("box", ((AT, old),)))
    assert play.word == "hung"


# -- thrashing ---------------------------------------------------------------------------------------


def slow(**figures: float) -> Play:
    """It was fast, and for half a minute it is not."""
    play = Play()
    now = NOW.timestamp()
    points = [(now - back, 200.0 if back > 40 else 2.0) for back in range(600, 0, -2)]
    play.put(Curve("box", "engine.decode_tok_s", "qwen", tuple(points)))
    play.figures(**{"decode_tok_s": 2.0, "running": 4.0, **figures})
    return play


@pytest.mark.parametrize(
    ("figures", "word"),
    [
        ({"kv_use_ratio": 0.95}, "thrashing"),
        ({"waiting": 3.0}, "thrashing"),
        ({"kv_use_ratio": 0.3}, ""),  # there is room
        ({"kv_use_ratio": 0.95, "running": 1.0}, ""),  # nobody to share with
        ({"waiting": 3.0, "prompt_tok_s": 900.0}, ""),  # a long prompt is read first
        ({"waiting": 3.0, "prompt_tok_s": 900.0, "kv_use_ratio": 0.95}, "thrashing"),
    ],
)
def test_thrashing_follows_from_the_cache(figures: dict[str, float], word: str) -> None:
    assert slow(**figures).word == word


def test_a_spilled_one_says_so() -> None:
    play = Play()
    play.figures(running=0.0)
    play.put(EngineSeen("box", "qwen", replace(Engine(EnginePhase.SPILLED), reason="30 % of m on the CPU")))
    assert play.told == Strain("spilled", "30 % of m on the CPU")


@pytest.mark.parametrize(
    ("url", "at"),
    [
        ("http://127.0.0.1:8080/v1", "127.0.0.1:8080"),
        ("http://localhost:8080", "127.0.0.1:8080"),
        ("http://[::1]:8080", "[::1]:8080"),
        ("https://box/llm", "box:443"),
        ("http://box", "box:80"),
        ("", ""),
        ("http://box:port", ""),
    ],
)
def test_addresses(url: str, at: str) -> None:
    assert address_of(url) == at
