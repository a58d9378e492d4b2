"""Switch the box to another mode: the heart. What happens is `onbox`'s; here it is decided whether to ask first."""

from __future__ import annotations

from sovtui.actions.guards import USAGE, on_box, refuse, unit_command, unknown_name
from sovtui.actions.request import box_plan
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config, HostConfig
from sovtui.core.forecast import judge
from sovtui.core.modes import Heat, ModeView, mode_views, switchable
from sovtui.core.state import Host, State
from sovtui.core.text import duration

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
    if wish.target != NONE and not modes[wish.target].services:
        why = f"what runs {modes[wish.target].title or wish.target} is not known: its mode names no `services`"
        return refuse("switch", wish, title, f"{why}; `sovtui init` proposes them", USAGE)
    if modes and not switchable(host.spec):
        why = "what runs here is not known: no mode names `services`"
        return refuse("switch", wish, title, f"{why}; `sovtui init` proposes them", USAGE)
    views = {view.mode.name: view for view in mode_views(host)}
    others = [view for name, view in views.items() if name != wish.target]
    losses, memory = _losses(host, others), _memory(host, views.get(wish.target))
    every = wish.options.get("consent") == "all"
    return Plan(
        "switch",
        wish,
        title,
        Verdict.ASK if losses or memory else Verdict.GO,
        " ".join([*losses, *memory]),
        steps=_steps(settings, wish.target, others),
        commands=_commands(settings, wish.target),
        request={
            "kind": "switch",
            "target": wish.target,
            "plan": box_plan(settings, wish.target),
            "consent": {"busy": every or bool(losses), "not_fitting": every or bool(memory)},
        },
    )


def _losses(host: Host, others: list[ModeView]) -> list[str]:
    sentences = []
    for view in others:
        if view.heat is Heat.HOT and view.busy:
            running = host.reading("engine.running", view.mode.name).fresh_value
            waiting = host.reading("engine.waiting", view.mode.name).fresh_value
            told = [f"{count:.0f} {word}" for count, word in ((running, "running"), (waiting, "waiting")) if count]
            one = sum(count or 0 for count in (running, waiting)) == 1
            what = " and ".join(told) + (" request" if one else " requests") if told else "work"
            sentences.append(f"{view.mode.title} is busy: {what} would be cut off.")
        elif view.heat is Heat.HOT and view.busy is None and view.mode.engine:
            sentences.append(f"Whether {view.mode.title} is busy cannot be told now: running requests would be cut off.")
        elif view.heat is Heat.STARTING:
            sentences.append(f"{view.mode.title} is starting: its start would be broken off.")
    return sentences


def _memory(host: Host, target: ModeView | None) -> list[str]:
    """The box's own rule on what is known here; it is asked again there, on fresh figures."""
    if target is None or target.heat is Heat.HOT:
        return []
    told = judge(host, target.mode)
    return [told.sentence] if told.bad else []


def _steps(settings: HostConfig, target: str, others: list[ModeView]) -> tuple[str, ...]:
    switch = settings.switch
    mode = next((m for m in settings.mode if m.name == target), None)
    loaded = [v for v in others if v.heat not in (Heat.COLD, Heat.UNKNOWN)]
    keep = {*(mode.services if mode else ()), *(mode.may_stay if mode else ()), *switch.floor}
    stop = list(dict.fromkeys(s for v in loaded for s in v.mode.services if s not in keep))
    steps = [f"hold {', '.join(switch.hold)}"] if switch.hold else []
    if switch.drain_timeout:
        steps.append(f"wait up to {duration(switch.drain_timeout)} until no request runs")
    if mode is not None and mode.switch:
        steps.append(f"run {' '.join(mode.switch)}, for at most {duration(mode.switch_timeout)}")
        steps.append("wait until every other mode is gone")
    else:
        steps.append(f"stop {', '.join(stop)}" if stop else "stop whatever other mode is found running")
        steps.append("wait until they are gone and their memory is back")
        if switch.drop_caches:
            steps.append("sync and drop the page cache")
        if mode is not None:
            steps.append(f"start {', '.join(mode.services)}")
    if mode is not None:
        steps.append(f"wait until {mode.url or 'its units'} is ready" + (f" and lists {mode.model}" if mode.model else ""))
        if mode.proof:
            steps.append("ask it for one token")
        steps.append(
            "prove that exactly this mode is hot" + ("; bring the old one back if anything fails" if switch.rollback else "")
        )
    else:
        steps.append("prove that no mode is hot")
    if switch.hold:
        steps.append("release what was held, whatever happened")
    return tuple(steps)


def _commands(settings: HostConfig, target: str) -> tuple[str, ...]:
    switch = settings.switch
    commands = [unit_command(verb, service) for service in switch.hold for verb in ("stop", "start")]
    mine = next((m for m in settings.mode if m.name == target), None)
    if mine is not None and mine.switch:
        return tuple(dict.fromkeys(c for c in commands if c))
    kept = {*(mine.services if mine else ()), *(mine.may_stay if mine else ()), *switch.floor}
    every = [*(s for mode in settings.mode for s in mode.services), *switch.tenants]
    commands += [unit_command("stop", service) for service in every if service not in kept]
    commands += [unit_command("start", service) for service in (mine.services if mine else ())]
    if switch.drop_caches:
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
