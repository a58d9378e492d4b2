"""Run a configured backup's unit and follow it."""

from __future__ import annotations

from sovtui.actions.guards import USAGE, on_box, refuse, unit_command, unknown_name
from sovtui.actions.request import box_kept, consent
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Refuses while the unit runs already; asks if the unit failed last time is not needed: running it again is the cure."""
    title = f"Run backup {wish.target} on {wish.host}"
    found = on_box("backup", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    host, settings = found
    backup = next((b for b in settings.backup if b.name == wish.target), None)
    if backup is None:
        return refuse("backup", wish, title, unknown_name("backup", wish.target, [b.name for b in settings.backup]), USAGE)
    service = host.services.get(backup.service)
    if service is not None and service.active in ("active", "activating") and service.sub != "exited":
        return refuse("backup", wish, title, f"{backup.service} is already running")
    command = unit_command("start", backup.service)
    return Plan(
        "backup",
        wish,
        title,
        Verdict.GO,
        steps=(f"start {backup.service}", "follow it to its end", "report its result"),
        commands=(command,) if command else (),
        request={
            "kind": "backup",
            "target": wish.target,
            "plan": {"service": backup.service, **box_kept(settings)},
            "consent": consent(wish),
        },
    )


SPEC = Spec(
    id="backup",
    title="Run backup",
    key="b",
    help="Start a configured backup's unit, follow it, report its result.",
    target="backup",
    plan=plan,
    order=30,
)
