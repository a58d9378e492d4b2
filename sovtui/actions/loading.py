"""What load, unload, pin and free share: which engines and models there are, and what each guard asks first. No action by itself."""

from __future__ import annotations

from typing import Any

from sovtui.actions.guards import USAGE, nearest, on_box, refuse
from sovtui.actions.request import ROUTERS, box_engine, consent
from sovtui.actions.spec import Plan, Verdict, Wish
from sovtui.config.schema import Config
from sovtui.core.forecast import model_forecast
from sovtui.core.model import SERVING, Engine, EnginePhase, Mode, Part
from sovtui.core.modes import Heat, mode_view
from sovtui.core.serving import NAMES
from sovtui.core.state import Host, State
from sovtui.onbox.loaded import CUTS
from sovtui.onbox.plan import WHO_CAN

LOADERS = WHO_CAN["load"]
"""Engines that load and unload models when they are asked to."""
PINNERS = WHO_CAN["pin"]
"""Those that can also be asked how long one stays."""
UP = (*SERVING, EnginePhase.ASLEEP)


def engines(host: Host, kinds: tuple[str, ...]) -> tuple[Mode, ...]:
    """Engines of these kinds on a host, each address once."""
    found = {one.url: one for one in reversed((*host.spec.modes, *host.spec.beside)) if one.engine in kinds and one.url}
    return tuple(one for one in (*host.spec.modes, *host.spec.beside) if found.get(one.url) is one)


def said(host: Host, engine: Mode) -> Engine:
    return host.engines.get(engine.name, Engine())


def in_memory(engine: Engine, model: str) -> Part | None:
    """The model among those that are loaded, or on their way there."""
    return next((part for part in engine.parts if part.name in spellings(model) and part.state != "stopping"), None)


def spellings(model: str) -> tuple[str, ...]:
    """A name without a tag means `latest`."""
    return (model,) if ":" in model.rpartition("/")[2] else (model, f"{model}:latest")


def loaded_models(host: Host) -> tuple[str, ...]:
    """`ENGINE/MODEL` of all that is in memory."""
    return tuple(f"{one.name}/{part.name}" for one in engines(host, LOADERS) for part in said(host, one).parts)


def other_models(host: Host, kinds: tuple[str, ...] = LOADERS) -> tuple[str, ...]:
    """`ENGINE/MODEL` of all that could be loaded and is not."""
    return tuple(
        f"{one.name}/{part.name}"
        for one in engines(host, kinds)
        for part in said(host, one).installed
        if part.state != "remote" and in_memory(said(host, one), part.name) is None
    )


def unpinned_models(host: Host) -> tuple[str, ...]:
    """`ENGINE/MODEL` of all that does not stay for ever."""
    loaded = tuple(
        f"{one.name}/{part.name}"
        for one in engines(host, PINNERS)
        for part in said(host, one).parts
        if not part.pinned and part.state != "remote"
    )
    return (*loaded, *other_models(host, PINNERS))


def found_on(action: str, verb: str, state: State, config: Config, wish: Wish) -> Plan | tuple[Host, Mode, str]:
    """The checks that all actions on a model share: an engine that answers, a model that it has."""
    name, _, model = wish.target.partition("/")
    title = f"{verb} {model or wish.target} on {wish.host}"
    found = on_box(action, title, state, config, wish)
    if isinstance(found, Plan):
        return found
    host, _ = found
    engine = next((one for one in engines(host, LOADERS) if one.name == name), None)
    if engine is None or not model:
        there = ", ".join(one.name for one in engines(host, LOADERS))
        none = "neither an Ollama nor a llama-swap is configured here: add a [[host.NAME.engine]]"
        why = f"Engines that load models: {there}" if there else none
        return refuse(action, wish, title, f'"{wish.target}" is no ENGINE/MODEL of {wish.host}. {why}', USAGE)
    title = f"{verb} {model} in {engine.title or engine.name} on {wish.host}"
    told = said(host, engine)
    if engine.engine not in PINNERS and (action == "pin" or "for" in wish.options):
        why = f"how long a model of {NAMES[engine.engine]} stays is said in its own configuration, as ttl"
        return refuse(action, wish, title, why, USAGE)
    if told.phase not in UP:
        return refuse(action, wish, title, f"{engine.title or engine.name} is not serving now: {told.reason or told.phase}")
    known = [part.name for part in (*told.installed, *told.parts)]
    if known and not any(spelling in known for spelling in spellings(model)):
        hint = nearest(model, known, f"it has: {', '.join(known[:5])}{', …' if len(known) > 5 else ''}")
        return refuse(action, wish, title, f'{engine.title or engine.name} has no model "{model}"{hint}', USAGE)
    if any(part.state == "remote" and part.name in spellings(model) for part in told.installed):
        return refuse(action, wish, title, f"{model} runs elsewhere: there is nothing to load here", USAGE)
    return host, engine, model


