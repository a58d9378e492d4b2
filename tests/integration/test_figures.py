"""Figures against the box's own word: free, systemctl, and a client that counts its tokens."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.box.box import Box, wait_for
from tests.integration.operator import Operator, empty, ready

COUNTING_CLIENT = r"""
import json, sys, threading, time, urllib.request
port, model, streams = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
over, stamps, lock = threading.Event(), [], threading.Lock()
def work(i):
    while not over.is_set():
        body = {"model": model, "stream": True, "max_tokens": 200, "messages": [{"role": "user", "content": "tell %d %f" % (i, time.time())}]}
        request = urllib.request.Request("http://127.0.0.1:%d/v1/chat/completions" % port, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            for line in answer:
                if line.startswith(b"data: {"):
                    delta = json.loads(line[6:])["choices"]
                    if delta and delta[0].get("delta", {}).get("content"):
                        with lock: stamps.append(time.time())
                if over.is_set(): break
threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(streams)]
[t.start() for t in threads]
sys.stdin.read()
over.set()
[t.join(30) for t in threads]
print(json.dumps(stamps))
"""


@pytest.mark.parametrize("mode", ["qwen", "mistral"])
def test_decode_agrees_with_a_client_that_counts(box: Box, tmp_path: Path, mode: str) -> None:
    empty(box)
    operator = Operator.at(box, tmp_path)
    operator.ok("switch", mode, "--yes")
    port, model = {"qwen": (30001, "qwen36"), "mistral": (30000, "mistral4")}[mode]
    load = subprocess.Popen(
        ["nsenter", "-t", str(box.pid), "-n", "-T", "/usr/bin/python3", "-c", COUNTING_CLIENT, str(port), model, "3"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    time.sleep(22)  # longer than the window of the rate
    figures = []
    for _ in range(5):
        engine = next(e for e in operator.host()["engines"] if e["mode"] == mode)
        figures.append((time.time(), engine["figures"]["engine.decode_tok_s"]))
    stamps = json.loads(load.communicate(timeout=120)[0])  # it ends with its standard input
    shares = []
    for at, decode in figures:
        assert decode["status"] == "fresh", decode
        counted = [
            sum(end - span < stamp <= end for stamp in stamps) / span
            for span in (2, 5, 15)
            for end in (at - 4, at - 3, at - 2, at - 1, at)
        ]
        assert min(counted) > 0
        # 1 where it lies between the least and the most of this time: the window of a look is some seconds of it.
        shares.append(decode["value"] / min(max(decode["value"], min(counted)), max(counted)))
    # A machine that stands still in the middle of one look makes that one wrong, upwards or downwards: the one in the middle is right.
    assert statistics.median(shares) == pytest.approx(1.0, rel=0.05), (shares, figures)
    empty(box)


def test_memory_agrees_with_free(box: Box, tmp_path: Path) -> None:
    """The kernel is shared with whatever else runs here, so it is looked again while its figures move; what is wrong never agrees."""
    operator = Operator.at(box, tmp_path)
    for _ in range(5):
        try:
            _agree(operator.host()["memory"], _free(box))
        except AssertionError:
            continue
        return
    _agree(operator.host()["memory"], _free(box))


def _agree(memory: dict[str, Any], table: dict[str, int]) -> None:
    assert memory["memory.total_bytes"]["value"] == table["total"]
    assert memory["memory.available_bytes"]["value"] == pytest.approx(table["available"], rel=0.05)
    assert memory["memory.buffers_bytes"]["value"] == pytest.approx(table["buffers"], rel=0.05, abs=8e6)
    assert memory["memory.cached_bytes"]["value"] == pytest.approx(table["cache"] + table["buffers"], rel=0.05, abs=3e7)
    assert all(reading["status"] == "fresh" for reading in memory.values() if reading["value"] is not None)


def _free(box: Box) -> dict[str, int]:
    words = box.root(["free", "-b", "-w"]).stdout.splitlines()[1].split()
    return dict(zip(("total", "used", "free", "shared", "buffers", "cache", "available"), map(int, words[1:]), strict=True))


def test_units_agree_with_systemctl(box: Box, tmp_path: Path) -> None:
    told = {s["name"]: s for s in Operator.at(box, tmp_path).host()["services"]}
    for name, service in told.items():
        truth = box.show(name, "ActiveState", "SubState", "LoadState")
        assert service["active"] == truth["ActiveState"], name
        assert service["sub"] == truth["SubState"], name
    assert told["restartme.service"]["active"] == "active"


def test_a_change_of_a_unit_is_seen_while_somebody_looks(box: Box, tmp_path: Path) -> None:
    operator = Operator.at(box, tmp_path)
    watch = subprocess.Popen(
        operator.argv("status", "--json", "--watch"),
        env=operator.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert watch.stdout is not None
        _wait_for_line(watch, r'"name": ?"restartme.service", ?"active": ?"active"')
        box.systemctl("stop", "restartme.service")
        _wait_for_line(watch, r'"name": ?"restartme.service", ?"active": ?"inactive"')
    finally:
        box.systemctl("start", "restartme.service")
        watch.kill()
        watch.communicate()


def _wait_for_line(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if re.search(pattern, line):
            return line
    raise AssertionError(f"{pattern!r} never came")


def test_with_prometheus_stopped_the_rest_lives_and_says_why(box: Box, tmp_path: Path) -> None:
    empty(box)
    operator = Operator.at(box, tmp_path)
    operator.ok("switch", "qwen", "--yes")
    box.systemctl("stop", "prometheus")
    try:
        state = operator.json("status")
        host = next(h for h in state["hosts"] if h["name"] == "testbox")
        prometheus = next(s for s in state["sources"] if s["name"] == "prometheus")
        assert prometheus["ok"] is False and "9090" in prometheus["reason"]
        assert host["memory"]["memory.available_bytes"]["status"] == "fresh"  # from the probe
        engine = next(e for e in host["engines"] if e["mode"] == "qwen")
        assert engine["figures"]["engine.running"]["value"] == 0  # from the engine itself: a real zero
        other = next(e for e in host["engines"] if e["mode"] == "mistral")
        assert other["figures"]["engine.running"]["value"] is None  # nothing is not zero
    finally:
        box.systemctl("start", "prometheus")
        wait_for(lambda: box.http(9090, "/-/ready")[0] == 200, 60, "Prometheus")
        empty(box)
    assert not ready(box, "qwen")


def test_prometheus_may_come_and_go_while_somebody_looks(box: Box, tmp_path: Path) -> None:
    """Everything but history stays live while it is stopped; once it runs again it is asked again, by the same process."""
    empty(box)
    operator = Operator.at(box, tmp_path)
    operator.ok("switch", "qwen", "--yes")
    operator.ok("backup", "nas")
    watch = subprocess.Popen(
        operator.argv("status", "--json", "--watch"),
        env=operator.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )

    def seen(holds: Callable[[dict[str, Any], dict[str, Any]], bool], what: str, seconds: float = 120.0) -> dict[str, Any]:
        assert watch.stdout is not None
        began = time.monotonic()
        for line in watch.stdout:
            state = json.loads(line)
            (source,) = (s for s in state["sources"] if s["name"] == "prometheus")
            host: dict[str, Any] = next(h for h in state["hosts"] if h["name"] == "testbox")
            if holds(source, host):
                return host
            assert time.monotonic() - began < seconds, f"{what}: {source['ok']}, {source['reason']}; {old(host)}"
        raise AssertionError(f"the command ended before {what}")

    def old(host: dict[str, Any]) -> list[str]:
        """What is not live, of each group of figures."""
        engine = next(e for e in host["engines"] if e["mode"] == "qwen")
        told = {key: host["memory"][f"memory.{key}_bytes"] for key in ("total", "available", "cached", "droppable")}
        told["cpu"] = host["cpu"]["cpu.use_ratio"]
        told |= {key: engine["figures"][f"engine.{key}"] for key in ("running", "waiting", "decode_tok_s", "kv_use_ratio")}
        services = {s["name"]: s["active"] for s in host["services"]}
        found = [
            f"{key} {reading['status']}: {reading['reason']}" for key, reading in told.items() if reading["status"] != "fresh"
        ]
        found += [f"qwen {engine['phase']}"] if engine["phase"] != "ready" else []
        found += [f"backup {b['name']}: {b['reason']}" for b in host["backups"] if b["age_seconds"] is None]
        return found + ([] if services["restartme.service"] == "active" else [f"restartme {services['restartme.service']}"])

    def backup(host: dict[str, Any]) -> dict[str, Any]:
        (found,) = host["backups"]
        return dict(found)

    def live(host: dict[str, Any]) -> bool:
        return not old(host)

    try:
        seen(lambda source, host: source["ok"] is True and live(host), "a first answer")
        first = seen(lambda _, host: backup(host)["source"] == "prometheus" and not backup(host)["reason"], "its metric")
        box.systemctl("stop", "prometheus")
        seen(lambda source, host: source["ok"] is False and live(host), "live figures without Prometheus")
        for _ in range(5):  # and they stay so
            seen(lambda source, host: source["ok"] is False and live(host), "figures that stay live")
        told = " ".join(operator.ok("status").stdout.split())
        assert "prometheus: " in told and "history is missing meanwhile" in told, told
        operator.ok("backup", "nas")  # nobody counts it now, and the box tells of it all the same
        then = seen(lambda _, host: backup(host)["last_success_at"] > backup(first)["last_success_at"], "a backup meanwhile")
        assert backup(then)["source"] in ("probe", "receipt") and "Prometheus, which has its metric" in backup(then)["reason"]
        assert backup(then)["age_seconds"] < 60 and backup(then)["late"] is False
        box.systemctl("start", "prometheus")
        seen(lambda source, host: source["ok"] is True and live(host), "its return")
        seen(lambda _, host: backup(host)["source"] == "prometheus" and not backup(host)["reason"], "its metric again")
    finally:
        watch.kill()
        watch.communicate()
        box.systemctl("start", "prometheus")
        wait_for(lambda: box.http(9090, "/-/ready")[0] == 200, 60, "Prometheus")
        empty(box)
