"""GPU figures of a box without any exporter, over the real link: read by nvidia-smi, which is pretended, and only where nobody else tells."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box.box import TEXTFILES, Box, wait_for
from tests.integration.operator import Operator, empty

PROGRAM, ANSWER, ASKED = "/usr/local/bin/nvidia-smi", "/etc/pretend/smi", "/var/tmp/smi.asked"
SCRIPT = f"""#!/bin/sh
case "$*" in --query-gpu=index,utilization*) ;; *) exit 6;; esac
echo "$*" >> {ASKED}
. {ANSWER}
"""
CARD = "echo '0, 93, 412.31, 66, 29810, 32607, 2602, [N/A]'\n"
EXPORTED = Path(__file__).parents[1] / "data" / "gpu-exporters" / "nvidia_gpu_exporter.rtx-5090.prom"


@pytest.fixture(scope="module")
def operator(box: Box, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    empty(box)
    box.write(ANSWER, CARD)
    box.write(PROGRAM, SCRIPT, mode="755")
    yield Operator.at(box, tmp_path_factory.mktemp("gpu"))
    box.remove(PROGRAM, ANSWER, ASKED, f"{TEXTFILES}/gpu.prom")
    empty(box)


def told(operator: Operator, box: Box) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """GPUs, the source, and what it was asked meanwhile."""
    box.write(ASKED, "", mode="666")
    whole = operator.json("status")
    source = next(one for one in whole["sources"] if one["name"] == "nvidia-smi")
    return whole["hosts"][0]["gpu"], source, box.read(ASKED).splitlines()


def test_gpus_are_known_without_any_exporter(operator: Operator, box: Box) -> None:
    (gpu,), source, asked = told(operator, box)
    figures = {key: gpu[key]["value"] for key in gpu if key != "id"}
    assert gpu["id"] == "0" and figures == {
        "gpu.use_ratio": 0.93,
        "gpu.power_watts": 412.3,
        "gpu.temperature_celsius": 66,
        "gpu.memory_used_bytes": 29810 << 20,
        "gpu.memory_total_bytes": 32607 << 20,
        "gpu.clock_hertz": 2.602e9,
    }
    assert {gpu[key]["source"] for key in figures} == {"probe"} and source["ok"] is True
    assert len(asked) == 1, "who looks once asks once"


def test_a_driver_that_fails_is_said_to(operator: Operator, box: Box) -> None:
    words = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."
    box.write(ANSWER, f'echo "{words}"\nexit 9\n')
    try:
        gpus, source, _ = told(operator, box)
    finally:
        box.write(ANSWER, CARD)
    assert gpus == [] and source["ok"] is False and words in source["reason"]


def test_where_an_exporter_tells_them_it_is_not_asked(operator: Operator, box: Box) -> None:
    box.write(f"{TEXTFILES}/gpu.prom", EXPORTED.read_text())
    try:
        wait_for(lambda: bool(box.query("nvidia_smi_power_draw_watts")), 60, "the exporter's figures")
        (gpu,), source, asked = told(operator, box)
    finally:
        box.remove(f"{TEXTFILES}/gpu.prom")
    assert gpu["gpu.power_watts"]["source"] == "prometheus" and not asked
    assert (source["ok"], source["reason"]) == (None, "another source reports its GPUs"), json.dumps(source)
