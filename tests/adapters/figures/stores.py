"""Real stores behind TLS, a login and a path prefix; the same past in each; and a pretend proxy for one tenant."""

from __future__ import annotations

import base64
import http.client
import json
import math
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import bcrypt

from tests.adapters.figures.real import free_port
from tests.adapters.links.certificates import Authority

USER, PASSWORD, TOKEN, TENANT = "ops", "integration-password", "tenant-token", "team-a"
PAST_SECONDS, PAST_STEP = 600, 5
PAST = "past:9100"
"""The instance whose series are only past: `memory_at` and `tokens_at` say what they were."""


def memory_at(ago: float) -> float:
    return 64e9 + 1e7 * round(ago)


def tokens_at(ago: float) -> float:
    """A counter that runs at 100 a second in the older half, at 40 in the newer."""
    half = PAST_SECONDS / 2
    return 1e5 + 100 * (PAST_SECONDS - max(ago, half)) + 40 * (half - min(ago, half))


def past(now: float, unit: float) -> str:
    """Both series as exposition with times, in seconds (1) or milliseconds (1000)."""
    steps = [PAST_SECONDS - n * PAST_STEP for n in range(PAST_SECONDS // PAST_STEP)]
    lines = []
    for name, kind, value in (
        ("node_memory_MemAvailable_bytes", "gauge", memory_at),
        ("vllm:generation_tokens_total", "counter", tokens_at),
    ):
        lines.append(f"# TYPE {name.removesuffix('_total')} {kind}")
        labels = f'instance="{PAST}",job="past",model_name="m"'
        lines += [f"{name}{{{labels}}} {value(ago)} {(now - ago) * unit:.0f}" for ago in steps]
    return "\n".join(lines) + "\n# EOF\n"


@dataclass
class Store:
    """One running server. `ask` is for the tests' own questions, past everything that is tested."""

    url: str
    ca: Path
    folder: Path
    prefix: str = ""

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=5)
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
        if body is not None and not path.startswith("/api/v1/import"):
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request("GET" if body is None else "POST", parts.path + path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()


@contextmanager
def daemon(argv: list[str], store: Store) -> Iterator[Store]:
    """Until it answers a login with 200, and until the block ends."""
    with (store.folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=store.folder)
    try:
        for _ in range(150):
            if store.ask("/-/ready")[0] == 200 or store.ask("/health")[0] == 200:
                break
            assert process.poll() is None, (store.folder / "log").read_text()
            time.sleep(0.1)
        yield store
    finally:
        process.terminate()
        process.wait(60)


def web_config(folder: Path, authority: Authority, *, client_certificate: bool = False) -> Path:
    """What Prometheus and Alertmanager call a web configuration: TLS and a basic login."""
    cert, key = authority.sign()
    tls = {"cert_file": str(cert), "key_file": str(key)}
    if client_certificate:
        tls |= {"client_auth_type": "RequireAndVerifyClientCert", "client_ca_file": str(authority.ca)}
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    file = folder / "web.yml"
    file.write_text(json.dumps({"tls_server_config": tls, "basic_auth_users": {USER: hashed}}))  # JSON is YAML
    return file


def _scrapes(targets: Mapping[str, int]) -> dict[str, object]:
    jobs = [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in targets.items()]
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}


@contextmanager
def prometheus(
    folder: Path, authority: Authority, targets: Mapping[str, int], now: float, *, client_certificate: bool = False
) -> Iterator[Store]:
    port = free_port()
    (folder / "prometheus.yml").write_text(json.dumps(_scrapes(targets)))
    (folder / "past.om").write_text(past(now, 1.0))
    promtool = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "past.om", "tsdb"]
    subprocess.run(promtool, cwd=folder, check=True, capture_output=True, timeout=60)
    argv = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.config.file={web_config(folder, authority, client_certificate=client_certificate)}",
        "--web.route-prefix=/prom",
        "--log.level=warn",
    ]
    store = Store(f"https://127.0.0.1:{port}/prom", authority.ca, folder)
    if client_certificate:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
        try:
            yield store
        finally:
            process.terminate()
            process.wait(60)
        return
    with daemon(argv, store):
        yield store


@contextmanager
def victoriametrics(folder: Path, authority: Authority, targets: Mapping[str, int], now: float) -> Iterator[Store]:
    port = free_port()
    (folder / "scrape.yml").write_text(json.dumps(_scrapes(targets)))
    cert, key = authority.sign()
    argv = [
        "victoria-metrics",
        f"-promscrape.config={folder}/scrape.yml",
        f"-storageDataPath={folder}/data",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-http.pathPrefix=/vm",
        f"-httpAuth.username={USER}",
        f"-httpAuth.password={PASSWORD}",
        "-tls",
        f"-tlsCertFile={cert}",
        f"-tlsKeyFile={key}",
        "-memory.allowedPercent=5",
        "-loggerLevel=WARN",
    ]
    with daemon(argv, Store(f"https://127.0.0.1:{port}/vm", authority.ca, folder)) as store:
        status, said = store.ask("/api/v1/import/prometheus", past(now, 1000.0).replace("# EOF\n", "").encode())
        assert status == 204, said
        seen = b"query=last_over_time(node_memory_MemAvailable_bytes%7Bjob=%22past%22%7D%5B20m%5D)&nocache=1"
        for _ in range(15):  # new series are shown a moment later, or ten seconds after they were asked for in vain
            time.sleep(1.5)
            if PAST.encode() in store.ask("/api/v1/query", seen)[1]:
                break
        yield store


@contextmanager
def alertmanager(folder: Path, authority: Authority, program: str) -> Iterator[Store]:
    port = free_port()
    (folder / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    argv = [
        program,
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/am",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.config.file={web_config(folder, authority)}",
        "--web.route-prefix=/alerts",
        "--cluster.listen-address=",
    ]
    with daemon(argv, Store(f"https://127.0.0.1:{port}/alerts", authority.ca, folder)) as store:
        yield store


@dataclass
class TenantProxy:
    """As before Mimir or Thanos: a token and a tenant, queries only. Keeps the headers and parameters that it got."""

    behind: Store
    url: str = ""
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    asked: list[dict[str, list[str]]] = field(default_factory=list)


@contextmanager
def tenant_proxy(behind: Store) -> Iterator[TenantProxy]:
    made = TenantProxy(behind)

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(None)

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

        def _serve(self, body: bytes | None) -> None:
            path = self.path.removeprefix("/prometheus")
            made.seen.append((path.partition("?")[0], {k.lower(): v for k, v in self.headers.items()}))
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer(401, b"bad token")
            elif self.headers.get("X-Scope-OrgID") != TENANT:
                self._answer(401, b"no org id")
            elif not path.startswith(("/api/v1/query?", "/api/v1/query_range")) and path != "/api/v1/query":
                self._answer(403, b"only queries here")
            else:
                made.asked.append(parse_qs(body.decode() if body is not None else path.partition("?")[2]))
                self._answer(*behind.ask(path, body), "application/json")

        def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/prometheus"
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()


def close(a: float | None, b: float | None, share: float = 0.05) -> bool:
    """The same figure, from scrapes of slightly different moments."""
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=share, abs_tol=1e-9)
