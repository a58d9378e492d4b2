"""The whole way as a person has it: the screen and the commands, a real terminal, OpenSSH's own server, codes and banners."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.opensshd import Site, Sshd, public
from tests.integration.operator import Terminal
from tests.integration.test_ssh_login import PAM_CODE, TOTP_KEY, code_now

BANNER = "Authorized use only. \x1b[31mRed\x1b[0m\n"


@dataclass
class Client:
    """Somebody with a home and a configuration, as `Terminal` wants one."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
        root = str(Path(__file__).parents[2])
        return {**keep, "HOME": str(self.home), "USER": "me", "LOGNAME": "me", "PYTHONUTF8": "1", "PYTHONPATH": root}

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "sovtui", *words]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words), env=self.environment, capture_output=True, text=True, timeout=60, check=False,
            stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@pytest.fixture
def guarded(site: Site) -> Sshd:
    """A server with a banner that wants a password and a code."""
    if not list(Path("/lib").glob("*/security/pam_google_authenticator.so")):
        pytest.skip("libpam-google-authenticator is not installed")
    totp = site.folder / "totp"
    totp.write_text(f'{TOTP_KEY}\n" TOTP_AUTH\n" WINDOW_SIZE 17\n')
    totp.chmod(0o400)
    (site.folder / "banner").write_text(BANNER)
    return site.server(
        f"KbdInteractiveAuthentication yes\nAuthenticationMethods keyboard-interactive\nBanner {site.folder}/banner\n",
        pam=PAM_CODE.format(folder=site.folder, more="echo_verification_code"),
    )


@pytest.fixture
def client(site: Site, guarded: Sshd) -> Client:
    (site.home / ".config" / "sovtui").mkdir(parents=True)
    (site.home / ".config" / "sovtui" / "config.toml").write_text(
        f'[host.spark]\nlink = "ssh"\naddress = "ops@127.0.0.1:{guarded.port}"\n'
    )
    return Client(site.home)


@pytest.fixture
def terminal(client: Client, tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def sit(*words: str, columns: int = 100, rows: int = 30) -> Terminal:
        made.append(Terminal(client, tmp_path, columns, rows, *words))  # type: ignore[arg-type]
        return made[-1]

    yield sit
    for one in made:
        with contextlib.suppress(OSError):
            one.close()


@pytest.mark.parametrize(("columns", "rows"), [(120, 40), (44, 80)])
def test_the_screen_asks_key_password_and_code(terminal: Callable[..., Terminal], guarded: Sshd, columns: int, rows: int) -> None:
    seat = terminal(columns=columns, rows=rows)
    seat.wait(r"Is this really spark")
    screen = seat.wait(r"remember it\?")
    flat = re.sub(r"[^\w:+/=.]+", "", screen)
    line = subprocess.run(["ssh-keygen", "-lf", f"{guarded.host_key}.pub"], capture_output=True, text=True, check=True).stdout
    assert line.split()[1] in flat
    seat.act("y", lambda: "Password:" in seat.screen(), "the login")  # what has just opened takes no answer
    seat.type("correct horse")
    assert "horse" not in seat.screen()
    seat.act("Enter", lambda: "Verification code:" in seat.screen(), "the next question")
    code = code_now()
    seat.type(code)
    seat.wait(code)  # the server said that it may be seen
    seat.act("Enter", lambda: "spark says:" in seat.screen(), "the link")
    screen = seat.screen()
    assert "link up" in screen and "Authorized use only. Red" in re.sub(r"[^\w.]+", " ", screen), screen
    seat.press("q")


def test_a_command_asks_on_the_terminal_though_its_output_is_a_file(client: Client, site: Site, guarded: Sshd) -> None:
    site.trust(guarded)
    out = site.home / "out.json"
    script = site.home / "go.sh"
    words = " ".join(client.argv("status", "--json"))
    script.write_text(f"cd / && exec {words} < /dev/null > {out} 2> {site.home}/err\n")
    seat = Seat(client, "sh", str(script))
    seat.wait(r"Password:")
    seat.wait(r"secret \(not shown\):")
    seat.type("correct horse\n")
    seat.wait(r"Verification code:")
    seat.type(f"{code_now()}\n")
    seat.ended()
    told = json.loads(out.read_text())
    assert told["hosts"][0]["link"]["phase"] == "up"
    assert "horse" not in seat.seen
    err = (site.home / "err").read_text()
    assert "spark says:\n  Authorized use only. Red\n" in err and "\x1b" not in err


def test_without_a_terminal_it_says_what_to_do(client: Client, site: Site, guarded: Sshd) -> None:
    site.trust(guarded)
    done = client.run("status", "--json")
    told = json.loads(done.stdout)
    reason = " ".join(told["hosts"][0]["link"]["reason"].split())
    assert told["hosts"][0]["link"]["phase"] == "refused"
    assert "it may take a password or a code, and there is no terminal to ask on" in reason and "ssh-copy-id" in reason
    assert "Authorized use only. Red" in done.stderr and "\x1b" not in done.stderr


class Seat:
    """A pseudo-terminal with one command in its foreground."""

    def __init__(self, client: Client, *words: str) -> None:
        import pty

        pid, self._fd = pty.fork()
        if pid == 0:
            os.execvpe(words[0], list(words), client.environment)
        self.pid, self.seen = pid, ""

    def wait(self, pattern: str, seconds: float = 90.0) -> None:
        import select

        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen):
            assert time.monotonic() < end, self.seen
            if select.select([self._fd], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._fd, 4096).decode()
                except OSError:
                    time.sleep(0.05)

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def ended(self) -> None:
        os.waitpid(self.pid, 0)
        os.close(self._fd)


