"""CPUs, the GPU and the lines to the hosts: how busy, how warm, how far away."""

from __future__ import annotations

import random

from sovtui.demo.estate import Estate


class Hardware:
    """The figures of all machines that are no memory."""

    def __init__(self, estate: Estate, chance: random.Random) -> None:
        self._estate = estate
        self._chance = chance
        self.cpu_use = {host: facts.cpu_ratio for host, facts in estate.hosts.items()}
        self.latency_seconds = {host: facts.latency_seconds for host, facts in estate.hosts.items()}
        self.gpu_use = 0.0
        self.gpu_watts = estate.hosts[estate.box].idle_watts
        self.gpu_celsius = estate.hosts[estate.box].idle_celsius

    def move(self, dt: float, *, working: bool, loading: bool) -> None:
        """Let time pass while an engine of the box works, loads, or does neither."""
        draw, box = self._chance.gauss, self._estate.box
        card = self._estate.hosts[box]
        use = 0.93 if working else 0.38 if loading else 0.0
        self.gpu_use += (use - self.gpu_use) * min(1.0, dt / 0.8)
        watts = card.idle_watts + (card.busy_watts - card.idle_watts) * self.gpu_use / 0.93 + (draw(0.0, 1.2) if working else 0.0)
        self.gpu_watts += (watts - self.gpu_watts) * min(1.0, dt / 1.5)
        celsius = card.idle_celsius + card.degrees_per_watt * (self.gpu_watts - card.idle_watts)
        self.gpu_celsius += (celsius - self.gpu_celsius) * dt / 40.0
        cpus, lags = self.cpu_use, self.latency_seconds
        for host, facts in self._estate.hosts.items():
            busy = 0.0 if host != box else 0.09 if working else 0.3 if loading else 0.0
            cpu = cpus[host]
            cpu += (facts.cpu_ratio + busy - cpu) * 0.5 * dt + draw(0.0, 0.006)
            cpus[host] = min(1.0, max(0.005, cpu))
            usual, lag = facts.latency_seconds, lags[host]
            lags[host] = max(0.7 * usual, lag + (usual - lag) * 0.3 * dt + draw(0.0, 0.0008))
