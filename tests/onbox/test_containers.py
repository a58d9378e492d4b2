"""Containers and compose projects, told by a `docker` that answers from a list: the shapes are those of docker 27 and podman 4.3."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import box, cgroups, containers, journal, services
from sovtui.onbox.authority import Authority
from sovtui.onbox.judge import cannot_start, floor_within, readiness
from sovtui.onbox.plan import ModePlan, Request
from sovtui.onbox.words import Looked

pytestmark = pytest.mark.integration  # a command line tool as a process of its own

PROJECT = containers.PROJECT
TOOL = """#!/usr/bin/env python3
import json, os, sys
here = os.path.dirname(os.path.abspath(__file__))
every = json.load(open(here + "/containers.json"))
words = sys.argv[1:]
open(here + "/did", "a").write(" ".join(words[:1] + words[1:][-2:]) + "\\n")
if words[0] == "ps":
    for one in every:
        labels = one["Config"]["Labels"]
        if "com.docker.compose.project" in labels:
            print(one["Id"], ",".join(f"{k}={v}" for k, v in labels.items()))
elif words[0] == "inspect":
    found, missing = [], []
    for name in words[3:]:
        one = [x for x in every if x["Name"].lstrip("/") == name or x["Id"] == name]
        found += one
        missing += [] if one else [name]
    print(json.dumps(found, indent=4))
    for name in missing:
        print("Error: No such container: " + name, file=sys.stderr)
    sys.exit(bool(missing))
elif words[0] == "logs":
    name = words[-1]
    print("2026-11-20T09:00:00.250000000Z " + name + " first")
    print("2026-11-20T11:00:01+02:00 bar 1%\\rbar 2%", file=sys.stderr)
else:
    bad = [w for w in words[1:] if w == "old"]
    if bad:
        print('time="2026-11-20T09:00:00Z" level=warning msg="by the way"', file=sys.stderr)
        print("Error response from daemon: it will not", file=sys.stderr)
    sys.exit(bool(bad))