HOMES = """\
import asyncio, json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from sovtui.adapters.links._ssh_place import Place, look_up
from sovtui.adapters.links._target import parse
from sovtui.adapters.links.ssh import Settings
from sovtui.adapters.links import _ssh_config
async def main():
    found = []
    for way in ("ssh -G", "parser"):
        if way == "parser":
            _ssh_config.ssh_program = lambda: None
            await asyncio.sleep(0)
        place = Place("box", parse("box"))
        await look_up(place, Settings("box", "box", parse("box"), None, None, 1.5, 2, 15.0, None))
        found.append([place.user, place.port, str(place.named[0]), str(place.known_paths[0]), place.tunnel])
    print(json.dumps(found))
asyncio.run(main())
"""


def looked_up(site: Site, folder: Path, etc: Path, hosts: str = "") -> list[list[object]]:
    """What both ways of reading say of `box` in a mount namespace where the list of users names this home and /etc/ssh is `etc`."""
    script, listed, names = folder / "homes.py", site.folder / "passwd", site.folder / "hosts"
    script.write_text(HOMES)
    names.write_text(Path("/etc/hosts").read_text() + hosts)
    home = rf"\g<1>{site.home}\g<2>"
    listed.write_text(re.sub(r"(?m)^(root:[^\n]*:)[^:\n]*(:[^:\n]*)$", home, Path("/etc/passwd").read_text()))
    mounts = [
        f"mount --bind {source} {target}"
        for source, target in ((listed, "/etc/passwd"), (names, "/etc/hosts"), (etc, "/etc/ssh"))
    ]
    inside = " && ".join([*mounts, f"exec {sys.executable} {script} {Path(__file__).parents[2]}"])
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", inside],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(site.home)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[object]] = json.loads(done.stdout)
    return found


def test_the_users_and_the_systems_own_files_where_ssh_finds_them_itself(site: Site, tmp_path: Path) -> None:
    assert public(site.key)
    etc, home = site.folder / "etc", site.home
    (etc / "ssh_config.d").mkdir(parents=True)
    (etc / "ssh_config").write_text("Include /etc/ssh/ssh_config.d/*.conf\nHost *\n Port 2200\n")
    (etc / "ssh_config.d" / "ten.conf").write_text("Host box\n User systems\n ProxyJump jump\n")
    site.config("Include more/*\nHost *\n IdentityFile ~/.ssh/id_%h\n")
    (home / ".ssh" / "more").mkdir()
    (home / ".ssh" / "more" / "one").write_text("Host box\n HostName real\n UserKnownHostsFile ~/.ssh/known_%h\n")
    expected = ["systems", 2200, f"{home}/.ssh/id_real", f"{home}/.ssh/known_real", "jump"]
    assert looked_up(site, tmp_path, etc) == [expected, expected]


def test_canonical_names(site: Site, tmp_path: Path) -> None:
    assert public(site.key)
    etc, home = site.folder / "etc", site.home
    etc.mkdir()
    (etc / "ssh_config").write_text("Host box.lab.example\n Port 2200\n")
    site.config(
        "CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid lab.example\nIdentityFile ~/.ssh/id_%h\n"
        "Match canonical host *.lab.example\n User canon\n ProxyJump jump\n"
    )
    # ssh asks for the name with its final dot, which a list of hosts has to have too
    found = looked_up(site, tmp_path, etc, "127.0.0.1 box.lab.example box.lab.example.\n")
    expected = ["canon", 2200, f"{home}/.ssh/id_box.lab.example", f"{home}/.ssh/known_hosts", "jump"]
    assert found == [expected, expected]
