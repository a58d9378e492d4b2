"""An engine that wants a key gets it, by reference; nobody else does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from sovtui.adapters.engines.base import Past
from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.links import login as links_login
from sovtui.adapters.links.http import client, request
from sovtui.adapters.links.login import Login
from sovtui.adapters.registry import load_engine
from sovtui.bootstrap import _engine_client
from sovtui.cli.checks import Check
from sovtui.cli.doctor import host_checks
from sovtui.config.load import loads
from sovtui.config.login import EngineLogin, missing
from sovtui.config.problems import ConfigError
from sovtui.config.schema import Secret
from sovtui.config.show import config_text
from sovtui.core.events import Event, LinkChanged
from sovtui.core.issues import issues
from sovtui.core.model import Engine, EnginePhase, HostSpec, Link, LinkPhase, Mode
from sovtui.core.state import initial, reduce
from sovtui.runtime.clock import RealClock
from tests.adapters.engines.pretend import recorded

KEY = "sk-an-unlikely-key"
CONFIG = """
[host.box]
[[host.box.engine]]
name = "router"
engine = "litellm"
url = "http://127.0.0.1:4000"
bearer = { env = "LITELLM_KEY" }
"""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    seen: list[str]
    routes: dict[str, Any]
    open = frozenset(("/health/liveliness",))
    """Paths that need no key, and those that this one does not open."""
    forbidden = frozenset[str]()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        said = self.headers.get("Authorization", "")
        self.server.seen.append(said)
        path = self.path.partition("?")[0]
        allowed = (said == f"Bearer {KEY}" and path not in self.server.forbidden) or path in self.server.open
        body = self.server.routes.get(path) if allowed else "no key"
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(401 if not allowed else 404 if body is None else 200)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.seen = []
        running.routes = {
            "/health/liveliness": recorded("litellm/health-liveliness.json"),
            "/v1/models": recorded("litellm/v1-models.json"),
            "/v1/model/info": recorded("litellm/v1-model-info.json"),
            "/router/settings": recorded("litellm/router-settings.json"),
            "/metrics/": recorded("litellm/metrics.after-load.part.prom"),
        }
        thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def login() -> Login:
    return Login("host.box: router", EngineLogin(bearer=Secret(env="K")), RealClock(), {"K": KEY})


async def test_with_its_key_everything_is_told_and_without_it_only_that_it_lives(server: Server) -> None:
    litellm = load_engine("litellm")
    http = client(None, base_url=url(server), timeout_seconds=60, login=login())
    past = Past()
    engine = await litellm.probe(http, "chat", past, 0.0)
    page = await litellm.scrape(http, past, RealClock().now(), 0.0)
    await http.aclose()
    assert past.retell is not None
    engine = past.retell(engine)
    assert engine.phase is EnginePhase.READY and engine.reason == "3 failing of 6 deployments" and len(engine.parts) >= 6
    assert page is not None and not hasattr(page, "reason")
    http = client(None, base_url=url(server), timeout_seconds=60)
    engine = await litellm.probe(http, "chat", Past(), 0.0)
    await http.aclose()
    assert engine.phase is EnginePhase.READY and "`bearer`" in engine.reason


async def test_the_key_of_one_address_goes_to_no_other(server: Server) -> None:
    http = client(None, base_url="http://127.0.0.1:1", timeout_seconds=60, login=login())
    await request(http, "GET", f"{url(server)}/metrics")
    await http.aclose()
    assert server.seen == [""]


def test_the_client_of_an_engine_carries_what_its_table_says() -> None:
    config = loads(CONFIG)
    made: list[dict[str, Any]] = []

    def client_for(via: str, base_url: str, timeout_seconds: float, **words: Any) -> Any:
        made.append({"via": via, "base_url": base_url, **words})

    _engine_client(client_for, RealClock(), "box", config.host["box"], "http://127.0.0.1:4000", "router")
    _engine_client(client_for, RealClock(), "box", config.host["box"], "http://127.0.0.1:4000", "another")
    assert "the variable LITELLM_KEY" in str(made[0]["login"]) and made[1]["login"] is None
    assert made[0]["via"] == "box"


def test_a_key_is_a_reference_and_is_shown_as_one() -> None:
    assert 'bearer = { env = "LITELLM_KEY" }' in config_text(loads(CONFIG)).replace("{env", "{ env").replace('"}', '" }')
    assert loads(config_text(loads(CONFIG))) == loads(CONFIG)
    with pytest.raises(ConfigError) as caught:
        loads(CONFIG.replace('{ env = "LITELLM_KEY" }', f'"{KEY}"'))
    told = " ".join(str(problem) for problem in caught.value.problems)
    assert "sovtui stores no secrets" in told and KEY not in told


class Eye:
    """The source that watches one engine at a real address, with a login as its table gives it."""

    def __init__(self, kind: str, address: str, bearer: Secret | None, environment: dict[str, str]) -> None:
        self.clock = RealClock()
        mode = Mode("one", engine=kind, url=address)
        self.state = initial((HostSpec("box", beside=(mode,)),), self.clock.now())
        self.put(LinkChanged("box", Link(LinkPhase.UP, "local")))

        def make(base: str, name: str) -> httpx.AsyncClient:
            settings = EngineLogin(bearer=bearer)
            login = Login("host.box: one", settings, self.clock, environment, optional=True) if bearer else None
            return client(None, base_url=base, timeout_seconds=60, login=login)

        self.source = EnginesSource("box", (mode,), {kind: load_engine(kind)}, make, self.clock)

    def put(self, event: Event) -> None:
        self.state = reduce(self.state, event)

    async def look(self) -> Engine:
        await self.source.poll(self.state, self.put)
        return self.state.hosts["box"].engines["one"]

    def checks(self) -> list[Check]:
        settings = loads(CONFIG).host["box"]
        return [check for check in host_checks(self.state.hosts["box"], settings) if "engine one" in check.what]


@pytest.fixture
def closed(server: Server) -> Server:
    """As vLLM with `--api-key`: health is for everybody, the rest is not."""
    server.routes["/health"] = "ok"
    server.open = frozenset(("/health",))
    return server


@pytest.mark.parametrize(
    ("bearer", "environment", "says"),
    [
        (None, {}, "it wants an API key: give it a `bearer`"),
        (Secret(env="K"), {"K": "sk-wrong"}, "its key is refused: "),
        (Secret(env="K"), {}, "from the variable K is not available: it is not set"),
        (Secret(file="/no/such/file"), {}, "from the file /no/such/file is not available: no such file"),
        (Secret(command=("false",)), {}, "from the command `false` is not available: it ended with 1"),
    ],
)
async def test_whatever_is_wrong_with_its_key_it_lives_and_that_is_said(
    closed: Server, bearer: Secret | None, environment: dict[str, str], says: str
) -> None:
    eye = Eye("vllm", url(closed), bearer, environment)
    engine = await eye.look()
    assert engine.phase is EnginePhase.READY and says in engine.denied and says in engine.reason, engine
    checks = eye.checks()
    assert [check.ok for check in checks] == [False] and says in checks[0].detail
    found = issues(eye.state)
    assert [issue.target for issue in found] == ["one"] and says in found[0].detail
    assert "sk-wrong" not in str(eye.state)
    await eye.source.aclose()


async def test_a_key_that_appears_is_taken(closed: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links_login, "LOOK_AGAIN_SECONDS", 0.0)
    eye = Eye("vllm", url(closed), Secret(file=str(tmp_path / "key")), {})
    assert (await eye.look()).denied
    (tmp_path / "key").write_text(KEY)
    eye.source._watched[0].past.models_at = -1e9  # it is time to ask for its models again
    eye.source._watched[0].past.due = True
    engine = await eye.look()
    await eye.source.aclose()
    assert not engine.denied and "chat" in engine.models and not eye.checks()


async def test_a_key_that_opens_less_than_all_is_no_refused_one(server: Server) -> None:
    """LiteLLM's pages are for the master; a user's key lists the models all the same."""
    server.forbidden = frozenset(("/metrics/", "/v1/model/info", "/router/settings", "/get/config/callbacks"))
    eye = Eye("litellm", url(server), Secret(env="K"), {"K": KEY})
    engine = await eye.look()
    await eye.source.aclose()
    assert engine.phase is EnginePhase.READY and not engine.denied and not eye.checks()


async def test_nothing_at_its_port_is_told_whatever_its_key_is() -> None:
    eye = Eye("vllm", "http://127.0.0.1:9", Secret(env="K"), {})
    engine = await eye.look()
    await eye.source.aclose()
    assert engine.phase is EnginePhase.ABSENT and [check.ok for check in eye.checks()] == [None]


def test_the_key_of_an_engine_that_does_not_run_is_looked_for_all_the_same() -> None:
    config = loads(CONFIG)
    assert list(missing(config, {})) == [("box", "router", "the variable LITELLM_KEY is not set")]
    assert not list(missing(config, {"LITELLM_KEY": "x"}))
    filed = loads(CONFIG.replace('{ env = "LITELLM_KEY" }', '{ file = "/no/such/file" }'))
    assert list(missing(filed, {})) == [("box", "router", "the file /no/such/file is not there")]
