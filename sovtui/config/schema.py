"""The configuration as frozen dataclasses: every key, its type, its default, its meaning. No reading, no files.

`load` fills these from TOML; `sovtui config schema` prints the docstrings below.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NewType

Bytes = NewType("Bytes", int)
"""A size: `"22 GB"` (10⁹), `"22 GiB"` (2³⁰), or a number of bytes."""
Seconds = NewType("Seconds", float)
"""A duration: `"15m"`, `"26h"`, `"2h30m"`, `"8d"`, or a number of seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeConfig:
    """A named, exclusive state of a box."""

    name: str
    """The word used on the command line. `none` is always there and need not be configured."""
    key: str = ""
    """One key, `1` to `9`, that switches to it."""
    title: str = ""
    """What the screen calls it; default: its name."""
    engine: str = ""
    """The software that serves: `vllm`, `sglang`, `llamacpp`, `ollama`, `llamaswap`, `litellm` or `comfyui`. Empty: readiness is told by the units alone."""
    url: str = ""
    """Where the engine answers, as seen from the host itself."""
    model: str = ""
    """The id that it must list: of `/v1/models`, of `/api/tags` (Ollama). Needed where two modes share a port and `services` of their own do not tell them apart; empty: any id."""
    services: tuple[str, ...] = ()
    """What must run: `NAME.service`, `user:NAME.service`, `container:NAME` or `compose:PROJECT` (all containers of a project)."""
    needs: Bytes | None = None
    """Memory that it holds once it is up, and therefore needs free before it starts."""
    weights: Bytes | None = None
    """Size of its checkpoint; with `loader_factor` the peak while it loads."""
    loader_factor: float = 1.0
    """How many times the weights are in memory while loading: 2 for a loader that buffers them twice. Counted if more than `needs`."""
    may_stay: tuple[str, ...] = ()
    """Services of other modes, or tenants, that need not be stopped for this one."""
    switch: tuple[str, ...] = ()
    """The owner's own command that switches to it, `["/data/switch.sh", "qwen"]`; empty: `services` are started. Proved like any other."""
    switch_env: dict[str, str] = field(default_factory=dict)
    """Environment for that command, to answer what it asks: it has no terminal. Values are never recorded."""
    switch_timeout: Seconds = Seconds(900.0)
    """How long that command may take before it is ended, with all it started."""
    proof: bool = False
    """Ready only once it has given one token. Not for `litellm`, which would bill it, and `comfyui`, which has none."""
    expect_tok_s: float | None = None
    """Decode speed of one stream when all is well."""
    metrics: str = ""
    """Label matchers of its series in Prometheus; default: instance ending in the url's port."""
    bearer: Secret | None = None
    """Where its API key is found, if it wants one: `{ env = "NAME" }`, `{ file = "~/PATH" }` or `{ command = [...] }`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """An engine that runs beside the modes: a router, an engine of the floor. Looked at, never switched."""

    name: str
    """What the screen calls it; not the name of a mode."""
    title: str = ""
    """A longer name; default: its name."""
    engine: str
    """The software, as in a mode."""
    url: str
    """Where it answers, as seen from the host itself."""
    model: str = ""
    """The id that it must list; empty: any."""
    services: tuple[str, ...] = ()
    """What runs it: `NAME.service`, `user:NAME.service` or `container:NAME`. Also under `floor` if no switch may stop it."""
    expect_tok_s: float | None = None
    """Decode speed of one stream when all is well."""
    metrics: str = ""
    """Label matchers of its series in Prometheus; default: instance ending in the url's port."""
    bearer: Secret | None = None
    """Where its API key is found, if it wants one: `{ env = "NAME" }`, `{ file = "~/PATH" }` or `{ command = [...] }`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchConfig:
    """How a switch is done on this host."""

    drop_caches: bool = True
    """Sync and drop the page cache between stop and start."""
    ready_timeout: Seconds = Seconds(900.0)
    """How long an engine may take until it is ready."""
    stop_timeout: Seconds = Seconds(120.0)
    """How long the others may take until they are really gone."""
    rollback: bool = True
    """Bring the previous mode back if the new one fails."""
    floor: tuple[str, ...] = ()
    """Services that no switch ever stops, and that are looked for after every one."""
    tenants: tuple[str, ...] = ()
    """More services that hold accelerator memory and are stopped by a switch. Nothing else is, but services of other modes."""
    hold: tuple[str, ...] = ()
    """What fights the operator (health-check timers, updaters): stopped for the time of a switch, started again whatever happens."""
    drain_timeout: Seconds | None = None
    """How long running requests may take to end before a busy mode is stopped; default: not waited for."""
    reserve: Bytes | None = None
    """Available memory that a start must leave: below it the launch is stopped. Default: none, for a reserve above what a healthy engine leaves kills a healthy engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupConfig:
    """One backup destination."""

    name: str
    """The word used on the command line."""
    service: str
    """What runs it: `NAME.service`, `user:NAME.service` or `container:NAME`."""
    max_age: Seconds = Seconds(93600.0)
    """It is late when the last success is older."""
    metric: str = ""
    """PromQL that gives the unix time of the last success; default: the unit's own last successful end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """One machine of the estate."""

    link: Literal["ssh", "local"] = "ssh"
    """How it is reached."""
    address: str = ""
    """`USER@NAME`, or a name of ssh_config; default: the host's own name here. Port, key and jump host come from ssh_config."""
    role: Literal["box", "management", "edge", "nas"] = "box"
    """What it is for."""
    tailnet: str = ""
    """Its name in the tailnet (`spark`, or in full), its tailnet address, or its stable id: looked up there before it is connected to."""
    notice_loss: Seconds = Seconds(5.0)
    """How long its link may be silent before it counts as lost and is dialled anew; longer asks less often whether it still stands."""
    memory: Literal["auto", "unified", "discrete"] = "auto"
    """Whether CPU and GPU share one memory."""
    instance: str = ""
    """Label matchers that find this host's series in Prometheus (node and GPU exporters); default: none if it is the only box, else its name."""
    metered: bool | Literal["auto"] = "auto"
    """Whether its link is used sparingly: looked at every ten seconds. `auto`: while the path is a relay, or round trips are slow."""
    disk_full: float = 0.9
    """Share of a disk in use, 0 to 1, from which on it is called almost full."""
    watch: tuple[str, ...] = ()
    """More services to show, beside those of modes, floor and backups."""
    mode: tuple[ModeConfig, ...] = ()
    """`[[host.NAME.mode]]`, any number."""
    engine: tuple[EngineConfig, ...] = ()
    """`[[host.NAME.engine]]`, any number: engines beside the modes."""
    switch: SwitchConfig = field(default_factory=SwitchConfig)
    """`[host.NAME.switch]`: how modes are changed here."""
    backup: tuple[BackupConfig, ...] = ()
    """`[[host.NAME.backup]]`, any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """Where a secret is found: exactly one of the three. The secret itself is never part of the configuration."""

    env: str = ""
    """Name of a variable of the environment."""
    file: str = ""
    """A file whose first line it is."""
    command: tuple[str, ...] = ()
    """A program and its words; the first line that it prints is the secret. It has no terminal and ten seconds."""

    def __str__(self) -> str:
        """The reference in words, for messages."""
        if self.command:
            return f"the command `{' '.join(self.command)}`"
        return f"the file {self.file}" if self.file else f"the variable {self.env}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Whoever is asked over HTTP, and how one logs in there."""

    url: str
    """Base address, path prefix included."""
    via: str = ""
    """The host through whose link it is reached; empty: directly."""
    ca_file: str = ""
    """The CA that signed its certificate, as PEM: then only this one is trusted. Empty: those this machine trusts."""
    user: str = ""
    """Name for a basic login, with `password`."""
    password: Secret | None = None
    """Where the password is found."""
    bearer: Secret | None = None
    """Where a bearer token is found; instead of `user` and `password`."""
    headers: dict[str, str | Secret] = field(default_factory=dict)
    """More headers, such as a tenant: `{ "X-Scope-OrgID" = "team" }`; one that is a secret is referred to like a password."""
    interval: Seconds = Seconds(1.0)
    """How often it is asked."""
    timeout: Seconds = Seconds(5.0)
    """How long one answer may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusConfig(SourceConfig):
    """What speaks the Prometheus API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertmanagerConfig(SourceConfig):
    """What speaks the Alertmanager API, version 2."""

    interval: Seconds = Seconds(5.0)
    author: str = ""
    """Who acknowledges; default: user and machine name of the client."""
    acknowledge_for: Seconds = Seconds(7200.0)
    """How long an acknowledgement holds unless told otherwise."""
    pulse: tuple[str, ...] = ()
    """Alerts that fire by design, by name: it is their absence that is wrong. `Watchdog`, `DeadMansSwitch` and the like are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """A routing profile: its ordered chain and the tier that the chain must keep."""

    name: str
    """What clients ask for."""
    tier: Literal["T1", "T2", "T3", "T4"]
    """T1 local only … T3 cloud explicit, T4 coordination."""
    chain: tuple[str, ...] = ()
    """Its rungs in order: where a request goes first, and where next if that fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TailnetConfig:
    """This machine's own tailnet daemon, where it is not found by itself. Only hosts with `tailnet` use it."""

    socket: str = ""
    """Its LocalAPI socket; default: the usual places, then the command `tailscale`."""
    socks5: str = ""
    """`HOST:PORT` of its SOCKS5 proxy, for userspace networking where neither socket nor command is to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenConfig:
    """The control room itself."""

    theme: str = "sovtui-dark"
    """A theme's name; `sovtui themes` lists them."""
    glyphs: Literal["auto", "unicode", "ascii"] = "auto"
    """Which signs are drawn; `auto`: ASCII where the locale is not UTF-8, and on terminals known to lack the others."""
    keys: dict[str, str] = field(default_factory=dict)
    """Other keys for actions: `drop-caches = "d"`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file."""

    host: dict[str, HostConfig] = field(default_factory=dict)
    """`[host.NAME]`, any number; the first is shown first."""
    prometheus: PrometheusConfig | None = None
    """`[prometheus]`: figures and curves; without it, what the hosts themselves tell."""
    alertmanager: AlertmanagerConfig | None = None
    """`[alertmanager]`: alerts, and acknowledging them."""
    profile: tuple[ProfileConfig, ...] = ()
    """`[[profile]]`, any number."""
    tailnet: TailnetConfig = field(default_factory=TailnetConfig)
    """`[tailnet]`: how this machine's tailnet daemon is asked."""
    screen: ScreenConfig = field(default_factory=ScreenConfig)
    """`[screen]`: theme and keys."""
