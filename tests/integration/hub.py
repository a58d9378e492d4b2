"""The program's middle in this process: what a screen has, without one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from sovtui import __main__ as program
from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from sovtui.runtime.control import Control
from tests.integration.operator import Operator


@contextlib.asynccontextmanager
async def hub_of(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Control]:
    """The hub as a screen of this operator has it."""
    for name, value in operator.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    hub = build_hub(loads(operator.config_path.read_text(), engines=program._engines()))
    await hub.start()
    try:
        yield hub
    finally:
        await hub.aclose()
