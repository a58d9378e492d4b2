"""The few commands that change something: with which right they run, and which right is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sovtui.onbox import box, containers, permission, rights, services
from sovtui.onbox.deadline import each
from sovtui.onbox.names import kind_of
from sovtui.onbox.things import Need, Unit

_SYSTEMCTL = ("systemctl", "--no-ask-password")
SECONDS = 100.0
"""How long all that are asked about at the same time may take."""
_AT_ONCE = 4
"""So many commands are asked about at the same time."""


@dataclass(frozen=True)
class Grant:
    """How a command may be run."""

    by: str = ""
    """`root`, `sudo` or `polkit`; empty: not, or not as far as can be told."""
    argv: tuple[str, ...] = ()
    """The command in the form that sudo allows."""
    known: bool = True
    """False: neither yes nor no can be had without running it."""
    words: str = ""
    """Why not, in the words of who refuses."""


class Authority:
    """What this user may do here. Answers are remembered for the life of one action."""

    def __init__(self, host: str = "") -> None:
        self._host = host or "this host"
        self._grants: dict[tuple[str, ...], Grant] = {}
        self._version: tuple[int, ...] | None = None
        self._asked_version = False

    def grants(self, commands: Sequence[Sequence[str]]) -> list[Grant]:
        """How each of these commands (see `rights.command`) may be run. Nothing is run."""
        waiting = [key for key in dict.fromkeys(tuple(argv) for argv in commands) if key not in self._grants]
        if waiting and not box.is_root() and not self._asked_version:
            self._version, self._asked_version = permission.version(), True

        def work() -> None:
            while waiting:
                try:
                    key = waiting.pop(0)
                except IndexError:
                    return
                self._grants[key] = self._ask(key)

        each(SECONDS, [work] * min(_AT_ONCE, len(waiting)))
        return [self._grants.get(tuple(argv), Grant(known=False, words="sudo does not answer")) for argv in commands]

    def _ask(self, argv: tuple[str, ...]) -> Grant:
        if box.is_root():
            return Grant("root", argv)
        first, *others = _forms(argv)
        told = permission.by_sudo(first, self._version)
        if told.ok:
            return Grant("sudo", first)
        manager = argv[0] == rights.SYSTEMCTL
        polkit = permission.by_polkit(argv[1], argv[-1]) if manager else permission.Told(False)
        if polkit.ok:
            return Grant("polkit", argv)
        for form in others if self._version is not None else ():
            if permission.by_sudo(form, self._version).ok:
                return Grant("sudo", form)
        unknown = told if told.ok is None else polkit
        return Grant("", first, known=unknown.ok is not None, words=unknown.words if unknown.ok is None else told.words)

    def missing(self, needs: Sequence[Need], drop: bool) -> tuple[str, ...]:
        """What this user lacks, a sentence for each reason; empty if nothing. Nothing is changed."""
        wanted = [tuple(argv) for need in needs if (argv := rights.command(need.verb, need.service))]
        wanted = list(dict.fromkeys([*wanted, *([rights.DROP] if drop else [])]))
        lacking: dict[str, list[Sequence[str]]] = {}
        for command, grant in dict(zip(wanted, self.grants(wanted))).items():  # noqa: B905 - the box may have Python 3.9
            if not grant.by and grant.known:
                lacking.setdefault(grant.words, []).append(command)
        return tuple(self._sentence(words, *commands) for words, commands in lacking.items())

    def _sentence(self, words: str, *commands: Sequence[str]) -> str:
        """No line for sudoers: those are the client's to print, which need not believe this host."""
        what = ", ".join(f"`{' '.join(argv)}`".replace("/usr/bin/", "") for argv in commands)
        return f"{box.user()} may not run {what} on {self._host} ({words}); `sovtui doctor` says what helps"

    def control(self, verb: str, service: str) -> tuple[bool, str]:
        """`start`, `stop`, `restart`, `reset-failed` or `kill` a service; waits for it. Whether it went well, and if not, why.

        One that has failed too often is started all the same: that systemd refuses it is ended first. Whether it does is not told of
        one that failed at once and again: then the refused start shows it, as it is no new run.
        """
        if verb not in ("start", "restart") or kind_of(service)[0] not in ("system", "user"):
            return self._control(verb, service)
        (before,) = services.units([service])[0] or (Unit(service),)
        if before.limited:
            self._control("reset-failed", service)
        done = self._control(verb, service)
        if done[0] or not re.match(r"Job for \S+ failed", done[1]):
            return done
        (after,) = services.units([service])[0] or (Unit(service),)
        refused = after.active == "failed" and after.invocation == before.invocation
        return self._control(verb, service) if refused and self._control("reset-failed", service)[0] else done

    def _control(self, verb: str, service: str) -> tuple[bool, str]:
        kind, name = kind_of(service)
        if kind in ("container", "compose"):
            return _docker(verb, kind, name)
        if kind == "user":
            return _judged(box.command(["systemctl", "--user", *rights.words(verb), name], None))
        if box.is_root():
            return _judged(box.command(["systemctl", *rights.words(verb), name], None))
        argv = rights.command(verb, service) or []
        (grant,) = self.grants([argv])
        words, done = grant.words, (127, "", "")
        if grant.by == "sudo" or not grant.known:
            done = box.command([*permission.AS_ROOT, "--", *grant.argv], None)
            words = _sudo_refused(done[2]) or words
        if done[0] in (126, 127) or (done[0] and _sudo_refused(done[2])):
            done = box.command([*_SYSTEMCTL, *rights.words(verb), name], None)
            if done[0] and ("authentication required" in done[2] or "Access denied" in done[2]):
                return False, self._sentence(words or "polkit does not allow it", argv)
        return _judged(done)

    def drop(self) -> tuple[bool, str]:
        """Write dirty pages back, then drop the page cache."""
        os.sync()
        if box.is_root():
            try:
                with open(rights.DROP[1], "w", encoding="ascii") as file:
                    file.write("3\n")
            except OSError as problem:
                return False, str(problem)
            return True, ""
        (grant,) = self.grants([rights.DROP])
        code, _, err = box.command([*permission.AS_ROOT, "--", *grant.argv], 120.0, b"3\n")
        if code and (code in (126, 127) or _sudo_refused(err)):
            return False, self._sentence(_sudo_refused(err) or grant.words, rights.DROP)
        return _judged((code, "", err))


