"""Unload a model: its memory comes back."""

from __future__ import annotations

from sovtui.actions.guards import refuse
from sovtui.actions.loading import LOADERS, PINNERS, cut_off, found_on, in_memory, loaded_models, said
from sovtui.actions.request import box_engine, consent
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State
from sovtui.onbox.loaded import CUTS


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Asks where somebody has pinned it, and where the engine would cut its requests off instead of waiting for them."""
    found = found_on("unload", "Unload", state, config, wish)
    if isinstance(found, Plan):
        return found
    host, engine, model = found
    title = f"Unload {model} from {engine.title or engine.name} on {wish.host}"
    there = in_memory(said(host, engine), model)
    if there is None:
        return refuse("unload", wish, title, f"{model} is not in memory")
    pinned = there.pinned and engine.engine in PINNERS
    loss = cut_off(host, engine, model)
    when = "at once" if engine.engine in CUTS else "once its requests have ended"
    return Plan(
        "unload",
        wish,
        title,
        Verdict.ASK if pinned or loss else Verdict.GO,
        f"{model} is pinned: it is meant to stay." if pinned else loss,
        (f"pinned {model}",) if pinned else (),
        steps=(f"ask it to unload {model}, {when}", "verify that it is unloaded"),
        request={
            "kind": "unload",
            "target": wish.target,
            "plan": {**box_engine(host, engine), "model": model},
            "consent": consent(wish, [engine.name] if loss else ()),
        },
    )


SPEC = Spec(
    id="unload",
    title="Unload model",
    key="",
    help="Unload a model of Ollama or llama-swap; its memory is released.",
    target="model",
    plan=plan,
    order=44,
    targets=loaded_models,
    engines=LOADERS,
)
