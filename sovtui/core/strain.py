"""When an engine serves and yet does not work as it should: spilled, thrashing, hung. Pure; the clock is that of its figures."""

from __future__ import annotations

from dataclasses import dataclass

from sovtui.core.activity import VALID_SECONDS, Activity, address_of
from sovtui.core.model import Engine, EnginePhase, Mode
from sovtui.core.reading import Reading, Status
from sovtui.core.serving import COUNTED_AT_END
from sovtui.core.state import Host

THRASH_SECONDS = 20.0
"""So long must it be slow: a long prompt alone holds the others up for a while."""
THRASH_SHARE = 0.1
"""Below this share of what it should do, or has just done, it thrashes: it does not get slower gracefully, it falls."""
FULL_RATIO = 0.9
HUNG_SECONDS = 300.0
"""A prompt may take minutes on a slow machine; no progress of any kind for so long is none."""
MUTE_SECONDS = 60.0
"""The same for one that does not even answer how its requests stand."""


@dataclass(frozen=True, slots=True)
class Strain:
    """What is wrong, as one word and one sentence."""

    word: str
    sentence: str


def strain(host: Host, mode: Mode) -> Strain | None:
    """What strains a mode's engine that serves, the worst first; None where nothing does, or nothing tells."""
    engine = host.engines.get(mode.name, Engine())
    if (found := _stands(host, mode)) is not None:
        return found
    if engine.phase is EnginePhase.SPILLED:
        return Strain("spilled", engine.reason or "part of its model is computed on the CPU")
    return _thrashes(host, mode)


def _stands(host: Host, mode: Mode) -> Strain | None:
    """Requests run, and for minutes nothing has moved: no token read or made, no KV cache, no processor time."""
    running = host.reading("engine.running", mode.name)
    if not running.value or mode.engine in COUNTED_AT_END:
        return None
    use = _activity(host, mode, running)
    still = use.still_seconds() if use is not None else None
    if running.status is Status.STALE and use is not None and not use.free and use.still_seconds() >= MUTE_SECONDS:
        return Strain(
            "hung",
            f"{running.value:.0f} running when it last reported, and since then neither an answer nor processor time",
        )
    if running.status is not Status.FRESH or (still is not None and still < HUNG_SECONDS):
        return None
    for figure in ("engine.decode_tok_s", "engine.prompt_tok_s"):
        reading = host.reading(figure, mode.name)
        if reading.fresh_value is None and still is not None:
            continue  # not known, as while a prompt's batch is computed: nothing is
        if reading.fresh_value != 0 or _highest(host, figure, mode, HUNG_SECONDS) != 0:
            return None
    if _moved(host, "engine.kv_use_ratio", mode, HUNG_SECONDS):
        return None
    what = "not one token" if still is None else "neither a token nor processor time"
    return Strain("hung", f"{running.value:.0f} running, and {what} for {HUNG_SECONDS / 60:.0f} min")


def _activity(host: Host, mode: Mode, running: Reading) -> Activity | None:
    """What is known of its processor time now; None where nothing is."""
    use = host.activity.get(address_of(mode.url))
    if use is None or use.cores is None or use.at is None or running.at is None:
        return None
    return use if (running.at - use.at).total_seconds() <= VALID_SECONDS else None


def _thrashes(host: Host, mode: Mode) -> Strain | None:
    """Several requests, no room left for more, and the speed is a small part of what it is elsewhere."""
    running = host.reading("engine.running", mode.name).fresh_value
    waiting = host.reading("engine.waiting", mode.name).fresh_value or 0.0
    kv = host.reading("engine.kv_use_ratio", mode.name).fresh_value or 0.0
    decode = host.reading("engine.decode_tok_s", mode.name).fresh_value
    if not running or running < 2 or not (waiting or kv >= FULL_RATIO) or not decode:
        return None
    if kv < FULL_RATIO and host.reading("engine.prompt_tok_s", mode.name).fresh_value:
        return None  # the others wait for a prompt that is being read
    peak = max((level for _, level in host.curves.get(("engine.decode_tok_s", mode.name), ())), default=0.0)
    should = mode.expect_tok_s or peak
    highest = _highest(host, "engine.decode_tok_s", mode, THRASH_SECONDS)
    if highest is None or highest >= THRASH_SHARE * should:
        return None
    return Strain("thrashing", f"{running:.0f} running share {decode:.1f} tok/s: their contexts do not fit together; end one")


def _highest(host: Host, figure: str, mode: Mode, seconds: float) -> float | None:
    """The highest value of the last `seconds` of its curve; None where the curve is shorter or has a hole."""
    points = host.curves.get((figure, mode.name), ())
    if not points:
        return None
    since = points[-1][0] - seconds
    recent = [level for at, level in points if at >= since]
    if points[0][0] > since or len(recent) < 4:
        return None
    return max(recent)


def _moved(host: Host, figure: str, mode: Mode, seconds: float) -> bool:
    """Whether its curve has two values within the last `seconds`."""
    points = host.curves.get((figure, mode.name), ())
    return len({level for at, level in points if at >= points[-1][0] - seconds}) > 1
