"""What the kernel tells of engines: real processes of this machine, with real connections, that really compute."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sovtui.onbox import processes
from sovtui.onbox.activity import Activity, Glimpse
from sovtui.onbox.probe import Sweep

SERVER = """
import os, socket, subprocess, sys, threading, time
def serve(one):
    while (said := one.recv(64)):
        end = time.process_time() + float(said)
        while time.process_time() < end:
            pass
        one.sendall(b"done")
    one.close()
def main(port, family=socket.AF_INET):
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", port))
    listening.listen()
    print("up", flush=True)
    while True:
        threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()
words = sys.argv[1:]
if "--child" in words:
    argv = ["llama-server", "-c", os.environ["SERVER"], "--port", words[words.index("--child") + 1]]
    subprocess.Popen(argv, executable=os.environ["PROGRAM"])
port = words[words.index("--port") + 1] if "--port" in words else os.environ["AT"]
main(int(port), socket.AF_INET6 if "--six" in words else socket.AF_INET)
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def served(*words: str, name: str = "llama-server", **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server of its own that computes as long as it is told to; `words` are its command line."""
    argv = [name, "-c", SERVER, *words]
    environment = {"SERVER": SERVER, "PROGRAM": sys.executable, "PATH": "/usr/bin:/bin", **env}
    process = subprocess.Popen(argv, executable=sys.executable, stdout=subprocess.PIPE, env=environment, start_new_session=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"up\n"
        yield process
    finally:
        if process.poll() is None:  # else its number may be somebody else's by now
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sovtui.onbox.activity.COUNT_EVERY", 0.5)
    monkeypatch.setattr("sovtui.onbox.activity.LEAST_EVERY", 0.5)


def look(activity: Activity, at: str) -> dict[str, Any]:
    return next(one for one in activity.look({}) if one["at"] == at)


def until(told: Callable[[], dict[str, Any]], holds: Callable[[dict[str, Any]], bool], seconds: float = 90.0) -> dict[str, Any]:
    """What is told once it is so; a machine with much to do takes its time."""
    limit = time.monotonic() + seconds
    while True:
        seen = told()
        if holds(seen):
            return seen
        assert time.monotonic() < limit, seen
        time.sleep(0.3)


@pytest.mark.parametrize("fine", [True, False])
@pytest.mark.parametrize("how", ["--port", "by its socket"])
def test_work_rest_and_who_is_connected(how: str, fine: bool) -> None:
    port = free_port()
    at = f"127.0.0.1:{port}"
    with served(*(("--port", str(port)) if how == "--port" else ()), name="some-server", AT=str(port)) as process:
        activity = Activity([{"at": at, "fine": fine}])
        assert look(activity, at) == {"at": at, "open": 0}  # what it uses takes a second look
        assert until(lambda: look(activity, at), lambda one: "cores" in one) == {"at": at, "cores": 0.0, "open": 0}
        with socket.create_connection(("127.0.0.1", port)) as one:
            one.sendall(b"0.8")
            working = until(lambda: look(activity, at), lambda one: one["cores"] > 0)
            assert "open" not in working
            assert one.recv(16) == b"done"
            assert until(lambda: look(activity, at), lambda one: one["cores"] == 0)["open"] == 1  # it is kept open
        free = until(lambda: look(activity, at), lambda one: one.get("open") == 0)
        assert free == {"at": at, "cores": 0.0, "open": 0}
        assert Glimpse(f"http://{at}/v1").connections() == 0 and Glimpse(f"http://{at}").works(0.2) is False
        process.kill()
        process.wait()
        assert until(lambda: look(activity, at), lambda one: "why" in one)["why"] == "its process is not found"


def test_a_little_work_is_seen_where_it_matters() -> None:
    port = free_port()
    at = f"127.0.0.1:{port}"
    with served("--port", str(port)), socket.create_connection(("127.0.0.1", port)) as one:
        activity = Activity([{"at": at, "fine": True}])
        until(lambda: look(activity, at), lambda told: told.get("cores") == 0)
        one.sendall(b"0.008")  # less than a tick of the kernel's clock, and no question for how it is
        assert one.recv(16) == b"done"
        assert look(activity, at)["cores"] > 0


def test_a_server_of_the_other_family() -> None:
    port = free_port()
    with served("--six", AT=str(port)):
        assert look(Activity([{"at": f"[::1]:{port}"}]), f"[::1]:{port}")["open"] == 0


def test_what_a_router_has_started_is_told_by_its_own_port() -> None:
    port, inner = free_port(), free_port()
    with served("--child", str(inner), AT=str(port)):
        activity = Activity([{"at": f"127.0.0.1:{port}"}])
        told = until(lambda: {one["at"]: one for one in activity.look({})}, lambda told: f"127.0.0.1:{inner}" in told)
        assert set(told) == {f"127.0.0.1:{port}", f"127.0.0.1:{inner}"}
        limit = time.monotonic() + 90
        while True:
            try:
                one = socket.create_connection(("127.0.0.1", inner))
                break
            except OSError:
                assert time.monotonic() < limit
                time.sleep(0.1)
        with one:
            one.sendall(b"0.8")
            works = f"127.0.0.1:{inner}"
            told = until(lambda: {one["at"]: one for one in activity.look({})}, lambda told: told[works].get("cores", 0) > 0)
            assert told[f"127.0.0.1:{port}"]["cores"] > 0  # its children are its own


def test_a_process_that_was_started_anew_begins_anew() -> None:
    port = free_port()
    at = f"127.0.0.1:{port}"
    activity = Activity([{"at": at}])
    assert look(activity, at)["why"] == "its process is not found"
    for _ in range(2):
        with served("--port", str(port)):
            until(lambda: look(activity, at), lambda one: one.get("cores") == 0.0)
        until(lambda: look(activity, at), lambda one: "why" in one)


@pytest.mark.parametrize(
    ("words", "env", "told"),
    [
        ((), {}, {"sleeps": 0, "shared": True}),  # nothing said: four automatic slots, and it never sleeps
        (("--sleep-idle-seconds", "15", "-np", "4"), {}, {"sleeps": 15, "shared": False}),
        (("--sleep-idle-seconds=-1", "--parallel", "-1"), {}, {"sleeps": 0, "shared": True}),
        (("--parallel=2", "-kvu"), {}, {"sleeps": 0, "shared": True}),
        (("-kvu", "--no-kv-unified"), {}, {"sleeps": 0, "shared": False}),
        ((), {"LLAMA_ARG_N_PARALLEL": "4", "LLAMA_ARG_SLEEP_IDLE_SECONDS": "300"}, {"sleeps": 300, "shared": False}),
        (("-np", "1"), {"LLAMA_ARG_KV_UNIFIED": "1"}, {"sleeps": 0, "shared": True}),
    ],
)
def test_what_a_llama_server_was_told(words: tuple[str, ...], env: dict[str, str], told: dict[str, Any]) -> None:
    with served(*words, AT=str(free_port()), **env) as process:
        assert processes.settings(process.pid) == told


def test_other_programs_have_no_settings() -> None:
    with served("--sleep-idle-seconds", "15", name="some-server", AT=str(free_port())) as process:
        assert processes.settings(process.pid) == {}


def test_an_engine_elsewhere_and_a_name_that_nobody_knows_say_so() -> None:
    activity = Activity([{"at": "192.0.2.7:8000"}, {"at": "nobody.invalid:8000"}])
    told = until(lambda: {one["at"]: one for one in activity.look({})}, lambda told: len(told) == 2)
    assert {one["why"] for one in told.values()} == {"it runs on another machine"}
    assert Glimpse("http://192.0.2.7:8000").connections() is None and Glimpse("http://192.0.2.7:8000").works() is None


def test_the_sweep_tells_only_what_changed_and_what_has_ended() -> None:
    port = free_port()
    at = f"127.0.0.1:{port}"
    sweep = Sweep([], [{"at": at}])
    with served("--port", str(port)):
        first = sweep.engines()
        assert [line["t"] for line in first] == ["activity"] and first[0]["of"][0]["open"] == 0
        until(lambda: {"lines": sweep.engines()}, lambda told: bool(told["lines"]))
        for _ in range(3):
            assert sweep.engines() == []
    assert until(lambda: {"lines": sweep.engines()}, lambda told: bool(told["lines"]))["lines"][0]["of"] == [
        {"at": at, "why": "its process is not found"}
    ]


def test_a_look_at_one_that_rests_costs_next_to_nothing() -> None:
    port = free_port()
    with served("--port", str(port)):
        activity = Activity([{"at": f"127.0.0.1:{port}"}])
        for _ in range(2):
            activity.look({})
        began = time.process_time()
        for _ in range(50):
            activity.look({})
        assert (time.process_time() - began) / 50 < 0.01
