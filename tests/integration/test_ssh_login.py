"""Logging in at OpenSSH's own server as people do: keys, agents, certificates, codes, ways there."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from sovtui.adapters.links.ssh import Dialer
from sovtui.ports.errors import HostKeyError, PortError, Refused
from sovtui.ports.link import Link
from tests.fakes.answers import Answers
from tests.integration.opensshd import Site, keygen, public

SEAL = "ssh-keygen -q -s {ca} -I {name} -n {principals} {more} {key}"


async def said(dialer: Dialer, ask: Any = None, command: tuple[str, ...] = ("id", "-un")) -> str:
    """What a command prints there."""
    link: Link = await dialer.dial(ask)
    try:
        done = await link.run(command, timeout_seconds=60)
        assert done.exit_status == 0, done.stderr
        return done.stdout.decode().strip()
    finally:
        await link.aclose()


async def test_over_two_jump_hosts_each_verified_and_with_its_own_user(site: Site) -> None:
    first, second, box = site.server(), site.server(), site.server()
    site.trust(first, second, box)
    site.config(
        f"Host first\n HostName 127.0.0.1\n Port {first.port}\n User root\n"
        f"Host spark\n HostName 127.0.0.1\n Port {box.port}\n User ops\n ProxyJump first,ops@127.0.0.1:{second.port}\n"
    )
    assert await said(Dialer("spark", "spark")) == "ops"
    assert "Accepted publickey for root" in first.log and "Accepted publickey for ops" in second.log
    site.trust(first, box)
    with pytest.raises(HostKeyError, match=rf"the jump host ops@127\.0\.0\.1:{second.port} is not known") as caught:
        await Dialer("spark", "spark").dial(None)
    assert not caught.value.changed


async def test_through_a_proxy_command_of_openssh_that_leaves_nothing_behind(site: Site) -> None:
    jump, box = site.server(), site.server()
    site.trust(jump, box)
    key, known = site.key, site.home / ".ssh" / "known_hosts"
    site.config(
        f"Host spark\n HostName 127.0.0.1\n Port {box.port}\n User ops\n"
        f" ProxyCommand ssh -F none -i {key} -o UserKnownHostsFile={known} -p {jump.port} -W %h:%p root@127.0.0.1\n"
    )
    link = await Dialer("spark", "spark").dial(None)
    assert (await link.run(["id", "-un"], timeout_seconds=60)).stdout == b"ops\n"
    carrying = processes(f"-p {jump.port} -W")
    assert len(carrying) == 1
    await link.aclose()
    end = time.monotonic() + 5
    while processes(f"-p {jump.port} -W"):
        assert time.monotonic() < end
        await asyncio.sleep(0.05)
    jump.stop()
    with pytest.raises(PortError, match=rf"ProxyCommand `ssh .* of spark ended with status 255: .*port {jump.port}"):
        await Dialer("spark", "spark").dial(None)


async def test_named_keys_come_before_an_agent_full_of_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    box = site.server("MaxAuthTries 2\n")
    site.trust(box)
    others = [keygen(site.folder / f"other{n}") for n in range(8)]
    monkeypatch.setenv("SSH_AUTH_SOCK", site.agent(*others))
    right = site.key
    right.rename(site.folder / "right")
    (site.folder / "right.pub").write_text(public(right))
    right = site.folder / "right"
    with pytest.raises(Refused, match=r"takes no more keys or answers from ops@127\.0\.0\.1 in one login") as caught:
        await site.dialer(box).dial(None)
    assert "IdentitiesOnly" in caught.value.advice
    site.config(f"IdentityFile {right}\n")  # a file, not in the agent
    assert await said(site.dialer(box)) == "ops"
    monkeypatch.setenv("SSH_AUTH_SOCK", site.agent(*others, right))
    right.unlink()
    site.config(f"IdentityFile {right}\n")  # in the agent; here is only its public half
    assert await said(site.dialer(box)) == "ops"
    site.config(f"IdentityFile {right}.pub\nIdentitiesOnly yes\n")
    assert await said(site.dialer(box)) == "ops"


async def test_another_agent_and_one_that_is_not_there(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    box = site.server()
    site.trust(box)
    right = site.key.rename(site.folder / "right")
    agent = site.agent(right)
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere/agent")
    with pytest.raises(Refused, match="no key was accepted") as caught:
        await site.dialer(box).dial(None)
    assert "the agent at /nowhere/agent gives no keys" in caught.value.sentence()
    site.config(f"IdentityAgent {agent}\n")
    assert await said(site.dialer(box)) == "ops"
    site.config("IdentityAgent none\n")
    with pytest.raises(Refused):
        await site.dialer(box).dial(None)


@pytest.mark.parametrize("where", ["beside", "named", "agent", "agent with a named one"])
async def test_a_user_certificate(site: Site, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = keygen(site.folder / "ca")
    box = site.server(f"TrustedUserCAKeys {ca}.pub\n", accepted="")
    site.trust(box)
    key = site.key
    with pytest.raises(Refused):
        await site.dialer(box).dial(None)
    subprocess.run(SEAL.format(ca=ca, name="me", principals="ops", more="-V +1h", key=f"{key}.pub").split(), check=True)
    cert = key.with_name("id_ed25519-cert.pub")
    if where in ("named", "agent with a named one"):
        cert = cert.rename(site.folder / "my-cert.pub")
        site.config(f"CertificateFile {cert}\n")
    if where.startswith("agent"):
        monkeypatch.setenv("SSH_AUTH_SOCK", site.agent(key))  # takes the certificate with the key, if it lies beside
        for path in (key, key.with_name("id_ed25519.pub"), *([cert] if where == "agent" else [])):
            path.unlink()
    assert await said(site.dialer(box)) == "ops"
    assert "ID me" in box.log


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
async def test_an_older_kind_of_key(site: Site, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = keygen(site.home / ".ssh" / f"id_{kind}", kind)
    box = site.server(accepted=public(key))
    site.trust(box)
    site.key.unlink()
    assert await said(site.dialer(box)) == "ops"
    monkeypatch.setenv("SSH_AUTH_SOCK", site.agent(key))
    key.unlink()
    assert await said(site.dialer(box)) == "ops"
    assert "ssh-rsa" not in box.log.replace("ssh-rsa-cert", "")  # never with SHA-1


async def test_a_locked_key_is_asked_for_once_and_only_where_it_is_wanted(site: Site) -> None:
    locked = keygen(site.home / ".ssh" / "id_ed25519", "ed25519", "sesame")
    box, other = site.server(accepted=public(locked)), site.server(accepted="")
    site.trust(box, other)
    operator = Answers()
    with pytest.raises(Refused):
        await site.dialer(other).dial(operator)
    assert not operator.asked, "the server would not have taken the key"
    dialer, operator = site.dialer(box), Answers("wrong", "sesame")
    assert await said(dialer, operator) == "ops"
    assert [str(locked) in question.title for question in operator.asked] == [True, True]
    assert await said(dialer) == "ops", "a reconnect does not ask again"
    with pytest.raises(Refused, match="needs its passphrase"):
        await site.dialer(box).dial(None)


PAM_CODE = """\
auth required pam_unix.so
auth required pam_google_authenticator.so secret={folder}/totp user=root no_increment_hotp {more}
account required pam_permit.so
session required pam_permit.so
"""
TOTP_KEY = "JBSWY3DPEHPK3PXPJBSWY3DPEH"


def code_now() -> str:
    import base64
    import hmac

    secret = base64.b32decode(TOTP_KEY + "=" * (-len(TOTP_KEY) % 8))
    digest = hmac.digest(secret, int(time.time() // 30).to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"


@pytest.mark.parametrize("more", ["", "echo_verification_code"])
async def test_a_password_and_a_one_time_code_of_pam(site: Site, more: str) -> None:
    if not list(Path("/lib").glob("*/security/pam_google_authenticator.so")):
        pytest.skip("libpam-google-authenticator is not installed")
    totp = site.folder / "totp"
    totp.write_text(f'{TOTP_KEY}\n" TOTP_AUTH\n" WINDOW_SIZE 17\n')
    totp.chmod(0o400)
    box = site.server(
        "KbdInteractiveAuthentication yes\nAuthenticationMethods publickey,keyboard-interactive\n",
        pam=PAM_CODE.format(folder=site.folder, more=more),
    )
    site.trust(box)
    with pytest.raises(Refused, match="it may take a password or a code"):
        await site.dialer(box).dial(None)
    operator = Answers("correct horse", code_now())
    assert await said(site.dialer(box), operator) == "ops"
    assert [question.kind for question in operator.asked] == ["secret", "shown" if more else "secret"]
    assert [question.text for question in operator.asked] == ["Password: ", "Verification code: "]


async def test_a_banner_is_told_also_where_the_login_fails(site: Site) -> None:
    banner = site.folder / "banner"
    banner.write_bytes(b"Authorized \x1b[31muse\x1b[0m only.\n\xe2\x80\xaeknil\n")
    box = site.server(f"Banner {banner}\n")
    site.trust(box)
    told: list[str] = []
    assert await said(site.dialer(box, on_banner=told.append)) == "ops"
    assert told == ["Authorized use only.", "knil"]
    told.clear()
    site.key.unlink()
    with pytest.raises(Refused):
        await site.dialer(box, on_banner=told.append).dial(None)
    assert told == ["Authorized use only.", "knil"]


async def test_ipv6_addresses_and_families(site: Site) -> None:
    box = site.server(address="::1")
    site.trust(box)
    assert await said(site.dialer(box)) == "ops"
    site.config(f"Host six\n HostName ::1\n Port {box.port}\n User ops\n AddressFamily inet6\n BindAddress ::1\n")
    assert await said(Dialer("spark", "six")) == "ops"
    assert await said(Dialer("spark", "six"), None, ("sh", "-c", "echo ${SSH_CONNECTION%% *}")) == "::1"
    site.config("Host localhost\n AddressFamily inet\n")
    with pytest.raises(PortError, match="refused the connection"):
        await Dialer("spark", f"ops@localhost:{box.port}").dial(None)


def processes(words: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in path.read_bytes().replace(b"\0", b" ").decode() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
