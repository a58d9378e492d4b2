"""What goes over the link of a healthy box on which nothing changes: at one look a second, and metered.

Bytes are TCP payload of both ways, ssh's own included, as the kernel counts them; no part of it is sovtui's word.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from tests.bench.remote import remote
from tests.bench.row import Row

BAR_BYTES, METERED_BAR_BYTES = 700, 120
SETTLE_SECONDS = 12.0
METERED_SECONDS = 120.0
"""Everything is asked at least this often when metered; shorter, and chance would tell."""


def measure(seconds: float) -> list[Row]:
    """Two rows, and one with the compression off for comparison. Raises RuntimeError where there is no sshd."""
    try:
        usual, sparing = asyncio.run(_both(seconds)), asyncio.run(_both(max(seconds, METERED_SECONDS), metered=True))
        plain = asyncio.run(_both(seconds, compressed=False))
    except RuntimeError as why:
        return [Row("thin", "traffic of one healthy box", f"<= {BAR_BYTES} B/s", str(why), None)]
    return [
        _row("thin", "traffic of one healthy box, 1 Hz", BAR_BYTES, usual),
        _row("thin-metered", "the same, metered", METERED_BAR_BYTES, sparing),
        _row("thin-plain", "1 Hz without compression, to compare", None, plain),
    ]


def _row(name: str, figure: str, bar: int | None, told: dict[str, float]) -> Row:
    total = told["sent_bytes_per_second"] + told["received_bytes_per_second"]
    words = f"{total:.0f} B/s ({told['sent_bytes_per_second']:.0f} up, {told['received_bytes_per_second']:.0f} down)"
    words += f", {told['cpu_ratio'] * 100:.1f} % CPU"
    return Row(name, figure, f"<= {bar} B/s" if bar else "", words, None if bar is None else total <= bar, dict(told))


async def _both(seconds: float, *, metered: bool = False, compressed: bool = True) -> dict[str, float]:
    from pathlib import Path

    import asyncssh

    from sovtui.bootstrap import build_hub
    from sovtui.config.load import load
    from sovtui.core.metered import Wish

    kept, real = dict(os.environ), asyncssh.connect

    async def connect(*words: Any, **options: Any) -> asyncssh.SSHClientConnection:
        return await real(*words, **{**options, "compression_algs": ["none"]})

    with remote(still=True) as box:
        os.environ.update(box.env)
        os.environ.pop("XDG_CONFIG_HOME", None)
        if not compressed:
            setattr(asyncssh, "connect", connect)  # noqa: B010 (its type is a decorated one)
        hub = build_hub(load(Path(box.home) / ".config" / "sovtui" / "config.toml"))
        try:
            await hub.start()
            await hub.settle(30)
            if metered:
                hub.meter("bench", Wish.ON)
            await asyncio.sleep(SETTLE_SECONDS)
            link: Any = hub._links.keepers["bench"].link
            told: Callable[[], tuple[int, int] | None] = lambda: link.traffic_bytes  # noqa: E731
            before, began, worked = told(), time.monotonic(), time.process_time()
            if before is None:
                raise RuntimeError("this system does not count")
            await asyncio.sleep(seconds)
            after, spent = told(), time.monotonic() - began
            assert after is not None and not hub.state.hosts["bench"].link.reason
            sent, received = ((new - old) / spent for old, new in zip(before, after, strict=True))
            cpu = (time.process_time() - worked) / spent
            return {"sent_bytes_per_second": sent, "received_bytes_per_second": received, "cpu_ratio": cpu}
        finally:
            setattr(asyncssh, "connect", real)  # noqa: B010
            await hub.aclose()
            os.environ.clear()
            os.environ.update(kept)
