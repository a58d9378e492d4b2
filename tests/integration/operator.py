"""The operator of the integration tests: a home, a configuration, the public command line, and a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.box.box import Box, BoxError, wait_for

CONFIG = """\
[host.testbox]
link = "ssh"
address = "testbox"
memory = "unified"
watch = ["restartme.service", "crashloop.service", "ssh.service", "backup-broken.service"]

[[host.testbox.mode]]
name = "qwen"
key = "1"
title = "Qwen 3.6"
engine = "vllm"
url = "http://127.0.0.1:30001"
model = "qwen36"
services = ["vllm-qwen36.service"]
needs = "300 MB"
expect_tok_s = 60

[[host.testbox.mode]]
name = "mistral"
key = "2"
title = "Mistral 4"
engine = "sglang"
url = "http://127.0.0.1:30000"
model = "mistral4"
services = ["sglang-mistral4.service"]
needs = "300 MB"
expect_tok_s = 60

[host.testbox.switch]
ready_timeout = "60s"
stop_timeout = "60s"

[[host.testbox.backup]]
name = "nas"
service = "backup-nas.service"
max_age = "26h"
metric = 'box_backup_last_success_timestamp_seconds{job_name="nas"}'

[prometheus]
url = "http://127.0.0.1:9090"
via = "testbox"

[alertmanager]
url = "http://127.0.0.1:9093"
via = "testbox"
interval = "1s"
"""

ENGINES = {"qwen": "vllm-qwen36.service", "mistral": "sglang-mistral4.service"}


@dataclass
class Operator:
    """One person at one client. `home` holds ssh keys, known hosts and the configuration."""

    box: Box
    home: Path

    @classmethod
    def at(cls, box: Box, folder: Path, *, user: str | None = None, config: str = CONFIG) -> Operator:
        home = box.home(folder, user=user)
        target = home / ".config" / "sovtui" / "config.toml"
        target.parent.mkdir(parents=True)
        target.write_text(config)
        return cls(box, home)

    @property
    def config_path(self) -> Path:
        return self.home / ".config" / "sovtui" / "config.toml"

    @property
    def environment(self) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
        return {**keep, "HOME": str(self.home), "USER": "operator", "LOGNAME": "operator", "PYTHONUTF8": "1"}

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sovtui", *words]

    def run(self, *words: str, timeout: float = 120, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """A headless command, to its end. It has no terminal, also where these tests have one."""
        return subprocess.run(
            self.argv(*words),
            env=self.environment,
            start_new_session=True,
            capture_output=True,
            text=True,
            timeout=timeout,
            input=input if input is not None else "",
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A headless command in the background."""
        return subprocess.Popen(
            self.argv(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def host(self) -> dict[str, Any]:
        """The box in `status --json`."""
        hosts: list[dict[str, Any]] = self.json("status")["hosts"]
        return next(h for h in hosts if h["name"] == "testbox")

    def ok(self, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        done = self.run(*words, timeout=timeout)
        assert done.returncode == 0, f"{words}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def newest_receipt(self) -> list[dict[str, Any]]:
        """The lines of the newest receipt, read on the box itself and not through sovtui."""
        command = "cd ~ops/.local/state/sovtui/actions && cat $(find . -name receipt.jsonl -size +0 | sort | tail -1)"
        return [json.loads(line) for line in self.box.root(["bash", "-c", command]).stdout.splitlines()]


def loaded(box: Box) -> list[str]:
    """Modes whose engine unit runs, in any way, as systemd itself says."""
    states = {mode: box.show(unit, "ActiveState")["ActiveState"] for mode, unit in ENGINES.items()}
    return [mode for mode, state in states.items() if state not in ("inactive", "failed")]


def ready(box: Box, mode: str) -> bool:
    port, model = {"qwen": (30001, "qwen36"), "mistral": (30000, "mistral4")}[mode]
    status, _ = box.http(port, "/health")
    listed, body = box.http(port, "/v1/models")
    return status == 200 and listed == 200 and model in body


def busy(box: Box) -> bool:
    """Whether an action's runner lives on the box."""
    return "sovtui-action" in box.root("systemctl --user -M ops@ list-units --no-legend 'sovtui-action*' || true").stdout or bool(
        box.root("pgrep -u ops -f runner.py || true").stdout.strip()
    )


def empty(box: Box) -> None:
    """No engine loaded, no failure ordered, no action running: how every test finds the box."""
    for unit in ENGINES.values():
        name = unit.removesuffix(".service")
        box.fail(name)
        box.tune(name)
        box.systemctl("stop", unit, check=False)
        box.systemctl("reset-failed", unit, check=False)


class Terminal:
    """A real terminal of a given size (tmux on a socket of its own) with sovtui in it."""

    def __init__(
        self,
        operator: Operator,
        folder: Path,
        columns: int,
        rows: int,
        *words: str,
        term: str = "TERM=tmux-256color COLORTERM=truecolor",
    ) -> None:
        self.socket = folder / "tmux.sock"
        environment = {**operator.environment, "TERM": "xterm-256color"}
        variables = [f"{key}={value}" for key, value in operator.environment.items()]
        inside = ["env", "-i", *variables, *term.split(), *operator.argv(*words)]
        size = ["-x", str(columns), "-y", str(rows)]
        self._tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "t",
            *size,
            shlex.join(inside) + "; echo EXIT $?; sleep 60",
            env=environment,
        )

    def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self.socket), *words], capture_output=True, text=True, env=env, timeout=60, check=True
        )
        return done.stdout

    def press(self, *keys: str) -> None:
        """tmux's key names: `c`, `Enter`, `Escape`, `C-c`."""
        for key in keys:
            self._tmux("send-keys", "-t", "t", key)
            time.sleep(0.05)

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-t", "t", "-l", text)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-t", "t")

    def wait(self, pattern: str, seconds: float = 90.0, absent: bool = False) -> str:
        """The screen once it shows (or no longer shows) the pattern."""
        end = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if bool(re.search(pattern, screen)) is not absent:
                return screen
            if time.monotonic() > end:
                raise AssertionError(f"{pattern!r} {'still' if absent else 'not'} on the screen after {seconds} s:\n{screen}")
            time.sleep(0.1)

    def until(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for something outside of the screen; what the screen shows is told if it never comes."""
        try:
            wait_for(condition, seconds, what)
        except BoxError as problem:
            raise AssertionError(f"{problem}; the screen shows:\n{self.screen()}") from None

    def act(self, key: str, begun: Callable[[], bool], what: str) -> None:
        """Press a key until it is taken: a screen that has not heard yet that the last action ended refuses it."""
        end = time.monotonic() + 90.0
        while not begun():
            if time.monotonic() > end:
                raise AssertionError(f"{key} never began {what}; the screen shows:\n{self.screen()}")
            self.press(key)
            with contextlib.suppress(BoxError):
                wait_for(begun, 5.0, what)

    def close(self) -> None:
        subprocess.run(["tmux", "-S", str(self.socket), "kill-server"], capture_output=True, timeout=60, check=False)
