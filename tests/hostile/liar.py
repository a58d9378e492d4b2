"""In the place of the box's `python3` or `systemctl`: says what the case says. `python -m tests.hostile.liar FOLDER WORDS…`.

A case that lies in the place of one verb of the on-box part lets the others through.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.hostile.case import Case, case_named
from tests.hostile.world import ASKED


def main() -> None:
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    by_systemctl = words[:1] == ["systemctl"]
    case = case_named("box", (folder / ("lie.systemctl" if by_systemctl else "lie")).read_text())
    verb = words[4] if len(words) >= 5 else ""  # the request may follow it
    if not by_systemctl and case.path and verb not in case.path.split("|"):
        os.execv(sys.executable, [sys.executable, *words])
    (folder / ASKED).touch()
    say(case, b"" if by_systemctl or len(words) < 5 else b"\x1e" + words[3].encode())


def say(case: Case, mark: bytes) -> None:
    """Each piece; what stands in it for the run's own marker is that marker."""
    for piece in case.give():
        if isinstance(piece, float):
            time.sleep(piece)
            continue
        left = memoryview(piece.replace(MARK, mark))
        while left:
            left = left[os.write(1, left) :]


MARK = b"@MARK@"

if __name__ == "__main__":
    try:
        main()
    except OSError:
        os._exit(0)
