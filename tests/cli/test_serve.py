"""`sovtui serve` as a command: what it passes on, what it refuses, what it says where its dependency is missing."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest


def test_options_are_passed_on(command) -> None:
    told = command("--host", "spark", "--read-only", "--theme", "sovtui-light", "serve", "--port", "0", "--allow", "box.ts.net")
    assert told.code == 0 and told.out == "http://127.0.0.1:0/#key=k\n" and "anyone who has it" in told.err
    words, port, allow = command.served
    assert words[0] == sys.executable and (port, allow) == (0, ("box.ts.net",))
    assert words[-7:] == ["--config", str(command.path), "--host", "spark", "--theme", "sovtui-light", "--read-only"]


def test_mistakes_are_told_before_anything_is_served(command) -> None:
    assert command("serve", "--port", "70000").code == 2
    for name in ("https://box.ts.net/", "box.ts.net:443", "me@box", "", "a b"):
        assert command("serve", "--allow", name).code == 2 and command.served is None
    assert command("--host", "sprak", "serve").code == 2 and command.served is None
    told = command("serve", config='[host.spark]\nadress = "x"\n')
    assert told.code == 2 and "adress" in told.err and command.served is None


def sovtui(home: Path, code: str, *words: str) -> subprocess.CompletedProcess[str]:
    program = f"import sys; {code}\nfrom sovtui.__main__ import main\nsys.exit(main({list(words)!r}))"
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={"HOME": str(home), "PYTHONPATH": root}, timeout=60
    )


@pytest.mark.parametrize("missing", ["aiohttp", "textual_serve"])
def test_without_textual_serve_it_says_what_to_install(tmp_path: Path, missing: str) -> None:
    done = sovtui(tmp_path, f"sys.modules[{missing!r}] = None", "serve", "--demo", "spark")
    assert done.returncode == 2 and done.stdout == "" and "pip install 'sovtui[serve]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    pytest.importorskip("textual_serve")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = sovtui(tmp_path, "pass", "serve", "--demo", "spark", "--port", str(port))
    assert done.returncode == 2 and done.stdout == "" and str(port) in done.stderr and "in use" in done.stderr
