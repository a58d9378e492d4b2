"""One line of `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from sovtui.cli.exits import Exit


@dataclass(frozen=True, slots=True)
class Check:
    what: str
    ok: bool | None
    """None: not known, or only advice."""
    detail: str = ""
    advice: str = ""
    exit_code: int = Exit.FAILED
    """What the command ends with if this is the worst."""

    @property
    def sign(self) -> str:
        return "?" if self.ok is None else "ok" if self.ok else "NO"
