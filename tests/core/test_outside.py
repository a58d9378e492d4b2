"""JSON from outside: what is refused before anything is made of it, and values that are of no use."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sovtui.core import outside
from sovtui.core.outside import Most, TooMuch, document

FEW = Most(bytes=10_000, items=100)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b" " * 10_001, "longer than 9 KiB"),
        (b"[" + b"{}," * 60 + b"{}]", "more than 100 values"),
        (b"[" + b"1," * 101 + b"1]", "more than 100 values"),
    ],
)
def test_what_is_more_than_an_honest_answer_is_refused_first(raw: bytes, why: str) -> None:
    with pytest.raises(TooMuch, match=why):
        document(raw, FEW)
    with pytest.raises(TooMuch, match=why):
        document(raw.decode(), FEW)


@pytest.mark.parametrize("raw", [b"", b"nothing", b"[", b"[] []", b"{", b'{"a":1', "{}".encode("utf-16"), b"[" * 60_000])
def test_what_is_no_json_is_one_kind_of_error(raw: bytes) -> None:
    with pytest.raises(ValueError) as told:
        document(raw)
    assert str(told.value).startswith("it ") and str(told.value).isprintable()


def test_a_text_that_is_not_one_costs_itself_alone() -> None:
    assert document(b'\xef\xbb\xbf ["a\tb\x00\xff", 1] \n') == ["a\tb\x00�", 1]


def test_a_number_that_no_machine_holds_is_no_number() -> None:
    assert document(f"[{'9' * 4000}, 1e999, -1e999, NaN, Infinity, 12, 1.5, {2**62}]") == [None] * 5 + [12, 1.5, 2**62]


def test_values_are_of_their_kind_or_not_told() -> None:
    strange = [None, [], {}, [[1]], {"a": 1}]
    assert [outside.text(v) for v in ("a", 5, 1.5, True, *strange)] == ["a", "5", "1.5", "true", *[""] * 5]
    assert [outside.number(v) for v in (5, 1.5, True, "5", float("nan"), 10**400, *strange)] == [5.0, 1.5, *[None] * 9]
    assert outside.rows([{}, 1, None, {"a": 1}]) == [{}, {"a": 1}] and outside.rows(5) == outside.rows({"a": 1}) == []
    assert outside.texts(["a", 1, None]) == ["a"] and outside.texts("abc") == []
    assert outside.table([1]) == {} and outside.table({"a": 1}) == {"a": 1}


def test_moments_that_no_calendar_holds_everywhere_are_none() -> None:
    bad = [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "9999-12-31T23:59:59Z",
        "2026-13-45",
        "",
        "2" * 100_000,
        5,
        None,
        [1],
    ]
    assert [outside.moment(value) for value in bad] == [None] * len(bad)
    assert outside.moment("2318-01-01T00:00:00Z") == datetime(2318, 1, 1, tzinfo=UTC), "for ever, as Ollama says it"
    assert outside.moment("2026-11-01T12:00:00.123456789+02:00") == datetime(2026, 11, 1, 10, 0, 0, 123456, UTC)
    assert [outside.unix(v) for v in (-1, 1e300, 2.5e11, float("inf"), "5", True, None)] == [None] * 7
    assert outside.unix(0) == datetime(1970, 1, 1, tzinfo=UTC)
    for told in (outside.moment("1970-01-01T00:00:00Z"), outside.moment("8999-12-31T23:59:59Z")):
        assert told is not None and told.astimezone()


def rows_of(raw: str, key: str = "", each: Callable[..., Any] = outside.each_row) -> tuple[list[object], object]:
    rows, found = each(raw.encode(), Most(), key), []
    while True:
        try:
            found.append(next(rows))
        except StopIteration as end:
            return found, end.value


def test_rows_come_one_by_one_and_then_the_document_around_them() -> None:
    assert rows_of(' [1 , {"a":[2]},"x" ]\n') == ([1, {"a": [2]}, "x"], [])
    assert rows_of("[]") == ([], []) and rows_of('{"a":[1]}') == ([], {"a": [1]}), "no list at all is told as it is"
    assert rows_of('{"s":"ok","data":{"result" : [ [1],[2] ],"b":3}}', "result") == (
        [[1], [2]],
        {"s": "ok", "data": {"result": [], "b": 3}},
    )
    assert rows_of('{"s":"ok"}', "result") == ([], {"s": "ok"})
    for broken in ("[1", "[1 2]", "[1,", "[1]x", "[1,]]", "[" * 60_000, '[{"a":]'):
        with pytest.raises(ValueError, match=r"^it "):
            rows_of(broken)
    with pytest.raises(TooMuch):
        rows_of("[" + "{}," * 200_000 + "{}]")


def test_members_come_one_by_one_too() -> None:
    def members_of(raw: str) -> tuple[list[object], object]:
        return rows_of(raw, "Peer", outside.each_member)

    assert members_of('{"a":1,"Peer" : {"x" : {"n":1} ,"y":[2]},"b":2}') == ([{"n": 1}, [2]], {"a": 1, "Peer": {}, "b": 2})
    assert members_of('{"Peer":{}}') == ([], {"Peer": {}}) and members_of('{"Peer":[1]}') == ([], {"Peer": [1]})
    assert members_of(r'{"a":"\"Peer\":{","Peer":{"x":1}}') == ([1], {"a": '"Peer":{', "Peer": {}})
    for broken in ('{"Peer":{', '{"Peer":{"x"', '{"Peer":{"x":', '{"Peer":{"x":1 "y":2}}', '{"Peer":{1:2}}', '{"Peer":{"x":1}'):
        with pytest.raises(ValueError, match=r"^it "):
            members_of(broken)


def test_half_a_character_costs_itself_alone() -> None:
    told = rb'{"a":"\ud800x\ud83d\ude00\udc00","b":["\\ud800 \\\ud800"],"\uDFFF":"\ud83d\ud83d\ude00"}'
    assert document(told) == {"a": "\ufffdx\U0001f600\ufffd", "b": ["\\ud800 \\\ufffd"], "\ufffd": "\ufffd\U0001f600"}
    assert rows_of(r'["\udead"]') == (["\ufffd"], [])
    document(told)["a"].encode()