def _forms(argv: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The command as sudo may know it: by each of its paths here, and the unit also without `.service`, as people write it."""
    found = permission.programs(os.path.basename(argv[0])) or [argv[0]]
    forms = [(path, *argv[1:]) for path in found]
    if argv[0] == rights.SYSTEMCTL and argv[-1].endswith(".service"):
        forms += [(path, *argv[1:-1], argv[-1][: -len(".service")]) for path in found]
    return forms


def _docker(verb: str, kind: str, name: str) -> tuple[bool, str]:
    """A container, or all of a project: started in the order in which compose created them, stopped the other way round."""
    if verb == "reset-failed":
        return True, ""
    names = [name]
    if kind == "compose":
        try:
            names = [id_ for id_, _ in containers.of_project(name)]
        except OSError as problem:
            return False, str(problem)
        if not names:
            return False, f"the compose project {name} has no containers"
    return _judged(box.command([box.docker(), verb, *(reversed(names) if verb == "stop" else names)], None))


def _sudo_refused(errors: str) -> str:
    """What sudo itself says to a command that it did not run; empty where it is the command that speaks."""
    for line in errors.splitlines():
        if line.startswith(("sudo:", "Sorry, user")):
            return line.removeprefix("sudo: ").strip()[:200]
    return ""


def _judged(done: tuple[int, str, str]) -> tuple[bool, str]:
    code, _, err = done
    if not code:
        return True, ""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith('time="')] or lines  # podman's warnings come before its error
    return False, lines[0][:300] if lines else f"it ended with {code}"
