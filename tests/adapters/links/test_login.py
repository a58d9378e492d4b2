"""Logins: secrets by reference, fetched late, again after a 401, never shown; and TLS in plain words."""

from __future__ import annotations

import asyncio
import base64
import gc
import html
import json
import logging
import os
import urllib.parse
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests

from sovtui.adapters.links import login as module
from sovtui.adapters.links.http import client, get_json, request
from sovtui.adapters.links.login import Login
from sovtui.adapters.links.sync_http import LinkAdapter
from sovtui.config.schema import AlertmanagerConfig, PrometheusConfig, Secret
from sovtui.ports.errors import Malformed, PortError, Refused, TimedOut
from tests.adapters.links.certificates import DAY, Authority, server_context
from tests.fakes.world import FakeClock
from tests.loopback import serving

VALUE = "s3cr3t-hunter2"


class Guarded:
    """Answers 200 to whoever carries `accepted` in `authorization`, 401 to others. Keeps the headers it got."""

    def __init__(self) -> None:
        self.accepted = f"Bearer {VALUE}"
        self.seen: list[dict[str, str]] = []
        self.body = b'{"ok": true}'
        self.refusal = b"Unauthorized"
        self.extra = ""
        self.status = 0
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in head.strip().split("\r\n")[1:])}
                await reader.readexactly(int(headers.get("content-length", 0)))
                self.seen.append(headers)
                ok = headers.get("authorization") == self.accepted
                status = self.status or (200 if ok else 401)
                body = self.body if status == 200 else self.refusal
                head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{self.extra}\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@pytest.fixture
async def web() -> AsyncIterator[Guarded]:
    made = Guarded()
    async with serving(made) as made.port:
        yield made


def asking(
    web: Guarded, clock: FakeClock | None = None, environment: dict[str, str] | None = None, **words: Any
) -> httpx.AsyncClient:
    settings = PrometheusConfig(url=f"http://127.0.0.1:{web.port}", **words)
    login = Login("prometheus", settings, clock or FakeClock(), environment)
    return client(None, base_url=settings.url, timeout_seconds=60, login=login)


