from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sovtui.config.locate import Places
from sovtui.config.paths import config_path, state_dir
from sovtui.config.units import parse_duration, parse_size, write_duration, write_size


@pytest.mark.parametrize(
    ("text", "value"),
    [("22 GB", 22 * 10**9), ("22GiB", 22 * 2**30), ("1.5 kB", 1500), ("300 MB", 3 * 10**8), ("4096", 4096), ("8 tib", 8 * 2**40)],
)
def test_sizes(text: str, value: int) -> None:
    assert parse_size(text) == value


@pytest.mark.parametrize("text", ["", "GB", "-1 GB", "22 G", "22 GX", "1e9", "0", "٣ GB", "9" * 400])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("15m", 900),
        ("26h", 93600),
        ("2h30m", 9000),
        ("8d", 691200),
        ("90", 90),
        ("0.5s", 0.5),
        ("1 h 5 min", 3900),
        ("250ms", 0.25),
    ],
)
def test_durations(text: str, value: float) -> None:
    assert parse_duration(text) == value


@pytest.mark.parametrize("text", ["", "m", "15x", "-5m", "0s", "5 m 3", "100w 1000d 9999999h", "1e3"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(1, 2**50))
def test_a_written_size_reads_back(value: int) -> None:
    assert parse_size(write_size(value)) == value


@given(st.integers(1, 10**8) | st.floats(0.001, 1e6))
def test_a_written_duration_reads_back(value: float) -> None:
    assert parse_duration(write_duration(value)) == pytest.approx(value)


def test_written_as_a_person_would() -> None:
    assert [write_duration(s) for s in (900, 93600, 9000, 691200, 0.5)] == ["15m", "26h", "2h30m", "8d", "0.5s"]
    assert [write_size(s) for s in (22 * 10**9, 16 * 2**30, 1500)] == ["22 GB", "16 GiB", "1500 B"]


TOML = '''# a comment
[host.spark]   # 2
watch = ["a", # 3
  """b
[not.a.table]
""",
  "c"]         # 7
switch = { rollback = true, floor = ["x"] }  # 8

[[host.spark.mode]]  # 10
name = "a = b"
[[host.spark.mode]]  # 12
"odd key" = 1        # 13
a.b = 2              # 14
[host.spark.mode.deep]  # 15
x = 1979-05-27T07:32:00Z  # 16
'''


def test_places() -> None:
    places = Places(TOML)
    expected: dict[tuple[str | int, ...], int] = {
        ("host", "spark"): 2,
        ("host", "spark", "watch", 1): 4,
        ("host", "spark", "watch", 2): 7,
        ("host", "spark", "switch", "floor", 0): 8,
        ("host", "spark", "mode", 0): 10,
        ("host", "spark", "mode", 0, "missing"): 10,
        ("host", "spark", "mode", 1): 12,
        ("host", "spark", "mode", 1, "odd key"): 13,
        ("host", "spark", "mode", 1, "a", "b"): 14,
        ("host", "spark", "mode", 1, "deep", "x"): 16,
        ("nowhere",): 1,
    }
    assert {path: places.line(path) for path in expected} == expected


@example("a=[}")
@example("a={]")
@given(st.text(alphabet="[]{}=.,\"'#\\\n ab\r1", max_size=60))
def test_the_scanner_ends_and_never_raises(text: str) -> None:
    Places(text)


def test_paths() -> None:
    env = {"HOME": "/home/me"}
    assert str(config_path(None, env).path) == "/home/me/.config/sovtui/config.toml"
    assert str(config_path(None, {**env, "XDG_CONFIG_HOME": "/x"}).path) == "/x/sovtui/config.toml"
    assert str(config_path(None, {**env, "XDG_CONFIG_HOME": "relative"}).path) == "/home/me/.config/sovtui/config.toml"
    assert config_path(None, {**env, "SOVTUI_CONFIG": "/y.toml"}).said == "$SOVTUI_CONFIG"
    assert str(config_path("/z.toml", {**env, "SOVTUI_CONFIG": "/y.toml"}).path) == "/z.toml"
    assert str(state_dir(env)) == "/home/me/.local/state/sovtui"
