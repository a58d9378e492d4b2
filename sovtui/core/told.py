"""What has not been told yet of what a question needs: for whoever asks once and must not take silence for an answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sovtui.core.activity import NOT_TOLD_YET
from sovtui.core.model import LinkPhase, Source
from sovtui.core.state import State


def services_told(state: State, host: str, wanted: Iterable[str] | None = None) -> bool:
    """Whether each of these services (default: all of the host) is known, or it is known why it is not.

    The probe's first figures come before its services, and Prometheus may know some of them earlier.
    """
    every = state.hosts[host].services
    asked = every if wanted is None else wanted
    return _probe_failed(state, host) or all(s.active != "unknown" or s.reason for n in asked if (s := every.get(n)) is not None)


def untold(state: State) -> tuple[str, ...]:
    """What hosts that can be reached have not reported yet: services, receipts, an action that runs."""
    found: list[str] = []
    for name, host in state.hosts.items():
        if host.link.phase is not LinkPhase.UP:
            continue
        if not services_told(state, name):
            found.append(f"services of {name}")
        if not figures_told(state, name):
            found.append(f"figures of {name}")
        gpus = state.sources.get(("nvidia-smi", name))
        if gpus is not None and gpus.ok is None and not gpus.reason:
            found.append(f"nvidia-smi of {name}")
        if not host.receipts_told:
            found.append(f"receipts of {name}")
        elif host.action is None and any(run.running for run in host.receipts):
            found.append(f"the running action of {name}")
    if awaits_firing(state):
        found.append("what fires, of prometheus")
    return tuple(found)


def awaits_firing(state: State) -> bool:
    """Whether Prometheus is about to tell what fires, because Alertmanager may not know."""
    prometheus = state.sources.get(("prometheus", ""))
    return bool(state.alerts_untold) and state.firing is None and prometheus is not None and prometheus.ok is True


def needless(source: Source) -> bool:
    """Whether a source is not asked because there is nothing for it to tell: no fault, and no news."""
    return source.name == "nvidia-smi" and source.ok is None and bool(source.reason)


def source_tried(state: State, name: str, host: str = "") -> bool:
    """Whether a source has answered or failed, or is none that is configured."""
    source = state.sources.get((name, host))
    return source is None or source.ok is not None


def figures_told(state: State, host: str) -> bool:
    """Whether no engine's figures wait for what its host tells: that takes the probe a second look."""
    known = state.hosts[host]
    engines = (*known.spec.modes, *known.spec.beside)
    waits = any(known.reading("engine.running", mode.name).reason == NOT_TOLD_YET for mode in engines)
    return not waits or _probe_failed(state, host)


def _probe_failed(state: State, host: str) -> bool:
    return any(s.ok is False for s in state.sources.values() if s.host == host and s.name == "probe")
