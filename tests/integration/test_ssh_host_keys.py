"""Whether a server is who it should be, by OpenSSH's own files and against OpenSSH's own server."""

from __future__ import annotations

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from sovtui.adapters.links.ssh import Dialer
from sovtui.ports.errors import HostKeyError, Refused
from tests.box.box import wait_for
from tests.fakes.answers import Answers
from tests.integration.opensshd import Site, Sshd, keygen, public
from tests.integration.test_ssh_login import SEAL, said


def openssh(site: Site, box: Sshd, *words: str) -> subprocess.CompletedProcess[str]:
    """What OpenSSH's own client makes of our known_hosts."""
    known = site.home / ".ssh" / "known_hosts"
    options = ["StrictHostKeyChecking=yes", f"UserKnownHostsFile={known}", "BatchMode=yes", "GlobalKnownHostsFile=none"]
    flags = [word for option in options for word in ("-o", option)]
    line = ["ssh", "-F", "none", *flags, *words, "-i", str(site.key), "-p", str(box.port), "ops@127.0.0.1", "id", "-un"]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("hashed", [False, True])
async def test_what_is_remembered_is_what_openssh_reads(site: Site, hashed: bool) -> None:
    box = site.server()
    site.config(f"HashKnownHosts {'yes' if hashed else 'no'}\n")
    operator = Answers("yes")
    assert await said(site.dialer(box), operator) == "ops"
    fingerprint = subprocess.run(
        ["ssh-keygen", "-lf", str(box.host_key)], capture_output=True, text=True, check=True
    ).stdout.split()[1]
    assert fingerprint in operator.asked[0].text
    known = (site.home / ".ssh" / "known_hosts").read_text()
    assert known.startswith("|1|") is hashed and ("127.0.0.1" not in known) is hashed
    assert openssh(site, box).stdout == "ops\n"
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{box.port}", "-f", str(site.home / ".ssh" / "known_hosts")],
        capture_output=True,
        check=True,
    )
    assert b"found: line 1" in found.stdout
    assert await said(site.dialer(box)) == "ops"


async def test_what_openssh_remembers_is_known_here(site: Site) -> None:
    box = site.server()
    for option in ("HashKnownHosts=no", "HashKnownHosts=yes"):
        known = site.home / ".ssh" / "known_hosts"
        known.unlink(missing_ok=True)
        done = openssh(site, box, "-o", "StrictHostKeyChecking=accept-new", "-o", option)
        assert done.returncode != 0  # the first of two settings counts: this one is strict
        line = ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=accept-new", "-o", f"UserKnownHostsFile={known}", "-o", option]
        subprocess.run(
            [*line, "-i", str(site.key), "-p", str(box.port), "ops@127.0.0.1", "true"], check=True, capture_output=True
        )
        assert await said(site.dialer(box)) == "ops"


async def test_a_changed_key_stops_before_anything_is_sent(site: Site) -> None:
    box = site.server("PasswordAuthentication yes\n")
    old = keygen(site.folder / "old")
    known = site.home / ".ssh" / "known_hosts"
    for policy in ("ask", "accept-new", "no"):
        known.write_text(f"# one\n[127.0.0.1]:{box.port} {public(old)}\n")
        site.config(f"StrictHostKeyChecking {policy}\n")
        operator = Answers()
        with pytest.raises(HostKeyError) as caught:
            await site.dialer(box).dial(operator)
        error = caught.value
        assert error.changed and error.fingerprint and error.known
        assert error.fingerprint in str(error) and error.known in str(error) and f"{known} line 2" in str(error)
        assert not operator.asked and known.read_text().count("\n") == 2
    ended = r"(?:Disconnected from|Connection (?:closed|reset) by) \S+ port \d+ \[preauth\]"
    await asyncio.to_thread(wait_for, lambda: len(re.findall(ended, box.log)) == 3, 60, "the end of each login")
    assert not re.search("Accepted|Failed|authenticating user", box.log), box.log
    # the advice is one that works
    command = re.search(r"ssh-keygen -f \S+ -R \S+", error.advice)
    assert command is not None
    subprocess.run(["sh", "-c", command[0].rstrip(",")], check=True, capture_output=True)
    assert await said(site.dialer(box), Answers("yes")) == "ops"


async def test_policies_for_an_unknown_key(site: Site) -> None:
    box = site.server()
    known = site.home / ".ssh" / "known_hosts"
    assert site.key
    site.config("StrictHostKeyChecking yes\n")
    operator = Answers()
    with pytest.raises(HostKeyError, match="StrictHostKeyChecking yes"):
        await site.dialer(box).dial(operator)
    assert not operator.asked and not known.exists()
    for policy in ("accept-new", "no"):
        known.unlink(missing_ok=True)
        site.config(f"StrictHostKeyChecking {policy}\n")
        told: list[str] = []
        assert await said(site.dialer(box, on_banner=told.append)) == "ops"  # headless, as its owner has said
        assert known.read_text() == box.known_line
        assert "accepted, as ssh_config says" in told[0] and "SHA256:" in told[0]


async def test_the_known_kind_of_key_is_asked_for(site: Site) -> None:
    box = site.server(host_keys=("ed25519", "ecdsa", "rsa"))
    known = site.home / ".ssh" / "known_hosts"
    for kind in ("rsa", "ecdsa", "ed25519"):
        known.write_text(f"[127.0.0.1]:{box.port} {public(box.folder / f'host_{kind}')}\n")
        assert await said(site.dialer(box)) == "ops"


