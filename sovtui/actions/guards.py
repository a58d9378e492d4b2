"""What every guard asks first. Each returns the sentence that says why not, or an empty text."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from sovtui.actions.spec import Plan, Verdict, Wish
from sovtui.config.schema import Config, HostConfig
from sovtui.core.model import LinkPhase
from sovtui.core.state import Host, State
from sovtui.core.text import duration
from sovtui.onbox import rights
from sovtui.onbox.phrases import step as step_word

UNREACHABLE = 3
"""Exit code of a plan that fails because the host cannot be reached."""
USAGE = 2
"""Exit code of a plan for something that is not configured."""


def refuse(action: str, wish: Wish, title: str, reason: str, exit_code: int = 4) -> Plan:
    """A plan that says no."""
    return Plan(action, wish, title, Verdict.NO, reason, exit_code=exit_code)


def find(state: State, config: Config, wish: Wish) -> tuple[Host, HostConfig] | None:
    host, settings = state.hosts.get(wish.host), config.host.get(wish.host)
    return (host, settings) if host is not None and settings is not None else None


def on_box(action: str, title: str, state: State, config: Config, wish: Wish) -> Plan | tuple[Host, HostConfig]:
    """The checks all actions on a box share: configured, allowed, reachable, nothing else running."""
    found = find(state, config, wish)
    if found is None:
        return refuse(action, wish, title, unknown_name("host", wish.host, config.host), USAGE)
    host, _ = found
    barred = bar(action, title, state, wish, host)
    if barred is not None:
        return barred
    run = host.action
    if run is not None and run.running:
        step = f", at step {step_word(run.steps[-1].name)}" if run.steps else ""
        since = duration(max(0.0, (state.now - run.began_at).total_seconds()))
        what = f"{run.kind} {run.target}".strip()
        return refuse(
            action, wish, title, f"{run.who} runs {what} on {wish.host} since {since}{step}. Follow it or wait for its end"
        )
    return found


def bar(action: str, title: str, state: State, wish: Wish, host: Host) -> Plan | None:
    """Why nothing at all may be done on this host now; None if it may."""
    if state.read_only:
        return refuse(action, wish, title, "sovtui was started read-only. Start it without --read-only to change anything")
    if host.link.phase is not LinkPhase.UP:
        why = host.link.reason or f"the link is {host.link.phase}"
        return refuse(action, wish, title, f"{wish.host} cannot be reached: {why}", UNREACHABLE)
    return None


def unknown_name(what: str, name: str, known: object) -> str:
    """`no mode "qwn" is configured; did you mean "qwen"?`"""
    names = [str(n) for n in known] if isinstance(known, (list, tuple, dict, set)) else []
    hint = nearest(name, names, f"known: {', '.join(names)}" if names else "")
    return f'no {what} "{name}" is configured{hint}'


def nearest(name: str, names: Sequence[str], else_: str) -> str:
    """`; did you mean "qwen"?`, or what else there is to say."""
    near = get_close_matches(name, names, 1)
    return f'; did you mean "{near[0]}"?' if near else f"; {else_}" if else_ else ""


def unit_command(verb: str, service: str) -> str | None:
    """The privileged command that a verb on this service needs, None if it needs none."""
    if service.startswith(("user:", "container:", "compose:")):
        return None
    return f"systemctl {' '.join(rights.words(verb))} {service}"
