"""Back in time on a real box: what happened before sovtui was opened, told by the box's own Prometheus."""

from __future__ import annotations

import re
import time
from pathlib import Path

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, Terminal

STOPPED_SECONDS = 20.0
"""Longer than a step of ten seconds and two scrapes."""


def moment(screen: str, near: float) -> float:
    """The unix time that the screen says it shows."""
    found = re.search(r"THEN (\d+):(\d+):(\d+)", screen)
    assert found, screen
    hours, minutes, seconds = map(int, found.groups())
    local = time.localtime(near)
    return near - (local.tm_hour * 3600 + local.tm_min * 60 + local.tm_sec) + hours * 3600 + minutes * 60 + seconds


def test_what_was_before_the_start_comes_from_prometheus(box: Box, tmp_path: Path) -> None:
    box.systemctl("start", "restartme.service")
    wait_for(lambda: box.http(9090, "/-/ready")[0] == 200, 60, "Prometheus")
    history = 'count_over_time(node_systemd_unit_state{name="restartme.service",state="active"}[40s]) > 9'
    wait_for(lambda: bool(box.query(history)), 60, "twenty seconds of history")
    stopped = time.time()
    box.systemctl("stop", "restartme.service")
    try:
        time.sleep(STOPPED_SECONDS)
    finally:
        box.systemctl("start", "restartme.service")
    terminal = Terminal(Operator.at(box, tmp_path), tmp_path, 120, 40)
    try:
        terminal.wait(r"restartme.service +active")
        terminal.press("t")
        screen = terminal.wait(r"◀ THEN .* not live")
        while moment(screen, stopped) > stopped + STOPPED_SECONDS - 1:
            shown = moment(screen, stopped)
            terminal.press("Left")
            terminal.until(lambda before=shown: moment(terminal.screen(), stopped) < before, 60, "an earlier moment")  # type: ignore[misc]
            screen = terminal.screen()
        assert moment(screen, stopped) > stopped + 3, "the step is shorter than what is looked for"
        screen = terminal.wait(r"from Prometheus")
        assert re.search(r"restartme.service +inactive", screen), screen
        assert re.search(r"total +\d", screen), screen  # memory as node_exporter told it then
        terminal.press("c")
        terminal.wait(r"not now: Escape first")
        while moment(terminal.screen(), stopped) > stopped - 1:
            terminal.press("Left")
            time.sleep(0.3)
        terminal.wait(r"restartme.service +active")
        terminal.press("Escape")
        screen = terminal.wait(r"THEN", absent=True)
        assert re.search(r"restartme.service +active", screen), screen
    finally:
        terminal.close()