def bring(action: str, verb: str, state: State, config: Config, wish: Wish) -> Plan:
    """Load or pin: asks where others are at work, or where it would not fit, with the numbers."""
    found = found_on(action, verb, state, config, wish)
    if isinstance(found, Plan):
        return found
    host, engine, model = found
    title = f"{verb} {model} in {engine.title or engine.name} on {wish.host}"
    told = said(host, engine)
    there, keep = in_memory(told, model), wish.options.get("for")
    if there is not None and (there.pinned if action == "pin" else keep is None):
        return refuse(
            action, wish, title, f"{model} is {'pinned' if there.pinned and engine.engine in PINNERS else 'loaded'} already"
        )
    busy, memory = ({}, "") if there is not None else (_busy(host, engine), "")
    size = next((part.size_bytes for part in told.installed if part.name in spellings(model)), None)
    size = size or needed(host, engine, model)
    others = [part.name for part in told.parts if part.name not in spellings(model)] if engine.engine in CUTS else []
    if there is None:
        fit = model_forecast(host, model, size)
        worse = "What does not fit is computed on the CPU, many times slower."
        if engine.engine in CUTS:
            worse = f"It may fit once {', '.join(others)} has been unloaded." if others else ""
        memory = f"{fit.sentence} {worse}".strip() if fit.bad else ""
    settings = config.host[wish.host]
    plan: dict[str, Any] = {**box_engine(host, engine), "model": model, "memory": settings.memory}
    plan["timeout_s"] = float(settings.switch.ready_timeout)
    extra = {"needs_bytes": size, "reserve_bytes": settings.switch.reserve, "keep_s": None if keep is None else float(keep)}
    plan.update({key: value for key, value in extra.items() if value is not None})
    how = (
        "until it is unloaded"
        if action == "pin"
        else f"for {float(keep):.0f} s without a request"
        if keep
        else "for its default time"
    )
    return Plan(
        action,
        wish,
        title,
        Verdict.ASK if busy or memory else Verdict.GO,
        " ".join([*busy.values(), *([memory] if memory else [])]),
        steps=(
            *(("check what is busy, and whether it fits",) if there is None else ()),
            *(
                (
                    f"ask {NAMES[engine.engine]} for {model}: what it replaces is unloaded once its requests have ended",
                    "verify that it runs",
                )
                if engine.engine in CUTS
                else (f"ask {NAMES[engine.engine]} to keep {model} {how}", "verify that it is in memory, and where")
            ),
        ),
        request={
            "kind": action,
            "target": wish.target,
            "plan": plan,
            "consent": consent(wish, busy, bool(memory)),
        },
    )


def needed(host: Host, engine: Mode, model: str) -> int | None:
    """What a mode of the same address says that this model takes, in bytes."""
    same = (mode for mode in host.spec.modes if mode.url == engine.url and mode.model == model)
    return next((mode.needs_bytes for mode in same if mode.needs_bytes), None)


def cut_off(host: Host, engine: Mode, model: str) -> str:
    """What an unload would cut off; empty where it waits, or where nothing runs."""
    if engine.engine not in CUTS:
        return ""
    name = NAMES[engine.engine]
    running, waiting = (host.reading(f"engine.{what}", engine.name) for what in ("running", "waiting"))
    count = (running.fresh_value or 0) + (waiting.fresh_value or 0)
    if count:
        what = f"{count:.0f} {'request' if count == 1 else 'requests'}"
        return f"{name} is busy with {what} and does not wait for them: those of {model} would be cut off."
    if running.fresh_value is None:
        return f"Whether {model} is busy is not known, and {name} does not wait: its requests would be cut off."
    return ""


def _busy(host: Host, engine: Mode) -> dict[str, str]:
    """A sentence by mode or engine."""
    told: dict[str, str] = {}
    for one in (*host.spec.modes, *host.spec.beside):
        if one.url == engine.url or one.engine in ROUTERS:
            continue
        view = mode_view(host, one)
        if view.heat is Heat.HOT and view.busy:
            told[one.name] = f"{one.title or one.name} is busy: it would be slowed down."
        elif view.heat is Heat.STARTING:
            told[one.name] = f"{one.title or one.name} is starting: the memory that it needs might be taken."
    return told
