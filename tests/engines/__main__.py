"""The table of the README: `python -m tests.engines [llamacpp] [litellm] [vllm]`; all of them without a name."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.engines import table


async def main(names: list[str]) -> None:
    print("| engine | figure | shown | counted | apart | |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in names or list(table.SERVERS):
        with tempfile.TemporaryDirectory() as folder:
            async for row in table.SERVERS[name](Path(folder)):
                for line in table.lines(row):
                    print(line, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
