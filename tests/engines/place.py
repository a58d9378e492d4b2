"""Virtual environments of the tests' own, one per list in `pins/`, kept in the user's cache from one run to the next.

Neither the product's environment nor its pins are touched. Whoever comes second waits for the first.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parent / "pins"
INSTALL_SECONDS = 1200.0


def cache() -> Path:
    """Where the tests keep what is costly to make: environments, models."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sovtui-tests"


def python(name: str) -> Path:
    """The interpreter of the environment that `pins/NAME.txt` describes, installed if it is not there yet."""
    pins = PINS / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = cache() / f"{name}-{digest}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with (place.parent / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place / "installed"
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(place)])
            pip = [str(place / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
            _run([*pip, "install", "--no-deps", "-r", str(pins)])
            done.touch()
    return place / "bin" / "python"


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
