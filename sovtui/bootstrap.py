"""Composition root: configuration to adapters to hub. The only place that knows everything.

Imports of what is heavy (httpx, adapters) wait for `equip`, which runs after the first paint.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any

from sovtui.adapters.links import dialer_for
from sovtui.adapters.network import KernelNetwork
from sovtui.config.paths import state_dir
from sovtui.config.schema import Config, HostConfig
from sovtui.config.specs import host_specs, with_engines
from sovtui.ports.clock import Clock
from sovtui.ports.link import Ask, Dialer, Link, Tell, Telling
from sovtui.ports.network import Sight
from sovtui.ports.source import Source, StreamSource
from sovtui.runtime.clock import RealClock
from sovtui.runtime.control import Control, Equip, Equipment, Renewal
from sovtui.runtime.links import Links, Pace
from sovtui.runtime.store import FOR_A_SCREEN_SECONDS

if TYPE_CHECKING:
    import httpx

    from sovtui.adapters.discovery import Found
    from sovtui.adapters.figures.past import RangePast
    from sovtui.adapters.figures.prometheus import PrometheusSource
    from sovtui.adapters.links.sync_http import LinkAdapter
    from sovtui.config.schema import SourceConfig

_HEAVY = ("sovtui.adapters.figures.prometheus", "sovtui.adapters.figures.history", "sovtui.adapters.alerts.alertmanager")
PAST_SECONDS = 20.0
"""How long a stretch of the past may take: the operator sees that it is being asked for."""


LOG_NAME = "sovtui.log"
LOG_BYTES = 1 << 20
ENGINE_SECONDS = 5.0
"""How long an engine's own endpoint may take."""


def build_hub(
    config: Config,
    *,
    read_only: bool = False,
    ask: Ask | None = None,
    only_host: str | None = None,
    interactive: bool = True,
    history: bool = False,
    notes: tuple[str, ...] = (),
    pace: Pace | None = None,
    found: Found | None = None,
) -> Control:
    """The hub for this configuration. `only_host` leaves out the links that are not needed for that host.

    `found`: it is no configuration but what was found here, and is looked for again while the hub is open.
    Without an operator (`ask` is None and not `interactive`) no question is ever asked, and of history only with `history` the last
    minutes of the curves.
    """
    log_to_file()
    clock = RealClock()
    hosts = _needed(config, only_host)
    dialers, paths, sights = _dialers(config, hosts, clock)
    links = Links(dialers, clock, network=KernelNetwork(), sights=sights, pace=pace)
    links.ask = ask
    specs = tuple(spec for spec in host_specs(config) if spec.name in hosts)

    def equip_with(config: Config) -> Equip:
        return partial(_equip, config, hosts, links, clock, (interactive, interactive or history), paths)

    async def renewals(last: Found) -> AsyncGenerator[Renewal, None]:
        from sovtui.adapters.discovery import changes

        async for now in changes(last):
            new = tuple(spec for spec in host_specs(now.config) if spec.name in hosts)
            yield Renewal(now.config, new, now.notes, equip_with(now.config))

    return Control(
        config,
        specs,
        links,
        clock,
        equip_with(config),
        read_only=read_only,
        notes=notes,
        stand_by=interactive,
        routine_every_seconds=FOR_A_SCREEN_SECONDS if interactive else 0.0,
        renewals=partial(renewals, found) if found is not None else None,
    )


def _dialers(
    config: Config, hosts: tuple[str, ...], clock: Clock
) -> tuple[dict[str, Dialer], Callable[[Links], list[Source]], dict[str, Sight]]:
    """A dialer per host, what makes the source of their paths, and who knows of them: hosts with `tailnet` are gone to through it."""
    dialers = {name: _dialer(name, config.host[name]) for name in hosts}
    through = {name: config.host[name].tailnet for name in hosts if config.host[name].tailnet and config.host[name].link == "ssh"}
    if not through:
        return dialers, lambda links: [], {}
    from sovtui.adapters.links.tailnet import guided
    from sovtui.adapters.tailnet.daemon import Daemon
    from sovtui.adapters.tailnet.places import places
    from sovtui.adapters.tailnet.source import PathSource

    daemon = Daemon(places(config.tailnet.socket), clock)
    guides = {}
    for name, wanted in through.items():
        address = config.host[name].address or name
        dialers[name], guides[name] = guided(
            *(name, address, wanted, daemon, state_dir(), clock),
            socks5=config.tailnet.socks5,
            notice_seconds=float(config.host[name].notice_loss),
        )

    def sources(links: Links) -> list[Source]:
        return [PathSource(guides, daemon, clock, lambda name: links.keepers[name].when_up())]

    return dialers, sources, {name: guide.sight for name, guide in guides.items()}