"""


def one(name: str, status: str = "running", code: int = 0, **more: Any) -> dict[str, Any]:
    labels = more.pop("labels", {})
    state = {
        "Status": status,
        "ExitCode": code,
        "Pid": 4194304 if status == "running" else 0,
        "StartedAt": "2026-11-20T09:00:00.5Z",
    }
    return {
        "Id": f"id-{name}",
        "Name": "/" + name,
        "Created": more.pop("created", "2026-11-20T08:00:00Z"),
        "RestartCount": more.pop("restarts", 0),
        "Config": {"Image": "engine:1", "Labels": labels},
        "HostConfig": {"RestartPolicy": {"Name": more.pop("policy", "unless-stopped")}},
        "State": {**state, "FinishedAt": "2026-11-20T10:00:00+01:00", **more},
    }


def part(name: str, *words: Any, project: str = "chat", **more: Any) -> dict[str, Any]:
    labels = {PROJECT: project, "com.docker.compose.service": name, **more.pop("labels", {})}
    return one(f"{project}-{name}-1", *words, labels=labels, **more)


Docker = Callable[..., Path]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """Puts a `docker` on the PATH that knows these containers."""
    tool = tmp_path / "docker"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def know(*every: dict[str, Any]) -> Path:
        (tmp_path / "containers.json").write_text(json.dumps(every))
        return tmp_path

    return know


def did(folder: Path, verb: str) -> list[str]:
    return [line for line in (folder / "did").read_text().splitlines() if line.startswith(verb + " ")]


def test_states_of_containers(docker: Docker) -> None:
    docker(
        one("web", restarts=1),
        one("old", "exited", 1),
        one("ended", "exited", 143),
        one("killed", "exited", 137, OOMKilled=True),
        one("going", "stopping"),
        one("again", "restarting"),
        one("between", "stopped", 1, policy="always"),
        one("stopped", "stopped", 1, policy="no"),
        one("ill", Health={"Status": "unhealthy"}),
    )
    names = ["web", "old", "ended", "killed", "going", "again", "between", "stopped", "ill", "gone"]
    told, problems = services.look([f"container:{name}" for name in names])
    assert problems == {}
    assert [(t["active"], t["sub"], t["result"]) for t in told] == [
        ("active", "running", "success"),
        ("failed", "exited", "exit-code"),
        ("inactive", "exited", "signal"),
        ("failed", "exited", "oom-kill"),
        ("deactivating", "stopping", "success"),
        ("activating", "auto-restart", "success"),
        ("activating", "auto-restart", "success"),  # podman's restart policy has not had its say yet
        ("failed", "stopped", "exit-code"),
        ("active", "unhealthy", "success"),
        ("missing", "", ""),
    ]
    assert (told[0]["pid"], told[0]["restarts"], told[0]["since"]) == (4194304, 1, 1795165200.5)
    assert told[1]["since"] == 1795165200.0  # podman tells its own time zone


def test_a_name_that_begins_another_containers_id_is_missing(docker: Docker) -> None:
    docker(one("web"))
    told, _ = services.look(["container:id-web"])
    assert told[0]["active"] == "missing"


def test_docker_that_does_not_answer_is_no_missing_container(docker: Docker) -> None:
    (docker() / "docker").write_text("#!/bin/sh\necho 'permission denied: /var/run/docker.sock' >&2; exit 1\n")
    told, problems = services.look(["container:web", "compose:chat"])
    assert told == [] and list(problems) == ["container"]
    assert "permission denied: /var/run/docker.sock" in problems["container"]


@pytest.mark.parametrize(
    ("parts", "active", "sub"),
    [
        ([part("db"), part("api")], "active", "2 of 2 up"),
        ([part("db"), part("api"), part("init", "exited", policy="no")], "active", "2 of 3 up"),
        ([part("db"), part("api", "exited", policy="always")], "activating", "1 of 2 up"),
        ([part("db"), part("api", "created")], "activating", "1 of 2 up"),
        ([part("db"), part("api", "exited", 1)], "failed", "1 of 2 up"),
        ([part("db"), part("api", "restarting")], "activating", "auto-restart"),
        ([part("db"), part("api", "stopping")], "deactivating", "2 of 2 up"),
        ([part("db", "exited", 137), part("api", "exited")], "inactive", "0 of 2 up"),
        ([part("init", "exited", policy="no")], "inactive", "0 of 1 up"),
        ([part("db"), part("test", "exited", 1, labels={"com.docker.compose.oneoff": "True"})], "active", "1 of 1 up"),
        ([], "missing", ""),
    ],
)
def test_state_of_a_project(docker: Docker, parts: list[dict[str, Any]], active: str, sub: str) -> None:
    docker(*parts, part("other", "exited", 1, project="chat2"), one("liar", labels={PROJECT: "x", "y": f"z,{PROJECT}=chat"}))
    told, problems = services.look(["compose:chat"])
    assert problems == {}
    assert (told[0]["active"], told[0]["sub"]) == (active, sub)


def test_a_project_whose_container_crashed_is_not_gone_while_another_runs(docker: Docker) -> None:
    docker(part("db"), part("api", "exited", 1))
    (unit,), _ = services.units(["compose:chat"])
    assert unit.active == "failed" and not unit.gone


def test_stopped_with_a_process_that_lives_is_no_restart(docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman could not end it: it is not on its way up again, and it is not gone."""
    monkeypatch.setattr(cgroups, "members", lambda groups: {4711} if list(groups) else set())
    docker(one("web", "stopped", 1, policy="always", CgroupPath="/machine.slice/web"))
    (unit,), _ = services.units(["container:web"])
    assert (unit.active, unit.up, unit.gone) == ("failed", False, False)


def test_one_look_asks_twice_whatever_it_is_asked(docker: Docker) -> None:
    folder = docker(part("db"), part("api"), part("web", project="site"), one("alone"))
    told, _ = services.look(["compose:chat", "compose:site", "container:alone", "container:chat-db-1"])
    assert [t["active"] for t in told] == ["active"] * 4
    assert told[3]["part_of"] == "compose:chat"
    assert len((folder / "did").read_text().splitlines()) == 2


def test_control(docker: Docker) -> None:
    folder = docker(
        part("api", created="2026-11-20T08:00:02Z"), part("db", created="2026-11-20T08:00:01Z"), one("web"), one("old")
    )
    hand = Authority()
    assert hand.control("start", "container:web") == (True, "")
    assert hand.control("stop", "container:old") == (False, "Error response from daemon: it will not")
    assert hand.control("start", "compose:chat") == (True, "")
    assert hand.control("stop", "compose:chat") == (True, "")
    assert hand.control("reset-failed", "compose:chat") == (True, "")
    assert hand.control("start", "compose:nothing") == (False, "the compose project nothing has no containers")
    assert did(folder, "start") == ["start web", "start id-chat-db-1 id-chat-api-1"]
    assert did(folder, "stop") == ["stop old", "stop id-chat-api-1 id-chat-db-1"]


