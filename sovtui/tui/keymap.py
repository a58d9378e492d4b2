"""Which key means what now, decided without the framework: from the actions' SPECs, the configuration and the state.

Loads no framework either: what checks a configuration asks here which keys there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.core.forecast import forecast_view
from sovtui.core.model import AlertState
from sovtui.core.modes import Heat, mode_views, switchable

if TYPE_CHECKING:
    from sovtui.tui.panes.base import View

NONE = "none"
SHORT = {"acknowledge": "ack", "unacknowledge": "unack"}
"""Words of the key bar where the id is too long: those of the command line."""

SCREEN: tuple[tuple[str, str, str, str], ...] = (
    ("logs", "l", "Logs", "Follow the log of the chosen service, or of the hot mode."),
    ("filter", "/", "Filter", "Show only the entries that contain a text, in the current pane."),
    ("open", "o", "Open", "The chosen entry in full: why a unit failed, every step of an action. Enter does the same."),
    ("copy", "y", "Copy", "Put a figure, a line or a receipt on the terminal's clipboard."),
    ("jump", "g", "Jump", "Every pane shows a letter; that letter goes there, and g again to the first line."),
    ("zoom", "z", "Zoom", "One pane on the whole screen; Escape leaves."),
    ("host", "h", "Host", "Choose another host: its state, its link, what is hot, its worst issue."),
    ("issues", "i", "Issues", "Every issue on any host, the worst first; Enter goes there."),
    ("link", "n", "Link", "How this host is reached: path, round trip, bytes sent and received."),
    ("metered", "m", "Metered", "Save data on this host's link: one update every ten seconds. The same key again: as usual."),
    (
        "travel",
        "t",
        "Rewind",
        "Back in time: all panes show an earlier moment, actions are off. The same key, or Escape, returns.",
    ),
    ("help", "?", "Help", "Every key and what it does; F1 does the same."),
    ("palette", ":", "Commands", "Find any command by its name; ctrl+p does the same."),
    ("quit", "q", "Quit", "Quit. Running actions continue on the box."),
)
"""What concerns the screen alone: (id, key, title, help)."""

LOCAL: tuple[tuple[str, str, str, str, str], ...] = (
    (
        "log",
        "pause",
        "p",
        "Pause",
        "Pause the log; new lines are counted and shown afterwards. Space does the same.",
    ),
    ("log", "wrap", "w", "Wrap", "Long lines wrapped, or cut."),
    (
        "log",
        "fold",
        "f",
        "Fold",
        "Lines in full with every health-check request; or, as at first, without each engine's own prefix and with such requests counted.",
    ),
    ("log", "last-error", "e", "Error", "Go to the last error above; again for the one before it."),
    ("log", "action-start", "s", "Action", "Where the last action on this host began."),
)
"""What concerns one pane alone: (pane, id, key, title, help)."""

FIXED = frozenset(
    {"tab", "shift+tab", "enter", "escape", "space", "up", "down", "left", "right", "pageup", "pagedown", "home", "end"}
    | {"j", "k", "G", "ctrl+c", "ctrl+p", "f1", *"0123456789"}
)
"""Keys that mean the same everywhere and cannot be given to anything else."""

WORDS = {"palette": "All commands", "travel": "Go back in time", "link": "Link details", "metered": "Metered link, on or off"}
"""In full, where the title does not say it."""

MOVES: tuple[tuple[str, str], ...] = (
    ("Tab, Shift+Tab", "next, previous pane"),
    ("↑ ↓, j k, PgUp PgDn, Home, G", "move in a list or in the log"),
    ("Enter", "open the chosen entry; in a pane without entries: zoom"),
    ("Escape", "back: closes a dialog, clears a filter, leaves the zoom"),
    ("← →", "in the log: move sideways along cut lines"),
    ("tap", "a row: choose it, the chosen row: open it; a mode: switch to it"),
    ("← →  [ ]  { }", "back in time: 10 s, 1 min, 10 min earlier or later"),
    (", .  m  Home End", "back in time: event before, after; list of events; oldest, newest"),
)


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be done now."""

    id: str
    """Of the action or the screen command."""
    key: str
    title: str
    """Short, for the key bar."""
    words: str
    """In full, for palette and menu."""
    help: str
    target: str = ""
    refused: str = ""
    """Why not now; empty if it can be done."""
    danger: bool = False
    choose: bool = False
    """There are several targets: ask which."""

    @property
    def name(self) -> str:
        """Identity over id and target."""
        return f"{self.id} {self.target}".strip()


def key_of(id: str, default: str, overrides: Mapping[str, str]) -> str:
    return overrides.get(id, default)


