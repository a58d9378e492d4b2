"""Rights on hosts: what actions need there, what a login lacks, and what gives it: computed here, from the configuration alone.

Of what a host says only its answers to our own questions, a number for its user and known places of two programs go into a line that
somebody installs as root.
"""

from __future__ import annotations

import getpass
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from sovtui.actions.request import box_plan
from sovtui.actions.switch import NONE
from sovtui.cli import output
from sovtui.cli.checks import Check
from sovtui.cli.diagnostics import say, sentence
from sovtui.cli.exits import Exit
from sovtui.cli.session import SETTLE_SECONDS, Session, until
from sovtui.config.schema import HostConfig
from sovtui.config.specs import watched
from sovtui.core import drop_ins
from sovtui.core.model import LinkPhase
from sovtui.core.state import State
from sovtui.onbox import rights
from sovtui.ports.errors import PortError
from sovtui.runtime.hub import Hub, Right

SOMEBODY = "operator"
"""Stands for the login name where nobody tells it."""


def commands(host: HostConfig) -> list[list[str]]:
    """Every command that some action on this host needs as root, each once."""
    requests: list[dict[str, Any]] = [{"kind": "drop-caches", "plan": {}}] if host.role == "box" else []
    targets = [mode.name for mode in host.mode if mode.services]
    requests += [{"kind": "switch", "target": t, "plan": box_plan(host, t)} for t in ([*targets, NONE] if targets else [])]
    requests += [{"kind": "backup", "target": b.name, "plan": {"service": b.service}} for b in host.backup]
    requests += [{"kind": "restart", "target": s, "plan": {"service": s}} for s in watched(host)]
    found: list[list[str]] = []
    for request in requests:
        whole = {"v": 1, "id": "20000101T000000Z-rights-0000", "who": "", "host": "", **request}
        found += [argv for argv in rights.privileged_commands(whole) if argv not in found]
    return found


async def checks(hub: Hub, name: str, settings: HostConfig) -> AsyncIterator[Check]:
    """What sudo and polkit there say of this login's rights: both are asked, and nothing is run."""
    wanted = commands(settings)
    try:
        found = await hub.rights(name, wanted)
    except (PortError, TimeoutError) as error:
        yield Check(f"{name}: rights", None, f"could not be asked: {error or 'no answer in time'}")
        return
    if found.missing:
        advice = f"{found.advice}. A polkit rule (`--polkit`) does as well"
        what = f"{found.user} lacks {len(found.missing)} of {len(wanted)} rights: {_why(found.missing)}"
        yield Check(f"{name}: rights", False, what, advice, Exit.REFUSED)
    elif wanted and not found.unknown:
        yield Check(f"{name}: rights", True, f"{found.user} may run all {len(wanted)} commands that actions need")
    if found.unknown:
        what = f"whether {found.user} may run {len(found.unknown)} of {len(wanted)} commands is not known: {_why(found.unknown)}"
        yield Check(f"{name}: rights", None, what, "`sovtui doctor --sudoers` prints lines that surely allow them")
    if not found.journal:
        there = f"there, as root: usermod -aG systemd-journal {found.user}"
        yield Check(f"{name}: journal", False, f"{found.user} cannot read it", there)
    if found.lingers is False:
        why = "the user manager ends with the session, and a running action with it"
        yield Check(f"{name}: lingering", None, why, "there, as the same user: loginctl enable-linger")


def _why(rights: Iterable[Right]) -> str:
    """In its own words, and as such: a host may say anything there."""
    return "; ".join(dict.fromkeys(f"it says “{right.words}”" if right.words else "no reason given" for right in rights))


# --- drop-ins ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Login:
    """Who logs in on a host: by what it says itself, else by what the configuration says."""

    host: str
    name: str
    """Empty where nobody tells it."""
    uid: int | None
    programs: tuple[str, ...]
    commands: list[list[str]]

    def notes(self, comment: str) -> list[str]:
        if self.uid is not None:
            return [f"{comment} #{self.uid} is {self.name or 'nobody by name'} there: a number can mean nobody else."]
        if self.name:
            return [f"{comment} {self.host} could not be asked who logs in there: this is the name in the configuration."]
        return [f"{comment} `{SOMEBODY}` stands for the user that logs in there: put the real name."]

    @property
    def sudoers(self) -> list[str]:
        who = drop_ins.user(self.name or SOMEBODY, self.uid)
        return [drop_ins.sudoers_line(who, drop_ins.placed(argv, self.programs)) for argv in self.commands]


async def print_drop_ins(session: Session, *, polkit: bool) -> int:
    """One per host that needs rights, to be read before it is installed."""
    named = session.named_host()
    wanted = {name: need for name, host in session.config.host.items() if named in (None, name) and (need := commands(host))}
    logins: list[_Login] = []
    if wanted:
        async with session.hub(named, settle=0.0) as hub:

            def settled(state: State) -> bool:
                phases = (LinkPhase.UP, LinkPhase.DOWN, LinkPhase.REFUSED)
                return all(state.hosts[name].link.phase in phases for name in wanted if name in state.hosts)

            await until(hub, settled, SETTLE_SECONDS)
            logins = [await _login(hub, name, session.config.host[name], need) for name, need in wanted.items()]
    output.write("\n\n".join("\n".join(_polkit(login) if polkit else _sudoers(login)) for login in logins))
    return Exit.DONE


async def _login(hub: Hub, name: str, settings: HostConfig, need: list[list[str]]) -> _Login:
    try:
        if hub.state.hosts[name].link.phase is not LinkPhase.UP:
            raise PortError(hub.state.hosts[name].link.reason or "no answer")
        found = await hub.rights(name, [])
    except (PortError, TimeoutError) as error:
        say(sentence(f"{name} could not be asked who logs in there: {error or 'no answer in time'}"))
        user = settings.address.rpartition("@")[0] if settings.link == "ssh" else getpass.getuser()
        return _Login(name, user, None, (), need)
    return _Login(name, found.user, found.uid, found.programs, need)


def _sudoers(login: _Login) -> list[str]:
    head = [f"# {login.host}: /etc/sudoers.d/sovtui", "# Install with: visudo -f /etc/sudoers.d/sovtui"]
    return [*head, *login.notes("#"), *login.sudoers]


def _polkit(login: _Login) -> list[str]:
    """The same for whoever gives no sudo; what polkit cannot give is said."""
    lines = [f"// {login.host}: /etc/polkit-1/rules.d/50-sovtui.rules, mode 644"]
    if not login.name or login.uid is None:
        lines += login.notes("//")
    drop = [line for line, argv in zip(login.sudoers, login.commands, strict=True) if tuple(argv) == rights.DROP]
    if drop:
        lines += [
            "// Dropping the page cache is no matter of polkit. Keep this line in sudoers, or set `drop_caches = false`:",
            f"//   {drop[0]}",
        ]
    return [*lines, drop_ins.polkit_rule(login.name or SOMEBODY, login.commands)]
