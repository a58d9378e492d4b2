"""The same figures from Prometheus and VictoriaMetrics, behind TLS with one's own CA, logins, prefixes and a tenant's proxy."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sovtui.adapters.alerts.alertmanager import Alertmanager
from sovtui.adapters.figures.history import HistorySource
from sovtui.adapters.figures.prometheus import PrometheusSource
from sovtui.adapters.links.http import client, request
from sovtui.adapters.links.login import Login
from sovtui.adapters.links.sync_http import LinkAdapter
from sovtui.config.schema import AlertmanagerConfig, BackupConfig, Config, HostConfig, ModeConfig, PrometheusConfig, Secret
from sovtui.core.events import Curve
from sovtui.core.model import AlertState
from sovtui.core.reading import Status
from sovtui.ports.errors import PortError, Refused
from sovtui.runtime.clock import RealClock
from tests.adapters.figures import stores
from tests.adapters.figures.estate import ENGINES, Room
from tests.adapters.figures.real import pages
from tests.adapters.links.certificates import Authority

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager") or ""
MISSING = [p for p in ("prometheus", "promtool", "victoria-metrics") if shutil.which(p) is None]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(MISSING) or not ALERTMANAGER, reason=f"not here: {', '.join(MISSING) or 'alertmanager'}"),
]

PAGES = {
    "vllm-0.32": ("vllm/0.32.0-load-t0.prom", "vllm/0.32.0-load-t5.prom"),
    "vllm-spec": ("vllm/0.32.0-spec-ngram-load-t0.prom", "vllm/0.32.0-spec-ngram-load-t5.prom"),
    "vllm-0.8": ("vllm/reconstructed-0.8.5-load-t0.prom", "vllm/reconstructed-0.8.5-load-t5.prom"),
    "sglang-0.4": ("sglang/reconstructed-0.4.10-load-t0.prom", "sglang/reconstructed-0.4.10-load-t5.prom"),
    "sglang-0.5.23": ("sglang/reconstructed-0.5.23-load-t0.prom", "sglang/reconstructed-0.5.23-load-t5.prom"),
    "node": ("node-exporter/node-exporter-1.11.1.prom",) * 2,
    "gpu": ("gpu-exporters/nvidia_gpu_exporter.gb10.prom",) * 2,
    "backup": ("prometheus/box-backup.prom",) * 2,
}
WINDOW_SECONDS = 22.0
"""Five until the targets are taken up, then a full window."""


@dataclass
class Estate:
    host: HostConfig
    prometheus: stores.Store
    victoriametrics: stores.Store
    alertmanager: stores.Store
    strict: stores.Store
    """A Prometheus that wants a client's certificate."""
    proxy: stores.TenantProxy
    password: Path
    began: float

    def settings(self, store: stores.Store) -> PrometheusConfig:
        return PrometheusConfig(url=store.url, ca_file=str(store.ca), user=stores.USER, password=Secret(file=str(self.password)))

    async def full(self) -> None:
        await asyncio.sleep(max(0.0, self.began + WINDOW_SECONDS - time.monotonic()))


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    authority, now = Authority(folder("ca")), time.time()
    password = folder("secrets") / "password"
    password.write_text(stores.PASSWORD + "\n")
    password.chmod(0o600)
    with ExitStack() as stack:
        ports = stack.enter_context(pages(PAGES))
        prometheus = stack.enter_context(stores.prometheus(folder("prometheus"), authority, ports, now))
        victoria = stack.enter_context(stores.victoriametrics(folder("victoria"), authority, ports, now))
        began = time.monotonic()
        alerts = stack.enter_context(stores.alertmanager(folder("alertmanager"), authority, ALERTMANAGER))
        strict = stack.enter_context(stores.prometheus(folder("strict"), authority, {}, now, client_certificate=True))
        proxy = stack.enter_context(stores.tenant_proxy(prometheus))
        modes = tuple(
            ModeConfig(name=name, engine=name.partition("-")[0], url=f"http://127.0.0.1:{ports[name]}")
            for name in PAGES
            if name in ports and "-" in name
        )
        metric = 'box_backup_last_success_timestamp_seconds{job_name="restic-home"}'
        host = HostConfig(
            instance='instance=~"127.0.0.1:.*"',
            mode=modes,
            backup=(BackupConfig(name="nas", service="backup-nas.service", metric=metric),),
            watch=("vllm@qwen3-32b.service", "litellm.service"),
        )
        yield Estate(host, prometheus, victoria, alerts, strict, proxy, password, began)


def source(config: Config) -> PrometheusSource:
    settings = config.prometheus
    assert settings is not None
    login = Login("prometheus", settings, RealClock())
    http = client(None, base_url=settings.url, timeout_seconds=settings.timeout, login=login, ca_file=settings.ca_file)
    return PrometheusSource(config, ENGINES, http, RealClock())


