"""`sovtui init` on the booted box: what it writes works without an edit, and what it looks at is left as it was."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.box import Box, wait_for
from tests.integration.containers import ENGINE
from tests.integration.operator import ENGINES, Operator, Terminal, busy, empty, loaded, ready

USER_UNITS = "/home/ops/.config/systemd/user"
CHECK = "vllm-qwen36-healthcheck"
TIMER = f"[Unit]\nDescription=Looks after vLLM\n[Timer]\nOnActiveSec=1h\nOnUnitActiveSec=1h\nUnit={CHECK}.service\n"
SERVICE = "[Service]\nType=oneshot\nExecStart=/home/ops/bin/check-vllm\n"
SCRIPT = "#!/bin/sh\nAPI_KEY=hunter22hunter\ncurl -sf localhost:30001/health || sudo -n systemctl restart vllm-qwen36.service\n"
OWN = '#!/bin/sh\ncase "$1" in\n  qwen) systemctl start vllm-qwen36 ;;\n  none) systemctl stop vllm-qwen36 ;;\nesac\n'


def user(box: Box, line: str) -> str:
    return box.ssh(f"systemctl --user {line}").stdout.strip()


@pytest.fixture
def newcomer(box: Box, tmp_path: Path) -> Iterator[Operator]:
    """Somebody with a login and no configuration, on a box where a timer of theirs looks after an engine."""
    empty(box)
    box.write(f"{USER_UNITS}/{CHECK}.timer", TIMER)
    box.write(f"{USER_UNITS}/{CHECK}.service", SERVICE)
    box.write("/home/ops/bin/check-vllm", SCRIPT, "755")
    box.write("/home/ops/bin/switch.sh", OWN, "755")
    box.root("chown -R ops:ops /home/ops/.config /home/ops/bin")
    user(box, f"daemon-reload; systemctl --user start {CHECK}.timer")
    for engine in ENGINES.values():
        box.tune(engine.removesuffix(".service"), load_seconds=0.6, warmup_seconds=0.2)
    operator = Operator.at(box, tmp_path)
    operator.config_path.unlink()
    operator.config_path.parent.rmdir()
    yield operator
    wait_for(lambda: not busy(box), 60, "the action's end")
    user(box, f"stop {CHECK}.timer")
    box.remove(USER_UNITS, "/home/ops/bin")
    user(box, "daemon-reload")
    empty(box)


def test_what_init_writes_works_without_an_edit(newcomer: Operator, box: Box) -> None:
    box.systemctl("start", "vllm-qwen36.service")
    wait_for(lambda: ready(box, "qwen"), 60, "qwen ready")
    written = newcomer.ok("init", "ops@testbox", "--write")
    text = newcomer.config_path.read_text()
    assert written.stdout == text and newcomer.config_path.stat().st_mode & 0o777 == 0o600
    assert "hunter22" not in text + written.stderr
    assert loaded(box) == ["qwen"]  # looking changes nothing

    host = tomllib.loads(text)["host"]["testbox"]
    modes = {mode["name"]: mode for mode in host["mode"]}
    assert list(modes) == ["qwen", "mistral4"]  # what runs comes first, called as the owner's script does
    assert modes["qwen"]["engine"] == "vllm" and modes["qwen"]["model"] == "qwen36" and modes["qwen"]["key"] == "1"
    assert "# sure: vLLM: /v1/models on port 30001" in text
    assert modes["mistral4"]["url"] == "http://127.0.0.1:30000"  # found though it does not run
    assert host["switch"]["hold"] == [f"user:{CHECK}.timer"]
    (backup,) = host["backup"]
    metric = backup.pop("metric", "box_backup")  # there once a backup has run
    assert backup == {"name": "nas", "service": "backup-nas.service", "max_age": "26h"} and metric.startswith("box_backup")
    for source in ("prometheus", "alertmanager"):
        assert tomllib.loads(text)[source]["via"] == "testbox"

    newcomer.ok("config", "check")
    doctor = newcomer.run("doctor", "--json")
    failed = [check for check in json.loads(doctor.stdout)["checks"] if check["ok"] is False]
    assert (doctor.returncode, failed) == (0, [])
    for mode, name in (("mistral4", "mistral"), ("qwen", "qwen")):
        newcomer.ok("switch", mode, "--yes")
        assert loaded(box) == [name] and ready(box, name)
        assert user(box, f"is-active {CHECK}.timer") == "active"  # held meanwhile, and let go again
    held = [line for line in newcomer.newest_receipt() if CHECK in json.dumps(line)]
    assert held, "the switch did not hold the timer"

    again = newcomer.run("init", "ops@testbox", "--write")
    assert newcomer.config_path.read_text() == text
    assert "Nothing in it is changed" in again.stderr


RUN = f"/usr/bin/python3 -I {ENGINE} --load-seconds 0.3 --warmup-seconds 0.1"
HUSH = "[Unit]\nDescription=Hush\n[Service]\nUser=engine\nExecStart=/opt/secret/run\n"
TEMPLATE = (
    "[Unit]\nDescription=By night\n[Service]\nEnvironmentFile=%E/llm/%i.env\n"
    f"ExecStart=/bin/bash -c \"exec {RUN} --kind vllm --model '%i model' --port ${{PORT}} --unit %N\"\n"
)
LEFT = "[Unit]\nDescription=Left\n[Service]\nType=oneshot\nRemainAfterExit=yes\nKillMode=process\nExecStart=/home/ops/ai/start-left\n"
START_LEFT = f"#!/bin/sh\nsetsid {RUN} --kind vllm --model left --port 9015 --unit left > /dev/null 2>&1 &\nsleep 1\n"
NIGHT = '#!/bin/bash\nif [ "${YES:-0}" != 1 ]; then\n  read -p "Stop the others? " a\nfi\nsystemctl --user start vllm@night\n'


def test_engines_of_others_and_of_templates_are_found_and_switched_without_an_edit(newcomer: Operator, box: Box) -> None:
    box.write("/opt/secret/run", f"#!/bin/sh\nexec {RUN} --kind vllm --model hush --port 9013 --unit hush\n", "700")
    box.write("/etc/systemd/system/hush.service", HUSH)
    box.write(f"{USER_UNITS}/vllm@.service", TEMPLATE)
    box.write("/home/ops/.config/llm/night.env", "PORT=9014\n")
    box.write("/home/ops/ai/modes/night-mode.sh", NIGHT, "755")
    box.write(f"{USER_UNITS}/left.service", LEFT)
    box.write("/home/ops/ai/start-left", START_LEFT, "755")
    box.write("/home/ops/.bash_aliases", "alias night=~/ai/modes/night-mode.sh\n")
    box.root("chown -R engine /opt/secret; chmod 700 /opt/secret; chown -R ops:ops /home/ops/.config /home/ops/ai")
    box.systemctl("daemon-reload")
    user(box, "daemon-reload")
    box.systemctl("start", "hush.service")
    user(box, "start left")
    try:
        for port in (9013, 9015):
            wait_for(lambda port=port: box.http(port, "/v1/models")[0] == 200, 60, f"port {port} to answer")  # type: ignore[misc]
        newcomer.ok("init", "ops@testbox", "--write")
        text = newcomer.config_path.read_text()
        modes = {mode["name"]: mode for mode in tomllib.loads(text)["host"]["testbox"]["mode"]}
        hush, night = modes["hush"], modes["night"]
        assert (hush["services"], hush["url"], hush["model"]) == (["hush.service"], "http://127.0.0.1:9013", "hush")
        assert (night["services"], night["model"]) == (["user:vllm@night.service"], "night model")  # it has never run
        assert modes["left"]["services"] == ["user:left.service"] and modes["left"]["url"] == "http://127.0.0.1:9015"
        assert '# switch = ["/home/ops/ai/modes/night-mode.sh"]' in text and '# switch_env = { YES = "1" }' in text
        box.systemctl("stop", "hush.service")
        newcomer.ok("switch", "night", "--yes")
        assert box.http(9014, "/v1/models")[0] == 200
        assert box.http(9015, "/v1/models")[0] == 0, "its wrapper had left it in the unit's group, and the unit's stop leaves it"
        newcomer.ok("switch", "none", "--yes")
        assert user(box, "is-active vllm@night") == "inactive"
    finally:
        box.systemctl("stop", "hush.service", check=False)
        user(box, "stop vllm@night")
        box.remove(
            "/opt/secret", "/etc/systemd/system/hush.service", "/home/ops/ai", "/home/ops/.bash_aliases", "/home/ops/.config/llm"
        )
        box.systemctl("daemon-reload")


def test_a_box_that_is_not_known_yet_is_asked_about_once(newcomer: Operator, box: Box, tmp_path: Path) -> None:
    known = newcomer.home / ".ssh" / "known_hosts"
    known.unlink()
    refused = newcomer.run("init", f"ops@{box.address}")
    assert refused.returncode == 3 and refused.stdout == "" and "SHA256:" in refused.stderr
    terminal = Terminal(newcomer, tmp_path, 120, 60, "init", f"ops@{box.address}", "--write")
    try:
        terminal.wait('type "yes"')
        terminal.type("yes")
        terminal.press("Enter")
        terminal.wait("EXIT 0")
    finally:
        terminal.close()
    found = subprocess.run(["ssh-keygen", "-F", box.address, "-f", str(known)], capture_output=True, text=True, check=True)
    assert "ssh-ed25519" in found.stdout  # hashed, if that is what this machine's ssh_config says
    assert list(tomllib.loads(newcomer.config_path.read_text())["host"]) == ["testbox"]  # its own name, not its number


def test_somebody_with_fewer_rights_is_told_so(newcomer: Operator, box: Box, tmp_path: Path) -> None:
    viewer = Operator.at(box, tmp_path / "viewer", user="viewer")
    viewer.config_path.unlink()
    told = viewer.ok("init", "testbox", "--host", "box")
    assert tomllib.loads(told.stdout)["host"]["box"]["address"] == "testbox"
    assert "rights           lacks " in told.stderr and "journal          cannot be read" in told.stderr
    assert not viewer.config_path.exists()
