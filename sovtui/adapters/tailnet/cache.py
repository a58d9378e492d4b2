"""Which addresses a name had in the tailnet, and when: tailnet addresses are stable, so an old answer is better than none.

One small file of the user's (mode 0600). Whatever goes wrong with it is no reason not to connect.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sovtui.config import files
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
            files.replace(self._path, json.dumps(kept, indent=1).encode("ascii"))

    def _read(self) -> dict[str, Any]:
        try:
            with self._path.open("rb") as file:
                found = json.loads(file.read(MAX_BYTES))
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}
