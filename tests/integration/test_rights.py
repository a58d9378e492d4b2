"""An operator without sudo, with just the polkit rule that `doctor --polkit` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import CONFIG, Operator, empty, loaded, ready

pytestmark = pytest.mark.truth(of="sudo, polkit, users")

RULES = "/etc/polkit-1/rules.d/50-sovtui.rules"


@pytest.fixture
def viewer(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    config = CONFIG.replace('address = "testbox"', 'address = "viewer@testbox"')
    config = config.replace("[host.testbox.switch]", "[host.testbox.switch]\ndrop_caches = false")
    yield Operator.at(box, tmp_path, user="viewer", config=config)
    box.remove(RULES)
    empty(box)


def may(box: Box, verb: str, unit: str) -> bool:
    return box.ssh(["systemctl", "--no-ask-password", verb, unit], user="viewer").returncode == 0


def test_switches_with_polkit_alone(viewer: Operator, box: Box) -> None:
    done = viewer.run("switch", "qwen", "--yes")
    assert done.returncode == 1 and "viewer may not run `systemctl start vllm-qwen36.service`" in done.stderr, done.stderr
    assert loaded(box) == []
    box.write(RULES, viewer.ok("doctor", "--polkit").stdout)
    wait_for(lambda: may(box, "stop", "vllm-qwen36.service"), 60, "polkit to read the rule")
    for mode in ("qwen", "mistral"):
        viewer.ok("switch", mode, "--yes")
        assert loaded(box) == [mode] and ready(box, mode)
    viewer.ok("backup", "nas", "--yes")
    viewer.ok("switch", "none", "--yes")
    assert loaded(box) == []
    assert box.ssh("sudo -n true", user="viewer").returncode != 0
    assert not may(box, "stop", "prometheus.service") and not may(box, "reload", "ssh.service")
    assert box.show("prometheus.service", "ActiveState")["ActiveState"] == "active"
