"""From configuration to the core's values: what the screen and the reducer need to know of each host. Pure."""

from __future__ import annotations

import re

from sovtui.config.schema import Config, EngineConfig, HostConfig, ModeConfig
from sovtui.core.model import Backup, HostSpec, Mode


def host_specs(config: Config) -> tuple[HostSpec, ...]:
    """One spec per configured host, in the order of the file."""
    watchers = {source.via for source in (config.prometheus, config.alertmanager) if source is not None}
    return tuple(host_spec(name, host, watches=name in watchers) for name, host in config.host.items())


def host_spec(name: str, host: HostConfig, *, watches: bool = False) -> HostSpec:
    """`watches`: Prometheus or Alertmanager runs there, and calls it `localhost`."""
    return HostSpec(
        name=name,
        names=(*names_of(name, host), *_instance_of(host), *(LOCAL if watches else ())),
        disk_full_ratio=host.disk_full,
        kind=host.link,
        address=host.address or name,
        role=host.role,
        memory=host.memory,
        modes=tuple(mode_spec(mode) for mode in host.mode),
        beside=tuple(engine_spec(engine) for engine in host.engine),
        floor=host.switch.floor,
        services=watched(host),
        tenants=host.switch.tenants,
        reserve_bytes=host.switch.reserve or 0,
        drop_caches=host.switch.drop_caches,
        backups=tuple(Backup(b.name, b.service, float(b.max_age)) for b in host.backup),
        ready_seconds=float(host.switch.ready_timeout),
    )


LOCAL = ("localhost", "127.0.0.1", "::1")


def names_of(name: str, host: HostConfig) -> tuple[str, ...]:
    """What the host may be called in an `instance` label."""
    address = host.address.rpartition("@")[2]
    return tuple(n for n in (name, address, host.tailnet, *(n.partition(".")[0] for n in (address, host.tailnet))) if n)


def others_of(config: Config, name: str) -> tuple[str, ...]:
    """What the other hosts may be called there; nothing for a host whose own matchers tell."""
    if config.host[name].instance:
        return ()
    others = {
        word for other, host in config.host.items() if other != name for word in (*names_of(other, host), *_instance_of(host))
    }
    if config.prometheus is not None and config.prometheus.via not in ("", name):
        others |= set(LOCAL)  # it calls the machine that it runs on so
    return tuple(sorted(others - set(names_of(name, config.host[name]))))


def _instance_of(host: HostConfig) -> tuple[str, ...]:
    """The machine that its matcher names, where it names just one."""
    exact = re.search(r'(?:^|[,\s])instance\s*=\s*"([^":]+)(?::\d+)?"', host.instance)
    return (exact[1],) if exact else ()


def mode_spec(mode: ModeConfig) -> Mode:
    return Mode(
        name=mode.name,
        key=mode.key,
        title=mode.title or mode.name,
        engine=mode.engine,
        url=mode.url,
        model=mode.model,
        services=mode.services,
        needs_bytes=mode.needs,
        weights_bytes=mode.weights,
        loader_factor=mode.loader_factor,
        may_stay=mode.may_stay,
        expect_tok_s=mode.expect_tok_s,
    )


def engine_spec(engine: EngineConfig) -> Mode:
    return Mode(
        name=engine.name,
        title=engine.title or engine.name,
        engine=engine.engine,
        url=engine.url,
        model=engine.model,
        services=engine.services,
        expect_tok_s=engine.expect_tok_s,
    )


def with_engines(host: HostConfig) -> tuple[ModeConfig | EngineConfig, ...]:
    """Everything that may have an engine: modes, then what runs beside them."""
    return (*host.mode, *host.engine)


def watched(host: HostConfig) -> tuple[str, ...]:
    """Every service of the host that is looked at, each once: modes, engines, tenants, floor, holds, backups, the extra ones."""
    names = [s for one in with_engines(host) for s in one.services]
    names += [*host.switch.tenants, *host.switch.floor, *host.switch.hold, *(b.service for b in host.backup), *host.watch]
    return tuple(dict.fromkeys(names))
