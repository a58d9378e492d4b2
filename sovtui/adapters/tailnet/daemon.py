"""This machine's tailnet daemon: by LocalAPI where there is one, else by its command, else nobody can be asked."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from urllib.parse import quote

from sovtui.adapters.tailnet import command, localapi
from sovtui.adapters.tailnet.places import Door, Places
from sovtui.core import tailnet_words
from sovtui.core.clean import clean
from sovtui.core.tailnet import Pong, Tailnet, parse, read_pong, read_pong_lines
from sovtui.ports.clock import Clock
from sovtui.ports.errors import Absent, Malformed, TimedOut, Unreachable

ASK_SECONDS = 3.0
PING_SECONDS = 3.0
DIAL_SECONDS = 12.0
LONG = 1 << 16
"""A longer document is read in a thread: each of its nodes takes a while."""


class Daemon:
    """Implements `ports.tailnet.TailnetDaemon`."""

    def __init__(self, places: Places, clock: Clock) -> None:
        self._places = places
        self._clock = clock
        self.told_by = ""

    async def status(self) -> Tailnet:
        raw: str | bytes | None = await self._ask_door("GET", "status", ASK_SECONDS)
        who = "localapi"
        if raw is None:
            told, said = await self._ask_command(("status", "--json"), ASK_SECONDS)
            raw, who = told, "cli"
            if not told.strip():
                raise Malformed(f"`tailscale status --json` returned nothing: {clean(said.strip(), 200) or 'no output'}")
        try:
            net = await asyncio.to_thread(parse, raw, self._clock.now()) if len(raw) > LONG else parse(raw, self._clock.now())
        except ValueError as error:
            raise Malformed(f"the tailnet's status cannot be read: {error}") from None
        self.told_by = who
        return net

    async def ping(self, address: str) -> Pong:
        ipaddress.ip_address(address)  # nothing else ever becomes a word of a command or a URL
        try:
            raw = await self._ask_door("POST", f"ping?ip={quote(address, safe='')}&type=disco", PING_SECONDS)
            if raw is None:
                words = ("ping", "--c", "1", "--timeout", f"{PING_SECONDS:.0f}s", "--until-direct=false", address)
                return read_pong_lines(*await self._ask_command(words, PING_SECONDS + 1.0))
            return read_pong(raw)
        except TimedOut:
            return Pong(error=f"no answer within {PING_SECONDS:g} s")  # LocalAPI waits for ever where nobody answers
        except ValueError as error:
            raise Malformed(f"the answer to a ping cannot be read: {error}") from None

    async def dial(self, address: str, port: int) -> socket.socket | tuple[str, ...]:
        ipaddress.ip_address(address)
        for door in self._places.doors():
            try:
                return await localapi.dial(door, address, port, DIAL_SECONDS)
            except localapi.Closed:
                continue
        found = self._places.command()
        if found is None:
            said = self._places.refused() or "neither its socket nor its command is here"
            raise Absent(f"Tailscale cannot be asked for a connection: {said}")
        return (found, *self._own_socket(), "nc", address, str(port))

    async def _ask_door(self, method: str, path: str, seconds: float) -> bytes | None:
        """None where no door opens and the command is to be asked."""
        closed: Door | None = None
        for door in self._places.doors():
            try:
                return await localapi.ask(door, method, path, seconds)
            except localapi.NotBelieved as error:
                raise Absent(tailnet_words.not_believed(str(error))) from None
            except localapi.Closed:
                closed = door
        if self._places.command() is None:
            if closed is not None:
                raise Unreachable(tailnet_words.NOT_RUNNING)
            raise self._absent()
        return None

    async def _ask_command(self, words: tuple[str, ...], seconds: float) -> tuple[str, str]:
        found = self._places.command()
        if found is None:
            raise self._absent()
        try:
            return await command.run((found, *self._own_socket(), *words), seconds)
        except command.NotRunning:
            raise Unreachable(tailnet_words.NOT_RUNNING) from None

    def _absent(self) -> Absent:
        refused = self._places.refused()
        return Absent(tailnet_words.not_believed(refused) if refused else tailnet_words.NOT_HERE)

    def _own_socket(self) -> tuple[str, ...]:
        """The command finds the usual sockets itself; one of the configuration's it must be told."""
        return (f"--socket={self._places.sockets[0]}",) if len(self._places.sockets) == 1 else ()
