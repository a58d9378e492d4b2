"""Which services the probe asks about, and how often."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from sovtui.onbox import glance, services
from sovtui.onbox.glance import ALL_EVERY, STATES_EVERY, Glance

NAMES = ["a.service", "b.service"]


class Estate:
    """Units with no control group of their own, the time, and how often their states were listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.states, self.now, self.listed = dict.fromkeys(NAMES, "inactive"), 0.0, 0
        (root / "cgroup.procs").touch()
        monkeypatch.setattr(glance, "_ROOTS", (str(root),))
        monkeypatch.setattr(glance, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(services, "states", self._list)
        self.glance = Glance(NAMES)

    def _list(self, names: list[str]) -> dict[str, str]:
        self.listed += 1
        return {name: self.states[name] for name in names}

    def look(self, seconds: float, *, acting: bool = False, every: float = 0.2) -> list[str]:
        """Look for so long. What was asked about."""
        asked: list[str] = []
        end = self.now + seconds
        while self.now < end - 1e-9:
            due = self.glance.due(acting)
            self.glance.asked({"name": name, "active": self.states[name], "cgroups": [], "pid": 0} for name in due)
            asked += due
            self.now += every
        return asked


@pytest.fixture
def estate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Estate:
    return Estate(monkeypatch, tmp_path)


def test_while_nothing_happens_what_costs_much_is_seldom_asked(estate: Estate) -> None:
    assert estate.look(ALL_EVERY - 0.1) == NAMES, "once, at the first look"
    assert estate.listed <= 2 + ALL_EVERY / STATES_EVERY, "twice until it knows what there is"
    assert estate.look(1.0) == NAMES, "a timer's next run has no sign"


def test_what_has_no_sign_is_seen_by_the_list_of_states(estate: Estate) -> None:
    estate.look(1.0)
    estate.states["b.service"] = "active"
    assert estate.look(STATES_EVERY) == ["b.service"]


def test_while_something_acts_each_look_lists_them(estate: Estate) -> None:
    estate.look(1.0)
    estate.states["a.service"] = "failed"
    assert estate.look(0.2, acting=True) == ["a.service"]


def test_what_is_on_its_way_is_asked_at_each_look(estate: Estate) -> None:
    estate.states["a.service"] = "activating"
    assert estate.look(1.0) == [*NAMES, *["a.service"] * 4]
