"""Back in time: keys and taps, how it is marked, what is off, and where the moments come from; at three sizes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from sovtui.core.marks import Mark, MarkKind
from sovtui.core.model import LinkPhase
from sovtui.core.record import Record
from sovtui.core.state import State
from sovtui.core.text import clock
from sovtui.demo import PICTURE_TIME
from sovtui.demo.earlier import record_of
from sovtui.ports.errors import TimedOut
from sovtui.runtime.hub import LogLine
from sovtui.tui.arrange import ORDER, Kind
from sovtui.tui.panes.base import Then
from sovtui.tui.screens.choose import ChooseScreen
from sovtui.tui.then import bar, span
from sovtui.tui.widgets.keybar import KeyBar
from sovtui.tui.widgets.timeline import Axis, TimelineBar

from .conftest import SIZES

pytestmark = pytest.mark.screen

NOW = PICTURE_TIME
EVERY_SIZE = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)


@pytest.fixture(scope="module")
def record() -> Record:
    """An hour that ends with a failed switch."""
    return record_of("spark", "failed", PICTURE_TIME)


@pytest.fixture
def travelling(stage, record):
    def opened(**words: Any):
        return _With(stage("failed", **words), record)

    return opened


class _With:
    """The stage, its hub with a record."""

    def __init__(self, opened: Any, record: Record) -> None:
        self._opened, self._record = opened, record

    async def __aenter__(self) -> Any:
        stage = await self._opened.__aenter__()
        stage.hub.record = self._record
        return stage

    async def __aexit__(self, *words: Any) -> None:
        await self._opened.__aexit__(*words)


def ago(s: Any) -> float:
    """Seconds between now and the moment shown."""
    assert s.room.view.then is not None
    return float((NOW - s.room.view.then.moment).total_seconds())


@EVERY_SIZE
async def test_another_moment_is_marked_everywhere_and_t_returns(travelling, size):
    async with travelling(size=size) as s:
        live = {name: s.text(name) for name in ORDER if s.pane(name).display}
        assert not s.room.query_one("#travel").display
        await s.press("t")
        assert s.room.has_class("-then")
        assert f"◀ THEN {clock(NOW - timedelta(seconds=10))} · 10 s ago, not live" in s.bar("travel")
        assert "◀ THEN" in s.bar("status")
        for pane in s.room._panes.values():
            if pane.display:
                assert pane._title.startswith("◀ "), "told by a sign, not by a colour alone"
                assert all(line.cells <= pane.size.width for line in pane.shown)
                assert pane.styles.border_top[0] in ("dashed", "double")
        assert all(line.cells <= size[0] for line in s.room.query_one("#travel", TimelineBar).shown)
        await s.press("t")
        assert not s.room.has_class("-then") and s.room.view.then is None
        assert not s.room.query_one("#travel").display
        assert {name: s.text(name) for name in ORDER if s.pane(name).display} == live
        assert not any(pane._title.startswith("◀") for pane in s.room._panes.values() if pane.display)


async def test_steps(travelling):
    async with travelling() as s:
        await s.press("t")
        for keys, seconds in (
            (["left"], 20), (["left", "left"], 40), (["right"], 30), (["left_square_bracket"], 90), (["shift+left"], 150),
            (["right_square_bracket"], 90), (["left_curly_bracket"], 690), (["right_curly_bracket"], 90), (["shift+right"], 30),
            (["end"], 0), (["left"], 10),
        ):  # fmt: skip
            await s.press(*keys)
            assert ago(s) == seconds, keys
        await s.press("home")
        assert ago(s) == (NOW - s.hub.record.oldest).total_seconds()
        await s.press("end", "right")
        assert ago(s) == 0 and any("nothing later" in words for words in s.toasts())
        await s.press("escape")
        assert s.room.view.then is None


async def test_the_panes_show_that_moment(travelling):
    async with travelling() as s:
        assert "rolled back" in s.text("actions")
        await s.press("t")
        s.room.travel.go(NOW - timedelta(seconds=65))
        assert "running" in s.text("actions") and "mistral-safer" in s.text("actions")
        state = s.room.view.state
        assert state.now <= NOW - timedelta(seconds=65)
        s.room.travel.go(datetime.fromisoformat("2026-11-20T19:18:30+00:00"))
        assert "dead" in s.text("inference") and "dead" in s.bar("status")
        assert "41 min ago" in s.bar("travel")
        s.room.travel.go(datetime.fromisoformat("2026-11-20T19:31:50+00:00"))
        assert s.room.view.host.link.phase is LinkPhase.DOWN
        assert "any key tries" not in s.bar("notice"), "nothing is tried in the past"
        await s.press("left")
        assert s.hub.reconnected == []


@EVERY_SIZE
async def test_actions_are_off_and_say_why(travelling, size):
    async with travelling(size=size) as s:
        await s.press("t")
        for key in ("c", "1", "r", "b", "a", "0"):
            await s.press(key)
            await s.pilot.pause()
            assert s.hub.executed == [] and s.screen is s.room, key
        assert s.toasts() and all("not now: Escape first" in words for words in s.toasts())
        assert all(key.refused for key in s.room._keys if key.id in s.room._specs)
        if size != SIZES["phone"]:
            assert "esc live" in s.bar("keys")
        for command in s.room.commands():
            if command.title.startswith(("Switch", "Drop", "Run", "Restart", "Acknowledge")):
                command.run()
        await s.pilot.pause()
        assert s.hub.executed == [] and s.screen is s.room
        await s.press("escape")
        await s.press("c")
        await s.until(lambda: bool(s.hub.executed))


async def test_the_wide_key_bar_shows_what_is_off(travelling):
    async with travelling(size=(200, 40)) as s:
        await s.press("t")
        words = s.bar("keys")
        assert "← -10s" in words and "m events" in words and "(c)drop" in words and "? help" in words


async def test_a_phone_has_tiles_for_all_of_it(travelling):
    async with travelling(size=SIZES["phone"]) as s:
        s.room.run_screen("travel")
        await s.pilot.pause()
        await s.read()
        bar = s.room.query_one("#keys", KeyBar)
        places = {id: region for region, id in bar._places}
        assert {"then-back", "then-on", "then-back-1m", "then-on-1m", "then-list", "then-live", "more"} <= places.keys()
        assert all(region.height == 3 and region.width >= 10 for region in places.values())
        for id, seconds in (("then-back", 20), ("then-back-1m", 80), ("then-on", 70)):
            await s.pilot.click(bar, offset=_place(s, id))
            assert ago(s) == seconds
        await s.pilot.click(bar, offset=_place(s, "then-live"))
        assert s.room.view.then is None


async def test_it_opens_by_tap_and_from_the_palette(travelling):
    async with travelling(size=SIZES["phone"]) as s:
        await s.pilot.click(s.room.query_one("#keys", KeyBar), offset=_place(s, "more"))
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        choice = next(choice for choice in s.screen.choices if choice.title == "Go back in time")
        s.screen.dismiss(choice.id)
        await s.until(lambda: s.room.travel.on)
        assert any(command.title == "Go back in time" for command in s.room.commands())


def _place(s: Any, id: str) -> tuple[int, int]:
    region = next(region for region, name in s.room.query_one("#keys", KeyBar)._places if name == id)
    return region.x + 2, region.y + 1


@EVERY_SIZE
async def test_a_tap_on_the_line_goes_there_and_stops_at_what_happened(travelling, size):
    async with travelling(size=size) as s:
        await s.press("t")
        line = s.room.query_one("#travel", TimelineBar)
        assert line.axis is not None
        y = line.axis.first_row + line.axis.rows - 1
        await s.pilot.click(line, offset=(line.axis.left, y))
        assert 3500 < ago(s) <= 3600
        died = datetime.fromisoformat("2026-11-20T19:18:02+00:00")
        await s.pilot.click(line, offset=(line.axis.column(died.timestamp()), y))
        assert timedelta() <= s.room.view.then.moment - died <= timedelta(seconds=5)
        assert "the engine of qwen is dead" in s.bar("travel")


async def test_from_one_happening_to_the_next(travelling):
    async with travelling() as s:
        await s.press("t", "comma")
        assert "switch mistral-safer ended: rolled back" in s.bar("travel")
        await s.press("comma")
        assert "container:sglang-mistral4-safer failed" in s.bar("travel")
        await s.press("comma")
        assert "switch mistral-safer begins" in s.bar("travel")
        await s.press("comma")
        assert "the link to spark was lost" in s.bar("travel")
        await s.press("full_stop")
        assert "switch mistral-safer begins" in s.bar("travel")


async def test_the_list_goes_to_an_actions_start(travelling):
    async with travelling() as s:
        await s.press("t", "m")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        titles = [choice.title for choice in s.screen.choices]
        assert any("EngineUnhealthy fires" in title for title in titles), "ended alerts are in it too"
        assert any("the link to spark was lost" in title for title in titles)
        assert titles[-3:] == ["1 hour earlier", "6 hours earlier", "1 day earlier"]
        s.screen.dismiss(next(c.id for c in s.screen.choices if "switch mistral-safer begins" in c.title))
        await s.until(lambda: s.screen is s.room and ago(s) > 60)
        assert "switch mistral-safer" in s.text("actions") and "running" in s.text("actions")


async def test_the_chosen_alerts_start_is_first_in_the_list(travelling):
    async with travelling() as s:
        s.room.show_pane("alerts")
        await s.press("down", "t", "m")
        await s.until(lambda: isinstance(s.screen, ChooseScreen))
        chosen = next(a for a in s.hub.state.alerts if a.fingerprint == s.pane("alerts").cursor)
        assert f"{chosen.name} fires" in s.screen.choices[0].title


async def test_while_time_goes_on_the_moment_stays(travelling):
    async with travelling() as s:
        await s.press("t")
        shown = {name: s.text(name) for name in ORDER}
        painted = s.pane("memory").repaints
        s.hub.put(replace(s.hub.state, now=NOW + timedelta(seconds=30), alerts=()))
        await s.pilot.pause()
        assert {name: s.text(name) for name in ORDER} == shown
        assert s.pane("memory").repaints == painted
        assert "40 s ago" in s.bar("travel")
        await s.press("escape")
        assert "firing" not in s.pane("alerts")._title or "0 firing" in s.pane("alerts")._title


async def test_another_host_is_shown_at_the_same_moment(travelling):
    async with travelling() as s:
        await s.press("t", "left_square_bracket")
        s.room.go_to_host("nas")
        assert s.room.view.host_name == "nas" and ago(s) == 70


async def test_the_log_is_the_journal_before_the_moment_asked_for_once(travelling, monkeypatch):
    monkeypatch.setattr("sovtui.tui.backlog.PAUSE_SECONDS", 0.01)
    lines = [LogLine(NOW - timedelta(seconds=back), f"line of {back}.") for back in range(3000, 0, -10)]
    async with travelling(lines=lines) as s:
        s.room.show_pane("log")
        await s.until(lambda: "line of 10." in s.text("log"))
        followed = list(s.hub.followed)
        await s.press("t", "left_curly_bracket", "left_curly_bracket")
        await s.until(lambda: "line of 1210." in s.text("log"))
        assert "line of 1200." not in s.text("log")
        assert s.pane("log")._title.endswith(f"until {clock(NOW - timedelta(seconds=1210))}")
        await s.press("left", "right", "right")
        assert "line of 1200." in s.text("log") and len(s.hub.asked_until) == 1
        host, service, until = s.hub.asked_until[0]
        assert (host, service) == followed[0] and until >= (NOW - timedelta(seconds=1210)).timestamp()
        await s.press("up", "up")
        assert "line of 1220." in s.text("log") and "line of 1200." not in s.text("log"), "it can be scrolled"
        await s.press("escape", "end")
        await s.until(lambda: "line of 10." in s.text("log"))
        assert s.hub.followed == followed, "what is followed now goes on"


async def test_lines_that_cannot_be_had_are_a_sentence(travelling, monkeypatch):
    monkeypatch.setattr("sovtui.tui.backlog.PAUSE_SECONDS", 0.01)
    async with travelling() as s:
        s.room.show_pane("log")

        async def logs(*_: Any, **__: Any):
            raise TimedOut("spark gave no answer", "Try again")
            yield

        s.hub.logs = logs
        await s.press("t")
        await s.until(lambda: "are not available: spark gave no answer" in " ".join(s.text("log").split()))


async def test_a_journal_without_older_lines_says_so(travelling, monkeypatch):
    monkeypatch.setattr("sovtui.tui.backlog.PAUSE_SECONDS", 0.01)
    async with travelling(lines=[LogLine(NOW, "too late")]) as s:
        s.room.show_pane("log")
        await s.press("t", "left_square_bracket")
        await s.until(lambda: "no lines from before this moment" in s.text("log"))


async def test_the_key_can_be_remapped(travelling):
    async with travelling(keys={"travel": "v"}) as s:
        await s.press("t")
        assert not s.room.travel.on
        await s.press("v")
        assert s.room.travel.on


class Piece:
    """Implements `ports.past.Stretch`: one state for every moment."""

    def __init__(self, state: State, begin: datetime, end: datetime) -> None:
        self.begin, self.end, self._state = begin, end, state
        self.marks: tuple[Mark, ...] = (
            Mark(begin + timedelta(minutes=1), MarkKind.LINK, "spark gave its last sample", "spark", "p"),
        )

    def heard(self, host: str) -> datetime | None:
        return self.end

    def at(self, moment: datetime) -> State:
        return replace(self._state, now=moment)


async def test_before_the_record_prometheus_is_asked_once_for_a_whole_stretch(travelling, monkeypatch):
    monkeypatch.setattr("sovtui.tui.travel.PAUSE_SECONDS", 0.01)
    asked: list[tuple[datetime, datetime]] = []
    answer = asyncio.Event()

    async with travelling() as s:

        async def past(begin: datetime, end: datetime) -> Piece:
            asked.append((begin, end))
            await answer.wait()
            return Piece(s.hub.state, begin, end)

        s.hub.past = past
        await s.press("t", "home", "left_curly_bracket")
        await s.until(lambda: bool(asked))
        assert "asking Prometheus for" in s.bar("travel")
        assert s.room.view.then == Then(s.room.view.then.moment, "")
        assert "total     ?" in s.text("memory") and "available ?" in s.text("memory"), (
            "nothing of another moment is shown meanwhile"
        )
        answer.set()
        await s.until(lambda: s.room.view.then.origin == "prometheus")
        assert "from Prometheus" in s.bar("travel") and "not known" not in s.text("memory")
        await s.press("left", "left", "right", "left_square_bracket")
        assert len(asked) == 1 and s.room.view.then.origin == "prometheus"
        assert any("last sample" in mark.words for mark in s.room.travel.marks())
        await s.press("escape", "t")
        assert s.room.view.then.origin == "record"


async def test_who_moves_on_quickly_asks_only_for_where_they_stop(travelling, monkeypatch):
    monkeypatch.setattr("sovtui.tui.travel.PAUSE_SECONDS", 0.2)
    asked: list[datetime] = []
    async with travelling() as s:

        async def past(begin: datetime, end: datetime) -> Piece:
            asked.append(begin)
            return Piece(s.hub.state, begin, end)

        s.hub.past = past
        await s.press("t", "home", *["left_curly_bracket"] * 5)
        await s.until(lambda: bool(asked))
        await s.pilot.pause(0.3)
        assert len(asked) == 1


@EVERY_SIZE
async def test_a_failure_is_a_sentence_and_the_way_back_is_open(travelling, monkeypatch, size):
    monkeypatch.setattr("sovtui.tui.travel.PAUSE_SECONDS", 0.0)
    async with travelling(size=size) as s:

        async def past(begin: datetime, end: datetime) -> Piece:
            raise TimedOut("Prometheus did not return the history within 20 s", "Try again")

        s.hub.past = past
        await s.press("t", "home", "left")
        await s.until(lambda: "did not return" in " ".join(s.bar("travel").split()))
        assert "Nothing is known of" in s.bar("travel")
        await s.press("right")
        assert s.room.view.then.origin == "record" and "Nothing is known" not in s.bar("travel")


async def test_leaving_while_it_is_asked_gives_it_up(travelling, monkeypatch):
    monkeypatch.setattr("sovtui.tui.travel.PAUSE_SECONDS", 0.0)
    given_up = asyncio.Event()
    async with travelling() as s:

        async def past(begin: datetime, end: datetime) -> Piece:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.set()
            raise AssertionError

        s.hub.past = past
        await s.press("t", "home", "left")
        await s.pilot.pause(0.05)
        await s.press("escape")
        await s.until(given_up.is_set)
        assert s.room.view.then is None


async def test_what_goes_on_now_is_said_at_the_end_not_what_went_on_then(travelling, monkeypatch):
    async with travelling() as s:
        said: list[str | None] = []
        monkeypatch.setattr(s.app, "exit", lambda **words: said.append(words.get("message")))
        await s.press("t")
        s.room.travel.go(NOW - timedelta(seconds=65))
        assert s.room.view.host.action.running
        await s.press("q")
        assert said == [None]


def test_the_line_shows_the_last_hour_or_the_one_around_the_moment():
    assert span(NOW - timedelta(minutes=5), NOW) == (NOW.timestamp() - 3600, NOW.timestamp())
    for hours in (1.6, 30.1):
        moment = NOW - timedelta(hours=hours)
        begin, end = span(moment, NOW)
        assert begin <= moment.timestamp() <= end and end - begin == 3600
        assert span(moment - timedelta(seconds=10), NOW) == (begin, end), "it does not move with every step"


def test_a_column_and_its_time_agree():
    axis = Axis(1000.0, 4600.0, 6, 37, stops=((10, 1400.0),))
    for column in range(6, 43):
        assert axis.column(axis.time(column)) == column
    assert axis.time(10) == 1400.0
    assert axis.column(999.0) == axis.column(4601.0) == -1
    assert axis.time(0) >= 1000.0 and axis.time(99) <= 4600.0


@pytest.mark.parametrize("width", [38, 44, 60, 80, 120, 200])
@pytest.mark.parametrize("kind", list(Kind))
def test_the_bar_is_never_wider_than_its_room(width, kind):
    marks = [
        Mark(NOW - timedelta(minutes=m), MarkKind.SERVICE, "a service of a rather long name failed", "x") for m in (5, 6, 50)
    ]
    for back in (0, 300, 302, 86400):
        then = Then(NOW - timedelta(seconds=back), "prometheus" if back > 3600 else "record")
        for note in ("", "asking Prometheus for 11:00–11:40 …", "Nothing is known: " + "because " * 30):
            rows, axis = bar(then, NOW, marks, width, kind, oldest=NOW - timedelta(minutes=20), note=note, trouble=len(note) > 60)
            assert all(row.cells <= width for row in rows), [row.plain for row in rows]
            assert 2 <= len(rows) <= 6 and axis.first_row < len(rows)
            assert "not live" in rows[0].plain or width < 44
            assert back < 3600 or axis.column(then.moment.timestamp()) >= 0
