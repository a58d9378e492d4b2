"""nvidia-smi on a box: what it says, what it does not, and that it is asked rarely and never waited for."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import gpus, probe

pytestmark = pytest.mark.truth(of="one-shot commands and states")

CARD = "0, 93, 412.31, 66, 29810, 32607, 2602, [N/A]\n"
XML = """<?xml version="1.0" ?>
<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">
<nvidia_smi_log><gpu id="00000000:55:00.0"><mig_devices>
<mig_device><index>0</index><gpu_instance_id>3</gpu_instance_id><compute_instance_id>0</compute_instance_id>
 <fb_memory_usage><total>24576 MiB</total><reserved>0 MiB</reserved><used>1200 MiB</used><free>23376 MiB</free></fb_memory_usage></mig_device>
<mig_device><index>1</index><gpu_instance_id>3</gpu_instance_id><compute_instance_id>1</compute_instance_id>
 <fb_memory_usage><total>24576 MiB</total><reserved>0 MiB</reserved><used>1200 MiB</used><free>23376 MiB</free></fb_memory_usage></mig_device>
<mig_device><index>2</index><gpu_instance_id>11</gpu_instance_id><compute_instance_id>0</compute_instance_id>
 <fb_memory_usage><total>49152 MiB</total><reserved>0 MiB</reserved><used>N/A</used><free>N/A</free></fb_memory_usage></mig_device>
</mig_devices></gpu></nvidia_smi_log>
"""


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a program of that name first on the path; what it was asked is in `asked`."""
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def install(body: str) -> Path:
        program = tmp_path / "nvidia-smi"
        program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n{body}\n')
        program.chmod(0o755)
        return tmp_path / "asked"

    return install


def says(text: str) -> str:
    return f"cat <<'END'\n{text}END"


@pytest.mark.truth("nvidia-smi is read as it prints a card")
def test_a_card(smi: Any) -> None:
    asked = smi(says(CARD))
    (card,) = gpus.Gpus().ask()["gpus"]
    mib = 1 << 20
    assert card == {
        "id": "0", "use": 93, "power": 412.3, "heat": 66, "used": 29810 * mib, "total": 32607 * mib, "clock": 2602000000,
    }  # fmt: skip
    (line,) = asked.read_text().splitlines()
    assert line.startswith("--query-gpu=index,") and line.endswith("--format=csv,noheader,nounits")


@pytest.mark.parametrize("nothing", ["[N/A]", "[Not Supported]", "N/A", "Not Supported"])
def test_a_chip_that_shares_the_hosts_memory(smi: Any, nothing: str) -> None:
    smi(says(f"0, 94, 48.20, 61, {nothing}, {nothing}, 2405, {nothing}\n"))
    (chip,) = gpus.Gpus().ask()["gpus"]
    assert (chip["used"], chip["total"], chip["use"]) == (None, None, 94)


def test_a_gpu_that_is_lost_leaves_the_others(smi: Any) -> None:
    lost = "Unable to determine the device handle for GPU1: 0000:02:00.0: Unknown Error\n"
    smi(says(f"{CARD}{lost}2, [GPU is lost], [Unknown Error], 40, 1, 81559, 345, [N/A]\n"))
    told = {one["id"]: one for one in gpus.Gpus().ask()["gpus"]}
    assert set(told) == {"0", "2"} and (told["2"]["use"], told["2"]["power"]) == ("GPU is lost", "Unknown Error")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            says("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n") + "\nexit 9",
            "couldn't communicate",
        ),
        (says("No devices were found\n") + "\nexit 6", "No devices were found"),
        ("exit 12", "it ended with 12"),
        ("exit 0", "it ended with 0"),
        (says("a, b, c\n"), "a, b, c"),
    ],
)
def test_why_nothing_is_told(smi: Any, body: str, reason: str) -> None:
    smi(body)
    told = gpus.Gpus().ask()
    assert reason in told["reason"] and "absent" not in told


def test_a_host_without_it_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(gpus, "PLACES", str(tmp_path))
    asked = gpus.Gpus()
    asked.want(True)
    assert asked._thread is not None
    asked._thread.join(60)
    assert not asked._thread.is_alive() and asked.told() == {"reason": "there is no nvidia-smi", "absent": True}


def test_an_old_one_that_knows_no_instances(smi: Any) -> None:
    asked = smi(
        'case "$*" in *mig*) echo \'Field "mig.mode.current" is not a valid field to query.\'; exit 2;; esac\n'
        + says("0, 12, 61.0, 40, 100, 8119, 1500\n")
    )
    one = gpus.Gpus()
    assert one.ask()["gpus"][0]["total"] == 8119 << 20
    one.ask()
    assert [("mig" in line) for line in asked.read_text().splitlines()] == [True, False, False], "it is not asked for again"


