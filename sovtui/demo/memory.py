"""Memory as the kernels of the estate have it: what is held, what is cached, what dead processes have not given back."""

from __future__ import annotations

from sovtui.demo.estate import GIB, MIB, Estate

RELEASE_SECONDS = 3.0
"""How long a dead engine's memory takes to come back. Compressed: up to a minute on the real box."""


class Memory:
    """The memory of all hosts, and of a GPU that has its own."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        self.cached = {host: float(facts.cached_bytes) for host, facts in estate.hosts.items()}
        self.held: dict[str, float] = {}
        """Bytes held by the engine of a mode."""
        self._releasing: list[tuple[float, float]] = []
        """(bytes, seconds left) of dead processes."""

    def release(self, mode: str) -> None:
        """The engine of `mode` is gone: its memory comes back soon."""
        self._releasing.append((self.held.pop(mode), RELEASE_SECONDS))

    def drop_caches(self, host: str) -> float:
        """As `sync; echo 3 > /proc/sys/vm/drop_caches`. Returns the bytes that came back."""
        rest = 0.06 * self.cached[host]
        freed = self.cached[host] - rest
        self.cached[host] = rest
        return freed

    def available_bytes(self, host: str) -> float:
        facts = self._estate.hosts[host]
        return max(0.3 * GIB, facts.total_bytes - self._used_bytes(host) - 0.08 * self.cached[host])

    def gpu_used_bytes(self, host: str) -> float:
        """Of a GPU with its own memory."""
        facts = self._estate.hosts[host]
        used = facts.gpu_used_bytes + (self._held_bytes() if host == self._estate.box else 0.0)
        return min(float(facts.gpu_total_bytes or 0), used)

    def move(self, dt: float) -> None:
        if self._releasing:
            self._releasing = [(size, left - dt) for size, left in self._releasing if left > dt]
        self.cached[self._estate.box] += 0.35 * MIB * dt
        for host, facts in self._estate.hosts.items():
            room = facts.total_bytes - self._used_bytes(host) - 0.6 * 0.01 * facts.total_bytes
            self.cached[host] = max(0.1 * GIB, min(self.cached[host], room))

    def _used_bytes(self, host: str) -> float:
        used = float(self._estate.hosts[host].used_bytes)
        if host == self._estate.box and self._estate.hosts[host].gpu_total_bytes is None:
            used += self._held_bytes()
        return used

    def _held_bytes(self) -> float:
        """What modes hold, and what dead ones have not given back."""
        return sum(self.held.values()) + sum(size * left / RELEASE_SECONDS for size, left in self._releasing)
