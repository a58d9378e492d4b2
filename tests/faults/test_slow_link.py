"""The proxy of the benches and drills: late by what was asked, every byte counted, every connection closed at the end."""

from __future__ import annotations

import asyncio
import time

from tests.bench.slow_link import slow_link
from tests.loopback import serving


async def test_a_slow_link_is_late_both_ways_and_counts_what_passes() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)

    passed = {True: 0, False: 0}

    def count(up: bool, size: int) -> None:
        passed[up] += size

    async with serving(echo) as behind, slow_link("127.0.0.1", behind, 0.2, count) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        writer.write(b"x" * 5000)
        assert await reader.readexactly(5000) == b"x" * 5000
        assert time.monotonic() - began >= 0.19
        assert passed == {True: 5000, False: 5000}
        writer.close()
        await writer.wait_closed()
