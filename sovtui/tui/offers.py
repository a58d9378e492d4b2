"""What the room can offer beyond its key bar: every action on every target, menus, the words at the end. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from sovtui.actions.spec import Plan, Spec, Wish
from sovtui.tui.keymap import Key, actions, screen_keys
from sovtui.tui.panes.base import Pane, View
from sovtui.tui.screens.choose import Choice


def every_key(view: View, specs: Mapping[str, Spec], plan: Callable[[str, Wish], Plan]) -> list[Key]:
    """As the keys of the bar, but for every target instead of the chosen one."""
    host = view.host
    keys: dict[str, Key] = {}
    rounds: list[dict[str, str]] = [{}]
    if host is not None:
        rounds += [{"service": name} for name in host.services]
        rounds += [{"backup": name} for name in host.backups]
        rounds += [{"alert": alert.fingerprint} for alert in view.state.alerts]
        several = {(spec.target, target): None for spec in specs.values() if spec.targets for target in spec.targets(host)}
        rounds += [{kind: target} for kind, target in several]
    for chosen in rounds:
        for key in actions(view, specs, plan, chosen, exact=True):
            keys.setdefault(key.name, key)
    for key in screen_keys(view, view.config.screen.keys):
        keys.setdefault(key.name, key)
    return list(keys.values())


def menu_choices(keys: Iterable[Key], panes: Mapping[str, Pane]) -> list[Choice]:
    """All keys and panes as one list to tap."""
    choices = [
        # q leaves this list, as it leaves every other: it does not leave the program from here
        Choice(f"key {k.name}", k.words, k.refused or k.help, "" if k.key == "q" else k.key, not k.refused)
        for k in keys
    ]
    return choices + [Choice(f"pane {name}", f"Show {pane.TITLE.lower()}") for name, pane in panes.items()]


def target_choices(view: View, spec: Spec) -> list[Choice]:
    """What an action with several targets can be applied to."""
    if view.host is None:
        return []
    if spec.targets is not None:
        told = [(target, target.partition("/")[2] or target, target.partition("/")[0]) for target in spec.targets(view.host)]
        told = [(target, name, f"in {engine}" if name != target else "") for target, name, engine in told]
    else:
        told = [(backup.name, backup.name, backup.service) for backup in view.host.backups.values()]
    return [Choice(target, name, help, str(i) if i < 10 else "") for i, (target, name, help) in enumerate(told, 1)]


def farewell(view: View | None) -> str | None:
    """What to say after the room is closed: what goes on without it."""
    hosts = view.state.hosts.items() if view else ()
    running = [(name, host.action) for name, host in hosts if host.action and host.action.running]
    lines = [f"{run.kind} {run.target} continues on {name}. Follow it: sovtui follow {run.id}" for name, run in running]
    return "\n".join(lines) or None
