"""Which algorithms a login offers: OpenSSH's own defaults without SHA-1, or what ssh_config asks for.

asyncssh's defaults are wider: they take host keys and key exchanges with SHA-1, which OpenSSH has left.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from asyncssh.encryption import get_encryption_algs
from asyncssh.kex import get_kex_algs
from asyncssh.mac import get_mac_algs
from asyncssh.public_key import get_certificate_algs, get_public_key_algs

from sovtui.adapters.links._ssh_config import Said
from sovtui.core.clean import clean
from sovtui.ports.errors import Refused

RSA = ("rsa-sha2-512", "rsa-sha2-256")
"""What an RSA key signs with."""
SIGNATURES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", *RSA),
)
"""Of host keys, of users' keys, of the certificates of both."""
_CERTIFIED = tuple(f"{name.removesuffix('@openssh.com')}-cert-v01@openssh.com" for name in SIGNATURES)
_KEX = (
    *("mlkem768x25519-sha256", "sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"),
    *("curve25519-sha256", "curve25519-sha256@libssh.org"),
    *("ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"),
    *("diffie-hellman-group-exchange-sha256", "diffie-hellman-group16-sha512"),
    *("diffie-hellman-group18-sha512", "diffie-hellman-group14-sha256"),
)
_CIPHERS = (
    *("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"),
    *("aes128-ctr", "aes192-ctr", "aes256-ctr"),
)
"""In another order than OpenSSH's: asyncssh's ChaCha20 takes thirteen times as long for a packet as small as ours are."""
_MACS = (
    *("umac-64-etm@openssh.com", "umac-128-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com"),
    *("umac-64@openssh.com", "umac-128@openssh.com", "hmac-sha2-256", "hmac-sha2-512"),
)
"""OpenSSH has hmac-sha1 last here still."""


@dataclass(frozen=True, slots=True)
class _Kind:
    keyword: str
    """Of ssh_config."""
    word: str
    """Of `asyncssh.connect`."""
    usual: tuple[str, ...]
    known: Callable[[], list[bytes]]
    called: str = ""
    """By asyncssh, where there is none in common."""
    older: str = ""
    """The keyword's former name."""


warnings.filterwarnings("ignore", "Diffie-Hellman over finite fields")  # of cryptography: who operates a box cannot act on it
SIGNING = "signature_algs"
"""The word of `asyncssh.connect` for what a user's key signs with."""
_CERTIFICATE = re.compile(r"^(?:(sk-.*)|(.*))-cert-v01@openssh\.com$")


def _of_keys() -> list[bytes]:
    return [*get_public_key_algs(), *get_certificate_algs()]


_KINDS = (
    _Kind("KexAlgorithms", "kex_algs", _KEX, get_kex_algs, "key exchange"),
    _Kind("Ciphers", "encryption_algs", _CIPHERS, get_encryption_algs, "encryption"),
    _Kind("MACs", "mac_algs", _MACS, get_mac_algs, "MAC"),
    _Kind(
        *("HostKeyAlgorithms", "server_host_key_algs", (*_CERTIFIED, *SIGNATURES)),
        *(_of_keys, "host key"),
    ),
    _Kind("PubkeyAcceptedAlgorithms", SIGNING, SIGNATURES, _of_keys, older="PubkeyAcceptedKeyTypes"),
    _Kind("CASignatureAlgorithms", "", SIGNATURES, get_public_key_algs),
)
_DEFAULT = ("server_host_key_algs",)
"""Of these there is no word unless they are chosen: which is best depends on the keys that are known."""
CERTIFIED = tuple(name for name in _CERTIFIED if not name.startswith("sk-"))
"""Host certificates that are taken."""
PLAIN = tuple(name for name in SIGNATURES if not name.startswith("sk-"))


def chosen(said: Said, label: str) -> dict[str, Any]:
    """Words for `asyncssh.connect`. Raises `Refused` where ssh_config names only what is not known here."""
    words: dict[str, Any] = {}
    for kind in _KINDS:
        known = {name.decode() for name in kind.known()}
        asked = _asked(said, kind)
        names = [name for name in (asked or kind.usual) if name in known]
        if not names:
            text = clean(", ".join(asked), 200)
            raise Refused(f"ssh_config asks for {kind.keyword} {text} with {label}, and none of them is known here")
        if kind.word == SIGNING:  # with a certificate it is the key that signs
            names = signatures_of(names)
        if kind.word and (asked or kind.word not in _DEFAULT):
            words[kind.word] = names
    return words


