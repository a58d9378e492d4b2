"""Every scenario is a state that the core's own rules agree with."""

from __future__ import annotations

import functools

import pytest

from sovtui.config.load import loads
from sovtui.config.show import config_text
from sovtui.core.catalog import CATALOG, stale_after
from sovtui.core.clean import clean
from sovtui.core.issues import backup_word, issues
from sovtui.core.model import AlertState, LinkPhase
from sovtui.core.modes import Heat, beside_views, hot_modes, mode_views, unified
from sovtui.core.reading import Status
from sovtui.core.state import State
from sovtui.demo import PICTURE_TIME, SCENARIOS, build, still
from sovtui.demo import scenario as made
from sovtui.demo.estate import estate, names
from sovtui.demo.feed import estate_in


@functools.cache
def scenario(name: str, estate: str = "spark") -> State:
    """Made once: a state never changes, and `made` is compared with it where that matters."""
    return made(name, estate)


def heats(state: State) -> dict[str, Heat]:
    return {view.mode.name: view.heat for view in mode_views(state.hosts["spark"])}


def words(state: State) -> dict[str, str]:
    return {view.mode.name: view.word for view in mode_views(state.hosts["spark"])}


@pytest.mark.parametrize("name", SCENARIOS)
def test_is_the_same_every_time_and_at_the_picture_time(name: str):
    assert made(name) == scenario(name)
    assert scenario(name).now == PICTURE_TIME
    assert scenario(name).demo


@pytest.mark.parametrize("name", SCENARIOS)
def test_holds_only_figures_of_the_catalogue_and_tells_their_age_truly(name: str):
    state = scenario(name)
    for host in state.hosts.values():
        for (figure, _), reading in host.figures.items():
            assert figure in CATALOG
            if reading.status is Status.FRESH:
                assert reading.source == "demo"
                age = reading.age_seconds(state.now)
                assert age is not None and age <= stale_after(figure)
        for points in host.curves.values():
            assert [at for at, _ in points] == sorted({at for at, _ in points})
            assert not points or points[-1][0] <= state.now.timestamp()


@pytest.mark.parametrize("name", SCENARIOS)
def test_never_shows_two_hot_modes(name: str):
    assert len(hot_modes(scenario(name).hosts["spark"])) <= 1


@pytest.mark.parametrize("name", SCENARIOS)
def test_all_text_is_clean(name: str):
    for alert in scenario(name).alerts:
        for text in (alert.name, alert.summary, *(s.comment for s in alert.silences)):
            assert text == clean(text)


def test_healthy():
    state = scenario("healthy")
    assert words(state) == {"qwen": "busy", "mistral": "cold", "mistral-safer": "cold", "image": "cold"}
    host = state.hosts["spark"]
    assert 50 < (host.reading("engine.decode_tok_s", "qwen").fresh_value or 0) < 66
    assert len(host.curves[("engine.decode_tok_s", "qwen")]) == 600
    assert host.reading("gpu.memory_total_bytes", "0").status is Status.UNSUPPORTED
    assert unified(host)
    assert all(h.link.phase is LinkPhase.UP for h in state.hosts.values())


@pytest.mark.parametrize("name", ["healthy", "idle"])
@pytest.mark.parametrize("where", ["spark", "mesh", "modes"])
def test_a_healthy_estate_has_nothing_wrong_with_it(where: str, name: str):
    state = scenario(name, where)
    assert not issues(state), [issue.title for issue in issues(state)]
    assert {alert.state for alert in state.alerts} <= {AlertState.ACKNOWLEDGED}
    for host in state.hosts.values():
        assert not any(service.restarts for service in host.services.values())
        assert not any(part.trouble for engine in host.engines.values() for part in engine.parts)
        assert {run.outcome for run in host.receipts} <= {"done"}


@pytest.mark.parametrize("name", ["switching", "failed", "link-down"])
def test_what_a_scenario_is_not_about_is_well(name: str):
    state = scenario(name)
    assert {alert.state for alert in state.alerts} == {AlertState.ACKNOWLEDGED}
    failed = {service.name for service in state.hosts["spark"].services.values() if service.active == "failed"}
    assert failed == ({"container:sglang-mistral4-safer"} if name == "failed" else set())


def test_a_troubled_estate_has_something_for_every_pane():
    state = scenario("troubled")
    assert {"backup", "service", "alert", "disk"} <= {issue.kind for issue in issues(state)}
    assert {a.state for a in state.alerts} == {AlertState.ACTIVE, AlertState.ACKNOWLEDGED}
    assert backup_word(state.hosts["spark"].backups["nas"], state.now) == "late"
    assert issues(scenario("troubled", "mesh")) and issues(scenario("troubled", "modes"))


