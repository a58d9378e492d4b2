"""An engine that wants a key gets it, by reference; nobody else does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sovtui.adapters.engines.base import Past
from sovtui.adapters.links.http import client, request
from sovtui.adapters.links.login import Login
from sovtui.adapters.registry import load_engine
from sovtui.bootstrap import _engine_client
from sovtui.config.load import loads
from sovtui.config.login import EngineLogin
from sovtui.config.problems import ConfigError
from sovtui.config.schema import Secret
from sovtui.config.show import config_text
from sovtui.core.model import EnginePhase
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


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        said = self.headers.get("Authorization", "")
        self.server.seen.append(said)
        path = self.path.partition("?")[0]
        allowed = said == f"Bearer {KEY}" or path == "/health/liveliness"
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
    http = client(None, base_url=url(server), timeout_seconds=5, login=login())
    past = Past()
    engine = await litellm.probe(http, "chat", past, 0.0)
    page = await litellm.scrape(http, past, RealClock().now(), 0.0)
    await http.aclose()
    assert past.retell is not None
    engine = past.retell(engine)
    assert engine.phase is EnginePhase.READY and engine.reason == "3 failing of 6 deployments" and len(engine.parts) >= 6
    assert page is not None and not hasattr(page, "reason")
    http = client(None, base_url=url(server), timeout_seconds=5)
    engine = await litellm.probe(http, "chat", Past(), 0.0)
    await http.aclose()
    assert engine.phase is EnginePhase.READY and "`bearer`" in engine.reason


async def test_the_key_of_one_address_goes_to_no_other(server: Server) -> None:
    http = client(None, base_url="http://127.0.0.1:1", timeout_seconds=5, login=login())
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
