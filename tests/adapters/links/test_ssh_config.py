"""What ssh_config says of a host: by `ssh -G`, and by asyncssh's parser where there is no ssh. They are held against each other."""

from __future__ import annotations

import asyncio
import getpass
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sovtui.adapters.links import _ssh_config
from sovtui.adapters.links._ssh_place import Place, look_up
from sovtui.adapters.links._target import Target, parse
from sovtui.adapters.links.ssh import Dialer, Settings
from sovtui.ports.errors import Refused, Unreachable

from .conftest import alive, until

SSH = shutil.which("ssh")
ME = getpass.getuser()
needs_ssh = pytest.mark.skipif(SSH is None, reason="OpenSSH's client is not installed")


def place_of(address: str, files: list[Path] | None = None) -> Place:
    settings = Settings("spark", address, parse(address), None, files, 1.5, 2, 15.0, None)
    place = Place(f"spark ({address})", settings.target)
    asyncio.run(look_up(place, settings))
    return place


def without_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_ssh_config, "ssh_program", lambda: None)


CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "nothing": ("", "box", {"host": "box", "port": 22, "user": ME}),
    "address wins": ("Host *\n User other\n Port 99\n", "ops@box:2222", {"user": "ops", "port": 2222}),
    "first value wins": ("Host box\n User one\nHost *\n User two\n Port 2200\n", "box", {"user": "one", "port": 2200}),
    "negation": ("Host box* !box2\n User one\n", "box2", {"user": ME}),
    "several patterns": ("Host a,b b?x\n User one\n", "box", {"user": "one"}),
    "HostName with %h": ("Host box\n HostName %h.example\n", "box", {"host": "box.example"}),
    "comment at the end": ("Host box # this one\n User one # and more\n Port 2200\n", "box", {"user": "one", "port": 2200}),
    "equals and quotes": ('Host=box\n User = "one"\n Port=2200\n', "box", {"user": "one", "port": 2200}),
    "capitals": ("hOST box\n USER one\n", "box", {"user": "one"}),
    "ProxyJump": ("Host box\n ProxyJump a,ops@b:33\n", "box", {"tunnel": "a,ops@b:33", "command": None}),
    "ProxyJump with tokens": ("Host box\n HostName x\n ProxyJump jump-%h\n", "box", {"tunnel": "jump-x"}),
    "ProxyJump none": ("Host box\n ProxyJump none\nHost *\n ProxyJump a\n", "box", {"tunnel": None}),
    "ProxyCommand": (
        "Host box\n HostName x\n Port 33\n User u\n ProxyCommand nc -X 5 '%h' %p %r %n 100%%\n",
        "box",
        {"command": "nc -X 5 'x' 33 u box 100%", "tunnel": None},
    ),
    "ProxyCommand none": ("Host box\n ProxyCommand none\nHost *\n ProxyCommand a\n", "box", {"command": None}),
    "the first of jump and command": (
        "Host box\n ProxyCommand a %h\n ProxyJump b\n",
        "box",
        {"command": "a box", "tunnel": None},
    ),
    "identities": (
        "Host box\n IdentityFile ~/.ssh/id_%h\n IdentityFile %d/k\n IdentityFile /x/%u-%r\n IdentitiesOnly yes\n User u\n",
        "box",
        {"named": ["~/.ssh/id_box", "~/k", f"/x/{ME}-u"], "usual": [], "only": True},
    ),
    "identities of several blocks": ("Host box\n IdentityFile /a\nHost *\n IdentityFile /b\n", "box", {"named": ["/a", "/b"]}),
    "no identities": ("IdentityFile none\n", "box", {"named": [], "usual": []}),
    "certificate": ("CertificateFile ~/.ssh/me-cert.pub\n", "box", {"certificates": ["~/.ssh/me-cert.pub"]}),
    "own agent": ("IdentityAgent ~/.agent-%h\n", "box", {"agent": "~/.agent-box"}),
    "no agent": ("IdentityAgent none\n", "box", {"agent": ""}),
    "agent of a variable": ("IdentityAgent $MY_AGENT\n", "box", {"agent": "/my/agent"}),
    "the usual agent": ("IdentityAgent SSH_AUTH_SOCK\n", "box", {"agent": "/usual/agent"}),
    "known_hosts": (
        "UserKnownHostsFile ~/.ssh/k_%h /x/k2\nGlobalKnownHostsFile /g\n",
        "box",
        {"known_paths": ["~/.ssh/k_box", "/x/k2", "/g"], "writable": "~/.ssh/k_box"},
    ),
    "no known_hosts": ("UserKnownHostsFile /dev/null\nGlobalKnownHostsFile none\n", "box", {"writable": None}),
    "HostKeyAlias": ("HostKeyAlias the-box\n", "box", {"alias": "the-box", "known_name": "the-box"}),
    "usual known_hosts": (
        "",
        "box:2222",
        {"known_paths": ["~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]},
    ),
    "strict": ("StrictHostKeyChecking yes\n", "box", {"strict": "yes"}),
    "strict off": ("StrictHostKeyChecking off\n", "box", {"strict": "accept-new"}),
    "strict no": ("StrictHostKeyChecking no\n", "box", {"strict": "accept-new"}),
    "accept-new": ("StrictHostKeyChecking accept-new\n", "box", {"strict": "accept-new"}),
    "ask": ("StrictHostKeyChecking ask\n", "box", {"strict": "ask"}),
    "hashed": ("HashKnownHosts yes\n", "box", {"hashed": True}),
    "timeouts": ("ConnectTimeout 1m\nServerAliveInterval 1\n", "box", {"timeout_seconds": 60.0, "alive_seconds": 1.0}),
    "addresses": ("AddressFamily inet6\nBindAddress ::1\n", "box", {"family": int(socket.AF_INET6), "local_address": "::1"}),
    "IPv6 target": ("Host ::1\n User six\n", "[::1]:2222", {"user": "six", "host": "::1", "known_name": "[::1]:2222"}),
    "unknown is passed over": ("AddKeysToAgent yes\nControlMaster auto\nControlPath ~/.ssh/c-%C\nControlPersist 5m\n", "box", {}),
    "IgnoreUnknown": ("IgnoreUnknown UseKeychain\nUseKeychain yes\nUser u\n", "box", {"user": "u"}),
    "Match host": ("Host box\n HostName real\nMatch host real\n User m\n", "box", {"user": "m"}),
    "Match originalhost": ("Host box\n HostName real\nMatch originalhost box\n User m\n", "box", {"user": "m"}),
    "Match not": ("Match !host box\n User m\n", "box", {"user": ME}),
    "Match user": ("Match user ops\n Port 2200\n", "ops@box", {"port": 2200}),
    "Match localuser": (f"Match localuser {ME}\n Port 2200\n", "box", {"port": 2200}),
    "Match exec": (
        'Match host box exec "test %h = box"\n User m\nMatch exec false\n Port 2200\n',
        "box",
        {"user": "m", "port": 22},
    ),
    "Match all": ("Host other\n User o\nMatch all\n User m\n", "box", {"user": "m"}),
    "Match final": ("Match final host real\n User m\nHost box\n HostName real\n", "box", {"user": "m"}),
    "Match canonical": ("Match canonical all\n User m\n", "box", {"user": ME}),
    "canonical names": (
        "CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid localdomain\nMatch canonical host *.localdomain\n User c\n",
        "localhost",
        {"host": "localhost.localdomain", "user": "c"},
    ),
    "no canonical name": ("CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid\n", "box", {"host": "box"}),
    "Include": ("Include {home}/more/*.conf\nHost *\n User two\n", "box", {"user": "one", "port": 2200}),
    "Include in a block": ("Host other\n Include {home}/more/*.conf\nHost box\n User two\n", "box", {"user": "two", "port": 22}),
    "algorithms": (
        "Ciphers aes256-ctr\nHostKeyAlgorithms rsa-sha2-512\n",
        "box",
        {"words": {"encryption_algs": ["aes256-ctr"], "server_host_key_algs": ["rsa-sha2-512"]}},
    ),
    "methods": (
        "PasswordAuthentication no\nPreferredAuthentications password,publickey,gssapi-with-mic\n",
        "box",
        {"words": {"preferred_auth": ["publickey"]}},
    ),
    "rekey and environment": (
        "RekeyLimit 1G 1h\nSetEnv A=1 B=2\nTCPKeepAlive no\n",
        "box",
        {"words": {"rekey_seconds": 3600, "env": {"A": "1", "B": "2"}, "tcp_keepalive": False}},
    ),
}


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
@pytest.mark.parametrize("name", CASES)
def test_a_place_is_what_ssh_config_says(name: str, way: str, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/usual/agent")
    monkeypatch.setenv("MY_AGENT", "/my/agent")
    text, address, expected = CASES[name]
    (home / "more").mkdir()
    (home / "more" / "a.conf").write_text("User one\nPort 2200\n")
    config = home / ".ssh" / "config"
    config.parent.mkdir(mode=0o700)
    config.write_text(text.format(home=home) if "{home}" in text else text)
    if way == "parser":
        without_ssh(monkeypatch)
    if name == "canonical names":
        if way == "ssh -G":
            return  # it needs names of its own: tests/integration/test_ssh_whole.py
        monkeypatch.setattr(socket, "getaddrinfo", known_in("localdomain"))
    place = place_of(address)
    for field, value in expected.items():
        assert plain(getattr(place, field), home, value) == value, field


def known_in(domain: str) -> Any:
    def lookup(name: str, *_: object, **__: object) -> list[object]:
        if not name.endswith(domain):
            raise socket.gaierror
        return [object()]

    return lookup


def plain(value: Any, home: Path, like: Any) -> Any:
    if isinstance(like, dict):
        return {key: value.get(key) for key in like}
    if isinstance(value, list):
        return [plain(one, home, None) for one in value]
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith(str(home))):
        return str(value).replace(str(home), "~")
    return int(value) if isinstance(value, socket.AddressFamily) else value


@pytest.mark.parametrize(
    "line", ["ServerAliveInterval 1m", "ConnectTimeout none", "Compression ask", "AddressFamily both", "RekeyLimit 1G 1h # often"]
)
def test_what_the_parser_cannot_read_and_does_no_harm_is_passed_over(line: str, home: Path, monkeypatch: pytest.MonkeyPatch):
    without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(f"Host box\n {line}\n Port 2200\n")
    place = place_of("box")
    assert place.port == 2200
    assert bool(place.notes) is (line.split()[0] in ("Compression", "AddressFamily"))
    assert all("line 2" in note for note in place.notes)


def test_a_criterion_that_is_not_understood_is_told_and_does_not_match(home: Path, monkeypatch: pytest.MonkeyPatch):
    without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(
        "Match localnetwork 127.0.0.0/8\n Port 1\nMatch !sessiontype shell\n Port 2\nMatch host box\n Port 3\n"
    )
    place = place_of("box")
    assert place.port == 3
    assert ["localnetwork" in place.notes[0], "sessiontype" in place.notes[1], len(place.notes)] == [True, True, 2]
    assert "config line 1" in place.notes[0] and "ignored" in place.notes[0]


async def test_what_was_passed_over_is_told_once(home: Path, monkeypatch: pytest.MonkeyPatch):
    without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Match sessiontype shell\n Port 2\nMatch all\n ProxyCommand false\n")
    told: list[str] = []
    dialer = Dialer("spark", "box", on_banner=told.append)
    for _ in range(2):
        with pytest.raises(Unreachable):
            await dialer.dial(None)
    assert len(told) == 1 and "sessiontype" in told[0]


@needs_ssh
def test_canonical_names_that_are_nowhere_are_told(home: Path):
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(
        "CanonicalizeHostname yes\nCanonicalDomains nowhere.invalid\nCanonicalizeFallbackLocal no\n"
    )
    with pytest.raises(Unreachable, match="cannot resolve the name box"):
        place_of("box")


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
@pytest.mark.parametrize(
    ("text", "told"), [("Port many", "line 1.*many"), ("Match exec", "line 1"), ("ProxyUseFdpass yes\nProxyCommand x", "Fdpass")]
)
def test_what_ssh_would_refuse_is_refused_with_the_line(
    text: str, told: str, way: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    if way == "parser":
        without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(f"{text}\n")
    with pytest.raises(Refused, match=told):
        place_of("box")


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
def test_files_that_are_named_are_read_instead(way: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if way == "parser":
        without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Port 1\n")
    first, second = tmp_path / "first one", tmp_path / "second"
    first.write_text("User one\n")
    second.write_text("User two\nPort 3\n")
    assert (place_of("box", []).user, place_of("box", []).port) == (ME, 22)
    assert (place_of("box", [first]).user, place_of("box", [first]).port) == ("one", 22)
    assert (place_of("box", [first, second]).user, place_of("box", [first, second]).port) == ("one", 3)


@needs_ssh
async def test_a_configuration_that_is_never_read_does_not_hold_up_a_cancel(home: Path):
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(f'Match exec "sleep 600 & echo $! > {home}/pid; wait"\n Port 1\n')
    dialing = asyncio.ensure_future(Dialer("spark", "box").dial(None))
    async with asyncio.timeout(60):
        while not (home / "pid").exists() or not (home / "pid").read_text():
            await asyncio.sleep(0.01)
        dialing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialing
    await until(lambda: not alive(int((home / "pid").read_text())))


@needs_ssh
def test_the_table_is_what_ssh_itself_says(home: Path):
    """Host, user and port of every case, as `ssh -G` prints them where it reads the same file on its own."""
    (home / "more").mkdir()
    (home / "more" / "a.conf").write_text("User one\nPort 2200\n")
    config = home / "config"
    for name, (text, address, expected) in CASES.items():
        if name == "canonical names":
            continue
        config.write_text(text.format(home=home) if "{home}" in text else text)
        target = parse(address)
        words = [*(["-l", target.user] if target.user else []), *(["-p", str(target.port)] if target.port else [])]
        assert SSH is not None
        done = subprocess.run(
            [SSH, "-F", str(config), "-T", "-G", *words, target.name], capture_output=True, text=True, check=True
        )
        said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
        told = {"user": said["user"], "host": said["hostname"], "port": int(said["port"])}
        assert {key: told[key] for key in expected if key in told} == {k: v for k, v in expected.items() if k in told}, name


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
def test_the_systems_file_comes_after_the_users(way: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if way == "parser":
        without_ssh(monkeypatch)
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d" / "ten.conf").write_text("Host box\n ConnectTimeout 7\n")
    (tmp_path / "system").write_text(f"Include {tmp_path}/more.d/*.conf\nHost *\n User two\n Port 3\n")
    monkeypatch.setattr(_ssh_config, "SYSTEM_FILES", (tmp_path / "system", tmp_path / "nowhere"))
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host box\n User one\n")
    place = place_of("box")
    assert (place.user, place.port, place.timeout_seconds) == ("one", 3, 7.0)


def test_ssh_is_there_where_no_temporary_file_can_be_written() -> None:
    """Python looks for a library by a compiler's file; asyncssh asks for optional ones as it is loaded."""
    code = (
        "import ctypes.util, sys\n"
        "def full(name): raise OSError(28, 'No space left on device')\n"
        "ctypes.util.find_library = full\n"
        "from sovtui.adapters.links import ssh\n"
        "ssh.load()\n"
        "assert 'asyncssh' in sys.modules and ctypes.util.find_library is full\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[3])


HOSTILE = [
    "a;id",
    "-oProxyCommand=id",
    "a$(id)",
    "a`id`",
    "a|id",
    "a&id",
    "a'",
    'a"',
    "a\\b",
    "a<b",
    "a{b,c}",
    "a*",
    "a?",
    "~a",
    "#a",
    "a b",
    "a\nb",
]


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
def test_names_that_a_shell_would_read_are_refused_before_anybody_reads_them(
    way: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    """Also where no OpenSSH is asked, and whatever takes them: ProxyCommand, `Match exec`, known_hosts."""
    if way == "parser":
        without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(f'Match exec "touch {home}/ran-%n-%r"\n User m\nMatch all\n ProxyCommand nc %h %p %r\n')
    for word in HOSTILE:
        for target in (Target(word), Target("box", word)):
            if target.user == "a\\b":
                continue  # DOMAIN\user
            with pytest.raises(ValueError, match="not an address"):
                parse(str(target) if target.user else word)
            settings = Settings("spark", word, target, None, None, 1.5, 2, 15.0, None)
            with pytest.raises(Refused, match="in the address of spark is refused: it "):
                asyncio.run(look_up(Place("spark", target), settings))
    assert [path.name for path in home.iterdir()] == [".ssh"]


@pytest.mark.parametrize("way", [pytest.param("ssh -G", marks=needs_ssh), "parser"])
@pytest.mark.parametrize(
    ("lines", "command", "told"),
    [
        ("HostName a;b", "nc %h %p", "%h would be 'a;b', and it holds ;"),
        ("User -oProxyCommand=x", "ssh -W %h:%p %r@jump", "%r would be '-oProxyCommand=x', and it begins with a dash"),
        ("User u$", 'ssh -W %h:%p "%r@jump"', "%r would be 'u$', and it holds $"),
        ("HostKeyAlias a|b", "nc %k %p", "%k would be 'a|b', and it holds |"),
    ],
)
def test_what_is_put_into_a_proxy_command_is_a_name_and_no_more(
    lines: str, command: str, told: str, way: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    if way == "parser":
        without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text(f"{lines}\nProxyCommand {command}\n")
    with pytest.raises(Refused, match=re.escape(told)):
        place_of("box")
    (home / ".ssh" / "config").write_text(f"{lines}\nProxyCommand nc fixed %p | tee $HOME/log; true %%h\n")
    assert place_of("box").command == "nc fixed 22 | tee $HOME/log; true %h"  # the user's own line is for a shell


def test_a_jump_host_that_a_shell_would_read_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch):
    without_ssh(monkeypatch)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "config").write_text("Host box\n ProxyJump ops@jump;id\n")
    with pytest.raises(Refused, match=r"ProxyJump of .* cannot be read: .*it holds ;"):
        asyncio.run(Dialer("spark", "box").dial(None))
