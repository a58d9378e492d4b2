"""The program as a process: what it imports, how fast it is, and that nothing ugly reaches the terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sovtui.__main__ import _actions, _engines
from tests.fakes.apart import own_network
from tests.fakes.terminal import Terminal

pytestmark = pytest.mark.integration  # the program itself, started anew each time

HEAVY = ("textual", "rich", "asyncssh", "httpx", "psutil", "pynvml", "requests", "cattrs", "asyncio")


def start(home: Path, *words: str, before: tuple[str, ...] = (), **more: object) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*before, sys.executable, *words], capture_output=True, text=True, env=environment, timeout=60, check=False, **more
    )


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("switch", "--help")])
def test_version_and_help_import_nothing_heavy(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = start(tmp_path, "-X", "importtime", "-m", "sovtui", *words)
    assert done.returncode == 0 and done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & set(HEAVY)
    assert "argparse" in imported
    assert len(done.stderr.splitlines()) < 150, "modules: they are nearly all of the time that it takes"


@pytest.mark.parametrize("words", [("config", "check"), ("config", "show")])
def test_headless_commands_do_not_load_the_screen(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "c.toml").write_text('[host.a]\naddress = "ops@a"\n')
    done = start(tmp_path, "-X", "importtime", "-m", "sovtui", "--config", str(tmp_path / "c.toml"), *words)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert done.returncode == 0 and not imported & {"textual", "rich", "asyncssh", "httpx"}


def test_this_machine_is_looked_at_where_there_is_no_configuration(tmp_path: Path) -> None:
    """In a process of its own: test runners bring modules along that an installed sovtui does not have. In a network of its own too."""
    done = start(tmp_path, "-m", "sovtui", "status", before=own_network())
    assert done.returncode == 0 and "local" in done.stdout.splitlines()[0], done.stderr
    assert "Prometheus: " in done.stderr and "sovtui init" in done.stderr


def test_the_control_room_opens_where_there_is_no_configuration(tmp_path: Path) -> None:
    with Terminal(
        [*own_network(), sys.executable, "-m", "sovtui"], HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path), LANG="C.UTF-8"
    ) as terminal:
        terminal.until("╭".encode())
        assert b"Next: `sovtui init`" in terminal.all, "it is the first line"
        terminal.press(b"q")
        assert terminal.ended() == 0


CRASH = """
import sovtui.cli.main, sovtui.__main__
def main(argv, wiring):
    raise {error}
sovtui.cli.main.main = main
raise SystemExit(sovtui.__main__.main([]))
"""


def test_a_crash_is_one_sentence_and_a_file(tmp_path: Path) -> None:
    done = start(tmp_path, "-c", CRASH.format(error="RuntimeError('odd \\x1b[31mthing')"))
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and "Traceback" not in done.stderr and "\x1b" not in done.stderr
    (file,) = (tmp_path / ".local" / "state" / "sovtui").glob("crash-*.txt")
    assert str(file) in done.stderr and "RuntimeError" in file.read_text() and file.stat().st_mode & 0o077 == 0


def test_an_interrupt_is_130(tmp_path: Path) -> None:
    done = start(tmp_path, "-c", CRASH.format(error="KeyboardInterrupt"))
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sovtui", "config", "schema"],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_terminal_that_is_not_utf8(tmp_path: Path) -> None:
    done = start(
        tmp_path,
        "-X",
        "utf8=0",
        "-c",
        "import sys; sys.argv[1:] = ['config', 'schema']; from sovtui.__main__ import main; sys.exit(main())",
    )
    assert done.returncode == 0 and done.stderr == ""


def test_completions(tmp_path: Path) -> None:
    done = start(tmp_path, "-m", "sovtui", "completions", "bash")
    assert (done.returncode == 0 and "sovtui" in done.stdout) or (done.returncode == 2 and "shtab" in done.stderr)
    done = start(
        tmp_path,
        "-c",
        "import sys; sys.modules['shtab'] = None; from sovtui.__main__ import main; sys.exit(main(['completions', 'zsh']))",
    )
    assert done.returncode == 2 and "pip install shtab" in done.stderr


def test_themes_and_paths(tmp_path: Path) -> None:
    mine = tmp_path / ".config" / "sovtui" / "themes"
    mine.mkdir(parents=True)
    (mine / "mine.toml").write_text('primary = "#ffffff"\n')
    (mine / "broken.toml").write_text("")
    done = start(tmp_path, "-m", "sovtui", "themes")
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert done.returncode == 0 and rows["mine"] == str(mine / "mine.toml") and rows["sovtui-mono"] == "shipped"
    assert rows["nord"] == "Textual's own" and "broken" not in rows
    assert str(mine / "broken.toml") in done.stderr and "primary" in done.stderr
    assert start(tmp_path, "-m", "sovtui", "config", "path").stdout == f"{tmp_path}/.config/sovtui/config.toml\n"


ASKING = """
import sys
from tests.cli.conftest import CONFIG
from tests.fakes.hub import FakeHub, healthy, run
from sovtui.cli.main import main
from sovtui.cli.wiring import Wiring
import pathlib, sovtui.__main__ as program
path = pathlib.Path(sys.argv[1]); path.write_text(CONFIG)
def build(config, **options):
    return FakeHub(config, healthy(busy=True), progress=[run()], hang=sys.argv[2] == "hang")
