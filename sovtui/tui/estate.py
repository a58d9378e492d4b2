"""The estate as lists to choose from: every host with how it is, and everything that is wrong anywhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sovtui.core import text
from sovtui.core.issues import Grade, Issue, issues, lost, of_host
from sovtui.core.model import LinkPhase
from sovtui.core.state import Host, State
from sovtui.tui import paths
from sovtui.tui.jump import letters
from sovtui.tui.panes.base import View
from sovtui.tui.panes.host import GRADES, engines_of
from sovtui.tui.panes.inference import heat_span
from sovtui.tui.present import Span
from sovtui.tui.screens.choose import Choice

PANES: Mapping[str, str] = {
    "link": "host",
    "engine": "inference",
    "floor": "services",
    "service": "services",
    "timer": "services",
    "alert": "alerts",
    "disk": "memory",
    "backup": "backups",
    "source": "alerts",
}
"""Where each kind of trouble is looked at."""


def host_word(host: Host, found: tuple[Issue, ...]) -> Span:
    """How a host is, in a word: `unreachable`, `critical`, `warning`, `info`, `ok`, or that nobody knows yet."""
    if lost(host.link):
        return "✖ unreachable", "bad"
    if host.link.phase is not LinkPhase.UP:
        return "? not reached yet", "nothing"
    worst = min((issue.grade for issue in found), default=None)
    if worst is None:
        return "● ok", "ok"
    sign, role = GRADES[worst]
    return f"{sign} {worst.word}", role


def host_choices(state: State) -> list[Choice]:
    """The hosts: state, role, link, what is hot, the worst thing. By number, by letter, by tap."""
    found = issues(state)
    by_name = {name: letter for letter, name in letters(state.hosts, taken="jkq").items()}
    choices = []
    for number, (name, host) in enumerate(state.hosts.items(), 1):
        mine = of_host(found, name)
        word, _ = host_word(host, mine)
        parts = [f"link {host.link.phase}"]
        if way := paths.in_a_list(host, state.now):
            parts = [way]
        elif host.link.phase is LinkPhase.UP and host.link.latency_seconds is not None:
            parts[0] += f" {host.link.latency_seconds * 1000:.0f} ms"
        elif host.link.since is not None and lost(host.link):
            parts[0] += f" {text.age((state.now - host.link.since).total_seconds())}"
        if engines_of(host.spec):
            parts.append(heat_span(host, state.now)[0])
        worse = [issue for issue in mine if issue.kind != "link" or issue.target]
        if worse:
            parts.append(
                f"{GRADES[worse[0].grade][0]} {worse[0].title}" + (f" and {len(worse) - 1} more" if len(worse) > 1 else "")
            )
        keys = [key for key in (str(number) if number < 10 else "", by_name.get(name, "")) if key]
        choices.append(
            Choice(name, f"{name}  {word}  ({host.spec.role}{paths.verified(host)})", ", ".join(parts), ",".join(keys))
        )
    return choices


def issue_choices(state: State) -> list[Choice]:
    """Everything that is wrong anywhere, the worst first; then what could not be judged."""
    found = issues(state)
    choices = [
        Choice(
            issue.key,
            f"{GRADES[issue.grade][0]} {issue.host + ': ' if issue.host else ''}{issue.title}",
            _note(issue, state.now),
            str(number) if number < 10 else "",
        )
        for number, issue in enumerate(found, 1)
    ]
    if not found:
        choices.append(Choice("", "● nothing is known to be wrong", enabled=False))
    for name, host in state.hosts.items():
        if host.link.phase is not LinkPhase.UP and not lost(host.link):
            choices.append(Choice("", f"? {name}: not judged, the link is {host.link.phase}", enabled=False))
    if state.alerts_at is None and any(name == "alertmanager" for name, _ in state.sources):
        choices.append(Choice("", "? alerts are not known", enabled=False))
    return choices


def _note(issue: Issue, now: datetime) -> str:
    ago = f"{text.age((now - issue.since).total_seconds())}" if issue.since is not None else ""
    return "  ".join(part for part in (ago, issue.detail) if part)


def elsewhere(view: View) -> Span:
    """How much is wrong on hosts that are not looked at, alerts aside: those are counted for all hosts anyway."""
    others = (
        []
        if len(view.state.hosts) < 2
        else [
            issue
            for issue in issues(view.state)
            if issue.host not in ("", view.host_name) and issue.kind != "alert" and issue.grade is not Grade.LOOK
        ]
    )
    if not others or view.then is not None:
        return "", "label"
    sign, role = GRADES[others[0].grade]
    return f"{sign}{len(others)} elsewhere", role
