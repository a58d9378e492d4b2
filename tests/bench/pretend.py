"""What a box has, pretended: `python -m tests.bench.pretend FOLDER [still]` serves Prometheus, Alertmanager and a vLLM engine on one
loopback port (printed first), and keeps the files in FOLDER moving that the pretended systemctl and journalctl print.

With `still` nothing moves any more. Enough for what a client costs, no more: nothing here can be switched or started.
"""

from __future__ import annotations

import json
import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

STILL = sys.argv[2:] == ["still"]
SERVICES = 40
MOVING = 3
"""Services per second whose memory changes so much that the probe tells it."""
MODEL = "bench-model"
STARTED = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7200))
"""Of the one alert: it does not move."""


def service(number: int) -> str:
    return f"unit-{number:02d}.service"


def memory() -> dict[str, float]:
    """As node_exporter tells it: this machine's own, which the probe reads too."""
    found = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, words = line.partition(":")
        found[name.replace("(", "_").rstrip(")")] = float(words.split()[0]) * 1024
    wanted = "MemTotal MemAvailable Buffers Cached SReclaimable Active_file Inactive_file Shmem SwapTotal SwapFree"
    return {name: found[name] for name in wanted.split()}


def series(query: str, now: float) -> Iterator[tuple[dict[str, str], float]]:
    """About twenty series that all move once a second, each under the tag of the expression that asked for it."""
    wave = 0.0 if STILL else math.sin(now / 7)
    for tag in re.findall(r'"k","(\w+)","",""\)', query):
        node = {"instance": "127.0.0.1:9100", "k": tag}
        match tag[0]:
            case "n":
                yield {"k": tag}, now
            case "m":
                for name, value in memory().items():
                    yield {**node, "__name__": f"node_memory_{name}_bytes"}, value
            case "t" | "s":
                yield node, now
            case "c":
                yield node, 0.3 + 0.1 * wave
            case "g":
                gpu = {**node, "uuid": "GPU-1"}
                yield {**gpu, "__name__": "nvidia_smi_gpu_info", "index": "0"}, 1.0
                for name, value in (("utilization_gpu_ratio", 0.9 + wave / 20), ("power_draw_watts", 61 + 9 * wave)):
                    yield {**gpu, "__name__": f"nvidia_smi_{name}"}, value
                yield {**gpu, "__name__": "nvidia_smi_temperature_gpu"}, round(58 + 3 * wave)
            case "u":
                for number in range(SERVICES):
                    yield {**node, "name": service(number), "state": "active"}, 1.0
            case "b":
                yield {"k": tag}, now - 3600
            case "e" if tag.endswith("t"):
                yield {"k": tag}, now
            case "e":
                yield {"k": tag}, 0.5 + 0.1 * wave if not tag.endswith("_0") else 57 + 4 * wave


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        told: Any
        match path:
            case "/health":
                return self._say(b"")
            case "/v1/models":
                told = {"data": [{"id": MODEL, "max_model_len": 32768}]}
            case "/version":
                told = {"version": "0.11.2"}
            case "/api/v1/status/buildinfo":
                told = {"status": "success", "data": {"version": "2.53.0"}}
            case "/api/v1/targets":
                targets = [{"scrapeInterval": "5s", "scrapeUrl": f"http://127.0.0.1:{port}/metrics"} for port in (9100, 8000)]
                told = {"status": "success", "data": {"activeTargets": targets}}
            case "/api/v1/query_range":
                told = self._range(parse_qs(urlsplit(self.path).query)["query"][0])
            case "/api/v2/alerts":
                labels = {"alertname": "DiskFillsUp", "severity": "warning"}
                status = {"state": "active", "silencedBy": [], "inhibitedBy": []}
                summary = {"summary": "the disk is full in four hours"}
                told = [{"labels": labels, "annotations": summary, "startsAt": STARTED, "status": status, "fingerprint": "ab12"}]
            case "/api/v2/status":
                told = {"versionInfo": {"version": "0.27.0"}}
            case _:
                return self._say(b"not found", 404)
        return self._say(json.dumps(told).encode())

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        query, now = form["query"][0], round(time.time(), 3)  # Prometheus tells no more digits
        if self.path.endswith("query_range"):
            return self._say(json.dumps(self._range(query)).encode())
        found = [{"metric": labels, "value": [now, str(value)]} for labels, value in series(query, now)]
        told = {"status": "success", "data": {"resultType": "vector", "result": found}}
        return self._say(json.dumps(told, separators=(",", ":")).encode())

    def _range(self, query: str) -> dict[str, Any]:
        now = int(time.time())
        rows: dict[str, dict[str, Any]] = {}
        for at in range(now - 600, now, 5):
            for labels, value in series(query, float(at)):
                row = rows.setdefault(json.dumps(labels), {"metric": labels, "values": []})
                row["values"].append([at, str(value)])
        return {"status": "success", "data": {"resultType": "matrix", "result": list(rows.values())}}

    def _say(self, body: bytes, status: int = 200) -> None:
        """Head and body at once and without blanks, as Go's servers do it: the link pays for each packet."""
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nDate: {formatdate(usegmt=True)}\r\n"
        self.wfile.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


def block(number: int, step: int) -> str:
    """What `systemctl show` prints of one service; its memory moves with `step`."""
    memory = (200 + 40 * (step % 5) + number) << 20
    return (
        f"Id={service(number)}\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nMainPID={1000 + number}\n"
        f"NRestarts=0\nMemoryCurrent={memory}\nDescription=Service number {number}\n"
        "StateChangeTimestamp=Fri 2026-11-20 09:00:00 UTC\nExecMainStatus=0\nExecMainStartTimestampMonotonic=1000000\n"
        "ControlGroup=/none\nJob=\nCPUUsageNSec=1000\nIOReadBytes=0\n\n"
    )


def write(folder: Path, number: int, step: int) -> None:
    part = folder / "units" / f".{service(number)}"
    part.write_text(block(number, step))
    part.rename(folder / "units" / service(number))


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / "units").mkdir()
    for number in range(SERVICES):
        write(folder, number, 0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    step = 0
    while True:
        time.sleep(1)
        step += 1
        for moved in range(0 if STILL else MOVING):
            write(folder, (step * MOVING + moved) % SERVICES, step)


if __name__ == "__main__":
    main()