program._build_hub = build
sys.exit(program.main(["--config", str(path), "switch", "mistral"]))
"""


@pytest.mark.parametrize(
    ("answer", "hang", "code", "says"),
    [("y", "no", 0, "qwen is hot."), ("n", "no", 4, "Not done."), ("y", "hang", 130, "The action continues on spark")],
)
def test_a_real_terminal_asks_and_can_be_interrupted(tmp_path: Path, answer: str, hang: str, code: int, says: str) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ASKING, str(tmp_path / "c.toml"), hang],
        stdin=follower, stdout=subprocess.PIPE, stderr=follower, cwd=Path(__file__).parents[2],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # in the background of a shell it is ignored
    )  # fmt: skip
    os.close(follower)
    told = b""

    def wait_for(text: str) -> None:
        nonlocal told
        while text.encode() not in told:
            assert select.select([leader], [], [], 30)[0], f"{text!r} never came: {told!r}"
            told += os.read(leader, 4096)

    try:
        wait_for("[y/N]")
        assert b"would be cut off" in told
        os.write(leader, f"{answer}\n".encode())
        if hang == "hang":
            wait_for("stop mistral.service")
            process.send_signal(signal.SIGINT)
        wait_for(says)
        assert process.wait(60) == code
        assert process.stdout is not None and process.stdout.read() == b""
        assert b"Traceback" not in told
    finally:
        process.kill()
        process.communicate()
        os.close(leader)


def test_a_dumb_terminal_gets_the_plain_status(tmp_path: Path) -> None:
    with Terminal([sys.executable, "-m", "sovtui", "demo"], HOME=str(tmp_path), TERM="dumb") as terminal:
        status = terminal.ended()
        told = terminal.all.decode()
    assert status == 0 and "\x1b" not in told
    assert "DEMO  spark" in told and "memory" in told and "sovtui status" in told.splitlines()[-1] + told.splitlines()[-2]


def test_the_names_that_are_not_imported_are_the_right_ones() -> None:
    from sovtui.actions import all_specs
    from sovtui.adapters.registry import engine_names
    from sovtui.tui.keymap import LOCAL, SCREEN

    assert set(engine_names()) == set(_engines())
    keys = _actions()
    assert {*all_specs(), *(word[0] for word in SCREEN), *(word[1] for word in LOCAL)} <= set(keys)
    told = [key for name, key in keys.items() if key and name != "unacknowledge"]
    assert len(told) == len(set(told)), "no usual key may mean two things"


def test_what_the_configuration_may_name_is_known_without_the_screen() -> None:
    code = "import sys; from sovtui.__main__ import _actions; _actions(); assert not {'textual', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
