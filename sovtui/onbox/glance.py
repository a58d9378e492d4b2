"""Which services are worth asking about now, told by signs that cost little.

To ask systemd for all properties of 40 units costs the box 65 ms of processor; its list of states costs 5 ms, and a look at the
control groups less than one. So all is asked rarely, a service's own properties when one of the signs says that it changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sovtui.onbox import box, cgroups, services
from sovtui.onbox.names import supervisor_of

ALL_EVERY = 20.0
"""Seconds after which everything is asked whatever the signs say: a timer's next run has none."""
STATES_EVERY = 3.0
"""Seconds after which the states are listed though the control groups are the same."""
CONTAINERS_EVERY = 5.0
"""The same for containers, which no manager lists; while something acts, at every look that is a second later."""
_RESTING = ("active", "inactive", "failed", "missing")
_ROOTS = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")


class Glance:
    """What was seen when each service was last asked about."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._kinds = {name: supervisor_of(name) for name in names}
        self._root = next((root for root in _ROOTS if os.path.exists(root + "/cgroup.procs")), "")
        self._told: dict[str, Mapping[str, Any]] = {}
        self._signs: dict[str, object] = {}
        self._states: dict[str, str] = {}
        self._parents: object = None
        self._all_at = self._states_at = self._containers_at = float("-inf")

    def due(self, acting: bool) -> list[str]:
        """The services to ask about now; `acting`: something changes them, so that their states are listed at every look."""
        now = time.monotonic()
        if not self._root or now - self._all_at >= ALL_EVERY:
            self._all_at = self._containers_at = now
            self._list_states(now)
            return self._names
        found = {name for name in self._names if self._moving(name) or self._sign(name) != self._signs.get(name)}
        parents = self._children()
        beside = parents != self._parents
        if acting or found or beside or now - self._states_at >= STATES_EVERY:
            self._parents, old = parents, self._states
            self._list_states(now)
            found |= {name for name in self._names if self._states.get(name) != old.get(name)}
        if beside or now - self._containers_at >= (1.0 if acting else CONTAINERS_EVERY):
            self._containers_at = now
            found |= {name for name in self._names if self._kinds[name] == "container"}
        return [name for name in self._names if name in found]

    def asked(self, told: Iterable[Mapping[str, Any]]) -> None:
        """Remember what the supervisors said. What moves between their answer and this look is seen by the next list of states."""
        for one in told:
            self._told[one["name"]] = one
            self._signs[one["name"]] = self._sign(one["name"])

    def groups(self, name: str) -> list[str]:
        """Its control groups, as last told."""
        return [group for group in self._told.get(name, {}).get("cgroups", ()) if group]

    def memory(self, name: str) -> int | None:
        """Bytes of memory the service uses now, by its control group; None where that is not to be had."""
        told = [cgroups.memory_of(group) for group in self.groups(name)]
        known = [used for used in told if used is not None]
        return sum(known) if known else None

    def _moving(self, name: str) -> bool:
        return name not in self._told or self._told[name]["active"] not in _RESTING

    def _sign(self, name: str) -> object:
        one = self._told.get(name, {})
        groups = self.groups(name)
        if groups:
            return [box.read(f"{self._root}{group}/cgroup.procs") for group in groups]
        return bool(one.get("pid")) and os.path.exists(f"/proc/{one['pid']}")

    def _children(self) -> object:
        """The names of all control groups beside those of the services: one more or less, and something was started or has ended."""
        parents = {os.path.dirname(group) for one in self._told.values() for group in one["cgroups"] if group}
        if "system" in self._kinds.values():
            parents.add("/system.slice")
        if "user" in self._kinds.values():
            parents.add(f"/user.slice/user-{os.getuid()}.slice/user@{os.getuid()}.service/app.slice")
        return [(parent, sorted(_listed(self._root + parent))) for parent in sorted(parents)]

    def _list_states(self, now: float) -> None:
        self._states_at = now
        self._states = services.states([name for name in self._names if self._kinds[name] != "container"])


def _listed(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