@pytest.mark.parametrize("pattern", ["[127.0.*.1]:*", "*", "[127.0.0.?]:{port},other", "[127.0.0.1]:{port},!other", "[*]:{port}"])
async def test_patterns(site: Site, pattern: str) -> None:
    box = site.server()
    known = site.home / ".ssh" / "known_hosts"
    known.write_text(f"{pattern.format(port=box.port)} {public(box.host_key)}\n")
    assert openssh(site, box).stdout == "ops\n"
    assert await said(site.dialer(box)) == "ops"


@pytest.mark.parametrize("pattern", ["*,![127.0.0.1]:*,!127.0.0.1", "[127.0.0.1]:1*,!*", "127.0.0.2"])
async def test_patterns_that_leave_it_out(site: Site, pattern: str) -> None:
    box = site.server()
    (site.home / ".ssh" / "known_hosts").write_text(f"{pattern} {public(box.host_key)}\n")
    assert openssh(site, box).returncode == 255
    with pytest.raises(HostKeyError) as caught:
        await site.dialer(box).dial(None)
    assert not caught.value.changed


async def test_names_in_capitals_and_an_alias(site: Site) -> None:
    box = site.server()
    known = site.home / ".ssh" / "known_hosts"
    known.write_text(f"The-Box {public(box.host_key)}\n")
    site.config("HostKeyAlias the-box\n")
    assert await said(site.dialer(box)) == "ops"
    known.write_text(f"[LOCALHOST]:{box.port} {public(box.host_key)}\n")
    site.config("")
    assert await said(Dialer("spark", f"ops@LocalHost:{box.port}")) == "ops"


async def test_several_files_one_of_them_a_link_and_one_not_writable(site: Site) -> None:
    box, other = site.server(), site.server()
    folder = site.home / ".ssh"
    (site.folder / "real").write_text("")
    (folder / "linked").symlink_to(site.folder / "real")
    (folder / "system").write_text(other.known_line)
    site.config(f"UserKnownHostsFile ~/.ssh/linked ~/.ssh/second\nGlobalKnownHostsFile {folder}/system\n")
    assert await said(site.dialer(other)) == "ops"
    assert await said(site.dialer(box), Answers("yes")) == "ops"
    assert (folder / "linked").is_symlink() and (site.folder / "real").read_text() == box.known_line
    # where it cannot be written it is trusted for this login, and that is told (root may write anything that is there)
    (folder / "linked").unlink()
    (folder / "linked").symlink_to(site.folder / "nowhere" / "known_hosts")
    told: list[str] = []
    assert await said(site.dialer(box, on_banner=told.append), Answers("yes")) == "ops"
    assert "trusted this time only" in told[0] and "linked" in told[0]


async def test_a_host_certificate(site: Site) -> None:
    ca = keygen(site.folder / "ca")
    box = site.server(
        f"HostCertificate {site.folder}/sshd0/host_ed25519-cert.pub\n", prepare=lambda place: seal(ca, place, "-V +1h")
    )
    (site.home / ".ssh" / "known_hosts").write_text(f"@cert-authority [127.0.0.*]:*,spark {public(ca)}\n")
    site.config(f"Host spark\n HostName 127.0.0.1\n Port {box.port}\n HostKeyAlias spark\n User ops\n")
    assert openssh(site, box, "-o", "HostKeyAlias=spark").stdout == "ops\n"
    assert await said(Dialer("spark", "spark")) == "ops"
    # of another authority: unknown
    (site.home / ".ssh" / "known_hosts").write_text(f"@cert-authority spark {public(keygen(site.folder / 'other'))}\n")
    with pytest.raises(HostKeyError):
        await Dialer("spark", "spark").dial(None)
    # revoked authority
    (site.home / ".ssh" / "known_hosts").write_text(f"@cert-authority spark {public(ca)}\n@revoked * {public(ca)}\n")
    with pytest.raises(HostKeyError, match=r"revoked.*line 2"):
        await Dialer("spark", "spark").dial(None)


async def test_a_host_certificate_that_has_ended(site: Site) -> None:
    ca = keygen(site.folder / "ca")
    box = site.server(
        f"HostCertificate {site.folder}/sshd0/host_ed25519-cert.pub\n",
        prepare=lambda place: seal(ca, place, "-V 20200101:20200102"),
    )
    (site.home / ".ssh" / "known_hosts").write_text(f"@cert-authority * {public(ca)}\n")
    operator = Answers()
    with pytest.raises(HostKeyError, match=r"host certificate of .* is not valid.*expired"):
        await site.dialer(box).dial(operator)


def seal(ca: Path, place: Path, more: str) -> None:
    command = SEAL.format(ca=ca, name="host", principals="spark,127.0.0.1", more=f"-h {more}", key=place / "host_ed25519.pub")
    subprocess.run(command.split(), check=True)


async def test_revoked_keys(site: Site) -> None:
    box = site.server()
    site.trust(box)
    listed = site.folder / "revoked"
    listed.write_text(f"# bad ones\n{public(keygen(site.folder / 'other'))}\n")
    site.config(f"RevokedHostKeys {listed}\n")
    assert await said(site.dialer(box)) == "ops"
    with listed.open("a") as file:
        file.write(f"{public(box.host_key)}\n")
    with pytest.raises(HostKeyError, match=r"revoked.* line 3") as caught:
        await site.dialer(box).dial(Answers())
    assert caught.value.changed
    subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(listed), f"{box.host_key}.pub"], check=True)
    with pytest.raises(Refused, match="KRL"):
        await site.dialer(box).dial(None)
    listed.unlink()
    with pytest.raises(Refused, match=r"RevokedHostKeys.*No such file"):
        await site.dialer(box).dial(None)
