"""The demo: simulated estates, so that every key can be tried without a box. It says so: `State.demo` is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sovtui.core.state import State
from sovtui.demo.feed import PICTURE_TIME, SCENARIOS
from sovtui.demo.feed import scenario as _scenario
from sovtui.demo.scripted import DemoHub, build_scripted, build_still
from sovtui.ports.clock import Clock

if TYPE_CHECKING:
    from sovtui.demo.control import DemoControl

__all__ = ["PICTURE_TIME", "SCENARIOS", "DemoHub", "build", "scenario", "scripted", "still"]


def build(
    name: str = "spark", *, clock: Clock | None = None, speed: float = 1.0, scenario: str = "healthy", read_only: bool = False
) -> DemoControl:
    """The real control room on a simulated estate: what `sovtui demo` opens. ValueError for names that do not exist."""
    from sovtui.demo.control import build_control

    return build_control(name, clock, speed, scenario, read_only=read_only)


def scripted(name: str = "spark", *, clock: Clock, speed: float = 1.0, scenario: str = "healthy") -> DemoHub:
    """A hub that moves with `clock` and nothing else, so that a test can hold time. ValueError for names that do not exist."""
    return build_scripted(name, clock, speed, scenario)


def still(name: str = "healthy", estate: str = "spark") -> DemoHub:
    """A hub that shows a scenario's frozen state and never moves: for pictures."""
    return build_still(estate, name)


def scenario(name: str, estate: str = "spark") -> State:
    """The frozen state of a scenario at `PICTURE_TIME`: the same every time, no event loop needed."""
    return _scenario(name, estate)
