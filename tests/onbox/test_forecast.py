"""The forecast, and what it is made of: one rule for the box and for the screen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sovtui.onbox import load, queues
from sovtui.onbox.forecast import AFTER_DROP, FITS, TOO_SMALL, UNKNOWN, Holding, Pool, forecast, peak
from sovtui.onbox.things import Load, LoadProbe

G = float(1 << 30)


@pytest.mark.parametrize(
    ("needs", "weights", "factor", "expected"),
    [(None, None, 1.0, None), (56, None, 1.0, 56), (56, 22, 2.0, 56), (56, 40, 2.0, 80), (None, 22, 1.0, 22)],
)
def test_peak(needs: float | None, weights: float | None, factor: float, expected: float | None) -> None:
    assert peak(needs, weights, factor) == expected


UNIFIED = Pool(110 * G, 60 * G, unified=True)
CARD = Pool(90 * G, 40 * G, 2 * G, 32 * G, unified=False)


@pytest.mark.parametrize(
    ("wanted", "pool", "back", "options", "word", "says"),
    [
        (40, UNIFIED, (), {}, FITS, "m needs 40.0 GiB; 110.0 GiB are available: it fits."),
        (70, UNIFIED, (), {}, AFTER_DROP, "it fits after dropping 60.0 GiB of page cache"),
        (70, UNIFIED, (), {"drop_caches": False}, TOO_SMALL, "because 60.0 GiB are page cache, which is not dropped here"),
        (105, UNIFIED, (), {"reserve": 8 * G}, TOO_SMALL, "less 8.0 GiB reserve: it does not fit, short by 3.0 GiB"),
        (120, UNIFIED, (Holding("a", 30 * G, True),), {}, AFTER_DROP, "and 30.0 GiB come back from a"),
        (
            120,
            UNIFIED,
            (Holding("a", 5 * G),),
            {},
            TOO_SMALL,
            "about 5.0 GiB come back from a: it does not fit, short by 5.0 GiB",
        ),
        (120, UNIFIED, (Holding("a", None),), {}, UNKNOWN, "what a gives back is not known"),
        (40, UNIFIED, (Holding("a", None),), {}, FITS, "it fits"),
        (30, CARD, (Holding("a", 28 * G, True),), {"reserve": 8 * G}, FITS, "2.0 GiB of GPU memory are free"),
        (
            30,
            CARD,
            (),
            {"foreign": (("python3 (pid 7)", 9 * G),)},
            TOO_SMALL,
            "because python3 (pid 7) (9.0 GiB) holds GPU memory",
        ),
        (33, CARD, (Holding("a", 40 * G),), {}, TOO_SMALL, "short by 1.0 GiB"),
        (40, Pool(None), (), {}, UNKNOWN, "how much memory is available is not known"),
        (40, Pool(None, unified=False), (), {}, UNKNOWN, "how much GPU memory is free is not known"),
        (70, Pool(80 * G, 60 * G), (), {"drop_caches": False}, FITS, "it fits"),
        (90, Pool(80 * G, 60 * G), (), {}, TOO_SMALL, "short by 10.0 GiB"),
    ],
)
def test_forecast(wanted: float, pool: Pool, back: tuple[Holding, ...], options: dict[str, object], word: str, says: str) -> None:
    told = forecast("m", wanted * G, pool, back, **options)  # type: ignore[arg-type]
    assert told.word == word, told.sentence
    assert says in told.sentence
    assert told.bad is (word == TOO_SMALL)


def test_nothing_configured() -> None:
    assert forecast("m", None, UNIFIED).word == UNKNOWN


def test_metrics_are_summed_and_priorities_are_not_counted_twice() -> None:
    text = (
        "# TYPE sglang:num_running_reqs gauge\n"
        'sglang:num_running_reqs{model_name="m",priority=""} 3.0\n'
        'sglang:num_running_reqs{model_name="m",priority="1"} 3.0\n'
        'sglang:num_queue_reqs{model_name="m"} 2\n'
        'vllm:num_requests_running{engine="0"} 1.0\n'
        'vllm:num_requests_running{engine="1"} 2.0\n'
        'vllm:num_requests_waiting_by_reason{reason="capacity"} 9\n'
        'vllm:num_requests_waiting{engine="0"} NaN\n'
    )
    assert queues.counts(text, ("sglang:num_running_reqs", "sglang:num_queue_reqs")) == {
        "sglang:num_running_reqs": 3.0,
        "sglang:num_queue_reqs": 2.0,
    }
    assert queues.counts(text, ("vllm:num_requests_running", "vllm:num_requests_waiting")) == {"vllm:num_requests_running": 3.0}


def test_shares_name_what_is_nobodys() -> None:
    processes = {10: ("python3", 9 * G), 11: ("VLLM::EngineCore", 20 * G)}
    held, foreign = load.shares(processes, {"a.service": {11, 12}}, ("a.service",))
    assert held == (("a.service", 20 * G),)
    assert foreign == (("python3 (pid 10)", 9 * G),)


def _router(state: str) -> bytes:
    return b'{"data": [{"id": "a/b", "status": {"value": "%s"}}]}' % state.encode()


def _swapped(proxy: str) -> bytes:
    return b'{"running": [{"model": "m", "state": "ready", "cmd": "llama-server -m x", "proxy": "%s"}]}' % proxy.encode()


@pytest.mark.parametrize(
    ("engine", "answers", "running", "known"),
    [
        ("llamacpp", {"/props": b'{"is_sleeping": true}'}, 0.0, True),
        ("llamacpp", {"/props": b"{}", "/slots": b'[{"is_processing": true}, {"is_processing": false}]'}, 1.0, True),
        ("comfyui", {"/prompt": b'{"exec_info": {"queue_remaining": 1}}'}, 1.0, True),
        ("ollama", {"/api/ps": b'{"models": [{"name": "x"}]}'}, 0.0, False),
        ("llamacpp", {"/metrics": b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 3\n"}, 2.0, True),
        ("llamacpp", {"/props": b'{"role": "router"}', "/models": _router("unloaded")}, 0.0, True),
        ("llamacpp", {"/props": b'{"role": "router"}', "/models": _router("loading")}, 1.0, True),
        (
            "llamacpp",
            {
                "/props": b'{"role": "router"}',
                "/models": _router("loaded"),
                "/metrics?model=a%2Fb&autoload=false": b"llamacpp:requests_processing 1\n",
            },
            1.0,
            True,
        ),
        ("comfyui", {"/prompt": b'{"exec_info": {"queue_remaining": 0}}'}, 0.0, True),
        ("ollama", {"/api/ps": b'{"models": []}'}, 0.0, True),
        ("ollama", {"/api/ps": b'{"models": [{"name": "x", "expires_at": "2026-01-01T14:30:02.000000001+01:00"}]}'}, 1.0, True),
        ("ollama", {"/api/ps": b'{"models": [{"name": "x", "expires_at": "2319-03-03T14:21:09.481522934+01:00"}]}'}, 0.0, False),
        ("litellm", {"/metrics/": b"litellm_in_flight_requests 3.0\n"}, 2.0, True),
        ("litellm", {}, 0.0, False),
        ("llamaswap", {"/running": b'{"running": []}'}, 0.0, True),
        ("llamaswap", {"/running": b'{"running": [{"model": "m", "state": "starting"}]}'}, 1.0, True),
        ("llamaswap", {"/running": _swapped("http://localhost:9"), "/metrics": b"llamacpp:requests_processing 2\n"}, 2.0, True),
        ("llamaswap", {"/running": _swapped("http://10.0.0.9:9")}, 0.0, False),
        ("vllm", {}, 0.0, False),
        ("", {}, 0.0, False),
    ],
)
def test_engines(engine: str, answers: dict[str, bytes], running: float, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def get(url: str, path: str, timeout: float) -> tuple[int, bytes]:
        asked.append(path)
        return (200, answers[path]) if path in answers else (0, b"")

    monkeypatch.setattr("sovtui.onbox.web.get", get)
    try:
        told = load.of_engine(LoadProbe("m", engine, "http://192.0.2.1:1"))
    except (ValueError, LookupError):  # `weigh` makes it unknown
        told = Load("m")
    assert (told.running, told.known) == (running, known)
    assert set(asked) <= {*answers, "/metrics", "/metrics/", "/props", "/slots", "/slots?model=a%2Fb&autoload=false"}
    asleep = b"is_sleeping" in answers.get("/props", b"")
    assert not asleep or not {"/slots", "/metrics"} & set(asked)
    assert "/slots" not in asked or "router" not in str(answers)
    assert not [path for path in asked if "upstream" in path or "generate" in path]


@pytest.mark.parametrize(
    ("connections", "works", "answers", "load", "asked"),
    [
        (0, False, {}, (0.0, True), set()),  # nobody is connected: it is not asked at all
        (1, True, {"/props": (200, b'{"is_sleeping": true}')}, (0.0, True), {"/props"}),
        (
            1,
            True,
            {"/props": (401, b""), "/metrics": (401, b""), "/slots": (401, b"")},
            (1.0, True),
            {"/props", "/metrics", "/slots"},
        ),
        (
            1,
            False,
            {"/props": (401, b""), "/metrics": (401, b""), "/slots": (401, b"")},
            (0.0, False),
            {"/props", "/metrics", "/slots"},
        ),
        (1, False, {"/props": (200, b"{}")}, (1.0, True), {"/props", "/metrics", "/slots"}),  # stuck: it does not answer
        (
            None,
            None,
            {"/props": (200, b"{}"), "/slots": (200, b'[{"is_processing": true}]')},
            (1.0, True),
            {"/props", "/metrics", "/slots"},
        ),
    ],
)
def test_a_llamacpp_is_asked_only_where_somebody_is_connected_and_it_is_awake(
    connections: int | None,
    works: bool | None,
    answers: dict[str, tuple[int, bytes]],
    load: tuple[float, bool],
    asked: set[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[str] = set()

    def get(url: str, path: str, timeout: float) -> tuple[int, bytes]:
        seen.add(path)
        return answers.get(path, (0, b""))

    monkeypatch.setattr("sovtui.onbox.web.get", get)
    monkeypatch.setattr("sovtui.onbox.activity.Glimpse.connections", lambda self: connections)
    monkeypatch.setattr("sovtui.onbox.activity.Glimpse.works", lambda self: works)
    told = load_of("http://127.0.0.1:1")
    assert ((told.running, told.known), seen) == (load, asked)


def load_of(url: str) -> Load:
    return load.of_engine(LoadProbe("m", "llamacpp", url))


def test_an_engine_whose_gauges_read_zero_between_two_steps_works_where_tokens_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """SGLang counts `generation_tokens_total` when a request ends; what moves with every token is elsewhere, by version."""
    for moving in ('sglang:realtime_tokens_total{mode="decode"}', "sglang:inter_token_latency_seconds_count", ""):
        looks = iter((100, 105))

        def get(url: str, path: str, timeout: float, moving: str = moving, looks: Iterator[int] = looks) -> tuple[int, bytes]:
            page = f"sglang:num_running_reqs 0\nsglang:num_queue_reqs 0\nsglang:generation_tokens_total 7\n{moving or 'x'} {next(looks)}\n"
            return 200, page.encode()

        monkeypatch.setattr("sovtui.onbox.web.get", get)
        told = load.of_engine(LoadProbe("m", "sglang", "http://x:1"))
        assert (told.running, told.known) == (1.0 if moving else 0.0, True)
