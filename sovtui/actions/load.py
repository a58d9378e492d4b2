"""Load a model of an engine that loads by itself."""

from __future__ import annotations

from sovtui.actions.loading import LOADERS, bring, other_models
from sovtui.actions.spec import Plan, Spec, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """With `for` it also changes how long a loaded one stays."""
    return bring("load", "Load", state, config, wish)


SPEC = Spec(
    id="load",
    title="Load model",
    key="",
    help="Load a model of Ollama or llama-swap before the first request for it.",
    target="model",
    plan=plan,
    order=42,
    targets=other_models,
    engines=LOADERS,
)
