"""Which addresses a name had in the tailnet, and when: tailnet addresses are stable, so an old answer is better than none.

One small file of the user's (mode 0600). Whatever goes wrong with it is no reason not to connect.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sovtui.core.addresses import is_address

NAME = "tailnet.json"
MAX_BYTES = 1 << 20
MAX_NAMES = 500
RENEW_AFTER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Remembered:
    addresses: tuple[str, ...]
    at: datetime


class Cache:
    """Reads and writes block: call them in a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, name: str) -> Remembered | None:
        """What was last told of the name; None where nothing is known, or the file cannot be used."""
        entry = self._read().get(name.lower())
        if not isinstance(entry, dict) or not isinstance(entry.get("addresses"), list) or not isinstance(entry.get("at"), str):
            return None
        addresses = tuple(a for a in entry["addresses"][:8] if isinstance(a, str) and is_address(a))
        with contextlib.suppress(ValueError):
            at = datetime.fromisoformat(entry["at"])
            if addresses and at.tzinfo is not None:
                return Remembered(addresses, at.astimezone(UTC))
        return None

    def put(self, name: str, addresses: tuple[str, ...], at: datetime) -> None:
        """Remember, unless that is what is remembered already and not long ago. Never raises."""
        known = self.get(name)
        if known is not None and known.addresses == addresses and abs(at - known.at) < RENEW_AFTER:
            return
        names = {**self._read(), name.lower(): {"addresses": list(addresses), "at": at.isoformat(timespec="seconds")}}
        kept = dict(list(names.items())[-MAX_NAMES:])
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0), 0o600)
            with os.fdopen(file, "w", encoding="ascii") as out:
                json.dump(kept, out, indent=1)
            fresh.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
