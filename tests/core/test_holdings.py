"""What holds the memory, on hosts of both kinds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sovtui.core.holdings import Held, shares
from sovtui.core.reading import Reading, fresh
from sovtui.core.state import Host, State
from sovtui.demo import scenario

GIB = 1024**3


def box(name: str = "healthy", estate: str = "spark") -> tuple[State, Host]:
    state = scenario(name, estate)
    return state, next(iter(state.hosts.values()))


@pytest.mark.parametrize("estate", ["spark", "mesh", "modes"])
@pytest.mark.parametrize("name", ["healthy", "idle", "troubled", "switching", "failed", "link-down", "alerting"])
def test_the_shares_are_the_whole(name: str, estate: str) -> None:
    _, host = box(name, estate)
    found = shares(host)
    assert sum(share.size_bytes for share in found) == pytest.approx(host.reading("memory.total_bytes").value)
    assert all(share.size_bytes > 0 for share in found)
    assert [share.kind for share in found] == sorted((s.kind for s in found), key=list(Held).index)


def test_unified_memory_names_the_tenant_and_the_floor() -> None:
    _, host = box()
    found = {share.name: share for share in shares(host)}
    assert found["qwen"].measured and found["qwen"].size_bytes == pytest.approx(host.services["vllm-qwen36.service"].memory_bytes)
    assert found["floor"].size_bytes == pytest.approx(2.6 * GIB, rel=0.01)
    blind = replace(host.services["vllm-qwen36.service"], memory_bytes=3 * GIB)
    host = replace(host, services={**host.services, blind.name: blind})
    share = next(share for share in shares(host) if share.name == "qwen")
    assert not share.measured and share.size_bytes == 60_000_000_000


def test_what_is_not_known_is_not_made_up() -> None:
    state, host = box()
    assert shares(replace(host, figures={})) == ()
    figures = {k: r for k, r in host.figures.items() if k[0] not in ("memory.droppable_bytes", "memory.cached_bytes")}
    kinds = {share.kind for share in shares(replace(host, figures=figures))}
    assert Held.STALE not in kinds and Held.CACHE not in kinds
    odd = {**host.figures, ("memory.available_bytes", ""): fresh(1e15, state.now, "probe"), ("memory.total_bytes", ""): Reading()}
    assert shares(replace(host, figures=odd)) == ()
    more = {**host.figures, ("memory.available_bytes", ""): fresh(1e15, state.now, "probe")}
    assert {share.kind for share in shares(replace(host, figures=more))} == {Held.STALE, Held.UNUSED}
