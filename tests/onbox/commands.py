"""Pretended commands for what the survey reads."""

from __future__ import annotations

import pytest

from sovtui.onbox import box


def pretend(monkeypatch: pytest.MonkeyPatch, answers: dict[str, tuple[int, str, str]]) -> None:
    """Commands by a word that is in them; every other one is not there."""

    def command(argv: list[str], timeout: float | None = None, stdin: bytes = b"") -> tuple[int, str, str]:
        line = " ".join(argv)
        return next((answer for word, answer in answers.items() if word in line), (127, "", f"{argv[0]}: not found"))

    monkeypatch.setattr(box, "command", command)
