"""Whether a mode will fit: one rule, used on the box before anything is touched and on the screen before the key is pressed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from sovtui.onbox.phrases import size

FITS = "fits"
AFTER_DROP = "fits-after-drop"
TOO_SMALL = "too-small"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Pool:
    """Memory now, in bytes; None where it is not known."""

    available: float | None = None
    """MemAvailable: it counts page cache that can be dropped as free."""
    droppable: float | None = None
    gpu_free: float | None = None
    gpu_total: float | None = None
    unified: bool | None = None
    """CPU and GPU share one memory; None: not known, then a GPU that tells its own memory decides."""

    @property
    def on_card(self) -> bool:
        """The mode is loaded into memory of the card's own."""
        return self.unified is not True and self.gpu_free is not None


@dataclass(frozen=True)
class Holding:
    """What a service or mode gives back when it is stopped; None: it holds something, how much is not known."""

    name: str
    held: float | None
    measured: bool = False
    """False: what its mode is said to need."""


@dataclass(frozen=True)
class Forecast:
    word: str
    sentence: str = ""
    short: float = 0.0

    @property
    def bad(self) -> bool:
        return self.word == TOO_SMALL


def peak(needs: float | None, weights: float | None, loader_factor: float = 1.0) -> float | None:
    """The most that a start holds at once: a loader that buffers the checkpoint twice needs twice the weights for a while."""
    if needs is None and weights is None:
        return None
    return max(needs or 0.0, (weights or 0.0) * loader_factor)


def forecast(
    title: str,
    wanted: float | None,
    pool: Pool,
    back: tuple[Holding, ...] = (),
    *,
    reserve: float = 0.0,
    drop_caches: bool = True,
    foreign: tuple[tuple[str, float], ...] = (),
) -> Forecast:
    """What `wanted` bytes meet. The reserve is of system memory: a card may be filled to its last byte.

    Page cache is in the way only where the GPU takes its memory from the same pool: what CUDA calls free leaves it out there.
    """
    if wanted is None:
        return Forecast(UNKNOWN, f"what {title} needs is not configured.")
    free = pool.gpu_free if pool.on_card else pool.available
    if free is None:
        kind = "GPU memory is free" if pool.unified is False else "memory is available"
        return Forecast(UNKNOWN, f"{title} needs {size(wanted)}; how much {kind} is not known.")
    reserve = 0.0 if pool.on_card else reserve
    known = sum(x.held for x in back if x.held is not None)
    blind = [x.name for x in back if x.held is None]
    room = max(0.0, free + known - reserve)
    if pool.on_card and pool.gpu_total is not None:
        room = min(room, pool.gpu_total)
    cache = 0.0 if pool.on_card or pool.unified is False else min(pool.droppable or 0.0, free)
    numbers = _numbers(title, wanted, free, pool.on_card, back, reserve)
    if wanted <= room - cache:
        return Forecast(FITS, f"{numbers}: it fits.")
    if wanted <= room and drop_caches:
        return Forecast(AFTER_DROP, f"{numbers}: it fits after dropping {size(cache)} of page cache.")
    if wanted <= room and pool.unified is not True:  # the kernel gives page cache back by itself
        return Forecast(FITS, f"{numbers}: it fits.")
    if blind:
        return Forecast(UNKNOWN, f"{numbers}; what {' and '.join(blind)} gives back is not known.")
    short = wanted - room if wanted > room else wanted - (room - cache)
    why = ""
    if wanted <= room:
        why = f", because {size(cache)} are page cache, which is not dropped here (drop_caches)"
    elif foreign:
        named = ", ".join(f"{name} ({size(held)})" for name, held in foreign[:3])
        why = f", because {named} {'holds' if len(foreign) == 1 else 'hold'} GPU memory and {'is' if len(foreign) == 1 else 'are'} none of its modes"
    return Forecast(TOO_SMALL, f"{numbers}: it does not fit, short by {size(short)}{why}.", short)


def _numbers(title: str, wanted: float, free: float, card: bool, back: tuple[Holding, ...], reserve: float) -> str:
    text = f"{title} needs {size(wanted)}; {size(free)} {'of GPU memory are free' if card else 'are available'}"
    given = [x for x in back if x.held]
    if given:
        about = "" if all(x.measured for x in given) else "about "
        total = sum(x.held or 0.0 for x in given)
        text += f" and {about}{size(total)} come back from {', '.join(x.name for x in given)}"
    return text + (f", less {size(reserve)} reserve" if reserve else "")
