"""Another local user of the box spoils the lock: nothing waits for him, the receipt says so, and still no two actions run at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, BoxError, wait_for
from tests.integration.operator import CONFIG, Operator, busy, empty, loaded

LOCKS = "/run/lock/sovtui.lock /tmp/sovtui.lock"
VIEWER = "runuser -u viewer --"


@pytest.fixture
def spoiled(box: Box) -> Iterator[Box]:
    """A pipe where the lock should be, a link in the next place, both of a user who is no operator."""
    empty(box)
    box.root(f"rm -rf {LOCKS}; {VIEWER} mkfifo /run/lock/sovtui.lock; {VIEWER} ln -s /etc/passwd /tmp/sovtui.lock")
    yield box
    wait_for(lambda: not busy(box), 60, "the action's end")
    box.root(f"systemctl stop hers 2> /dev/null; rm -rf {LOCKS}; groupdel sovtui 2> /dev/null; true")
    empty(box)


def passed_over(operator: Operator) -> list[str]:
    return [line["detail"] for line in operator.newest_receipt() if line["t"] == "step" and line["name"] == "lock"]


def starting(operator: Operator) -> bool:
    try:
        return busy(operator.box) and "start" in [line.get("name") for line in operator.newest_receipt()]
    except BoxError:
        return False  # no receipt yet


def test_a_neighbour_neither_holds_up_an_action_nor_lets_two_run(spoiled: Box, tmp_path: Path) -> None:
    box = spoiled
    ops = Operator.at(box, tmp_path, config=CONFIG.replace('ready_timeout = "60s"', 'ready_timeout = "15m"'))
    box.tune("vllm-qwen36", load_seconds=900)
    switch = ops.start("switch", "qwen", "--yes")
    wait_for(lambda: starting(ops), 60, "the start")
    (said,) = passed_over(ops)
    assert said == (
        "the lock /run/lock/sovtui.lock is passed over: it is a pipe and it belongs to viewer, who is no operator; "
        "the lock /tmp/sovtui.lock is passed over: it is a link and it belongs to viewer, who is no operator"
    )
    box.root(f"rm -rf {LOCKS}")  # what a second action finds is as it should be

    second = ops.run("drop-caches", "--yes")
    assert second.returncode == 4 and "runs switch qwen" in second.stderr, second.stderr
    (tmp_path / "other").mkdir()
    other = Operator.at(box, tmp_path / "other", user="viewer")  # who has no lock in common with that run
    third = other.run("drop-caches")
    assert third.returncode == 4 and "ops runs switch (" in third.stderr and "is not known as an operator" in third.stderr, (
        third.stderr
    )
    assert not box.root("ls /run/lock/sovtui.lock /tmp/sovtui.lock 2> /dev/null || true").stdout, "it takes its own away"
    box.root("groupadd sovtui && gpasswd -a ops sovtui")
    fourth = other.run("drop-caches", "--yes")
    assert fourth.returncode == 4 and "ops runs switch on testbox" in fourth.stderr, fourth.stderr

    assert ops.run("cancel").returncode == 0
    out, said = switch.communicate(timeout=120)
    assert switch.returncode == 1 and loaded(box) == [], out + said
    box.root("install -o ops -m 666 /dev/null /run/lock/sovtui.lock")
    box.root("systemd-run --quiet --unit=hers --uid=viewer flock -x /run/lock/sovtui.lock sleep 600")
    wait_for(lambda: box.root("flock -n /run/lock/sovtui.lock true", check=False).returncode != 0, 60, "the neighbour's hold")
    held = ops.run("drop-caches", "--yes")
    assert held.returncode == 0, held.stderr
    assert passed_over(ops) == ["the lock /run/lock/sovtui.lock is passed over: viewer holds it, who is no operator"]
