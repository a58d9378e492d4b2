"""When an engine serves and yet does not work as it should: spilled, thrashing, hung. Pure; the clock is that of its figures."""

from __future__ import annotations

from dataclasses import dataclass

from sovtui.core.model import Engine, EnginePhase, Mode
from sovtui.core.serving import COUNTED_AT_END
from sovtui.core.state import Host

THRASH_SECONDS = 20.0
"""So long must it be slow: a long prompt alone holds the others up for a while."""
THRASH_SHARE = 0.1
"""Below this share of what it should do, or has just done, it thrashes: it does not get slower gracefully, it falls."""
FULL_RATIO = 0.9
HUNG_SECONDS = 300.0
"""A prompt may take minutes on a slow machine; no token at all for so long is none."""


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
    """Requests run, and for minutes not one token was read or made."""
    running = host.reading("engine.running", mode.name).fresh_value
    if not running or mode.engine in COUNTED_AT_END:
        return None
    for figure in ("engine.decode_tok_s", "engine.prompt_tok_s"):
        if host.reading(figure, mode.name).fresh_value != 0:
            return None
        if _highest(host, figure, mode, HUNG_SECONDS) != 0:
            return None
    return Strain("hung", f"{running:.0f} running, and not one token for {HUNG_SECONDS / 60:.0f} min")


def _thrashes(host: Host, mode: Mode) -> Strain | None:
    """Several requests, no room left for more, and the speed is a small part of what it is elsewhere."""
    running = host.reading("engine.running", mode.name).fresh_value
    waiting = host.reading("engine.waiting", mode.name).fresh_value or 0.0
    kv = host.reading("engine.kv_use_ratio", mode.name).fresh_value or 0.0
    decode = host.reading("engine.decode_tok_s", mode.name).fresh_value
    if not running or running < 2 or not (waiting or kv >= FULL_RATIO) or not decode:
        return None
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
