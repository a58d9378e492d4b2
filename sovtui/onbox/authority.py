"""The few commands that change something: with which right they run, and which right is missing."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sovtui.onbox import box, containers, rights
from sovtui.onbox.plan import kind_of
from sovtui.onbox.things import Need

_SYSTEMCTL = ("systemctl", "--no-ask-password")


class Authority:
    """What this user may do here. Answers of sudo are remembered for the life of one action."""

    def __init__(self, host: str = "") -> None:
        self._host = host or "this host"
        self._listing: str | None = None
        self._sudo: dict[tuple[str, ...], bool] = {}

    def by_sudo(self, argv: Sequence[str]) -> bool:
        """Whether sudo runs this command without a password; nothing is run."""
        key = tuple(argv)
        if key not in self._sudo:
            allowed = box.command(["sudo", "-n", "-l", *argv], 15.0)[0] == 0
            if allowed and self._listing is None:
                self._listing = box.command(["sudo", "-n", "-l"], 15.0)[1]
            self._sudo[key] = allowed and not rights.needs_password(self._listing or "", argv)
        return self._sudo[key]

    def allowed(self, argv: Sequence[str]) -> str:
        """`root`, `sudo`, or empty."""
        return "root" if box.is_root() else "sudo" if self.by_sudo(argv) else ""

    def missing(self, needs: Sequence[Need], drop: bool) -> tuple[str, ...]:
        """What this user lacks, in one sentence with the sudoers lines; empty if nothing. Nothing is changed."""
        if box.is_root():
            return ()
        lacking: list[Sequence[str]] = []
        for need in needs:
            argv = rights.command(need.verb, need.service)
            if argv and argv not in lacking and not self.by_sudo(argv) and not self._by_polkit(need):
                lacking.append(argv)
        if drop and not self.by_sudo(rights.DROP):
            lacking.append(rights.DROP)
        return (self._sentence(*lacking),) if lacking else ()

    def _by_polkit(self, need: Need) -> bool:
        """Whether polkit lets this user manage the unit.

        It cannot be asked about one unit, so a command that changes nothing tells: `stop` of what is down, `start` of what is up.
        """
        verb = "start" if need.up else "stop"
        return box.command([*_SYSTEMCTL, verb, kind_of(need.service)[1]], 15.0)[0] == 0

    def _sentence(self, *commands: Sequence[str]) -> str:
        what = ", ".join(f"`{' '.join(argv)}`".replace("/usr/bin/", "") for argv in commands)
        lines = "; ".join(rights.sudoers_line(box.user(), argv) for argv in commands)
        plural = "these lines" if len(commands) > 1 else "this line"
        return f"{box.user()} may not run {what} on {self._host}; add {plural} to its sudoers: {lines}"

    def control(self, verb: str, service: str) -> tuple[bool, str]:
        """`start`, `stop`, `restart`, `reset-failed` or `kill` a service; waits for it. Whether it went well, and if not, why."""
        kind, name = kind_of(service)
        if kind in ("container", "compose"):
            return _docker(verb, kind, name)
        if kind == "user":
            return _judged(box.command(["systemctl", "--user", *rights.words(verb), name], None))
        if box.is_root():
            return _judged(box.command(["systemctl", *rights.words(verb), name], None))
        argv = rights.command(verb, service) or []
        done = box.command(["sudo", "-n", *argv], None) if self.by_sudo(argv) else (127, "", "")
        if done[0] in (126, 127) or (done[0] and _sudo_refused(done[2])):
            done = box.command([*_SYSTEMCTL, *rights.words(verb), name], None)
            if done[0] and ("authentication required" in done[2] or "Access denied" in done[2]):
                return False, self._sentence(argv)
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
        code, _, err = box.command(["sudo", "-n", *rights.DROP], 120.0, b"3\n")
        if code and (code in (126, 127) or _sudo_refused(err)):
            return False, self._sentence(rights.DROP)
        return _judged((code, "", err))


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


def _sudo_refused(errors: str) -> bool:
    return any(line.startswith(("sudo:", "Sorry, user")) for line in errors.splitlines())


def _judged(done: tuple[int, str, str]) -> tuple[bool, str]:
    code, _, err = done
    if not code:
        return True, ""
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith('time="')] or lines  # podman's warnings come before its error
    return False, lines[0][:300] if lines else f"it ended with {code}"
