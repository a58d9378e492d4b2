"""Let ComfyUI unload its models and release its memory."""

from __future__ import annotations

from sovtui.actions.guards import USAGE, on_box, refuse, unknown_name
from sovtui.actions.loading import UP, engines, said
from sovtui.actions.request import box_engine, consent
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config
from sovtui.core.state import Host, State

KINDS = ("comfyui",)


def names(host: Host) -> tuple[str, ...]:
    """Engines that can be asked to, and answer."""
    return tuple(one.name for one in engines(host, KINDS) if said(host, one).phase in UP)


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Cuts nothing off: it acts once its queue is empty."""
    title = f"Free the memory of {wish.target} on {wish.host}"
    found = on_box("free", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    host, _ = found
    engine = next((one for one in engines(host, KINDS) if one.name == wish.target), None)
    if engine is None:
        return refuse("free", wish, title, unknown_name("ComfyUI", wish.target, [m.name for m in engines(host, KINDS)]), USAGE)
    told = said(host, engine)
    if told.phase not in UP:
        return refuse("free", wish, title, f"{engine.title or engine.name} is not serving now: {told.reason or told.phase}")
    return Plan(
        "free",
        wish,
        title,
        Verdict.GO,
        steps=("ask it to unload its models, once its queue is empty", "see how much memory comes back"),
        request={"kind": "free", "target": wish.target, "plan": box_engine(host, engine), "consent": consent(wish)},
    )


SPEC = Spec(
    id="free",
    title="Free memory",
    key="",
    help="Let ComfyUI unload its models and release its memory; its next picture loads them again.",
    target="engine",
    plan=plan,
    order=45,
    targets=names,
    engines=KINDS,
)