@pytest.mark.parametrize("where", ["spark", "mesh", "modes"])
def test_hostile_text_is_in_one_scenario_alone_and_in_no_state(where: str):
    for name in SCENARIOS:
        of = estate_in(where, name)
        raw = [alert.summary + alert.name for alert in of.usual_alerts(PICTURE_TIME)]
        raw += [facts.description for host in of.hosts.values() for facts in host.services.values()]
        assert any("\x1b" in text or "\u202e" in text for text in raw) == (name == "hostile"), name
    host = scenario("hostile", where).hosts[estate(where).box]
    for text in [alert.summary + alert.name for alert in scenario("hostile", where).alerts]:
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert not any("\x1b" in service.description for service in host.services.values())
    config = estate_in(where, "hostile").config
    assert set(loads(config_text(config)).host) == set(config.host), "its odd names are allowed in a configuration"


def test_idle_is_resident():
    assert words(scenario("idle"))["qwen"] == "resident"


def test_switching_is_ten_seconds_in():
    state = scenario("switching")
    run = state.hosts["spark"].action
    assert run is not None and run.running
    assert (state.now - run.began_at).total_seconds() == 10
    assert heats(state) == {"qwen": Heat.COLD, "mistral": Heat.STARTING, "mistral-safer": Heat.COLD, "image": Heat.COLD}


def test_failed_shows_a_rolled_back_switch():
    state = scenario("failed")
    run = state.hosts["spark"].action
    assert run is not None and run.outcome == "rolled-back"
    assert "out of memory" in run.reason
    assert heats(state)["qwen"] is Heat.HOT
    assert state.hosts["spark"].receipts[0] == run


def test_link_down_keeps_the_last_values_with_their_age():
    state = scenario("link-down")
    host = state.hosts["spark"]
    assert host.link.phase is LinkPhase.DOWN
    assert host.link.since is not None and (state.now - host.link.since).total_seconds() == 42
    reading = host.reading("memory.available_bytes")
    assert reading.status is Status.STALE and reading.value is not None and reading.age_seconds(state.now) == 42
    assert not any(r.status is Status.FRESH for r in host.figures.values())
    assert all(s.reason for s in host.services.values())
    assert state.hosts["mgmt"].link.phase is LinkPhase.UP
    assert state.alerts


def test_alerting():
    state = scenario("alerting")
    assert sum(a.severity == "critical" for a in state.alerts) == 3
    assert heats(state)["qwen"] is Heat.BROKEN
    assert state.hosts["edge"].link.phase is LinkPhase.DOWN


def test_empty_knows_nothing():
    state = scenario("empty")
    assert set(heats(state).values()) == {Heat.UNKNOWN}
    assert not state.alerts and state.alerts_at is None
    assert not any(host.figures for host in state.hosts.values())


def test_names_that_do_not_exist_are_told():
    with pytest.raises(ValueError, match="healthy"):
        scenario("sunny")
    with pytest.raises(ValueError, match="spark"):
        build("attic")


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_still_hub_shows_exactly_that(name: str):
    hub = still(name)
    await hub.start()
    await hub.settle(1)
    assert hub.state == scenario(name)
    await hub.aclose()
    assert hub.state == scenario(name)


def test_the_estates():
    assert names() == ["mesh", "modes", "spark"]


@pytest.mark.parametrize("where", ["mesh", "modes"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_other_estates_have_every_scenario(where: str, name: str):
    state = scenario(name, where)
    assert state == made(name, where)
    host = next(iter(state.hosts.values()))
    views = {view.mode.name: view for view in mode_views(host)}
    assert len(hot_modes(host)) <= 1
    told = estate(where)
    run = host.action
    match name:
        case "healthy" | "idle" | "troubled" | "hostile":
            assert [mode.name for mode in hot_modes(host)] == ([told.hot] if told.hot else [])
        case "switching":
            assert run is not None and run.running
        case "failed":
            assert run is not None and run.outcome == ("rolled-back" if told.hot else "failed")
            failing = views[told.failing_mode]
            assert (failing.heat, failing.past) == ((Heat.COLD, True) if told.hot else (Heat.BROKEN, False))
        case "link-down":
            assert host.link.phase is LinkPhase.DOWN
    if name != "empty":
        assert host.reading("gpu.memory_total_bytes", "0").known
        assert not any(service.active == "unknown" for service in host.services.values())


def test_the_mesh_has_a_hundred_services():
    assert len(scenario("healthy", "mesh").hosts["gpubox"].services) >= 95


@pytest.mark.parametrize(("where", "engines"), [("mesh", {"ollama", "router"}), ("modes", {"floor", "router"})])
def test_engines_beside_the_modes_are_told_with_their_cooldown(where: str, engines: set[str]):
    state = scenario("troubled", where)
    host = next(iter(state.hosts.values()))
    assert {view.mode.name for view in beside_views(host)} == engines
    assert all(view.heat is Heat.HOT for view in beside_views(host))
    (cooling,) = (part for part in host.engines["router"].parts if part.state == "cooldown")
    assert cooling.trouble and cooling.ends_at is not None and 900 < (cooling.ends_at - state.now).total_seconds() < 2000
    assert "1 in cooldown of" in host.engines["router"].reason
