"""Switch the box to another mode: the heart. What happens is `onbox`'s; here it is decided whether to ask first."""

from __future__ import annotations

from sovtui.actions.guards import USAGE, on_box, refuse, unit_command, unknown_name
from sovtui.actions.request import box_plan, consent
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config, HostConfig
from sovtui.core.forecast import judge
from sovtui.core.model import EnginePhase, Mode
from sovtui.core.modes import Heat, ModeView, mode_views, stuck, switchable
from sovtui.core.state import Host, State
from sovtui.core.text import duration
from sovtui.onbox.insisting import PATIENCE

NONE = "none"
"""The mode that is always there: nothing loaded."""


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """GO if the hot mode is merely resident and the new one fits as far as known; else ASK with the numbers.

    ASK too where the wanted mode runs already and hangs, or has died: it is stopped, ended if need be, and started anew.
    """
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
    target = views.get(wish.target)
    hangs = stuck(target) if target is not None and target.mode.services else ""
    if hangs and target is not None:
        title = f"Start {target.mode.title} on {wish.host} again"
    lost, memory = _losses(host, others), _memory(host, target)
    losses = list(lost.values())
    anew = [_anew(target, hangs)] if target is not None and hangs else []
    return Plan(
        "switch",
        wish,
        title,
        Verdict.ASK if losses or memory or anew else Verdict.GO,
        " ".join([*anew, *losses, *memory]),
        steps=_steps(settings, wish.target, others, hangs),
        commands=_commands(settings, wish.target, [v.mode for v in views.values() if stuck(v)]),
        request={
            "kind": "switch",
            "target": wish.target,
            "plan": box_plan(settings, wish.target) | ({"stuck": hangs[:300]} if hangs else {}),
            "consent": consent(wish, lost, bool(memory), bool(hangs)),
        },
    )


def _anew(view: ModeView, why: str) -> str:
    """What is said before a mode that hangs is started anew."""
    word = "is dead" if view.phase is EnginePhase.DEAD else "hangs"
    return (
        f"{view.mode.title} {word}: {why}. It is stopped, killed if it has not ended within {PATIENCE:.0f} s, started again "
        "and asked for one token; its requests are lost."
    )


def _losses(host: Host, others: list[ModeView]) -> dict[str, str]:
    """A sentence by mode."""
    told: dict[str, str] = {}
    for view in others:
        name = view.mode.name
        if view.heat is Heat.HOT and (why := stuck(view)):
            told[name] = f"{view.mode.title} hangs: {why}. Its requests are lost."
        elif view.heat is Heat.HOT and view.busy:
            running = host.reading("engine.running", view.mode.name).fresh_value
            waiting = host.reading("engine.waiting", view.mode.name).fresh_value
            counts = [f"{count:.0f} {word}" for count, word in ((running, "running"), (waiting, "waiting")) if count]
            one = sum(count or 0 for count in (running, waiting)) == 1
            what = " and ".join(counts) + (" request" if one else " requests") if counts else "work"
            told[name] = f"{view.mode.title} is busy: {what} would be cut off."
        elif view.heat is Heat.HOT and view.busy is None and view.mode.engine:
            told[name] = f"It is not known whether {view.mode.title} is busy: running requests would be cut off."
        elif view.heat is Heat.STARTING:
            told[name] = f"{view.mode.title} is starting: its start would be cancelled."
    return told


def _memory(host: Host, target: ModeView | None) -> list[str]:
    """The box's own rule on what is known here; it is asked again there, on fresh figures."""
    if target is None or target.heat is Heat.HOT:
        return []
    told = judge(host, target.mode)
    return [told.sentence] if told.bad else []


def _steps(settings: HostConfig, target: str, others: list[ModeView], hangs: str = "") -> tuple[str, ...]:
    switch = settings.switch
    mode = next((m for m in settings.mode if m.name == target), None)
    loaded = [v for v in others if v.heat not in (Heat.COLD, Heat.UNKNOWN)]
    keep = {*(mode.services if mode else ()), *(mode.may_stay if mode else ()), *switch.floor}
    stop = list(dict.fromkeys(s for v in loaded for s in v.mode.services if s not in keep))
    again = [s for s in mode.services if s not in switch.floor] if mode is not None and hangs else []
    kill = any(stuck(v) for v in loaded) or bool(again)
    ended = f", and kill what has not ended within {PATIENCE:.0f} s" if kill else ""
    steps = [f"pause {', '.join(switch.hold)}"] if switch.hold else []
    if switch.drain_timeout:
        steps.append(f"wait up to {duration(switch.drain_timeout)} until no request runs")
    if mode is not None and mode.switch:
        if again:
            steps.append(f"stop {', '.join(again)}{ended}")
        steps.append(f"run {' '.join(mode.switch)}, for at most {duration(mode.switch_timeout)}")
        steps.append("wait until every other mode has ended")
    else:
        stop += again
        steps.append(f"stop {', '.join(stop)}{ended}" if stop else "stop whatever other mode is found running")
        steps.append("wait until they have ended and their memory is released")
        if switch.drop_caches:
            steps.append("sync and drop the page cache")
        if mode is not None:
            steps.append(f"start {', '.join(mode.services)}")
    if mode is not None:
        steps.append(f"wait until {mode.url or 'its units'} is ready" + (f" and lists {mode.model}" if mode.model else ""))
        if mode.proof or hangs:
            steps.append("ask it for one token")
        back = "try once more if anything fails" if hangs else "roll back if anything fails"
        steps.append("verify that exactly this mode is hot" + (f"; {back}" if switch.rollback else ""))
    else:
        steps.append("verify that no mode is hot")
    if switch.hold:
        steps.append("resume what was paused, whatever happens")
    return tuple(steps)


def _commands(settings: HostConfig, target: str, hanging: list[Mode]) -> tuple[str, ...]:
    switch = settings.switch
    commands = [unit_command(verb, service) for service in switch.hold for verb in ("stop", "start")]
    mine = next((m for m in settings.mode if m.name == target), None)
    hung = [s for mode in hanging for s in mode.services if s not in switch.floor]
    if mine is not None and mine.switch:
        commands += [unit_command(verb, s) for s in hung if s in mine.services for verb in ("stop", "kill")]
        return tuple(dict.fromkeys(c for c in commands if c))
    kept = {*(mine.services if mine else ()), *(mine.may_stay if mine else ()), *switch.floor}
    every = [*(s for mode in settings.mode for s in mode.services), *switch.tenants]
    commands += [unit_command("stop", service) for service in every if service not in kept]
    again = [s for s in (mine.services if mine else ()) if s in hung]
    commands += [unit_command("stop", service) for service in again]
    commands += [unit_command("kill", service) for service in hung if service in again or service not in kept]
    commands += [unit_command("start", service) for service in (mine.services if mine else ())]
    if switch.drop_caches:
        commands.append("tee /proc/sys/vm/drop_caches")
    return tuple(dict.fromkeys(c for c in commands if c))


SPEC = Spec(
    id="switch",
    title="Switch mode",
    key="",
    help="Stop what is hot, release its memory, start another mode and verify it; roll back if that fails.",
    target="mode",
    plan=plan,
    order=10,
)