def actions(
    view: View,
    specs: Mapping[str, Spec],
    plan: Callable[[str, Wish], Plan],
    chosen: Mapping[str, str],
    *,
    exact: bool = False,
) -> list[Key]:
    """Every action that applies to this host, with its target as chosen in the panes, and why not if it is refused now.

    With `exact` the target is meant as it stands: nothing is to be chosen any more.
    """
    overrides = view.config.screen.keys
    found: list[Key] = []
    for spec in specs.values():
        if spec.dangerous and view.state.read_only:
            continue
        key = key_of(spec.id, spec.key, overrides)
        if spec.target == "mode":
            found += _modes(view, spec, plan)
            continue
        target = chosen.get(spec.target, "")
        if spec.targets is not None and not exact:
            found += _several(view, spec, plan, key)
            continue
        if spec.target and not target:
            continue
        if not _applies(view, spec, target):
            continue
        choose = not exact and spec.target == "backup" and view.host is not None and len(view.host.backups) > 1
        title, words = _titles(view, spec, "" if choose else target)
        made = _key(view, spec, plan, key, title, words, target)
        found.append(replace(made, choose=True, words=f"{words}…") if choose else made)
    return found


def _several(view: View, spec: Spec, plan: Callable[[str, Wish], Plan], key: str) -> list[Key]:
    """One key for all its targets: which one is asked, if there are several."""
    targets = spec.targets(view.host) if spec.targets is not None and view.host is not None else ()
    if not targets:
        return []
    if len(targets) == 1:
        return [_key(view, spec, plan, key, *_titles(view, spec, targets[0]), targets[0])]
    return [Key(spec.id, key, spec.id, f"{spec.title}…", spec.help, targets[0], danger=spec.dangerous, choose=True)]


def _applies(view: View, spec: Spec, target: str) -> bool:
    host = view.host
    if host is None:
        return False
    if spec.targets is not None:
        return target in spec.targets(host)
    if spec.target == "alert":
        alert = next((a for a in view.state.alerts if a.fingerprint == target), None)
        if alert is None or view.config.alertmanager is None:
            return False
        hushed = alert.state is AlertState.ACKNOWLEDGED
        return hushed if spec.id == "unacknowledge" else not hushed
    return bool(spec.target) or host.spec.role == "box" or bool(host.spec.modes)


def _titles(view: View, spec: Spec, target: str) -> tuple[str, str]:
    """(for the key bar, in full)."""
    short = SHORT.get(spec.id, spec.id.split("-")[0])
    run = view.host.action if view.host is not None else None
    if spec.target == "run" and run is not None:
        return short, f"{spec.title}: {run.kind} {run.target}".rstrip()
    if spec.target == "alert":
        alert = next((a for a in view.state.alerts if a.fingerprint == target), None)
        return short, f"{spec.title}: {alert.name if alert else target}"
    return short, f"{spec.title}: {target}" if target else spec.title


def _key(view: View, spec: Spec, plan: Callable[[str, Wish], Plan], key: str, title: str, words: str, target: str) -> Key:
    made = plan(spec.id, Wish(view.host_name, target))
    refused = made.reason if made.verdict is Verdict.NO else ""
    return Key(spec.id, key, title, words, spec.help, target, refused, spec.dangerous)


def _modes(view: View, spec: Spec, plan: Callable[[str, Wish], Plan]) -> list[Key]:
    host = view.host
    if host is None or not switchable(host.spec):
        return []
    keys = []
    for found in mode_views(host):
        mode = found.mode
        state = f" ({found.word})" if found.heat is not Heat.COLD else ""
        key = _key(view, spec, plan, mode.key, mode.name, f"Switch to {mode.title}{state}", mode.name)
        keys.append(replace(key, help=forecast_view(host, mode)[1] or spec.help))
    return [*keys, _key(view, spec, plan, "0", NONE, "Switch to none: nothing loaded", NONE)]


def screen_keys(view: View | None, overrides: Mapping[str, str]) -> list[Key]:
    """What concerns the screen alone and applies now."""
    several = view is not None and len(view.state.hosts) > 1
    return [
        Key(id, key_of(id, key, overrides), title, WORDS.get(id, title), help)
        for id, key, title, help in SCREEN
        if id != "host" or several
    ]


def local_keys(pane: str, overrides: Mapping[str, str]) -> list[Key]:
    """What concerns this pane alone; with an empty name: what concerns any pane alone, with the pane in words."""
    return [
        Key(id, key_of(id, key, overrides), title, title if pane else f"{of.capitalize()}: {title.lower()}", help, of)
        for of, id, key, title, help in LOCAL
        if pane in ("", of)
    ]


def default_keys(specs: Mapping[str, Spec]) -> dict[str, str]:
    """Every id that `[screen.keys]` may name, with its key."""
    return {
        **{spec.id: spec.key for spec in specs.values()},
        **{id: key for id, key, _, _ in SCREEN},
        **{id: key for _, id, key, _, _ in LOCAL},
    }


def matches(key: str, pressed: str, character: str | None) -> bool:
    """Whether what was pressed is this key: a character (`?`), a name (`ctrl+x`), or several with commas."""
    if not key:
        return False
    if character is not None and key == character:
        return True
    return pressed in [part.strip() for part in key.split(",")] if len(key) > 1 else False