def authorities(said: Said) -> tuple[str, ...]:
    """Signatures that are taken under a host's certificate (CASignatureAlgorithms)."""
    return tuple(_asked(said, _KINDS[-1]) or SIGNATURES)


def is_sha1(name: str) -> bool:
    """Whether it rests on SHA-1; the names of the oldest ones do not say so."""
    return name.partition("-cert-")[0] in ("ssh-rsa", "ssh-dss") or re.search(r"(^|-)sha1(-|@|$)", name) is not None


def _asked(said: Said, kind: _Kind) -> list[str]:
    """What ssh_config asks for; empty: nothing.

    A list that begins with `+`, `-` or `^` changes the usual one, with which an older ssh means one with SHA-1 in it: of what `ssh -G`
    tells, what is in its usual list with SHA-1 was not asked for, where the rest of that list is there too.
    """
    for keyword in filter(None, (kind.keyword, kind.older)):
        values = [name for value in said.chosen(keyword.lower()) for name in value.split(",") if name]
        if not values:
            continue
        sign = values[0][0] if values[0][0] in "+-^" else ""
        values[0] = values[0].removeprefix(sign)
        known = [name.decode() for name in kind.known()]
        named = [name for pattern in values for name in _matching(pattern, known)]
        if sign == "-":
            return [name for name in kind.usual if name not in named]
        if sign:
            return list(dict.fromkeys([*named, *kind.usual] if sign == "^" else [*kind.usual, *named]))
        usual = {name for value in said.usual.get(keyword.lower(), ()) for name in value.split(",")}
        if usual and usual <= {*named}:
            named = [name for name in named if not (is_sha1(name) and name in usual)]
        return list(dict.fromkeys(named))
    return []


def _matching(pattern: str, known: Sequence[str]) -> list[str]:
    if any(char in pattern for char in "*?"):
        return [name for name in known if fnmatchcase(name, pattern)]
    return [pattern]


def nothing_in_common(text: str, label: str) -> Refused | None:
    """What asyncssh says where both sides know no algorithm of a kind together, as a sentence and what to do."""
    found = re.match(r"No matching (?P<kind>.+?) algorithm found, sent \S+ and received (?P<offered>\S+)", text)
    kind = next((one for one in _KINDS if found and one.called == found["kind"]), None)
    if found is None or kind is None:
        return None
    offered = [name for name in found["offered"].split(",") if not re.match(r"ext-info-|kex-strict-|<", name)]
    known = {name.decode() for name in kind.known()}
    old = [name for name in offered if name in known]
    words = clean(", ".join(offered), 200) or "nothing"
    said = f"{label} and this machine have no common method for the {found['kind']}: it offers only {words}"
    if not old:
        return Refused(said, "Update its sshd: none of that is known here.")
    if all(is_sha1(name) for name in old):
        said += ", which rests on SHA-1" if len(offered) == len(old) == 1 else ", and what of that is known here rests on SHA-1"
    advice = f"Update its sshd. To use it as it is, write `{kind.keyword} +{clean(old[0], 60)}` for this host in ssh_config."
    return Refused(said, advice)


def signed_with(certificate: bytes, authority: bytes) -> str:
    """The algorithm of the signature under a certificate, both as they are sent: it comes last, after its authority's public key."""
    return algorithm_of(certificate.rpartition(len(authority).to_bytes(4, "big") + authority)[2][4:])


def algorithm_of(signature: bytes) -> str:
    """Its first string."""
    return signature[4 : 4 + int.from_bytes(signature[:4], "big")].decode("ascii", "replace")


def signatures_of(names: Iterable[str]) -> list[str]:
    """What is signed with under these names, of which some are certificates: with one it is its key that signs."""
    return list(dict.fromkeys(_CERTIFICATE.sub(lambda m: m[2] or f"{m[1]}@openssh.com", name) for name in names))


def host_keys_in(packet: bytes) -> str:
    """Of a server's first packet (RFC 4253, 6 and 7.1): its algorithms for host keys. Empty: it is no such packet."""
    lists = packet[22:] if packet[5:6] == b"\x14" else b""  # behind length, padding, kind and cookie
    for _ in range(2):
        size = int.from_bytes(lists[:4], "big")
        told, lists = lists[4 : 4 + size], lists[4 + size :]
    return told.decode("ascii", "replace")


def no_host_key(offered: str, ours: Sequence[str], label: str) -> Refused | None:
    """The same for host keys: what the server offers against what we take. None: they have one in common, or it is not known."""
    if not offered or {*offered.split(",")} & {*ours}:
        return None
    return nothing_in_common(f"No matching host key algorithm found, sent ours and received {offered}", label)
