"""Load a model and keep it in memory until it is unloaded."""

from __future__ import annotations

from sovtui.actions.loading import PINNERS, bring, unpinned_models
from sovtui.actions.spec import Plan, Spec, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """As a load; a request that names another end undoes it, as does unloading."""
    return bring("pin", "Pin", state, config, wish)


SPEC = Spec(
    id="pin",
    title="Pin model",
    key="",
    help="Keep a model of Ollama in memory until it is unloaded.",
    target="model",
    plan=plan,
    order=43,
    targets=unpinned_models,
    engines=PINNERS,
)
