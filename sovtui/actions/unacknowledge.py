"""End the silences that hush an alert."""

from __future__ import annotations

from sovtui.actions.acknowledge import refused
from sovtui.actions.guards import refuse
from sovtui.actions.spec import Plan, Spec, Verdict, Where, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Asks if a silence is wider than this alert or was made by somebody else's hand: the comment tells."""
    title = "Unacknowledge alert"
    found = refused("unacknowledge", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    title = f"Unacknowledge {found.name}"
    if not found.silences:
        return refuse("unacknowledge", wish, title, f"{found.name} is not acknowledged")
    told = "; ".join(f"{s.author}: {s.comment}" for s in found.silences)
    return Plan(
        "unacknowledge",
        wish,
        title,
        Verdict.ASK,
        f"{len(found.silences)} silence(s) end now ({told}).",
        steps=("end every silence of this alert", "read back that it is active"),
        where=Where.ALERTS,
    )


SPEC = Spec(
    id="unacknowledge",
    title="Unacknowledge",
    key="u",
    help="End the silences of the chosen alert.",
    target="alert",
    plan=plan,
    order=60,
)
