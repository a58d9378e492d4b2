"""Acknowledge an alert: a silence of exactly this alert, with author, comment and end."""

from __future__ import annotations

from sovtui.actions.guards import USAGE, refuse
from sovtui.actions.spec import Plan, Spec, Verdict, Where, Wish
from sovtui.config.schema import Config
from sovtui.core.model import Alert, AlertState
from sovtui.core.state import State
from sovtui.core.text import duration


def find_alert(state: State, fingerprint: str) -> Alert | None:
    return next((a for a in state.alerts if a.fingerprint == fingerprint), None)


def refused(action: str, title: str, state: State, config: Config, wish: Wish) -> Plan | Alert:
    """The checks acknowledge and unacknowledge share."""
    if config.alertmanager is None:
        return refuse(action, wish, title, "no [alertmanager] is configured. Add its url to the configuration", USAGE)
    if state.read_only:
        return refuse(action, wish, title, "sovtui was started read-only. Start it without --read-only to change anything")
    alert = find_alert(state, wish.target)
    return refuse(action, wish, title, "that alert is no longer firing") if alert is None else alert


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Asks for a comment unless one is given: a silence without a reason helps nobody."""
    title = "Acknowledge alert"
    found = refused("acknowledge", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    assert config.alertmanager is not None
    title = f"Acknowledge {found.name}"
    if found.state is AlertState.ACKNOWLEDGED:
        by = found.silences[0].author if found.silences else "a silence"
        return refuse("acknowledge", wish, title, f"{found.name} is acknowledged already, by {by}")
    if "comment" in wish.options and not wish.options["comment"].strip():
        return refuse("acknowledge", wish, title, "a comment is needed: say why, for the next reader", USAGE)
    seconds = float(wish.options.get("for", config.alertmanager.acknowledge_for))
    return Plan(
        "acknowledge",
        wish,
        title,
        Verdict.GO if wish.options.get("comment") else Verdict.ASK,
        f"{found.name} is silenced for {duration(seconds)}, even if it ends and fires again in that time.",
        steps=("silence exactly this alert, by all its labels", "read back that it is silenced"),
        where=Where.ALERTS,
    )


SPEC = Spec(
    id="acknowledge",
    title="Acknowledge",
    key="a",
    help="Silence the chosen alert in Alertmanager, with author, comment and end.",
    target="alert",
    plan=plan,
    order=50,
)
