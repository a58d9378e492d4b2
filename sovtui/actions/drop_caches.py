"""Drop the page cache of a box."""

from __future__ import annotations

from sovtui.actions.guards import on_box
from sovtui.actions.request import consent
from sovtui.actions.spec import Plan, Spec, Verdict, Wish
from sovtui.config.schema import Config
from sovtui.core.state import State


def plan(state: State, config: Config, wish: Wish) -> Plan:
    """Always harmless to data; never asks."""
    title = f"Drop the page cache of {wish.host}"
    found = on_box("drop-caches", title, state, config, wish)
    if isinstance(found, Plan):
        return found
    return Plan(
        "drop-caches",
        wish,
        title,
        Verdict.GO,
        steps=("note memory before", "sync", "drop page cache, dentries and inodes", "note memory after"),
        commands=("tee /proc/sys/vm/drop_caches",),
        request={"kind": "drop-caches", "target": "", "plan": {}, "consent": consent(wish)},
    )


SPEC = Spec(
    id="drop-caches",
    title="Drop caches",
    key="c",
    help="Write dirty pages to disk and drop the page cache, with the figures before and after.",
    target="",
    plan=plan,
    order=20,
)
