"""One server of models and the signs that it is one. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sovtui.core import serving
from sovtui.core.serving import DEFAULT_PORTS, Serving
from sovtui.core.survey import Facts


class Certainty(StrEnum):
    """How sure something is."""

    SURE = "sure"
    """Seen: it answers so, a command line says so."""
    LIKELY = "likely"
    """Told by a name, a default, an estimate."""
    GUESS = "guess"
    """Could as well be otherwise."""


@dataclass(frozen=True, slots=True)
class Sign:
    """Why something is thought to be so, and how sure that is."""

    reason: str
    certainty: Certainty

    def __bool__(self) -> bool:
        return bool(self.reason)


NO_SIGN = Sign("", Certainty.GUESS)


@dataclass(frozen=True, slots=True)
class Server:
    """Something that serves models."""

    service: str
    """`NAME.service`, `user:NAME.service`, `container:NAME`; empty for a process of none of them."""
    engine: str = ""
    engine_sign: Sign = NO_SIGN
    title: str = ""
    running: bool = False
    at_boot: bool = False
    port: int | None = None
    port_sign: Sign = NO_SIGN
    url: str = ""
    model: str = ""
    model_sign: Sign = NO_SIGN
    cpu_sign: Sign = NO_SIGN
    """That it uses no accelerator."""
    gpu_ratio: float | None = None
    held_bytes: int | None = None
    """GPU memory that its processes hold now."""
    container: str = ""
    """The container that a unit runs."""
    unprotected: bool = False
    """A container that an updater may recreate."""
    side: str = ""
    """`embeddings` or `reranking`: it generates nothing, and is no mode."""
    side_sign: Sign = NO_SIGN
    router: bool = False
    """It loads models that are asked for: one engine, no mode."""
    context: int | None = None
    """Tokens."""
    key: bool = False
    """It asks for a key."""
    place: str = ""
    """A sentence about where it runs, where no service is known."""
    models: tuple[str, ...] = ()
    """Of a router: what it can load."""
    hidden: str = ""
    """Why its address is not known, though it has one."""
    answered: bool = False
    service_sign: Sign = NO_SIGN
    """Why that is its service, where it was not seen."""

    @property
    def name(self) -> str:
        """The service without prefix and suffix."""
        return stem(self.service)


def stem(service: str) -> str:
    """`vllm-qwen36` of `user:vllm-qwen36.service`."""
    name = service.rpartition(":")[2]
    return name.removesuffix(".service").removesuffix(".timer")


FOREIGN = re.compile(
    r"(?:user:)?(?:cron|crond|cronie|anacron|fcron|atd|sshd?|docker|containerd|podman|crio|dbus|supervisor|supervisord|snapd|tailscaled|"
    r"rc-local|getty|serial-getty|user|tmux|screen|emacs|gdm3?|sddm|lightdm|xrdp|cockpit|webmin|jupyter\w*|code-server|ttyd|dtach|"
    r"nomad|kubelet|k3s|pm2|libvirtd|lxd|systemd-[\w-]+|run-[\w-]+|app-\S*|gnome-\S+|plasma-\S+|vte-\S+)(?:[@-][^.]*)?\.service\Z"
)
"""Units in which things run that are not theirs: what cron, a login or a supervisor has started."""


def owner(facts: Facts, service: str, owned: Mapping[str, str]) -> str:
    """The service that a process belongs to: a container's unit, else the container, else the unit."""
    container = facts.container_of(service)
    if container is not None:
        return owned.get(container.name, f"container:{container.name}")
    return "" if service.startswith("container-id:") else service


def made_of(service: str, reading: Serving, sign: Sign, title: str) -> Server:
    """A server as its command line has it."""
    port, port_sign = reading.port, Sign("its command line", Certainty.SURE)
    if port is None:
        port = DEFAULT_PORTS.get(reading.engine)
        port_sign = Sign(f"{serving.shown(reading.engine) or 'its'} default port", Certainty.LIKELY) if port else NO_SIGN
    if reading.unread and port_sign.certainty is not Certainty.SURE:
        port, port_sign = None, NO_SIGN
    place = f"{'https' if reading.tls else 'http'}://{reading.address or '127.0.0.1'}:{port}{reading.prefix}"
    return Server(
        service,
        reading.engine,
        sign,
        title,
        port=port,
        port_sign=port_sign,
        url=place if port else "",
        model=reading.model,
        model_sign=Sign("its command line", Certainty.LIKELY) if reading.model else NO_SIGN,
        cpu_sign=Sign(f"`{reading.cpu_only}` in its command line", Certainty.SURE) if reading.cpu_only else NO_SIGN,
        gpu_ratio=reading.gpu_ratio,
        container=reading.container,
        side=reading.side,
        side_sign=Sign(reading.side_by, Certainty.SURE) if reading.side else NO_SIGN,
        router=reading.router,
        context=reading.context,
        key=reading.key,
        hidden="" if port else f"`{reading.unread}` holds what could not be read" if reading.unread else "",
    )
