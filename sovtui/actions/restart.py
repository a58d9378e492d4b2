"""Restart one unit."""

from __future__ import annotations

from sovtui.actions.guards import USAGE, on_box, refuse, unit_command, unknown_name
from sovtui.actions.request import box_kept, consent
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config, HostConfig
from sovtui.core.modes import Heat, mode_views
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Asks always: a restart cuts off whatever the unit is doing. Refuses to start a mode's unit beside a hot mode."""
    title = f"Restart {wish.target} on {wish.host}"
    found = on_box("restart", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    host, settings = found
    if wish.target not in host.spec.services:
        return refuse("restart", wish, title, unknown_name("service", wish.target, list(host.spec.services)), USAGE)
    mine = [v for v in mode_views(host) if wish.target in v.mode.services]
    alien = [v for v in mode_views(host) if wish.target not in v.mode.services and v.heat in (Heat.HOT, Heat.STARTING)]
    if mine and alien and not any(v.heat in (Heat.HOT, Heat.STARTING) for v in mine):
        other = alien[0].mode
        return refuse(
            "restart",
            wish,
            title,
            f"{other.title} is hot: two modes must never be loaded. Switch to {mine[0].mode.title} instead",
        )
    reason = f"{wish.target} is stopped and started again."
    busy = next((v for v in mine if v.busy), None)
    if busy is not None:
        reason = f"{busy.mode.title} is busy: its requests would be cut off."
    if "tailscale" in wish.target.rpartition(":")[2]:
        reason += f" {_cut_off(wish.host, settings)}"
    command = unit_command("restart", wish.target)
    return Plan(
        "restart",
        wish,
        title,
        Verdict.ASK,
        reason,
        (f"busy {busy.mode.name}",) if busy is not None else (),
        steps=(f"restart {wish.target}", "wait until it is active and stays so"),
        commands=(command,) if command else (),
        request={
            "kind": "restart",
            "target": wish.target,
            "plan": {"service": wish.target, **box_kept(settings)},
            "consent": consent(wish),
        },
    )


def _cut_off(host: str, settings: HostConfig) -> str:
    """What restarting the tailnet's daemon does to the link that it is asked over."""
    after = f"The restart continues on {host}, and the link comes back by itself."
    if settings.link == "ssh" and settings.tailnet:
        return f"It will disconnect you: the link to {host} goes through it. {after}"
    if settings.link == "ssh":
        return f"If the link to {host} goes through the tailnet it will disconnect you. {after}"
    return "It disconnects everyone who uses this machine through the tailnet."


SPEC = Spec(
    id="restart",
    title="Restart unit",
    key="r",
    help="Restart the chosen unit and wait until it is active and stays so.",
    target="service",
    plan=plan,
    order=40,
)
