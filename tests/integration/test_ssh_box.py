"""What an odd sshd or an odd login shell leaves possible, at OpenSSH's own server: few sessions, no forwarding, no shell."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from sovtui.ports.errors import PortError, Refused, Unreachable
from sovtui.ports.link import Link, Patience
from sovtui.runtime import box as onbox
from sovtui.runtime import exchange
from tests.integration.opensshd import Site, Sshd

FOLLOW = ("sh", "-c", "echo begun; cat > /dev/null")
"""Runs until its standard input ends."""


@contextlib.asynccontextmanager
async def linked(site: Site, sshd: Sshd, user: str = "ops") -> AsyncIterator[Link]:
    site.trust(sshd)
    link = await site.dialer(sshd, user).dial(None)
    try:
        yield link
    finally:
        await link.aclose()


@pytest.mark.parametrize("most", [1, 2])
async def test_with_few_sessions_everything_has_its_turn(site: Site, most: int) -> None:
    sshd = site.server(f"MaxSessions {most}\n")
    async with linked(site, sshd) as link, asyncio.timeout(60):
        many = [link.run(["sh", "-c", f"sleep 0.1; echo {n}"], timeout_seconds=60) for n in range(6)]
        assert sorted(int(done.stdout) for done in await asyncio.gather(*many)) == list(range(6))
        for n in range(3):  # one after the other, while the host still tidies up
            assert (await link.run(["echo", str(n)], timeout_seconds=60)).stdout == f"{n}\n".encode()


async def test_what_only_looks_on_makes_way_and_says_so(site: Site) -> None:
    sshd = site.server("MaxSessions 1\n")
    async with linked(site, sshd) as link, asyncio.timeout(60):
        seen: list[str] = []

        async def watch() -> None:
            while True:
                try:
                    async with link.stream(FOLLOW, patience=Patience.WATCHES) as stream:
                        async for line in stream.lines():
                            seen.append(line.decode())
                except Unreachable as error:
                    seen.append(str(error))
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        while "begun" not in seen:
            await asyncio.sleep(0.02)
        assert (await link.run(["echo", "now"], timeout_seconds=60)).stdout == b"now\n"
        assert any("made way" in line and "gives one session at a time (MaxSessions in its sshd_config)" in line for line in seen)
        while seen.count("begun") < 2:  # it goes on by itself
            await asyncio.sleep(0.02)
        # TCP streams are no sessions
        stream = await link.open_tcp("127.0.0.1", sshd.port, timeout_seconds=60)
        assert (await stream.read(7)) == b"SSH-2.0"
        await stream.aclose()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def test_something_patient_is_told_what_it_waits_for(site: Site) -> None:
    sshd = site.server("MaxSessions 1\n")
    async with linked(site, sshd) as link, link.stream(FOLLOW) as first:
        assert await anext(first.lines()) == b"begun"
        with pytest.raises(Unreachable, match=r"no session for `true`: .* gives one session at a time"):
            async with link.stream(["true"], patience=Patience.READS):
                pass
        with pytest.raises(PortError, match=r"had no turn within 0\.5 s: .* gives one session at a time"):
            await link.run(["true"], timeout_seconds=0.5)


async def test_the_probe_works_with_one_session(site: Site) -> None:
    sshd = site.server("MaxSessions 1\n")
    async with linked(site, sshd, "root") as link, asyncio.timeout(60):
        home = (await link.run(["sh", "-c", "echo ~"], timeout_seconds=60)).stdout.decode().strip()
        assert home == str(sshd.folder / "root")  # what is listed below is not what this machine's root has done
        told = exchange.lines(link, "probe", {"services": [], "interval": 0.2}, Patience.WATCHES)
        kinds = set()
        with pytest.raises(Unreachable, match="made way"):
            async with aclosing(told) as lines:
                async for line in lines:
                    kinds.add(line["t"])
                    if {"memory", "cpu"} <= kinds:
                        assert await onbox.list_runs(link) == ()
        assert {"memory", "cpu"} <= kinds


async def test_without_forwarding_streams_are_refused_in_words_and_commands_work(site: Site) -> None:
    sshd = site.server("AllowTcpForwarding no\n")
    async with linked(site, sshd) as link:
        with pytest.raises(Refused, match=r"forbids connections to 127\.0\.0\.1:9090") as caught:
            await link.open_tcp("127.0.0.1", 9090, timeout_seconds=60)
        assert "AllowTcpForwarding" in caught.value.advice
        assert (await link.run(["echo", "still"], timeout_seconds=60)).stdout == b"still\n"


async def probed(site: Site, sshd: Sshd) -> set[str]:
    """The kinds of lines that the probe tells first."""
    async with linked(site, sshd) as link, asyncio.timeout(60):
        kinds: set[str] = set()
        async with aclosing(exchange.lines(link, "probe", {"services": ["ssh.service"], "interval": 0.2})) as lines:
            async for line in lines:
                kinds.add(line["t"])
                if {"memory", "cpu"} <= kinds:
                    return kinds
    return kinds


ODD = "a\\b \\\\ \\' b'c\"d$HOME `x` \\ ! # ~ * ? [z] {1,2} ;& | < > ^ é\n2nd line"


@pytest.mark.parametrize("shell", ["/bin/sh", "/bin/bash", "/bin/zsh", "/usr/bin/fish", "/bin/tcsh"])
async def test_any_login_shell(site: Site, shell: str) -> None:
    if not Path(shell).exists():
        pytest.skip(f"{shell} is not installed")
    sshd = site.server(shell=shell)
    async with linked(site, sshd) as link:
        done = await link.run(["printf", "%s|", ODD, "", "x"], timeout_seconds=60)
        assert done.stdout.decode() == f"{ODD}||x|", done.stderr
        assert (await link.run(["sh", "-c", "exit 7"], timeout_seconds=60)).exit_status == 7
    assert {"memory", "cpu"} <= await probed(site, sshd)


NOISE = "echo; echo 'Welcome to spark!'; echo '{\"t\": 1}'; printf 'no line break'\n"


@pytest.mark.parametrize(
    ("shell", "file"),
    [("/bin/bash", ".bashrc"), ("/bin/zsh", ".zshenv"), ("/usr/bin/fish", ".config/fish/config.fish"), ("/bin/tcsh", ".tcshrc")],
)
async def test_a_login_shell_that_talks_does_not_break_the_probe(site: Site, shell: str, file: str) -> None:
    if not Path(shell).exists():
        pytest.skip(f"{shell} is not installed")
    sshd = site.server(shell=shell, rc={file: NOISE})
    assert {"memory", "cpu"} <= await probed(site, sshd)


@pytest.mark.parametrize(
    ("lines", "shell", "told"),
    [
        ("ForceCommand echo This account may only back up.\n", "/bin/bash", "This account may only back up"),
        ("ForceCommand internal-sftp\n", "/bin/bash", "ForceCommand"),
        ("", "/usr/sbin/nologin", "not available"),
        ("", "/bin/false", "login shell"),
        ("PermitOpen none\nForceCommand sleep 60\n", "/bin/bash", None),
    ],
)
async def test_a_login_that_runs_no_commands_is_told_in_words(site: Site, lines: str, shell: str, told: str | None) -> None:
    sshd = site.server(lines, shell=shell)
    async with linked(site, sshd) as link:
        if told is None:  # it hangs: the command has its time and no more
            with pytest.raises(PortError, match=r"took longer than 1 s"):
                await link.run(["true"], timeout_seconds=1)
            return
        async with asyncio.timeout(60):
            with pytest.raises(PortError) as caught:
                async with aclosing(exchange.lines(link, "probe", {"services": [], "interval": 0.2})) as probe:
                    async for _ in probe:
                        pass
        assert told in caught.value.sentence(), caught.value.sentence()


async def test_no_python_there_is_told(site: Site) -> None:
    empty = site.folder / "empty"
    empty.mkdir()
    for name in ("sh", "cat"):
        (empty / name).symlink_to(Path(shutil.which(name) or "").resolve())
    sshd = site.server(f"SetEnv PATH={empty}\n", rc={".bashrc": f"PATH={empty}\n"})
    async with linked(site, sshd) as link:
        with pytest.raises(PortError, match="python3 was not found"):
            await onbox.answer(link, "list", {"limit": 1})
    assert sys.version_info >= (3, 11)


async def test_a_temporary_folder_that_is_full_and_runs_nothing(site: Site) -> None:
    full = "mount -t tmpfs -o noexec,size=4k none /tmp && { head -c 9000 /dev/zero > /tmp/full 2> /dev/null || true; }"
    sshd = site.server(mounts=(full,))
    async with linked(site, sshd) as link:
        assert (await link.run(["sh", "-c", "echo x > /tmp/more"], timeout_seconds=60)).exit_status != 0
        assert await onbox.list_runs(link) == ()
    assert {"memory", "cpu"} <= await probed(site, sshd)
