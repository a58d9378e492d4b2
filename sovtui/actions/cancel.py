"""Ask what runs on a host to end: what it does then is its own next step, and is told before it is asked."""

from __future__ import annotations

from dataclasses import dataclass

from sovtui.actions.guards import USAGE, bar, find, refuse, unknown_name
from sovtui.actions.spec import Plan, Spec, Verdict, Where, Wish
from sovtui.config.schema import Config
from sovtui.core.model import ActionRun, HostSpec
from sovtui.core.state import Host, State

_TOUCHES = ("stop", "gone", "memory", "drop-caches", "start", "ready", "proof", "verify")
"""Steps of a switch from which on something has been changed."""
_UNCHANGED = "Nothing has been changed yet, and nothing will be."


@dataclass(frozen=True, slots=True)
class Outlook:
    """What cancelling an action would do now."""

    refused: str = ""
    """Why it cannot be cancelled any more; empty if it can."""
    reason: str = ""
    """Whole sentences."""
    steps: tuple[str, ...] = ()


def outlook(run: ActionRun, spec: HostSpec, *, rollback: bool) -> Outlook:
    """By the steps that are known of it. `rollback`: whether the host's switches go back when they fail."""
    if not run.running:
        return Outlook("it has ended already")
    begun = [step.name for step in run.steps if step.state != "skipped"]
    if "bring-back" in begun:
        return Outlook("it is done but for what is started again, which went down with it")
    match run.kind:
        case "switch":
            return _switch(run, spec, begun, rollback)
        case "backup" if "backup" in begun:
            why = f"The backup is stopped before its end: this run leaves no good copy of {run.target}, the one before stays."
            return Outlook(reason=why, steps=("stop its unit", "wait until it is down"))
        case "load" | "pin" if run.kind in begun:
            why = f"The engine's answer is waited for; then {run.target} is unloaded again, unless it was loaded before."
            return Outlook(reason=why, steps=("wait for its answer", "unload the model again"))
        case kind if set(begun) - {"preflight"}:
            told = {"restart": "a restart", "drop-caches": "the dropping of the page cache"}.get(kind, "this")
            return Outlook(f"{told} cannot be taken back once it has begun")
    return Outlook(reason=_UNCHANGED, steps=("end it",))


def _switch(run: ActionRun, spec: HostSpec, begun: list[str], rollback: bool) -> Outlook:
    if any(name.startswith("undo-") for name in begun):
        return Outlook("it is going back already; to break that off could leave the host without a mode")
    closing = "release" in begun or (
        "verify" in begun and not any(step.state == "running" for step in run.steps) and run.steps[-1].state == "done"
    )
    if closing:
        return Outlook("it is done but for its last look")
    if not set(begun) & set(_TOUCHES):
        held = " What it holds is started again." if "hold" in begun else ""
        return Outlook(reason=_UNCHANGED + held, steps=("end it", *(("start again what it holds",) if held else ())))
    before = _before(run, spec)
    stops = "stop what it has started"
    if before == "":
        return Outlook(
            reason="What it has started is stopped. Nothing was hot before it: no mode will be loaded.", steps=(stops,)
        )
    name = before or "the mode from before"
    if not rollback:
        why = f"What it has started is stopped. {name} is not brought back, as `rollback` is off here: no mode will be loaded."
        return Outlook(reason=why, steps=(stops,))
    why = f"What it has started is stopped, and {name} is brought back. That takes as long as its start does."
    return Outlook(reason=why, steps=(stops, f"start {name} again", "prove that exactly that mode is hot"))


def _before(run: ActionRun, spec: HostSpec) -> str | None:
    """The title of the mode that was hot before, as its preflight told; empty: none was; None: it is not known."""
    told = next((step.before for step in run.steps if step.name == "preflight"), None)
    return next((mode.title or mode.name for mode in spec.modes if mode.name == told), told)


def running(host: Host) -> tuple[str, ...]:
    """Its id, where something runs that has not been asked to end."""
    run = host.action
    return (run.id,) if run is not None and run.running else ()


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Asks always, with what would happen next. An empty target: whatever runs."""
    title = f"Cancel what runs on {wish.host}"
    found = find(state, config, wish)
    if found is None:
        return refuse("cancel", wish, title, unknown_name("host", wish.host, config.host), USAGE)
    host, settings = found
    run = host.action
    if run is None or not run.running or wish.target not in ("", run.id):
        return refuse("cancel", wish, title, f"nothing that could be cancelled runs on {wish.host} now")
    title = f"Cancel {run.kind} {run.target}".rstrip() + f" on {wish.host}"
    barred = bar("cancel", title, state, wish, host)
    if barred is not None:
        return barred
    if host.cancelling == run.id:
        return refuse("cancel", wish, title, "it has been asked to end already; the actions pane shows what it does")
    seen = outlook(run, host.spec, rollback=settings.switch.rollback)
    if seen.refused:
        return refuse("cancel", wish, title, f"it cannot be cancelled any more: {seen.refused}")
    by = f" {run.who} has started it."
    return Plan(
        "cancel",
        Wish(wish.host, run.id, wish.options),
        title,
        Verdict.ASK,
        seen.reason + by,
        steps=seen.steps,
        where=Where.RUNNING,
    )


SPEC = Spec(
    id="cancel",
    title="Cancel",
    key="x",
    help="Ask the action that runs to end: it says first what that would do, stops what it started, and goes back if it must.",
    target="run",
    plan=plan,
    order=15,
    targets=running,
)
