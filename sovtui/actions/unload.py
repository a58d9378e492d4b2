"""Unload a model: its memory comes back."""

from __future__ import annotations

from sovtui.actions.guards import refuse
from sovtui.actions.loading import LOADERS, found_on, in_memory, loaded_models, said
from sovtui.actions.request import box_engine
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Cuts nothing off: a request that runs ends first. Asks where somebody has pinned it."""
    found = found_on("unload", "Unload", state, config, wish)
    if isinstance(found, Plan):
        return found
    host, engine, model = found
    title = f"Unload {model} from {engine.title or engine.name} on {wish.host}"
    there = in_memory(said(host, engine), model)
    if there is None:
        return refuse("unload", wish, title, f"{model} is not in memory")
    return Plan(
        "unload",
        wish,
        title,
        Verdict.ASK if there.pinned else Verdict.GO,
        f"{model} is pinned: somebody wants it to stay." if there.pinned else "",
        steps=(f"ask it to let {model} go, once its requests have ended", "prove that it is gone"),
        request={"kind": "unload", "target": wish.target, "plan": {**box_engine(host, engine), "model": model}},
    )


SPEC = Spec(
    id="unload",
    title="Unload model",
    key="",
    help="Let go a model of Ollama once its requests have ended; its memory comes back.",
    target="model",
    plan=plan,
    order=44,
    targets=loaded_models,
    engines=LOADERS,
)
