"""The four kinds of nothing stay four different things."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from sovtui.core import text
from sovtui.core.reading import Reading, Status, fresh, grow_old, merge, unknown, unsupported

NOW = datetime(2026, 11, 20, 20, 0, tzinfo=UTC)
OLD = NOW - timedelta(seconds=42)


def test_zero_is_a_value() -> None:
    assert text.reading("engine.decode_tok_s", fresh(0.0, NOW, "x")) == "0 tok/s"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_is_not_a_value(value: float) -> None:
    reading = fresh(value, NOW, "prometheus")
    assert reading.value is None and reading.status is Status.UNKNOWN and reading.reason
    assert text.reading("engine.ttft_p50_seconds", reading) == "?"


def test_signs_differ_without_colour() -> None:
    shown = {
        text.reading("gpu.power_watts", fresh(0, NOW, "x")),
        text.reading("gpu.power_watts", unknown("no such series")),
        text.reading("gpu.power_watts", unsupported("not on this chip")),
        text.reading("gpu.power_watts", Reading(81, Status.STALE, OLD, "x"), NOW),
    }
    assert shown == {"0 W", "?", "n/a", "81 W ~42s"}


def test_a_failed_source_keeps_its_last_value_as_stale() -> None:
    kept = merge(fresh(41.8, OLD, "prometheus"), unknown("Prometheus does not answer", "prometheus"))
    assert kept.value == 41.8 and kept.status is Status.STALE and kept.reason == "Prometheus does not answer"
    assert kept.at == OLD


def test_a_series_that_vanished_is_unknown_not_stale() -> None:
    gone = merge(fresh(41.8, OLD, "prometheus"), unknown("no such series", "prometheus", NOW))
    assert gone.value is None


def test_nothing_from_one_source_never_hides_another_sources_fresh_value() -> None:
    probe = fresh(5.0, NOW, "probe")
    assert merge(probe, unknown("no such series", "prometheus", NOW)) is probe


def test_an_older_value_never_replaces_a_newer_fresh_one() -> None:
    newer = fresh(5.0, NOW, "probe")
    assert merge(newer, fresh(4.0, OLD, "prometheus")) is newer
    assert merge(fresh(4.0, OLD, "prometheus"), newer) is newer


def test_growing_old() -> None:
    reading = fresh(5.0, OLD, "probe")
    assert grow_old(reading, OLD + timedelta(seconds=10), 15) is reading
    old = grow_old(reading, NOW, 15)
    assert old.status is Status.STALE and old.value == 5.0
    assert old.fresh_value is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0.0 s"), (0.4, "0.4 s"), (12, "12 s"), (250, "4 min 10 s"), (11100, "3 h 5 min"), (190000, "2 d 4 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (1023, "1.00 KiB"), (1024, "1.00 KiB"), (130 * 2**30, "130 GiB"), (56.2 * 2**30, "56.2 GiB")]
)
def test_sizes(size: float, shown: str) -> None:
    assert text.size(size) == shown


def test_what_another_source_does_not_know_hides_no_value_even_a_stale_one() -> None:
    """The probe's last figures of a host that died stay, though Prometheus has no series of it any more."""
    told = Reading(7.0, Status.STALE, NOW, "probe", "the link is down")
    assert merge(told, unknown("no such series", "prometheus", NOW)) is told
    assert merge(told, unknown("no such series", "probe", NOW)).value is None
    assert merge(told, fresh(8.0, NOW, "prometheus")).value == 8.0