def _dialer(name: str, host: HostConfig) -> Dialer:
    words = {"notice_seconds": float(host.notice_loss)} if host.link == "ssh" else {}
    return dialer_for(host.link, name, host.address or name, **words)


async def dial(kind: str, address: str, ask: Ask | None, tell: Tell) -> Link:
    """A link to a host that is not configured. Raises `PortError`, and `ValueError` for an address that cannot be read."""
    log_to_file()
    dialer = dialer_for(kind, address or "this machine", address)
    if isinstance(dialer, Telling):
        dialer.on_banner = tell
    return await dialer.dial(ask)


def log_to_file() -> None:
    """What goes wrong inside is written to a file of the user's: the terminal belongs to the screen. Nothing is sent anywhere."""
    root = logging.getLogger()
    if any(isinstance(handler, _LogFile) for handler in root.handlers):
        return
    try:
        folder = state_dir()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler: logging.Handler = _LogFile(folder / LOG_NAME, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8", delay=True)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    except OSError:
        handler = logging.NullHandler()
    handler.setLevel(logging.WARNING)
    root.addHandler(handler)


class _LogFile(RotatingFileHandler):
    """Never complains on the terminal."""

    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk must not draw over the screen."""


def _needed(config: Config, only_host: str | None) -> tuple[str, ...]:
    """The hosts to connect to: the one asked for and those that others are reached through."""
    if only_host is None or only_host not in config.host:
        return tuple(config.host)
    via = {source.via for source in (config.prometheus, config.alertmanager) if source is not None and source.via}
    return tuple(name for name in config.host if name == only_host or name in via)


async def _equip(
    config: Config,
    hosts: tuple[str, ...],
    links: Links,
    clock: Clock,
    back: tuple[bool, bool],
    paths: Callable[[Links], list[Source]],
) -> Equipment:
    for module in _HEAVY:  # a thread, so that keys are answered meanwhile
        await asyncio.to_thread(importlib.import_module, module)
    from sovtui.adapters import registry
    from sovtui.adapters.backups.units import BackupsSource
    from sovtui.adapters.engines.watch import EnginesSource
    from sovtui.adapters.links.http import client
    from sovtui.adapters.links.login import Login
    from sovtui.adapters.services.probe import Probe

    made: list[httpx.AsyncClient] = []

    def client_for(via: str, base_url: str, timeout_seconds: float, **words: Any) -> httpx.AsyncClient:
        get_link: Callable[[], Coroutine[Any, Any, Link]] | None = partial(links.get, via) if via else None
        made.append(client(get_link, base_url=base_url, timeout_seconds=timeout_seconds, **words))
        return made[-1]

    def client_of(place: str, source: SourceConfig) -> httpx.AsyncClient:
        login = Login(place, source, clock)
        return client_for(source.via, source.url, source.timeout, login=login, ca_file=source.ca_file)

    sources: list[Source] = paths(links)
    streams: list[StreamSource] = []
    engines = {one.engine for host in config.host.values() for one in with_engines(host) if one.engine}
    adapters = registry.load_engines(engines)
    alerts = None
    told_elsewhere = None
    gpus_told: Callable[[str], bool | None] | None = None
    past: RangePast | None = None
    if config.prometheus is not None:
        live, past, *rest = _prometheus(config, adapters, client_of, clock, back)
        told_elsewhere, gpus_told = live.tells, live.tells_gpus
        sources += [live, *rest]
    if config.alertmanager is not None:
        from sovtui.adapters.alerts.alertmanager import Alertmanager, AlertmanagerSource

        settings = config.alertmanager
        alerts = Alertmanager(client_of("alertmanager", settings), clock, pulses=settings.pulse)
        sources.append(AlertmanagerSource(alerts, clock, interval_seconds=settings.interval, timeout_seconds=settings.timeout))
    for spec in host_specs(config):
        if spec.name not in hosts:
            continue
        with_engine = (*spec.modes, *spec.beside)
        serves = spec.kind == "ssh" and (spec.role == "box" or bool(with_engine))  # here NVML tells its GPUs
        elsewhere = (gpus_told or (lambda host: False)) if serves else None
        records = [backup.service for backup in spec.backups]
        probe = Probe(
            spec.name, spec.services, clock, engines=with_engine, skews=links.skews, gpus_elsewhere=elsewhere, records=records
        )
        streams.append(probe)
        if any(mode.url for mode in with_engine):
            engine_client = partial(_engine_client, client_for, clock, spec.name, config.host[spec.name])
            sources.append(EnginesSource(spec.name, with_engine, adapters, engine_client, clock, told_elsewhere=told_elsewhere))
        if spec.backups:
            sources.append(BackupsSource(spec.name, config.host[spec.name].backup, clock))
        if spec.kind == "local":
            from sovtui.adapters.figures.machine import MachineSource
            from sovtui.adapters.figures.nvml import NvmlSource

            sources += [MachineSource(spec.name, clock), NvmlSource(spec.name, clock)]

    closers = [http.aclose for http in made]
    watchers = {"prometheus": config.prometheus, "history": config.prometheus, "alertmanager": config.alertmanager}
    vias = {name: source.via for name, source in watchers.items() if source is not None}
    return Equipment(sources, streams, alerts, past, vias, closers if past is None else [past.aclose, *closers])


def _engine_client(client_for: Any, clock: Clock, name: str, host: HostConfig, base_url: str, mode: str) -> httpx.AsyncClient:
    """A client for a mode's engine, or one beside the modes, with its key if it has one."""
    from sovtui.adapters.links.login import Login
    from sovtui.config.login import EngineLogin

    bearer = next((one.bearer for one in with_engines(host) if one.name == mode), None)
    place = f"host.{name}: {mode}"
    login = Login(place, EngineLogin(bearer=bearer), clock, optional=True) if bearer is not None else None
    made: httpx.AsyncClient = client_for(name, base_url, ENGINE_SECONDS, login=login)
    return made


def _prometheus(
    config: Config, adapters: Any, client_of: Any, clock: Clock, back: tuple[bool, bool]
) -> tuple[PrometheusSource, RangePast | None, *tuple[Source, ...]]:
    """`back`: whether somebody may go back in time, and whether the last minutes of the curves are wanted."""
    from sovtui.adapters.figures.prometheus import PrometheusSource

    settings = config.prometheus
    assert settings is not None
    http = client_of("prometheus", settings)
    live = PrometheusSource(config, adapters, http, clock)
    if not back[1]:
        return (live, None)
    from sovtui.adapters.figures.history import HistorySource

    curves = HistorySource(config, live, http, clock)  # by httpx: the library would take 5 MiB before anybody goes back in time
    if not back[0]:
        return (live, None, curves)
    from sovtui.adapters.figures.past import RangePast
    from sovtui.adapters.figures.ranges import Ranges

    loop = asyncio.get_running_loop()

    def adapter() -> LinkAdapter:
        from sovtui.adapters.links.sync_http import LinkAdapter

        return LinkAdapter(loop, http, timeout_seconds=PAST_SECONDS)

    ranges = Ranges(settings.url, http, PAST_SECONDS, make_adapter=adapter)
    return (live, RangePast(config, adapters, live, ranges, clock), curves)


def local(config_path: str, hurry: bool) -> Found:
    """With no configuration: this machine, from what is found on it. `hurry`: somebody waits, and what comes later is shown later."""
    from sovtui.adapters.discovery import look_around

    return asyncio.run(look_around(config_path, hurry=hurry))
