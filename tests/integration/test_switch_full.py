"""The whole switch on the booted box: holds, consent, the owner's own script, floor, tenants, the guard, draining, repair."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, busy, empty, loaded, ready

TIMER = "revive.timer"
UNITS = {
    "revive.timer": "[Timer]\nOnActiveSec=1\nOnUnitInactiveSec=1\nAccuracySec=100ms\n",
    "revive.service": "[Service]\nType=oneshot\nExecStart=/bin/systemctl start --no-block sglang-mistral4.service\n",
    "floor.service": "[Service]\nExecStart=/bin/sleep infinity\n",
    "tenant.service": "[Service]\nExecStart=/bin/sleep infinity\n",
}
SCRIPT = """#!/bin/bash
printf 'really switch to %s? [y/N] ' "$1"
if [ -n "$ANSWER" ]; then answer=$ANSWER; else read -r answer || true; fi
[ "$answer" = y ] || { printf '\\033[31mnobody said yes\\033[0m\\n'; exit 3; }
for unit in vllm-qwen36 sglang-mistral4; do sudo -n /usr/bin/systemctl stop $unit.service; done
for i in 1 2 3; do printf '\\033[32;1mstep %s of 3\\033[0m\\n' $i; sleep "${PAUSE:-0.5}"; done
case $1 in
qwen) sudo -n /usr/bin/systemctl start vllm-qwen36.service;;
mistral) sudo -n /usr/bin/systemctl start sglang-mistral4.service;;
esac
echo "secret is $SECRET"; printf 'quoted %q\\n' "$SECRET"; python3 -c 'import os, urllib.parse as u; print("url", u.quote(os.environ["SECRET"]))'
exit 0
"""


@pytest.fixture
def operator(box: Box, tmp_path: Path) -> Iterator[Operator]:
    empty(box)
    for name, text in UNITS.items():
        box.write(f"/run/systemd/system/{name}", text)
    names = (TIMER, "floor.service", "tenant.service")
    more = "".join(f"ops ALL=(root) NOPASSWD: /usr/bin/systemctl {verb} {name}\n" for name in names for verb in ("start", "stop"))
    box.write("/usr/local/bin/switch.sh", SCRIPT, mode="755")
    box.systemctl("daemon-reload")
    with box.rights(lambda sudoers: sudoers + more):
        yield Operator.at(box, tmp_path)
        wait_for(lambda: not busy(box), 90, "the action's end")
        box.systemctl("stop", *UNITS, check=False)
        empty(box)
    box.root("rm -f /run/systemd/system/revive.* /run/systemd/system/floor.service /run/systemd/system/tenant.service")
    box.remove("/usr/local/bin/switch.sh")
    box.systemctl("daemon-reload")


def configure(operator: Operator, switch: str = "", qwen: str = "", mistral: str = "") -> None:
    """More lines for [host.testbox.switch] and for the modes."""
    text = operator.config_path.read_text()
    text = text.replace('stop_timeout = "60s"\n', f'stop_timeout = "60s"\n{switch}\n')
    text = text.replace('model = "qwen36"\n', f'model = "qwen36"\n{qwen}\n').replace(
        'model = "mistral4"\n', f'model = "mistral4"\n{mistral}\n'
    )
    operator.config_path.write_text(text)


def active(box: Box, unit: str) -> bool:
    return box.show(unit, "ActiveState")["ActiveState"] == "active"


def steps(operator: Operator) -> list[tuple[str, str]]:
    return [(x["name"], x["state"]) for x in operator.newest_receipt() if x["t"] == "step" and x["state"] != "running"]


def held(operator: Operator) -> set[str]:
    names: set[str] = set()
    for line in operator.newest_receipt():
        if line["t"] in ("held", "released"):
            names = names | set(line["services"]) if line["t"] == "held" else names - set(line["services"])
    return names


def ask(box: Box, port: int, model: str, tokens: int) -> None:
    """A request that is answered in the background."""
    body = f'{{"model":"{model}","prompt":"go on","max_tokens":{tokens},"stream":true}}'
    box.root(
        f"setsid curl -sN -m 120 -H 'content-type: application/json' -d '{body}' "
        f"http://127.0.0.1:{port}/v1/completions >/dev/null 2>&1 </dev/null &"
    )


def works(box: Box, port: int) -> bool:
    return bool(re.search(r"num_requests_running\{[^}]*\} [1-9]|num_running_reqs\{[^}]*\} [1-9]", box.http(port, "/metrics")[1]))


@pytest.mark.truth(of="systemd")
def test_a_timer_that_revives_the_old_engine_is_held_and_released(operator: Operator, box: Box) -> None:
    configure(operator, f'hold = ["{TIMER}"]')
    operator.ok("switch", "mistral", "--yes")
    box.systemctl("start", TIMER)
    done = operator.run("switch", "qwen", "--yes")
    revived = done.returncode == 5 and "sglang-mistral4.service of mistral runs too" in done.stderr
    # the timer that was released may have done its work before the last look
    assert done.returncode == 0 or revived, done.stderr
    names = [name for name, _ in steps(operator)]
    assert names.index("hold") < names.index("stop") < names.index("verify") < names.index("release")
    assert active(box, TIMER)
    assert held(operator) == set()


def test_without_hold_the_reviver_is_noticed(operator: Operator, box: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    box.systemctl("start", TIMER)
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert len(loaded(box)) <= 1


def test_failure_releases_too(operator: Operator, box: Box) -> None:
    configure(operator, f'hold = ["{TIMER}"]')
    operator.ok("switch", "mistral", "--yes")
    box.systemctl("start", TIMER)
    box.fail("vllm-qwen36", "badflag")
    assert operator.run("switch", "qwen", "--yes").returncode == 1
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back"
    assert active(box, TIMER)
    assert held(operator) == set()
    assert loaded(box) == ["mistral"]


def test_killed_runner_releases(operator: Operator, box: Box) -> None:
    configure(operator, f'hold = ["{TIMER}"]')
    operator.ok("switch", "mistral", "--yes")
    box.systemctl("start", TIMER)
    box.tune("vllm-qwen36", load_seconds=30)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(box) == ["qwen"], 60, "the new engine's start")
    assert not active(box, TIMER)
    box.root("pkill -9 -u ops -f runner.py")
    wait_for(lambda: active(box, TIMER), 60, "the release by the guard")
    _, errors = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "lost" in errors and "holds left" not in errors
    box.systemctl("stop", TIMER)
    operator.ok("switch", "none", "--yes")  # repairs
    assert loaded(box) == []


def test_hold_that_the_guard_could_not_release_is_released_by_the_next_action(operator: Operator, box: Box) -> None:
    configure(operator, f'hold = ["{TIMER}"]')
    operator.ok("switch", "mistral", "--yes")
    box.systemctl("start", TIMER)
    box.tune("vllm-qwen36", load_seconds=30)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(box) == ["qwen"], 60, "the new engine's start")
    text = box.read(f"/run/systemd/system/{TIMER}")
    box.remove(f"/run/systemd/system/{TIMER}")
    box.systemctl("daemon-reload")
    box.root("pkill -9 -u ops -f runner.py")
    client.communicate(timeout=60)
    wait_for(lambda: not busy(box), 60, "the guard's end")
    assert "holds left: revive.timer" in operator.run("actions").stdout + operator.run("follow").stderr
    box.write(f"/run/systemd/system/{TIMER}", text)
    box.systemctl("daemon-reload")
    configured = operator.config_path.read_text()
    operator.config_path.write_text(configured.replace(f'hold = ["{TIMER}"]', ""))
    operator.ok("drop-caches", "--yes")
    assert active(box, TIMER)
    assert steps(operator)[0] == ("release", "done")


def test_busy_is_refused_on_the_box_and_yes_goes_on(operator: Operator, box: Box) -> None:
    box.tune("vllm-qwen36", tok_s=20)
    operator.ok("switch", "qwen", "--yes")
    ask(box, 30001, "qwen36", 3000)
    wait_for(lambda: works(box, 30001), 60, "a running request")
    done = operator.run("switch", "mistral")
    assert done.returncode == 4, done.stderr
    assert re.search(r"busy: 1 running request", done.stderr), done.stderr
    assert loaded(box) == ["qwen"]
    operator.ok("switch", "mistral", "--yes")
    assert loaded(box) == ["mistral"]


def request_of(operator: Operator, target: str) -> dict[str, Any]:
    """The request of the newest switch again, under another id and without any consent."""
    raw: dict[str, Any] = dict(operator.newest_receipt()[0]["request"])
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + 1))
    return {**raw, "id": f"{stamp}-switch-9999", "target": target, "plan": {**raw["plan"], "to": target}, "consent": {}}


def test_the_box_decides_for_itself(operator: Operator, box: Box) -> None:
    """A client that believed the mode idle: the box looks again and refuses."""
    from sovtui.runtime import bundle

    box.tune("vllm-qwen36", tok_s=20)
    operator.ok("switch", "qwen", "--yes")
    ask(box, 30001, "qwen36", 3000)
    wait_for(lambda: works(box, 30001), 60, "a running request")
    time.sleep(1.1)
    call = bundle.call("start")
    told = _start(box, call.argv, call.head + bundle.request_line(request_of(operator, "mistral")))
    assert '"started"' in str(told)
    wait_for(lambda: operator.newest_receipt()[-1]["t"] == "end", 60, "the refusal")
    end = operator.newest_receipt()[-1]
    assert (end["outcome"], end["exit"]) == ("refused", 4)
    assert "qwen is busy: 1 running request would be cut off" in end["reason"]
    assert loaded(box) == ["qwen"]


def _start(box: Box, argv: list[str], data: bytes) -> str:
    import shlex
    import subprocess

    done = subprocess.run(box.ssh_argv(shlex.join(argv)), input=data, capture_output=True, timeout=60, check=False)
    return done.stdout.decode()


def test_what_does_not_fit_is_refused_with_numbers(operator: Operator, box: Box) -> None:
    configure(operator, qwen='weights = "4 TB"')
    done = operator.run("switch", "qwen")
    assert done.returncode == 4
    assert "does not fit, short by" in done.stderr
    assert loaded(box) == []


def test_drain_waits_for_the_last_request(operator: Operator, box: Box) -> None:
    configure(operator, 'drain_timeout = "100s"')
    box.tune("vllm-qwen36", tok_s=40)
    operator.ok("switch", "qwen", "--yes")
    ask(box, 30001, "qwen36", 9000)
    wait_for(lambda: works(box, 30001), 60, "a running request")
    switch = operator.start("switch", "mistral", "--yes")
    waits = {"name": "drain", "state": "running"}
    wait_for(lambda: any(waits.items() <= x.items() for x in operator.newest_receipt()), 60, "the wait for it")
    time.sleep(1.5)
    box.root("pkill curl")  # inside the box; its request ends with it
    told = switch.communicate(timeout=120)
    assert switch.returncode == 0, told
    drain = next(x for x in operator.newest_receipt() if x["t"] == "step" and x["name"] == "drain" and x["state"] == "done")
    assert drain["detail"] == "nothing runs any more"
    assert 1 < drain["seconds"] < 90


def test_drain_gives_up_and_says_how_many_remain(operator: Operator, box: Box) -> None:
    configure(operator, 'drain_timeout = "2s"')
    box.tune("vllm-qwen36", tok_s=20)
    operator.ok("switch", "qwen", "--yes")
    ask(box, 30001, "qwen36", 3000)
    wait_for(lambda: works(box, 30001), 60, "a running request")
    operator.ok("switch", "mistral", "--yes")
    drain = next(x for x in operator.newest_receipt() if x["t"] == "step" and x["name"] == "drain" and x["state"] == "done")
    assert "1 request remains after 2 s" in drain["detail"]


@pytest.mark.truth(of="systemd")
def test_tenant_goes_floor_stays(operator: Operator, box: Box) -> None:
    configure(operator, 'tenants = ["tenant.service"]\nfloor = ["floor.service"]', mistral='may_stay = ["tenant.service"]')
    box.systemctl("start", "floor.service", "tenant.service")
    operator.ok("switch", "mistral", "--yes")
    assert active(box, "tenant.service") and active(box, "floor.service")
    operator.ok("switch", "qwen", "--yes")
    assert not active(box, "tenant.service") and active(box, "floor.service")
    assert loaded(box) == ["qwen"]


@pytest.mark.truth(of="systemd")
def test_lost_floor_is_the_first_thing_said(operator: Operator, box: Box) -> None:
    configure(operator, 'floor = ["floor.service"]')
    box.systemctl("start", "floor.service")
    box.tune("vllm-qwen36", load_seconds=4)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(box) == ["qwen"], 60, "the start")
    box.systemctl("kill", "-s", "KILL", "floor.service")
    client.communicate(timeout=60)
    assert client.returncode == 5
    end = operator.newest_receipt()[-1]
    assert end["outcome"] == "warned"
    assert end["reason"].startswith("floor.service must always run and does not")


@pytest.mark.truth(of="systemd")
def test_guard_stops_a_launch_that_eats_the_reserve(operator: Operator, box: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    configure(operator, 'reserve = "4 TB"')
    box.tune("vllm-qwen36", load_seconds=600)  # so it is ended long before it would be ready
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert "below the reserve" in done.stderr
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back"
    assert loaded(box) == ["mistral"] and ready(box, "mistral")


def test_proof_of_one_token(operator: Operator, box: Box) -> None:
    configure(operator, qwen="proof = true")
    operator.ok("switch", "qwen", "--yes")
    assert ("proof", "done") in steps(operator)


OWN = 'switch = ["/usr/local/bin/switch.sh", "{}"]\nswitch_timeout = "30s"\nswitch_env = {{ {} }}'


def own(operator: Operator, env: str = 'ANSWER = "y", SECRET = "correct\'horse %"') -> None:
    configure(operator, qwen=OWN.format("qwen", env), mistral=OWN.format("mistral", env))


def test_owners_script_that_prompts_and_prints_colour(operator: Operator, box: Box) -> None:
    own(operator)
    for mode in ("qwen", "mistral", "qwen"):
        operator.ok("switch", mode, "--yes")
        assert loaded(box) == [mode] and ready(box, mode)
    receipt = operator.newest_receipt()
    texts = [x["text"] for x in receipt if x["t"] == "line"]
    assert "step 2 of 3" in texts
    assert not any("\x1b" in text for text in texts)
    assert "secret is …" in texts and "quoted …" in texts and "url …" in texts
    assert not any("horse" in str(line) for line in receipt) and "horse" not in operator.ok("config", "show").stdout
    assert receipt[0]["request"]["plan"]["modes"][0]["switch_env"] == {"ANSWER": "…", "SECRET": "…"}
    assert "horse" not in box.root("cat ~ops/.local/state/sovtui/actions/*/request.json").stdout


@pytest.mark.truth(of="systemd")
def test_owners_script_without_an_answer_fails_and_the_old_mode_is_back(operator: Operator, box: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    configure(operator, qwen=OWN.format("qwen", 'PAUSE = "1"'))
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert re.search("ended with 3: .*nobody said yes", done.stderr)
    assert operator.newest_receipt()[-1]["outcome"] == "rolled-back"
    assert loaded(box) == ["mistral"] and ready(box, "mistral")


def test_owners_script_that_hangs_is_ended_with_all_it_started(operator: Operator, box: Box) -> None:
    own(operator, 'ANSWER = "y", PAUSE = "300"')
    operator.config_path.write_text(operator.config_path.read_text().replace('switch_timeout = "30s"', 'switch_timeout = "2s"'))
    done = operator.run("switch", "qwen", "--yes")
    assert done.returncode == 1
    assert "did not end within 2 s" in done.stderr
    assert box.root(["pgrep", "-f", "[s]witch.sh"], check=False).stdout == ""
    assert loaded(box) == []


def test_owners_script_over_a_link_that_drops_twice(operator: Operator, box: Box) -> None:
    own(operator, 'ANSWER = "y", PAUSE = "3"')
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: busy(box), 60, "the runner")
    for _ in range(2):
        time.sleep(2)
        box.kill_sessions()
    _, errors = client.communicate(timeout=90)
    assert client.returncode == 0, errors
    assert loaded(box) == ["qwen"] and ready(box, "qwen")


def test_cancel_brings_the_old_mode_back(operator: Operator, box: Box) -> None:
    operator.ok("switch", "mistral", "--yes")
    box.tune("vllm-qwen36", load_seconds=30)
    client = operator.start("switch", "qwen", "--yes")
    wait_for(lambda: loaded(box) == ["qwen"], 60, "the start")
    assert operator.run("cancel").returncode == 0
    client.send_signal(signal.SIGKILL)
    client.communicate(timeout=60)
    wait_for(lambda: not busy(box), 60, "its end")
    assert operator.newest_receipt()[-1]["outcome"] == "cancelled"
    assert loaded(box) == ["mistral"]
