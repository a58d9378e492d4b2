"""How far one dial has come, and when it has waited long enough for what comes next."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from sovtui.adapters.links._ssh_client import Client
from sovtui.adapters.links._ssh_knock import Progress
from sovtui.adapters.links._ssh_operator import Operator
from sovtui.adapters.links._ssh_place import Place
from sovtui.adapters.links._ssh_way import Given, Plain, Through, Way
from sovtui.core.clean import clean
from sovtui.core.reach import Evidence, Fault, Stage, Verdict, judge

LOOK_SECONDS = 0.25
FOREIGN_SECONDS = 5.0
"""How long something that speaks, but not ssh, gets to come to it."""
_RETRANSMITS_BYTE = 2
_LOST_AFTER = 4
"""Times in vain that the kernel has sent something: some three seconds on a quick link, more on a slow one."""


class Course:
    """One per dial."""

    def __init__(self, operator: Operator, place: Place) -> None:
        self._operator = operator
        self._progress = Progress()
        self._client: Client | None = None
        self._way: Way | None = None
        self._clear = False
        self.place = place
        self.target = ""
        """The label of the host, while a jump host is dialled."""
        self.via = ""
        """The label of the jump host that the connection goes through."""
        self.hops: list[tuple[Client, str]] = []
        self.unacknowledged = False

    def begin(self, place: Place, client: Client, way: Way) -> None:
        """A new connection to `place`."""
        self.place, self._client, self._way, self._clear = place, client, way, False
        self._progress = way.progress if isinstance(way, Plain | Given) else Progress(Stage.CONNECT)
        self._progress.reach(self._progress.stage)

    @property
    def waiting(self) -> bool:
        """Whether it is the network that is waited for, not a person."""
        return self._client is not None and not self._operator.asked

    def look(self) -> Stage:
        """The stage, now."""
        client, progress = self._client, self._progress
        if client is None or client.connection is None:
            return progress.stage
        if client.connection.get_extra_info("server_version"):
            progress.reach(Stage.LOGIN)
        elif isinstance(self._way, Plain | Given | Through):
            progress.reach(Stage.GREETING, client.connected_at)
        else:
            progress.reach(Stage.CONNECT)  # a command has taken it: whether it is connected, nobody knows
        return progress.stage

    def evidence(self, fault: Fault = Fault.NONE) -> Evidence:
        """What is known now. A jump host that died meanwhile is told instead of what is behind it."""
        stage, place = self.look(), self.place
        since = max(self._progress.since, self._client.heard_at if self._client is not None and stage is Stage.LOGIN else 0.0)
        waited = asyncio.get_running_loop().time() - since if since else 0.0
        if fault is Fault.SILENCE and self.unacknowledged:
            fault = Fault.UNACKNOWLEDGED
        for client, label in self.hops:
            if client.lost.done():
                return Evidence(label, stage=Stage.LOGIN, fault=fault, seconds=waited, target=place.label)
        return Evidence(
            *(place.label, place.host, place.port, stage, fault, waited),
            said=self._operator.said or self._heard(stage),
            addresses=self._progress.addresses,
            target=self.target,
            via=self.via,
        )

    def _heard(self, stage: Stage) -> str:
        if self._client is None or stage is not Stage.GREETING:
            return ""
        return clean(self._client.heard.strip().partition(b"\n")[0].decode("utf-8", "replace"), 120)

    @property
    def stalled_seconds(self) -> float:
        """How long a server that was reached has been silent in this stage of the login; 0 while a person may be the reason."""
        stage = self.look()
        if not self.waiting or stage not in (Stage.GREETING, Stage.LOGIN):
            return 0.0
        return self.evidence().seconds

    async def watch(self) -> None:
        """Until cancelled: give each stage its time, and none to what cannot come any more."""
        before: Stage | None = None
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self.waiting:
                before = None
                continue
            now = self.look()
            if now is not before:
                before = now
                self._operator.set_clock(self.place.timeout_seconds)
            if self._stuck():
                self.unacknowledged = True
                self._operator.set_clock(0.0)
            elif self.stalled_seconds > FOREIGN_SECONDS and judge(self.evidence(Fault.SILENCE)).verdict is Verdict.NOT_SSH:
                self._operator.set_clock(0.0)

    def _stuck(self) -> bool:
        """Whether the kernel sends the same thing again and again (Linux and Android tell)."""
        connection = self._client.connection if self._client is not None else None
        sock = connection.get_extra_info("socket") if connection is not None and isinstance(self._way, Plain | Given) else None
        number = getattr(socket, "TCP_INFO", None)
        if sock is None or number is None:
            return False
        with contextlib.suppress(OSError):
            return bool(sock.getsockopt(socket.IPPROTO_TCP, number, 104)[_RETRANSMITS_BYTE] >= _LOST_AFTER)
        return False
