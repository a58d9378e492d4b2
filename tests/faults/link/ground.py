"""A client machine beside a booted box: a network namespace of its own with one cable to the box, its own names and name server.

Everything that happens to a network can then happen to it, and to nobody else on this machine.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.box.box import Box, attach, boot

NAME = "boxname"
"""What the box is called in the client's own list of names."""
INSIDE = "--inside"


def near(number: int, last: int = 1) -> str:
    """The client's address."""
    return f"198.19.{number}.{last}"


def far(number: int) -> str:
    """The box's, as the client sees it."""
    return near(number, 2)


def run(*argv: str, check: bool = True) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if check and done.returncode:
        raise OSError(f"{shlex.join(argv)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def ground() -> Iterator[tuple[Box, Path]]:
    """A box with a client beside it, and a folder with the client's files. Needs root."""
    box = boot()
    number, client = box.number, f"sovcli-{box.number}"
    try:
        with tempfile.TemporaryDirectory(prefix="sovtui-link-") as name:
            folder = Path(name)
            run("ip", "netns", "add", client)
            run("ip", "link", "add", f"sovc{number}", "type", "veth", "peer", "name", f"sovd{number}")
            run("ip", "link", "set", f"sovc{number}", "netns", client, "name", "up0")
            run("ip", "link", "set", f"sovd{number}", "netns", box.netns, "name", "lnk0")
            run("ip", "-n", box.netns, "addr", "add", f"{far(number)}/24", "dev", "lnk0")
            run("ip", "-n", box.netns, "link", "set", "lnk0", "up")
            run("ip", "-n", client, "link", "set", "lo", "up")
            run("ip", "-n", client, "addr", "add", f"{near(number)}/24", "dev", "up0")
            run("ip", "-n", client, "link", "set", "up0", "up")
            run("ip", "-n", client, "route", "add", "default", "via", far(number))
            (folder / "hosts").write_text(f"127.0.0.1 localhost\n{far(number)} {NAME}\n")
            (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            yield box, folder
    finally:
        run("ip", "netns", "del", client, check=False)
        box.down()


def inside(box: Box, folder: Path, module: str, words: Sequence[str]) -> list[str]:
    """What a command line is that runs a module as a program of the client."""
    script = "mount --bind {0}/hosts /etc/hosts && mount --bind {0}/resolv.conf /etc/resolv.conf && exec {1}"
    python = shlex.join([sys.executable, "-m", module, INSIDE, str(box.number), str(folder), *words])
    enter = ["nsenter", f"--net=/run/netns/sovcli-{box.number}", "unshare", "--mount", "--propagation", "private"]
    return [*enter, "sh", "-c", script.format(shlex.quote(str(folder)), python)]


class Client:
    """Seen from within: what can be done to this client's network and to its box."""

    def __init__(self, number: int, folder: Path) -> None:
        self.box = attach(number)
        self.number, self.folder = number, folder
        self.last = 1

    @property
    def netns(self) -> str:
        return f"sovcli-{self.number}"

    def link(self, up: bool) -> None:
        """The cable's near end; with it go addresses' routes."""
        run("ip", "link", "set", "up0", "up" if up else "down")
        if up:
            run("ip", "route", "replace", "default", "via", far(self.number))

    def unplug(self, out: bool) -> None:
        """The cable's far end."""
        run("ip", "-n", self.box.netns, "link", "set", "lnk0", "down" if out else "up")

    def move(self, seconds: float = 0.0) -> str:
        """Another address, as after a change of network; the old one is gone. The shell line that does it."""
        before, self.last = self.last, 1 if self.last == 7 else 7
        steps = [
            f"ip addr del {near(self.number, before)}/24 dev up0",
            f"sleep {seconds}",
            f"ip addr add {near(self.number, self.last)}/24 dev up0",
            f"ip route replace default via {far(self.number)}",
        ]
        return "; ".join(steps)

    def block(self, rule: str = "drop") -> None:
        """Nothing of the client's gets through to the box any more, silently."""
        lines = (
            "add table inet cut\nadd chain inet cut i { type filter hook input priority 0; }\n"
            "add chain inet cut o { type filter hook output priority 0; }\n"
            f'add rule inet cut i iifname "lnk0" {rule}\nadd rule inet cut o oifname "lnk0" {rule}\n'
        )
        done = subprocess.run(
            ["ip", "netns", "exec", self.box.netns, "nft", "-f", "-"], input=lines, text=True, capture_output=True
        )
        if done.returncode:
            raise OSError(done.stderr)

    def unblock(self) -> None:
        run("ip", "netns", "exec", self.box.netns, "nft", "delete", "table", "inet", "cut", check=False)

    def names(self, known: bool) -> None:
        """Whether the client's own list knows the box; if not, the name server is asked."""
        line = f"{far(self.number)} {NAME}\n" if known else ""
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost\n{line}")
