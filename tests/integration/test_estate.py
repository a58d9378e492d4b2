"""A box that another machine's Prometheus and Alertmanager watch. It dies; the other one explains."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.estate import operator_of, watched_pair
from tests.integration.operator import Terminal
from tests.integration.test_travel import moment

STOPPED_SECONDS = 22.0


@pytest.fixture
def pair(box_factory: Callable[..., Box]) -> tuple[Box, Box]:
    return watched_pair(box_factory)


def test_a_dead_box_is_explained_from_the_management_host(pair: tuple[Box, Box], tmp_path: Path) -> None:
    spark, mgmt = pair
    spark.systemctl("start", "restartme.service")
    history = 'count_over_time(node_systemd_unit_state{instance="spark:9100",name="restartme.service",state="active"}[40s]) > 9'
    wait_for(lambda: bool(mgmt.query(history)), 60, "twenty seconds of history")
    stopped = time.time()
    spark.systemctl("stop", "restartme.service")
    time.sleep(STOPPED_SECONDS)
    spark.systemctl("start", "restartme.service")
    time.sleep(12)
    operator, newcomer = (operator_of(spark, mgmt, tmp_path / name) for name in ("first", "late"))
    terminal = Terminal(operator, tmp_path / "first", 44, 80)
    try:
        terminal.wait(r"spark 1 of 2 .*up")
        terminal.wait(r"restartme +active")
        time.sleep(6)  # as somebody who looks at it for a while: the room has a past of its own, and goes further back than that
        assert "last known state" not in terminal.screen()
        died = time.time()
        spark.down()
        terminal.wait(r"link down|silent|not ssh")  # who answers at its address now is for the network around to say
        terminal.wait(r"last known state", 90)
        screen = terminal.wait(r"HostSilent")
        assert re.search(r"HostSilent\s+critical since \d+:\d+:\d+", screen), screen
        screen = terminal.wait(r"last sample \d+:\d+:\d+")
        assert re.search(r"available \d[\d.]* [GM]iB ~", screen), screen  # last known figures, with the sign of their age

        terminal.press("t")
        screen = terminal.wait(r"THEN \d+:\d+:\d+")
        assert died - 15 < moment(screen, died) <= died + 5, "shortly before it fell silent"
        terminal.wait(r"restartme +active")
        while moment(terminal.screen(), died) > stopped + STOPPED_SECONDS - 4:
            terminal.press("Left")
            time.sleep(0.25)
        assert moment(terminal.screen(), died) > stopped + 3, "the step is shorter than what is looked for"
        screen = terminal.wait(r"restartme +inactive")
        assert "from Prometheus" in screen, screen
        assert re.search(r"total +\d", screen), screen

        # what is wrong anywhere begins with it, and the other host is as quick as ever
        terminal.press("Escape")
        terminal.press("i")
        screen = terminal.wait(r"Issues")
        assert re.search(r"1  ✖ spark: cannot be reached", screen), screen
        terminal.press("q")
        terminal.press("h")
        screen = terminal.wait(r"Which host")
        assert re.search(r"spark  ✖ (silent|unreachable)", screen) and re.search(r"mgmt  . \w+", screen), screen
        terminal.press("2")
        terminal.wait(r"mgmt 2 of 2")
        terminal.wait(r"load \d")
    finally:
        terminal.close()

    # somebody who opens sovtui only now is told the same
    late = Terminal(newcomer, tmp_path / "late", 80, 40)
    try:
        screen = late.wait(r"last sample \d+:\d+:\d+", 90)
        assert "last known state" in screen and "HostSilent" in screen, screen
        late.press("t")
        late.wait(r"THEN \d+:\d+:\d+")
        screen = late.wait(r"from Prometheus|spark gave its last sample")
        assert died - 15 < moment(screen, died) <= died + 5, screen
        late.wait(r"restartme(.service)? +active")
        screen = late.screen()
        assert re.search(r"total +\d", screen), screen
    finally:
        late.close()
    status = operator.run("status")
    assert status.returncode == 3
    assert re.match(r"issues  critical spark: cannot be reached", status.stdout), status.stdout
