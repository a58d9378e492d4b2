"""Which algorithms a login offers: OpenSSH's without SHA-1, more only where ssh_config asks. A server that has only old ones is told of."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from sovtui.adapters.links import _ssh_algorithms, _ssh_config
from sovtui.adapters.links._ssh_config import Said
from sovtui.adapters.links._target import Target
from sovtui.ports.errors import Refused, Unreachable

from .conftest import ServerMaker, Sshd, linked, write_key
from .test_ssh_config import needs_ssh, place_of, without_ssh

pytestmark = pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
WORDS = {
    "kexalgorithms": "kex_algs",
    "ciphers": "encryption_algs",
    "macs": "mac_algs",
    "pubkeyacceptedalgorithms": "signature_algs",
}


def config(home: Path, text: str) -> None:
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "config").write_text(text)


@needs_ssh
def test_the_usual_algorithms_are_openssh_s_without_sha1(home: Path):
    """What the ssh of this machine offers may be older than ours, and keeps hmac-sha1: nothing of ours is unknown to a newer one."""
    ssh = _ssh_config.ssh_program()
    assert ssh is not None
    usual = asyncio.run(_ssh_config._ask([ssh, "-F", "none"], Target("host"), "host"))
    assert usual is not None
    words = place_of("box").words
    newer = {"mlkem768x25519-sha256", "sntrup761x25519-sha512"}
    for keyword, word in WORDS.items():
        theirs = {name for value in usual[keyword] for name in value.split(",")}
        assert words[word], keyword
        assert {*words[word]} - theirs <= newer, keyword
        known = {name.decode() for kind in _ssh_algorithms._KINDS if kind.word == word for name in kind.known()}
        left_out = {name for name in (theirs & known) - {*words[word]} if "-cert-" not in name}
        assert all(_ssh_algorithms.is_sha1(name) for name in left_out), (keyword, left_out)
    offered = [*(name for names in words.values() if isinstance(names, list) for name in names), *_ssh_algorithms.SIGNATURES]
    assert not [name for name in offered if _ssh_algorithms.is_sha1(name)]


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
def test_ssh_config_adds_and_takes_away_from_these(way: str, home: Path, monkeypatch: pytest.MonkeyPatch):
    if way == "parser":
        without_ssh(monkeypatch)
    config(
        home,
        "KexAlgorithms +diffie-hellman-group14-sha1\nHostKeyAlgorithms +ssh-rsa\nPubkeyAcceptedAlgorithms +ssh-rsa\n"
        "MACs hmac-sha1\nCiphers -chacha20-poly1305@openssh.com,aes*-gcm*\nCASignatureAlgorithms +ssh-rsa\n",
    )
    place = place_of("box")
    assert "curve25519-sha256" in place.words["kex_algs"]
    assert place.words["kex_algs"][-1] == "diffie-hellman-group14-sha1"
    assert "diffie-hellman-group-exchange-sha1" not in place.words["kex_algs"]
    assert place.words["server_host_key_algs"][-1] == place.words["signature_algs"][-1] == place.authorities[-1] == "ssh-rsa"
    assert place.words["mac_algs"] == ["hmac-sha1"]
    assert {*place.words["encryption_algs"]} == {"aes128-ctr", "aes192-ctr", "aes256-ctr"}
    config(home, "PubkeyAcceptedAlgorithms ssh-ed25519-cert-v01@openssh.com,sk-ssh-ed25519-cert-v01@openssh.com\n")
    assert place_of("box").words["signature_algs"] == ["ssh-ed25519", "sk-ssh-ed25519@openssh.com"]


def test_what_an_older_ssh_has_anyway_was_not_asked_for():
    """It tells `^curve25519-sha256` as a whole list, with the SHA-1 that it has by default."""
    usual = ("curve25519-sha256,diffie-hellman-group14-sha256,diffie-hellman-group14-sha1",)
    told = ("diffie-hellman-group14-sha256,curve25519-sha256,diffie-hellman-group14-sha1,diffie-hellman-group1-sha1",)
    words = _ssh_algorithms.chosen(Said({"kexalgorithms": told}, {"kexalgorithms": usual}), "box")
    assert words["kex_algs"] == ["diffie-hellman-group14-sha256", "curve25519-sha256", "diffie-hellman-group1-sha1"]
    words = _ssh_algorithms.chosen(Said({"kexalgorithms": usual}, {"kexalgorithms": usual}), "box")
    assert "diffie-hellman-group14-sha1" not in words["kex_algs"]


RSA = asyncssh.generate_private_key("ssh-rsa")
OLD: dict[str, tuple[dict[str, Any], str, str]] = {
    "key exchange": (
        {"kex_algs": ["diffie-hellman-group14-sha1", "diffie-hellman-group-exchange-sha1"]},
        r"key exchange: it offers only diffie-hellman-group14-sha1, diffie-hellman-group-exchange-sha1.*SHA-1",
        "KexAlgorithms +diffie-hellman-group14-sha1",
    ),
    "mac": (
        {"mac_algs": ["hmac-sha1"], "encryption_algs": ["aes128-ctr"]},
        "MAC: it offers only hmac-sha1, which rests on SHA-1",
        "MACs +hmac-sha1",
    ),
    "signature": (
        {"signature_algs": ["ssh-rsa"], "accepted": [RSA]},
        "takes RSA keys with SHA-1 signatures only",
        "PubkeyAcceptedAlgorithms +ssh-rsa",
    ),
    "cipher": ({"encryption_algs": ["aes256-cbc"]}, "encryption: it offers only aes256-cbc", "Ciphers +aes256-cbc"),
}


@needs_ssh
@pytest.mark.parametrize("kind", OLD)
async def test_a_server_with_old_methods_only_is_told_of_and_let_in_where_ssh_config_asks(
    kind: str, serve: ServerMaker, home: Path
):
    words, said, line = OLD[kind]
    server = await serve(**words)
    server.trust()
    write_key(home / ".ssh" / "id_rsa", RSA)
    with pytest.raises(Refused, match=said) as caught:
        await server.dialer().dial(None)
    assert f"`{line}` for" in caught.value.advice
    config(home, f"Host 127.0.0.1\n {line}\n")
    async with linked(server.dialer()):
        pass


SHA1 = "KexAlgorithms diffie-hellman-group14-sha1\nHostKeyAlgorithms ssh-rsa"


@pytest.mark.parametrize("sshd", [SHA1], indirect=True)
async def test_an_sshd_of_long_ago_is_used_only_where_ssh_config_asks_for_each_of_its_methods(sshd: Sshd, home: Path):
    told, lines = [], ["Host 127.0.0.1"]
    for _ in range(40):
        config(home, "\n ".join(lines) + "\n")
        try:
            async with linked(sshd.dialer()) as link:
                assert (await link.run(("echo", "in"), timeout_seconds=60.0)).stdout == b"in\n"
            break
        except Unreachable:  # it hangs up, and what it had said before may be lost with that
            continue
        except Refused as error:
            assert "SHA-1" in str(error)
            told.append(str(error))
            lines.append(error.advice.split("`")[1])
    assert sorted(lines[1:]) == ["HostKeyAlgorithms +ssh-rsa", "KexAlgorithms +diffie-hellman-group14-sha1"]
    assert any("it offers only ssh-rsa" in text for text in told)


@pytest.mark.parametrize(("how", "taken"), [("ssh-rsa", False), ("rsa-sha2-256", True)])
async def test_a_host_s_certificate_counts_only_with_a_signature_of_today(how: str, taken: bool, serve: ServerMaker, home: Path):
    authority = asyncssh.generate_private_key("ssh-rsa")
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await serve(host_key=(key, authority.generate_host_certificate(key, "box", sig_alg=how)))
    public = authority.export_public_key("openssh").decode().strip()
    (home / ".ssh" / "known_hosts").write_text(f"@cert-authority [127.0.0.1]:{server.port} {public}\n")
    if taken:
        async with linked(server.dialer()):
            return
    with pytest.raises(Refused, match="such a signature: ssh-rsa"):
        await server.dialer().dial(None)
    config(home, "CASignatureAlgorithms +ssh-rsa\n")
    async with linked(server.dialer()):
        pass