def test_instances_of_a_split_gpu(smi: Any) -> None:
    smi(
        f'case "$*" in *-x*) {says(XML)}\n;; *) {says("0, 5, 60, 30, 1, 32607, 345, [N/A]" + chr(10) + "1, [N/A], 90, 35, 3, 97871, 345, Enabled" + chr(10))}\n;; esac'
    )
    told = {one["id"]: one for one in gpus.Gpus().ask()["gpus"]}
    assert list(told) == ["0", "1", "1:3", "1:11"], "each after its GPU, and compute instances of one memory once"
    assert told["1"]["split"] and not told["0"]["split"]
    assert (told["1:3"]["used"], told["1:3"]["total"]) == (1200 << 20, 24576 << 20)
    assert (told["1:11"]["used"], told["1:11"]["total"]) == (None, 49152 << 20)
    assert [one["id"] for one in gpus.with_instances(gpus.parse(CARD)[0], ["0"], "<broken")] == ["0"]


class Clock:
    """A clock that moves when somebody sleeps, and hands over to the test there."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self.turn, self.done = threading.Semaphore(0), threading.Event()

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.done.set()
        self.turn.acquire()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Whoever sleeps when a test ends sleeps on for ever: woken, it would go on by the clock of the next test."""
    made = Clock()
    monkeypatch.setattr(gpus, "time", made)
    return made


def test_it_is_asked_only_where_somebody_wants_it_and_at_most_every_five_seconds(smi: Any, clock: Clock) -> None:
    asked = smi(says(CARD))
    one = gpus.Gpus()
    assert one.told() == {} and one.ago() is None and not asked.exists()
    one.want(True)
    assert clock.done.wait(60) and one.heard() and not one.heard()
    assert clock.slept == [5.0] and one.told()["gpus"]
    assert one.ago() == 5
    for _ in range(3):
        clock.done.clear()
        clock.turn.release()
        assert clock.done.wait(60)
    assert clock.slept == [5.0] * 4 and len(asked.read_text().splitlines()) == 4
    one.pace(10.0)  # a link that is used sparingly
    clock.done.clear()
    clock.turn.release()
    assert clock.done.wait(60) and clock.slept[-1] == 10.0
    one.want(False)
    assert one.told() == {} and one.ago() is None


def test_a_slow_one_is_asked_ever_more_rarely_and_one_that_hangs_is_said_to(
    smi: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, goes_on = threading.Event(), threading.Event()

    def ask(self: gpus.Gpus) -> dict[str, Any]:
        hangs.set()
        assert goes_on.wait(60)
        return {"gpus": [{"id": "0"}]}

    monkeypatch.setattr(gpus.Gpus, "ask", ask)
    one = gpus.Gpus()
    one.want(True)
    assert hangs.wait(60) and one.told() == {}
    clock.now += 3.0
    assert one.told() == {}, "it may take a moment"
    clock.now += 2.0
    assert "does not answer" in one.told()["reason"]
    goes_on.set()
    assert clock.done.wait(60)
    assert clock.slept == [50.0], "ten times as long as the question took"
    assert one.told() == {"gpus": [{"id": "0"}]}


def test_what_is_not_worth_a_line() -> None:
    def told(**figures: Any) -> Any:
        return gpus.gist({"gpus": [{"id": "0", "use": 0, "power": 61.0, "used": 1 << 30, "clock": 345000000, **figures}]})

    assert told() == told(power=62.9) == told(used=(1 << 30) + 4096) == told(clock=344000000 + 1000000)
    assert told() != told(use=1) and told() != told(power=70.0) and told() != told(power=None)
    assert gpus.gist({"reason": "a"}) != gpus.gist({"reason": "b"})


def test_the_sweep_answers_a_wish_at_once_and_tells_gpus_when_they_change(smi: Any, clock: Clock) -> None:
    smi(says(CARD))
    one = gpus.Gpus()
    sweep, pace = probe.Sweep([], (), one), probe.Pace(1.0, one)
    assert not [line for line in sweep.once() if line["t"] == "gpus"], "nobody has asked"
    pace.hear(b'{"gpus": true}')
    assert clock.done.wait(60)
    lines = [line for line in sweep.once() if line["t"] == "gpus"]
    assert lines[0] == {"t": "gpus", "asked": True} and lines[1]["gpus"][0]["use"] == 93
    assert not [line for line in sweep.once() if line["t"] == "gpus"]
    sweep.again()
    (beat,) = [line for line in sweep.once() if line["t"] == "beat"]
    assert beat["gpus_ago"] == 5
    for wrong in (b"[]", b"nonsense", b'{"gpus": 1}', b'{"interval": "x"}'):
        pace.hear(wrong)
    pace.hear(b'{"gpus": false}')
    assert [line for line in sweep.once() if line["t"] == "gpus"] == [{"t": "gpus", "asked": False}]
