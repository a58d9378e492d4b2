"""Real Prometheus and Alertmanager on loopback, scraping recorded pages that count on. Ended by their own pid."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATA = Path(__file__).parents[2] / "data"
_COUNTS = re.compile(r"(\S*(?:_total|_count|_sum|_bucket)(?:\{[^}]*\})?) (\S+)$")


def counting_on(first: str, second: str, seconds: float) -> str:
    """`second`, with its counters moved on as from `first` to `second` in five seconds, for so many seconds."""
    old: dict[str, str] = {m[1]: m[2] for line in first.splitlines() if (m := _COUNTS.match(line))}
    lines = []
    for line in second.splitlines():
        match = _COUNTS.match(line)
        if match and match[1] in old and not line.startswith("#"):
            value = float(match[2])
            line = f"{match[1]} {value + (value - float(old[match[1]])) * seconds / 5.0!r}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


DOWN: set[str] = set()
"""Names whose page answers 500 from now on, as an engine that was stopped."""


@contextmanager
def pages(files: Mapping[str, tuple[str, str]], down: set[str] = DOWN) -> Iterator[dict[str, int]]:
    """One port for each name; its `/metrics` counts on from the first file to the second, and beyond."""
    servers: list[ThreadingHTTPServer] = []
    ports: dict[str, int] = {}
    began = time.monotonic()
    for name, (first, second) in files.items():
        texts = (DATA / first).read_text(), (DATA / second).read_text()

        class Page(BaseHTTPRequestHandler):
            before, after = texts
            mine = name

            def do_GET(self) -> None:
                if self.mine in down:
                    self.send_error(500)
                    return
                body = counting_on(self.before, self.after, time.monotonic() - began).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        servers.append(server)
        ports[name] = server.server_address[1]
    try:
        yield ports
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


def _get(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""
    except OSError:
        return 0, b""


@contextmanager
def running(argv: list[str], url: str, folder: Path) -> Iterator[str]:
    """A daemon until its `/-/ready` says yes, and until the block ends."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(100):
            if _get(f"{url}/-/ready")[0] == 200:
                break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    port = free_port()
    (folder / "alertmanager.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager") or ""
    argv = [
        program,
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/am",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running(argv, f"http://127.0.0.1:{port}", folder) as url:
        yield url


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int], rules: str = "", alerts_to: str = "") -> Iterator[str]:
    port = free_port()
    jobs = [{"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{p}"]}]} for name, p in targets.items()]
    config: dict[str, object] = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": jobs}
    if rules:
        (folder / "rules.yml").write_text(rules)
        config["rule_files"] = ["rules.yml"]
        config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alerts_to.removeprefix("http://")]}]}]}
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    argv = [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    with running(argv, f"http://127.0.0.1:{port}", folder) as url:
        yield url