@pytest.mark.parametrize("which", ["prometheus", "victoriametrics", "proxy"])
@pytest.mark.parametrize("library", [True, False])
async def test_the_past_is_the_same_from_each(estate: Estate, which: str, library: bool) -> None:
    """Through prometheus-api-client and without it: what was written there, nothing invented at its end."""
    settings = tenant(estate) if which == "proxy" else estate.settings(getattr(estate, which))
    mode = ModeConfig(name="m", engine="vllm", url="http://127.0.0.1:1", metrics=f'instance="{stores.PAST}"')
    config = Config(host={"spark": HostConfig(instance=f'instance="{stores.PAST}"', mode=(mode,))}, prometheus=settings)
    made, room = source(config), Room(config, RealClock().now())
    loop, http = asyncio.get_running_loop(), made._client

    def adapter() -> LinkAdapter:
        return LinkAdapter(loop, http, timeout_seconds=60)

    history = HistorySource(config, made, http, RealClock(), make_adapter=adapter if library else None)
    assert await history.poll(room.state, room.put) == "filled"
    curves = {(e.figure, e.subject): e.points for e in room.events if isinstance(e, Curve)}
    await history.aclose()
    await made.aclose()
    origin = _origin(curves["memory.available_bytes", ""])
    points = curves["memory.available_bytes", ""]
    assert points[-1][0] - points[0][0] > stores.PAST_SECONDS - 120
    for at, value in points:  # each is of its own moment: at most one step old, or repeated after the last
        assert -1.0 <= (value - stores.memory_at(origin - at)) / 1e7 <= stores.PAST_STEP + 60, (at, value)
    speeds = [(origin - at, value) for at, value in curves["engine.decode_tok_s", "m"]]
    older = [value for ago, value in speeds if stores.PAST_SECONDS / 2 + 30 < ago < stores.PAST_SECONDS - 90]
    newer = [value for ago, value in speeds if 90 < ago < stores.PAST_SECONDS / 2 - 60]
    assert len(older) > 5 and len(newer) > 5
    assert all(abs(value - 100) < 3 for value in older), older
    assert all(abs(value - 40) < 3 for value in newer), newer