def test_logs_of_a_container(docker: Docker) -> None:
    docker(one("web"))
    lines = list(journal.reader("container:web", 10, None, follow=False))
    assert sorted((line["at"], line["text"]) for line in lines) == [(1795165200.25, "web first"), (1795165201.0, "bar 2%")]


def test_logs_of_a_project_in_order_and_named(docker: Docker) -> None:
    docker(part("db"), part("api"))
    texts = [line["text"] for line in journal.reader("compose:chat", 3, None, follow=False, named=True)]
    assert len(texts) == 3  # the newest
    assert texts[0].endswith("first")
    assert sorted(texts[1:]) == ["api | bar 2%", "db | bar 2%"]
    live = {line["text"] for line in journal.reader("compose:chat", 3, None, follow=True)}
    assert live == {"id-chat-db-1 first", "id-chat-api-1 first", "bar 2%"}


def test_a_script_that_only_runs_podman_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"docker": '#!/bin/sh\nexec /usr/bin/podman "$@"\n', "podman": "\x7fELF"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert box.docker() == "podman"
    (tmp_path / "docker").write_text("\x7fELF docker")
    assert box.docker() == "docker"
    (tmp_path / "podman").unlink()
    (tmp_path / "docker").write_text("#!/bin/sh\nexec podman-remote\n")
    assert box.docker() == "docker"


def test_what_a_control_group_has_used(tmp_path: Path) -> None:
    group = "/system.slice/docker-1.scope"
    (tmp_path / group[1:]).mkdir(parents=True)
    for name, text in {
        "memory.current": "4096\n", "cpu.stat": "usage_usec 7\nuser_usec 5\n", "io.stat": "8:0 rbytes=10 wbytes=1\n8:1 rbytes=5\n",
    }.items():  # fmt: skip
        (tmp_path / group[1:] / name).write_text(text)
    assert cgroups.usage(group, str(tmp_path)) == {"memory": 4096, "cpu": 7000, "read": 15}
    for name, text in {
        "memory/d/memory.usage_in_bytes": "8192\n", "cpuacct/d/cpuacct.usage": "9\n",
        "blkio/d/blkio.throttle.io_service_bytes": "8:0 Read 3\n8:0 Write 4\nTotal 7\n",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    assert cgroups.usage("/d", str(tmp_path)) == {"memory": 8192, "cpu": 9, "read": 3}
    assert cgroups.usage("/none", str(tmp_path)) == {}


def test_floor_inside_a_project_that_would_be_stopped(docker: Docker) -> None:
    docker(part("db"), part("api"))
    modes = (ModePlan("chat", ("compose:chat",)), ModePlan("qwen", ("qwen.service",)))
    units, _ = services.units(["compose:chat", "container:chat-db-1"])
    looked = Looked(0.0, units)

    def request(*floor: str) -> Request:
        return Request("20261120T090000Z-switch-0001", "switch", "qwen", "", "", modes, floor, "qwen")

    assert "container:chat-db-1 must always run, but belongs to compose:chat" in floor_within(
        request("container:chat-db-1"), looked
    )
    assert floor_within(request(), looked) == ""


def test_a_project_without_containers_says_how_to_make_them(docker: Docker) -> None:
    docker()
    (unit,), _ = services.units(["compose:chat"])
    assert cannot_start(unit, "rig") == "compose project chat has no containers on rig: `docker compose create` makes them"


def test_failure_of_an_earlier_run_is_not_that_of_this_start(docker: Docker) -> None:
    docker(part("db"), part("api", "exited", 1))
    mode, service = ModePlan("chat", ("compose:chat",)), "compose:chat"
    looked = Looked(0.0, services.units([service])[0])
    assert readiness(mode, looked, {}, (), ()).verdict == "wait"  # `docker start` still runs: one is up, the other not yet
    assert readiness(mode, looked, {}, (), (service,)).verdict == "fail"
    assert readiness(mode, looked, {}, (service,), ()).verdict == "fail"
