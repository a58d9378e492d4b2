"""What the control room is built on, doing nothing: `python -m tests.bench.nothing [libraries] [link] [ask] [paint]`.

Each word adds to an empty application of Textual what the room needs too, by the libraries alone: that they are loaded, an ssh
connection on which two lines come each second, one question a second over HTTP whose reply nobody reads, and as many cells of plain
text repainted each second as the room repaints. Nothing of sovtui is imported.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

ROWS, CELLS = 17, 24
"""Parts of lines that the room repaints a second under the conditions of `effort`, and how long they are."""
LINE = "x" * 250
"""What the probe tells in a second, about."""
QUERY = "+or+".join(f'label_replace(x,"k","{tag}","","")' for tag in ("n", "m", "t", "c", "g", "s"))


class Page(Widget):
    """Rows that are another each second."""

    turn = 0

    def render_line(self, y: int) -> Strip:
        style, wide = self.rich_style, self.size.width
        words = f"{y:3} ready {self.turn:>{CELLS}}" if y < 2 * ROWS else ""
        return Strip([Segment(words.ljust(wide), style)], wide)

    def paint(self) -> None:
        self.turn += 1
        self.refresh(*(Region(10, 2 * row, CELLS, 1) for row in range(ROWS)))


class Nothing(App[None]):
    """Does what its words say."""

    def compose(self) -> ComposeResult:
        yield Page()

    async def on_mount(self) -> None:
        self.animation_level = "none"
        words = sys.argv[1:]
        if "libraries" in words:
            await asyncio.to_thread(_load)
        if "link" in words:
            self.run_worker(self._link())
        if "ask" in words:
            self.run_worker(self._ask())
        if "paint" in words:
            self.set_interval(1.0, self.query_one(Page).paint)

    async def _link(self) -> None:
        import asyncssh

        folder = Path.home() / ".ssh"
        words: dict[str, Any] = {"config": [str(folder / "config")], "known_hosts": str(folder / "known_hosts")}
        async with asyncssh.connect("bench", compression_algs=["zlib@openssh.com", "none"], **words) as connection:
            sessions = [await connection.create_process(f"while sleep 1; do echo {LINE}; done") for _ in range(2)]
            await asyncio.gather(*(self._read(session) for session in sessions))

    @staticmethod
    async def _read(session: Any) -> None:
        async for _ in session.stdout:
            pass

    async def _ask(self) -> None:
        import httpx

        async with httpx.AsyncClient(base_url=os.environ["BENCH_WEB"], trust_env=False) as http:
            while True:
                await http.post("/api/v1/query", data={"query": QUERY})
                await asyncio.sleep(1)


def _load() -> None:
    import asyncssh
    import bcrypt
    import cattrs
    import httpcore
    import httpx

    assert asyncssh and bcrypt and cattrs and httpcore and httpx


if __name__ == "__main__":
    Nothing().run()