def _origin(points: tuple[tuple[float, float], ...]) -> float:
    """When the past was written, from one of its points in the middle."""
    at, value = points[len(points) // 2]
    return at + (value - 64e9) / 1e7


def tenant(estate: Estate, token: str = stores.TOKEN) -> PrometheusConfig:
    bearer = Secret(command=("sh", "-c", f"echo {token}"))
    return PrometheusConfig(url=estate.proxy.url, bearer=bearer, headers={"X-Scope-OrgID": stores.TENANT})


async def test_wrong_logins_and_certificates_are_said_in_words(estate: Estate) -> None:
    good = estate.settings(estate.prometheus)
    wrong = Secret(command=("echo", "wrong"))
    for settings, said in (
        (
            replace(good, password=wrong),
            "denies access (401: Unauthorized). It does not accept user `ops` with the password from the",
        ),
        (replace(good, user="", password=None), "denies access (401: Unauthorized). It wants a login: set `user`"),
        (replace(good, ca_file=""), "is from a CA that is not known here"),
        (replace(good, url=good.url.replace("/prom", "")), "Put the path prefix into the url"),
        (replace(estate.settings(estate.victoriametrics), password=wrong), "It does not accept user `ops`"),
        (estate.settings(estate.strict), "wants a certificate of the client's"),
        (tenant(estate, "nobody"), "denies access (401: bad token). It does not accept the token from the command `sh -c"),
    ):
        config = Config(host={"spark": estate.host}, prometheus=settings)
        made = source(config)
        with pytest.raises(PortError) as caught:
            await made.poll(Room(config).state, lambda _: None)
        await made.aclose()
        sentence = caught.value.sentence()
        assert said in sentence, sentence


async def test_a_rotated_password_is_taken_up(estate: Estate, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("of yesterday\n")
    settings = replace(estate.settings(estate.prometheus), password=Secret(file=str(file)))
    config = Config(host={"spark": estate.host}, prometheus=settings)
    made, room = source(config), Room(config, RealClock().now())
    await made._client.link_transport.login.headers()  # type: ignore[attr-defined]
    file.write_text(stores.PASSWORD)
    assert settings.url in await made.poll(room.state, room.put)
    await made.aclose()


async def test_alertmanager_behind_login_and_prefix(estate: Estate) -> None:
    store = estate.alertmanager
    settings = AlertmanagerConfig(
        url=store.url, ca_file=str(store.ca), user=stores.USER, password=Secret(file=str(estate.password))
    )
    login = Login("alertmanager", settings, RealClock())
    http = client(None, base_url=settings.url, timeout_seconds=60, login=login, ca_file=settings.ca_file)
    ends = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    body = [{"labels": {"alertname": "Full", "severity": "warning"}, "endsAt": ends}]
    assert (await request(http, "POST", "/api/v2/alerts", json=body)).status_code == 200
    alerts = Alertmanager(http, RealClock())
    (alert,) = await alerts.list()
    await alerts.acknowledge(alert, author="ops", comment="seen", duration=timedelta(minutes=5))
    (alert,) = await alerts.list()
    assert alert.state is AlertState.ACKNOWLEDGED
    assert await alerts.unacknowledge(alert)
    await alerts.aclose()
    bare = client(None, base_url=settings.url, timeout_seconds=60, ca_file=settings.ca_file)
    with pytest.raises(Refused, match=r"Alertmanager denies access \(401"):
        await Alertmanager(bare, RealClock()).list()
    await bare.aclose()


def test_the_whole_program_logs_in_and_shows_no_secret(estate: Estate, tmp_path: Path) -> None:
    """`status` and `doctor` as an operator runs them; then with a wrong password."""
    file = tmp_path / "config.toml"

    def write(password: str) -> None:
        def login(store: stores.Store) -> str:
            return f'url = "{store.url}"\nca_file = "{store.ca}"\nuser = "{stores.USER}"\npassword = {password}\n'

        file.write_text(
            f'[host.here]\nlink = "local"\n[prometheus]\n{login(estate.victoriametrics)}[alertmanager]\n{login(estate.alertmanager)}'
        )

    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PROM_PASSWORD": stores.PASSWORD}

    def sovtui(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "sovtui", "--config", str(file), *words]
        return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60, check=False)

    write('{ env = "PROM_PASSWORD" }')
    done = sovtui("status", "--json")
    told = {s["name"]: s for s in json.loads(done.stdout)["sources"]}
    assert told["prometheus"]["ok"] and told["alertmanager"]["ok"], told
    write('{ command = ["echo", "not-the-password"] }')
    failed = sovtui("doctor", "--json")
    checks = {c["what"]: c for c in json.loads(failed.stdout)["checks"]}
    assert checks["prometheus"]["ok"] is False and checks["alertmanager"]["ok"] is False
    for name in ("prometheus", "alertmanager"):
        assert "does not accept user `ops` with the password from the command `echo not-the-password`" in str(checks[name])
    assert failed.returncode == 3
    log = "".join(path.read_text() for path in tmp_path.rglob("sovtui.log*"))
    for text in (done.stdout, done.stderr, failed.stdout, failed.stderr, log):
        assert stores.PASSWORD not in text


# --- what needs a full window: last, so that the others fill the wait -------------------------------------------------


async def live(estate: Estate, settings: PrometheusConfig) -> Room:
    """A room after some polls, as it would be on the screen."""
    config = Config(host={"spark": estate.host}, prometheus=settings)
    room = Room(config, RealClock().now())
    async with aclosing(source(config)) as made:
        for _ in range(3):
            detail = await made.poll(room.state, room.put)
            await asyncio.sleep(0.3)
        assert settings.url in detail and not made._bad and made._parts == 1
    return room


async def test_victoriametrics_gives_the_same_figures_as_prometheus(estate: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    await estate.full()
    for _ in range(5):  # they are asked one after the other: at the edge of a window a figure may come or go between the two
        rooms = [await live(estate, estate.settings(store)) for store in (estate.prometheus, estate.victoriametrics)]
        now = RealClock().now()
        one, other = (room.state.hosts["spark"] for room in rooms)
        if all(other.figures[key].status is reading.status for key, reading in one.figures.items() if key in other.figures):
            break
    assert set(one.figures) == set(other.figures) and len(one.figures) > 60
    fresh = 0
    for key, reading in one.figures.items():
        twin = other.figures[key]
        assert twin.status is reading.status, (key, reading, twin)
        assert stores.close(reading.value, twin.value), (key, reading, twin)
        for told in (reading, twin):
            if told.status is Status.FRESH:
                fresh += 1
                assert -0.1 < (told.age_seconds(now) or 9) < 4, (key, told)  # not as of thirty seconds ago
    assert fresh > 100
    for unit, state in (("vllm@qwen3-32b.service", "active"), ("litellm.service", "failed")):
        assert one.services[unit].active == other.services[unit].active == state
    times = [host.backups["nas"].last_success_at for host in (one, other)]
    assert times[0] is not None and times[1] is not None and abs((times[0] - times[1]).total_seconds()) < 1.5
    with capsys.disabled():
        print(f"\n{len(one.figures)} figures the same from both, {fresh // 2} of them fresh")


async def test_a_tenants_proxy_gets_token_and_tenant_with_every_query(estate: Estate) -> None:
    await estate.full()
    estate.proxy.seen.clear()
    estate.proxy.asked.clear()
    room = await live(estate, tenant(estate))
    host = room.state.hosts["spark"]
    assert host.reading("engine.running", "vllm-0.32").value == 8 and host.reading("gpu.use_ratio", "0").value == 0.94
    assert len(estate.proxy.seen) >= 5
    for path, headers in estate.proxy.seen:
        assert headers["authorization"] == f"Bearer {stores.TOKEN}" and headers["x-scope-orgid"] == stores.TENANT, path
    assert {path for path, _ in estate.proxy.seen} == {"/api/v1/query", "/api/v1/targets", "/api/v1/status/buildinfo"}
    assert estate.proxy.asked and all(form["nocache"] == ["1"] for form in estate.proxy.asked)
    settings = replace(tenant(estate), headers={})
    with pytest.raises(Refused, match="401: no org id"):
        await live(estate, settings)
