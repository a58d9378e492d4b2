"""Switch the box to another mode: the heart. What happens is `onbox`'s; here it is decided whether to ask first."""

from __future__ import annotations

from typing import Any

from sovtui.actions.guards import USAGE, on_box, refuse, unit_command, unknown_name
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config, HostConfig
from sovtui.core.modes import Heat, ModeView, mode_views
from sovtui.core.reading import Status
from sovtui.core.state import Host, State
from sovtui.core.text import size

NONE = "none"
"""The mode that is always there: nothing loaded."""


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """GO if the hot mode is merely resident and the new one fits as far as known; else ASK with the numbers."""
    title = f"Switch {wish.host} to {wish.target}"
    found = on_box("switch", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    host, settings = found
    modes = {mode.name: mode for mode in settings.mode}
    if wish.target != NONE and wish.target not in modes:
        return refuse("switch", wish, title, unknown_name("mode", wish.target, [*modes, NONE]), USAGE)
    if wish.target != NONE:
        title = f"Switch {wish.host} to {modes[wish.target].title or wish.target}"
    views = {view.mode.name: view for view in mode_views(host)}
    others = [view for name, view in views.items() if name != wish.target]
    doubts = [*_losses(host, others), *_memory(host, views.get(wish.target), others)]
    return Plan(
        "switch",
        wish,
        title,
        Verdict.ASK if doubts else Verdict.GO,
        " ".join(doubts),
        steps=_steps(settings, wish.target, others),
        commands=_commands(settings, wish.target),
        request={"kind": "switch", "target": wish.target, "plan": box_plan(settings, wish.target)},
    )


def box_plan(settings: HostConfig, target: str) -> dict[str, Any]:
    """What the on-box machine needs to know of this host's modes."""
    return {
        "to": target,
        "modes": [
            {"name": m.name, "services": list(m.services), "url": m.url, "engine": m.engine, "model": m.model}
            for m in settings.mode
        ],
        "floor": list(settings.switch.floor),
        "drop_caches": settings.switch.drop_caches,
        "ready_timeout_s": float(settings.switch.ready_timeout),
        "stop_timeout_s": float(settings.switch.stop_timeout),
        "rollback": settings.switch.rollback,
    }


def _losses(host: Host, others: list[ModeView]) -> list[str]:
    sentences = []
    for view in others:
        if view.heat is Heat.HOT and view.busy:
            running = host.reading("engine.running", view.mode.name).fresh_value
            waiting = host.reading("engine.waiting", view.mode.name).fresh_value
            told = [f"{count:.0f} {word}" for count, word in ((running, "running"), (waiting, "waiting")) if count]
            what = " and ".join(told) + " requests" if told else "work"
            sentences.append(f"{view.mode.title} is busy: {what} would be cut off.")
        elif view.heat is Heat.HOT and view.busy is None and view.mode.engine:
            sentences.append(f"Whether {view.mode.title} is busy cannot be told now: running requests would be cut off.")
        elif view.heat is Heat.STARTING:
            sentences.append(f"{view.mode.title} is starting: its start would be broken off.")
    return sentences


def _memory(host: Host, target: ModeView | None, others: list[ModeView]) -> list[str]:
    """A first judgement from what is known: needs against available plus what the hot modes are said to hold."""
    if target is None or target.mode.needs_bytes is None or target.heat is Heat.HOT:
        return []
    available = host.reading("memory.available_bytes")
    if available.status is not Status.FRESH or available.value is None:
        return []
    held = sum(v.mode.needs_bytes or 0 for v in others if v.heat in (Heat.HOT, Heat.STARTING, Heat.STOPPING, Heat.BROKEN))
    unknown = any(v.mode.needs_bytes is None for v in others if v.heat in (Heat.HOT, Heat.STARTING, Heat.STOPPING, Heat.BROKEN))
    short = target.mode.needs_bytes - available.value - held
    if short <= 0 or unknown:
        return []
    return [
        f"{target.mode.title} needs {size(target.mode.needs_bytes)}; {size(available.value)} are available"
        + (f" and about {size(held)} come back" if held else "")
        + f": short by {size(short)}."
    ]


def _steps(settings: HostConfig, target: str, others: list[ModeView]) -> tuple[str, ...]:
    loaded = [v for v in others if v.heat not in (Heat.COLD, Heat.UNKNOWN)]
    keep = {s for m in settings.mode if m.name == target for s in m.services} | set(settings.switch.floor)
    stop = list(dict.fromkeys(s for v in loaded for s in v.mode.services if s not in keep))
    steps = [f"stop {', '.join(stop)}" if stop else "stop whatever other mode is found running"]
    steps.append("wait until they are gone and their memory is back")
    if settings.switch.drop_caches:
        steps.append("sync and drop the page cache")
    if target != NONE:
        mode = next(m for m in settings.mode if m.name == target)
        steps.append(f"start {', '.join(mode.services)}")
        steps.append(f"wait until {mode.url or 'its units'} is ready" + (f" and lists {mode.model}" if mode.model else ""))
        steps.append(
            "prove that exactly this mode is hot"
            + ("; bring the old one back if anything fails" if settings.switch.rollback else "")
        )
    else:
        steps.append("prove that no mode is hot")
    return tuple(steps)


def _commands(settings: HostConfig, target: str) -> tuple[str, ...]:
    commands = []
    for mode in settings.mode:
        for service in mode.services:
            commands.append(unit_command("start" if mode.name == target else "stop", service))
    if settings.switch.drop_caches:
        commands.append("tee /proc/sys/vm/drop_caches")
    return tuple(dict.fromkeys(c for c in commands if c))


SPEC = Spec(
    id="switch",
    title="Switch mode",
    key="",
    help="Stop what is hot, free its memory, start another mode and prove it; roll back if that fails.",
    target="mode",
    plan=plan,
    order=10,
)
