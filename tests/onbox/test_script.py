"""The owner's command in real processes: no terminal, colour gone, ended with all it started."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.parse

import pytest

from sovtui.onbox.script import Script, plain
from sovtui.onbox.words import Command

pytestmark = pytest.mark.integration  # real processes, and the seconds they are given to end


LONG = 600
"""Seconds: what waits for this to pass does not end while a test is looked at."""


def run(text: str, timeout: float = LONG, **env: str) -> tuple[bool, str, list[str]]:
    lines: list[str] = []
    ok, reason = Script(Command(("/bin/sh", "-c", text), tuple(env.items()), timeout), lines.append).wait()
    return ok, reason, lines


def test_lines_without_colour() -> None:
    ok, reason, lines = run(r"printf '\033[31;1mred\033[0m\n\033]0;title\007plain\rover\n'; echo err >&2; printf 'no newline'")
    assert (ok, reason) == (True, "")
    assert lines == ["red", "plain", "over", "err", "no newline"]


def test_a_prompt_meets_no_terminal() -> None:
    ok, reason, lines = run('printf "sure? "; read x || true; [ "$x" = y ] || exit 3')
    assert (ok, reason, lines) == (False, "ended with 3", ["sure?"])


def test_an_answer_by_the_environment_and_secrets_unseen() -> None:
    ok, _, lines = run('[ "$ANSWER" = y ] && echo "with $SECRET"', ANSWER="y", SECRET="correcthorse")
    assert ok and lines == ["with …"]


@pytest.mark.parametrize("secret", ["k3y", "hunter2", "pa$$ w'or\"d\\", "first line\nsecond line", "zażółć"])
def test_a_value_is_not_seen_however_the_script_writes_it(secret: str) -> None:
    program = (
        "import json,os,urllib.parse as u,shlex; s=os.environ['S']; print('as', s, '.'); print(json.dumps({'a': s})); "
        "print(u.quote(s, safe='')); print(u.quote_plus(s)); print(shlex.quote(s)); print('x' * 9000 + ' ' + s); print('y' * 3990, s, s)"
    )
    ok, _, lines = run(f'{sys.executable} -c {shlex.quote(program)}; set -x; : "$S"', S=secret)
    said = "\n".join(lines)
    assert ok and "as …" in said and '{"a": "…' in said
    for part in {secret, *secret.split("\n"), json.dumps(secret)[1:-1], urllib.parse.quote(secret, safe="")}:
        assert part not in said


def test_timeout_ends_all_it_started() -> None:
    ok, reason, _ = run(f"sleep {LONG}.25 & sleep {LONG}.25", timeout=0.5)
    assert not ok and "did not end within 0.5 s" in reason
    assert subprocess.run(["pgrep", "-f", f"sleep {LONG}.25"], capture_output=True, check=False).stdout == b""


def test_one_that_ignores_term() -> None:
    ok, _, _ = run("trap '' TERM; while :; do sleep 0.1; done", timeout=0.3)
    assert not ok


def test_what_it_leaves_in_the_background_does_not_hold_it_up() -> None:
    ok, _, lines = run(f"(exec sleep {LONG}) & echo $!")
    os.kill(int(lines[0]), signal.SIGKILL)  # it is still there
    assert ok and len(lines) == 1


def test_plain() -> None:
    assert plain("\x1b[2K\x1b[1Gdone\x07") == "done"
