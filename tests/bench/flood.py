"""A journal that grows at the rate written in a file: `python flood.py FILE`, lines as `journalctl -o json` prints them."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

STEP_SECONDS = 0.05


def main() -> None:
    rate, owed, count = Path(sys.argv[1]), 0.0, 0
    due = time.monotonic()
    while True:
        owed += int(rate.read_text() or 0) * STEP_SECONDS
        lines = []
        while owed >= 1:
            owed -= 1
            count += 1
            message = f"INFO: 127.0.0.1:{40000 + count % 999} - request {count} took {count % 97} ms, 512 tokens in, 128 out"
            at = str(time.time_ns() // 1000)
            lines.append(json.dumps({"MESSAGE": message, "PRIORITY": "6", "__REALTIME_TIMESTAMP": at}))
        if lines:
            print("\n".join(lines), flush=True)
        due += STEP_SECONDS
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