async def test_basic_bearer_and_headers_are_sent(web: Guarded, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{VALUE}\nsecond line\n")
    web.accepted = f"Basic {base64.b64encode(f'ops:{VALUE}'.encode()).decode()}"
    async with asking(web, user="ops", password=Secret(file=str(file)), headers={"X-Scope-OrgID": "team"}) as http:
        await get_json(http, "/x", method="POST", data={"query": "up"})
    assert web.seen[0]["x-scope-orgid"] == "team" and len(web.seen) == 1
    web.accepted = f"Bearer {VALUE}"
    async with asking(web, environment={"TOKEN": VALUE}, bearer=Secret(env="TOKEN")) as http:
        await get_json(http, "/x")
    web.accepted = f"Token {VALUE}"
    secret = Secret(command=("printf", f"Token {VALUE}\\nmore"))
    async with asking(web, environment=dict(os.environ), headers={"Authorization": secret}) as http:
        await get_json(http, "/x")


async def test_a_secret_is_fetched_when_first_needed_and_once_for_all(web: Guarded, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ("sh", "-c", f"echo run >> {runs}; sleep 0.1; echo {VALUE}")
    http = asking(web, environment=dict(os.environ), bearer=Secret(command=command))
    assert not runs.exists()
    await asyncio.gather(*(get_json(http, f"/{n}") for n in range(5)))
    await get_json(http, "/again")
    await http.aclose()
    assert runs.read_text() == "run\n"


async def test_a_rotated_token_is_fetched_after_a_401_at_most_once_a_minute(web: Guarded, tmp_path: Path) -> None:
    file, clock = tmp_path / "token", FakeClock()
    file.write_text(VALUE)
    async with asking(web, clock, bearer=Secret(file=str(file))) as http:
        await get_json(http, "/x", method="POST", data={"a": "b"})
        file.write_text("new-token")
        web.accepted = "Bearer new-token"
        assert await get_json(http, "/x", method="POST", data={"a": "b"}) == {"ok": True}
        assert [h["authorization"] for h in web.seen] == [f"Bearer {VALUE}", f"Bearer {VALUE}", "Bearer new-token"]
        file.write_text("third-token")
        web.accepted = "Bearer third-token"
        clock.passed = 59.0
        for _ in range(3):
            with pytest.raises(Refused, match="answers 401: Unauthorized") as caught:
                await get_json(http, "/x")
        assert len(web.seen) == 6
        assert caught.value.advice == f"It does not accept the token from the file {file}."
        clock.passed = 61.0
        await get_json(http, "/x")
        assert len(web.seen) == 8
        web.accepted = "nobody"
        clock.passed = 200.0
        with pytest.raises(Refused):
            await get_json(http, "/x")
        assert len(web.seen) == 9  # the same token is not sent twice


FAILS = [
    (Secret(env="NO_SUCH"), "from the variable NO_SUCH is not available: it is not set"),
    (Secret(env="EMPTY"), "from the variable EMPTY is empty"),
    (Secret(file="/no/such/file"), "from the file /no/such/file is not available: no such file"),
    (Secret(file="/"), "from the file / is not available: it is not a plain file"),
    (Secret(command=("/no/such/program",)), "from the command `/no/such/program` is not available: there is no such program"),
    (Secret(command=("sh", "-c", f"echo {VALUE} >&2; exit 3")), "is not available: it ended with 3"),
    (Secret(command=("true",)), "from the command `true` is empty"),
    (Secret(command=("printf", "a\\033b")), "holds characters that no header can carry"),
]


@pytest.mark.parametrize(("secret", "said"), FAILS, ids=[said[:40] for _, said in FAILS])
async def test_a_secret_that_cannot_be_had_is_told_by_its_reference(web: Guarded, secret: Secret, said: str) -> None:
    async with asking(web, environment={**os.environ, "EMPTY": " \n"}, bearer=secret) as http:
        with pytest.raises(Refused) as caught:
            await get_json(http, "/x")
    assert "the bearer of [prometheus] from" in str(caught.value) and said in str(caught.value)
    assert not web.seen  # nobody was asked without the login


async def test_a_failed_command_is_not_run_at_every_poll(web: Guarded, tmp_path: Path) -> None:
    runs, clock = tmp_path / "runs", FakeClock()
    command = ("sh", "-c", f"echo run >> {runs}; test -e {runs}.ok && echo {VALUE}")
    async with asking(web, clock, dict(os.environ), bearer=Secret(command=command)) as http:
        for _ in range(3):
            with pytest.raises(Refused, match="it ended with 1"):
                await get_json(http, "/x")
        assert runs.read_text() == "run\n"
        (tmp_path / "runs.ok").touch()
        clock.passed = 61.0
        await get_json(http, "/x")


async def test_a_slow_command_is_named_and_what_it_tells_is_kept(web: Guarded, tmp_path: Path) -> None:
    command = ("sh", "-c", f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo {VALUE}")
    async with asking(web, environment=dict(os.environ), bearer=Secret(command=command)) as http:
        with pytest.raises(
            TimedOut, match=r"was not asked: the command `sh -c .*, which provides the login of .prometheus., has not finished"
        ):
            await get_json(http, "/x", timeout_seconds=0.1)
        (tmp_path / "go").touch()
        assert await get_json(http, "/x") == {"ok": True}


async def test_a_command_that_hangs_is_ended_with_all_it_started(
    web: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COMMAND_SECONDS", 1.5)
    command = ("sh", "-c", f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    async with asking(web, environment=dict(os.environ), bearer=Secret(command=command)) as http:
        with pytest.raises(Refused, match=r"did not finish within 1\.5 s") as caught:
            await get_json(http, "/x")
    assert "no terminal" in caught.value.advice
    pid = int((tmp_path / "pid").read_text())
    async with asyncio.timeout(60):
        while _runs(pid):
            await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_command_has_no_terminal_and_the_loop_goes_on(web: Guarded, tmp_path: Path) -> None:
    go = f"until test -e {tmp_path}/go; do sleep 0.01; done"
    script = f'test -z "$GPG_TTY" && ! test -t 0 && ! (: < /dev/tty) 2> /dev/null && {{ {go}; }} && echo {VALUE}'
    environment = {**os.environ, "GPG_TTY": "/dev/pts/0"}
    async with asking(web, environment=environment, bearer=Secret(command=("sh", "-c", script))) as http:
        asked = asyncio.create_task(get_json(http, "/x"))
        for _ in range(10):
            await asyncio.sleep(0.01)
        (tmp_path / "go").touch()  # nobody would if the loop waited for the command
        assert await asked == {"ok": True}


async def test_the_secret_is_seen_nowhere(web: Guarded, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """Not in an error though the server sends it back, not in a log at its most talkative, not in a repr."""
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "token"
    file.write_text(VALUE)
    http = asking(web, user="ops", password=Secret(file=str(file)), headers={"X-Key": Secret(file=str(file))})
    basic = base64.b64encode(f"ops:{VALUE}".encode()).decode()
    told: list[str] = []
    web.refusal = f"no login for {VALUE} or {basic}".encode()
    web.extra = f"Location: http://elsewhere/?token={VALUE}\r\n"
    for status, body in ((401, b""), (302, b""), (500, b""), (200, web.refusal)):
        web.status, web.body = status, body
        with pytest.raises((Refused, Malformed)) as caught:
            await get_json(http, "/x")
        told += [str(caught.value), caught.value.advice, repr(caught.value), repr(caught.value.__cause__)]
    reply = await request(http, "GET", "/x")
    transport = http.link_transport  # type: ignore[attr-defined]
    told += [repr(transport.login), str(transport.login), repr(transport.login._carried), repr(reply.request.headers)]
    told += [repr(vars(transport)), repr(reply.extensions)]
    # What a server sends is written by the library itself, at a level that nobody can choose: ours is what we send.
    told += [record.getMessage() for record in caplog.records if "receive_response_headers" not in record.getMessage()]
    await http.aclose()
    gc.collect()
    assert any("no login for [hidden]" in text for text in told)
    assert any("elsewhere/?token=[hidden]" in text for text in told)
    for text in told:
        assert VALUE not in text and basic not in text, text
    assert len(web.seen) >= 5 and web.seen[-1]["x-key"] == VALUE


@pytest.mark.parametrize(
    "echo",
    [
        lambda secret: json.dumps({"error": f"no {secret}"}).encode(),
        lambda secret: urllib.parse.quote(secret, safe="").encode(),
        lambda secret: html.escape(secret).encode(),
        lambda secret: secret.encode("utf-16"),
        lambda secret: "\u200b".join(secret).encode(),
        lambda secret: b"\0".join(secret[i : i + 1].encode() for i in range(len(secret))),
        lambda secret: base64.b64encode(f"someone:{secret}".encode()),
        lambda secret: b"x" * 3990 + secret.encode(),
        lambda secret: (secret * 200).encode(),
        lambda secret: b"x" * 100_000 + secret.encode(),
    ],
)
@pytest.mark.parametrize("secret", ["hunter2", "p&ss\"w'rd\\/%", "k3y!"])
async def test_a_secret_that_a_server_sends_back_is_found_however_it_is_written(
    web: Guarded, echo: Callable[[str], bytes], secret: str
) -> None:
    async with asking(web, environment={"TOKEN": secret}, bearer=Secret(env="TOKEN")) as http:
        for status in (401, 500, 200):
            web.status, web.body = status, echo(secret) if status != 200 else b"no: " + echo(secret)
            web.refusal = echo(secret)
            web.extra = f"Location: /?token={urllib.parse.quote(secret, safe='')}\r\n"
            with pytest.raises((Refused, Malformed)) as caught:
                await get_json(http, "/x")
            told = str(caught.value)
            assert secret not in told and json.dumps(secret)[1:-1] not in told and urllib.parse.quote(secret, safe="") not in told
            assert base64.b64encode(f"someone:{secret}".encode()).decode() not in told


async def test_a_login_goes_to_its_own_address_only(web: Guarded) -> None:
    """Redirects are not followed, and an address that is not the configured one gets nothing."""
    other = Guarded()
    async with serving(other) as other.port, asking(web, environment={"TOKEN": VALUE}, bearer=Secret(env="TOKEN")) as http:
        web.status, web.extra = 307, f"Location: http://127.0.0.1:{other.port}/x\r\n"
        with pytest.raises(Malformed, match="sends us on to"):
            await get_json(http, "/x")
        assert not other.seen
        with pytest.raises(Refused, match="answers 401"):
            await get_json(http, f"http://127.0.0.1:{other.port}/x")
        assert "authorization" not in other.seen[0]
        assert "authorization" in web.seen[0]


async def test_the_synchronous_library_carries_the_login_too(web: Guarded) -> None:
    async with asking(web, environment={"TOKEN": VALUE}, bearer=Secret(env="TOKEN")) as http:
        adapter = LinkAdapter(asyncio.get_running_loop(), http, timeout_seconds=60)

        def work() -> tuple[bool, dict[str, Any]]:
            with requests.Session() as session:
                session.mount("http://", adapter)
                reply = session.get(f"http://127.0.0.1:{web.port}/x")
                return reply.ok, dict(reply.request.headers)

        ok, headers = await asyncio.to_thread(work)
    assert ok and VALUE not in repr(headers)


# --- TLS --------------------------------------------------------------------------------------------------------------


async def told(files: tuple[Path, Path], ca_file: Path | str) -> str:
    """What a request says: the sentence of its error, or `fine`."""
    web = Guarded()
    web.status = 200
    async with serving(web, ssl=server_context(files)) as port:
        settings = AlertmanagerConfig(url=f"https://127.0.0.1:{port}", ca_file=str(ca_file))
        login = Login("alertmanager", settings, FakeClock())
        try:
            async with client(None, base_url=settings.url, timeout_seconds=60, login=login, ca_file=settings.ca_file) as http:
                await get_json(http, "/x")
        except Refused as error:
            return error.sentence()
    return "fine"


async def test_what_is_wrong_with_a_certificate_is_said_in_plain_words(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path, "another CA")
    good, alone = ours.sign(), ours.sign(alone=True)
    assert await told(good, ours.ca) == "fine"
    assert await told(alone, alone[0]) == "fine"  # a server's own certificate may be named too
    for files, ca_file, said in (
        (good, "", "is from a CA that is not known here"),
        (good, other.ca, "is from a CA that is not known here"),
        (alone, "", "is self-signed and not trusted here"),
        (ours.sign(end=-timedelta(hours=1), begin=-2 * DAY), ours.ca, "has expired"),
        (ours.sign(begin=timedelta(hours=1)), ours.ca, "is not valid yet"),
        (ours.sign("10.1.2.3"), ours.ca, "is for another address"),
        (good, tmp_path / "none.pem", "none.pem is not there"),
        (good, good[1], "holds no certificate"),
        (good, tmp_path, "cannot be read: is a directory"),
    ):
        sentence = await told(files, ca_file)
        assert said in sentence, sentence
        plain = sentence.replace(str(tmp_path), "").replace("ca_file", "")
        assert "SSL" not in plain and "X509" not in plain and "_" not in plain, sentence
    assert "`ca_file`" in await told(good, "") and "`ca_file`" in await told(alone, "")


async def test_only_the_named_ca_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public CA must not vouch for what the owner's own CA is there for."""
    public, ours = Authority(tmp_path, "public CA"), Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(public.ca))
    assert await told(public.sign(), "") == "fine"
    assert "not known here" in await told(public.sign(), ours.ca)


async def test_a_ca_file_that_is_put_right_is_read_again(tmp_path: Path) -> None:
    ours, file = Authority(tmp_path), tmp_path / "named.pem"
    file.write_bytes(Authority(tmp_path, "another CA").ca.read_bytes())
    web = Guarded()
    web.status = 200
    async with (
        serving(web, ssl=server_context(ours.sign())) as port,
        client(None, base_url=f"https://127.0.0.1:{port}", timeout_seconds=60, ca_file=str(file)) as http,
    ):
        with pytest.raises(Refused, match="not known here"):
            await get_json(http, "/x")
        file.write_bytes(ours.ca.read_bytes())
        assert await get_json(http, "/x") == {"ok": True}


async def test_each_of_several_questions_at_once_hears_what_is_wrong_with_the_certificate(tmp_path: Path) -> None:
    """The first that fails must not take the connections of those beside it away."""
    web = Guarded()
    async with (
        serving(web, ssl=server_context(Authority(tmp_path).sign())) as port,
        client(None, base_url=f"https://127.0.0.1:{port}", timeout_seconds=60) as http,
    ):
        for delay in (0.0, 0.001, 0.003, 0.005, 0.01):

            async def later(number: int, seconds: float = delay) -> str:
                await asyncio.sleep(number * seconds)
                with pytest.raises(PortError) as caught:
                    await get_json(http, f"/{number}")
                return caught.value.sentence()

            for sentence in await asyncio.gather(*(later(number) for number in range(8))):
                assert "is from a CA that is not known here" in sentence
