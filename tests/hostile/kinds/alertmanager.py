"""A fake Alertmanager."""

from __future__ import annotations

import json
from typing import Any

from tests.hostile.case import DEEP, LONG_NUMBER, NASTY, Case, body, doc, drip, endless, head, listed, raw
from tests.hostile.world import alert

AT, LIST = "alertmanager", "/api/v2/alerts"
GOOD = r"Alert1\b"
"""The good row beside a bad one is still shown."""


def beside(name: str, bad: Any, words: str = GOOD, **more: Any) -> Case:
    """One bad row among two good ones."""
    return Case(name, AT, doc([alert(1), bad, alert(2)]), LIST, words, **more)


def whole(name: str, give: Any, words: str = "alertmanager: ", path: str = LIST, **more: Any) -> Case:
    return Case(name, AT, give, path, words, **more)


def _text(value: str) -> bytes:
    return json.dumps([alert(1)])[:-1].encode() + f",{value}]".encode()


LEFT_OUT = r"1 alerts that cannot be read left out"
CASES = [
    # much of it
    whole("16 MiB of empty objects", body(listed(5_600_000, lambda n: "{}")), "sends more than 4 MiB"),
    whole("3 MiB of empty objects", body(listed(1_000_000, lambda n: "{}")), "holds more than"),
    whole("140,000 empty lists", body(listed(140_000, lambda n: "[]")), "holds more than"),
    whole("70,000 empty objects", body(listed(70_000, lambda n: "{}")), "70000 alerts that cannot be read"),
    whole(
        "fifteen hundred alerts",
        body(lambda: json.dumps([alert(n) for n in range(1500)]).encode()),
        "500 alerts beyond a thousand",
        quick=True,
    ),
    whole("a thousand alerts", body(lambda: json.dumps([alert(n) for n in range(1000)]).encode()), r"Alert\d+"),
    whole("five thousand alerts", body(lambda: json.dumps([alert(n) for n in range(5000)]).encode()), "too much|beyond"),
    whole("alerts that are new at each poll", lambda: _fresh(), r"Alert", seconds=12.0),
    whole("20 MiB of blanks", body(lambda: b" " * (20 << 20)), "sends more than"),
    whole(
        "4 MiB in one text",
        body(lambda: json.dumps([alert(1, annotations={"summary": "x" * (4 << 20)})]).encode()),
        "sends more than|longer than",
    ),
    whole(
        "2 MiB in one text",
        body(lambda: json.dumps([alert(1, annotations={"summary": "漢" * (600 << 10)})], ensure_ascii=False).encode()),
        GOOD,
    ),
    whole("ten thousand labels", doc([alert(1), alert(3, labels={f"l{n}": "x" for n in range(10_000)})]), LEFT_OUT),
    whole("ten thousand notes", doc([alert(1, annotations={f"l{n}": "x" for n in range(10_000)})]), GOOD),
    whole(
        "ten thousand silences of one alert",
        doc([alert(1, status={"state": "suppressed", "silencedBy": [f"s{n}" for n in range(10_000)]})]),
        "",
    ),
    whole("90,000 numbers", body(listed(90_000, lambda n: "1.5")), "90000 alerts that cannot be read"),
    # endless and slow
    whole("an endless list", endless(b"{},", b"["), "sends more than"),
    whole("an endless list in chunks of a byte", endless(b"1", b"[", chunked=True), "no answer within"),
    whole("an endless list in chunks", endless(b"{}," * 100, b"[", chunked=True), "sends more than"),
    whole("a byte now and then", drip(head() + b"[]" * 100, 0.3), "no answer within", seconds=5.0),
    whole("a head and then nothing", raw(head(200, "Content-Length: 100"), 60.0), "no answer within", seconds=5.0),
    whole("nothing at all", raw(60.0), "no answer within", seconds=5.0, quick=True),
    whole(
        "a hundred thousand interim answers",
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, head(200, "Content-Length: 2"), b"[]"),
        "",
    ),
    whole(
        "interim answers without end", lambda: (b"HTTP/1.1 100 Continue\r\n\r\n" * 500 for _ in iter(int, 1)), "no answer within"
    ),
    whole(
        "a status line of 1 MiB",
        raw(b"HTTP/1.1 200 " + b"x" * (1 << 20) + b"\r\n\r\n"),
        "does not answer in HTTP|closed the connection",
    ),
    whole(
        "headers without end",
        lambda: (b"HTTP/1.1 200 OK\r\n" if n == 0 else b"X-A: " + b"b" * 4000 + b"\r\n" for n in iter(_count(), None)),
        "does not answer in HTTP",
    ),
    whole("ten thousand headers", raw(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 10_000 + b"Content-Length: 2\r\n\r\n[]"), ""),
    # packed
    whole("a bomb of gzip", body(lambda: _bomb(), 200, "Content-Encoding: gzip"), "sends more than"),
    whole("gzip that is none", body(b"not packed", 200, "Content-Encoding: gzip"), "cannot be unpacked"),
    whole("gzip that is cut", lambda: _cut_gzip(), "cannot be unpacked"),
    whole("packed as nobody asked", body(b"[]", 200, "Content-Encoding: br"), "cannot be unpacked"),
    # not HTTP
    whole("the greeting of ssh", raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not answer in HTTP|closed the connection"),
    whole("random bytes", raw(bytes(range(256)) * 200), "does not answer in HTTP"),
    whole("HTTP 0.9", raw(b"[]"), "does not answer in HTTP|closed"),
    whole("two lengths", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]"), "does not answer in HTTP"),
    whole("a length below zero", raw(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n[]"), "does not answer in HTTP"),
    whole(
        "a length of 4,000 digits",
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: " + LONG_NUMBER.encode() + b"\r\n\r\n[]"),
        "alertmanager: ",
    ),
    whole(
        "a chunk of a length that is none",
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]"),
        "does not answer in HTTP",
    ),
    whole("ended in the middle", raw(head(200, "Content-Length: 100"), b"[1,2"), "in the middle"),
    # no JSON, or another
    whole("nothing in it", body(b""), "not JSON"),
    whole("a web page", body(b"<html><body>hello</body></html>", 200, kind="text/html"), "not JSON"),
    whole("a text", body(b'"alerts"'), "not a list"),
    whole("a number", body(b"42"), "not a list"),
    whole("null", body(b"null"), "not a list"),
    whole("an object", doc({"status": "success"}), "not a list", quick=True),
    whole("JSON that is cut", body(b'[{"labels":{"a":"b"}'), "not JSON"),
    whole("JSON with something behind it", body(b"[] []"), "not JSON"),
    whole("nested a hundred thousand times", body(b"[" * DEEP), "not JSON", quick=True),
    whole("nested and closed", body(b"[" * 50_000 + b"]" * 50_000), "not JSON"),
    whole("nested objects", body(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "not JSON"),
    whole(
        "nested nine hundred times in a label",
        body(_text('{"labels":{"a":' + "[" * 900 + "]" * 900 + "}}")),
        LEFT_OUT,
        quick=True,
    ),
    whole("bytes that are no UTF-8", body(json.dumps([alert(1)]).encode().replace(b"the sum", b"the \xff\xfe sum")), GOOD),
    whole("UTF-16", body(json.dumps([alert(1)]).encode("utf-16")), "not JSON"),
    whole("a mark of byte order", body(b"\xef\xbb\xbf" + json.dumps([alert(1)]).encode()), GOOD),
    whole(
        "an encoding that is none of text", body(json.dumps([alert(1)]).encode(), 200, kind="application/json; charset=hex"), GOOD
    ),
    whole("controls within texts", body(json.dumps([alert(1)]).encode().replace(b"the sum", b"the\t\n\x01sum")), GOOD),
    whole("a number of 4,000 digits", body(_text(LONG_NUMBER)), LEFT_OUT, quick=True),
    whole("NaN and infinities", body(b"[NaN,Infinity,-Infinity,1e999]"), "4 alerts that cannot be read"),
    # one bad row
    beside("a row that is null", None, LEFT_OUT),
    beside("a row that is a list", [], LEFT_OUT),
    beside("a row that is a text", "alert", LEFT_OUT),
    beside("no labels", {"annotations": {}}, LEFT_OUT),
    beside("labels that are a list", alert(3, labels=["a"]), LEFT_OUT),
    beside("a label that is a number", alert(3, labels={"alertname": 5}), LEFT_OUT),
    beside("a label that is a list", alert(3, labels={"alertname": ["x"]}), LEFT_OUT),
    beside("a label of 100 kB", alert(3, labels={"alertname": "x" * 100_000}), LEFT_OUT),
    beside("a name of nasty bytes", alert(3, labels={"alertname": NASTY})),
    beside("labels of nasty bytes", alert(3, labels={"alertname": "x", NASTY: NASTY})),
    beside("a summary of nasty bytes", alert(3, annotations={"summary": NASTY * 20})),
    beside("notes of nasty bytes", alert(3, annotations={NASTY: NASTY})),
    beside("a severity of nasty bytes", alert(3, labels={"alertname": "x", "severity": NASTY})),
    beside("no name", alert(3, labels={"severity": "warning"}), "alert without a name"),
    beside("an impossible time", alert(3, startsAt="2026-13-45T99:99:99Z"), quick=True),
    beside("a time before all calendars", alert(3, startsAt="0001-01-01T00:00:00+23:59")),
    beside("a time after all calendars", alert(3, startsAt="9999-12-31T23:59:59-23:59"), quick=True),
    beside("a time of the year 1", alert(3, startsAt="0001-01-01T00:00:00Z")),
    beside("a time that is a list", alert(3, startsAt=[1])),
    beside("a time that is a number", alert(3, startsAt=1e30)),
    beside("a time of 100 kB", alert(3, startsAt="2" * 100_000)),
    beside("a state that is a list", alert(3, status=[])),
    beside("a state of nasty bytes", alert(3, status={"state": NASTY, "silencedBy": NASTY})),
    beside("silences that are numbers", alert(3, status={"silencedBy": [1, None, {}]})),
    beside("a silence with a path for its id", alert(3, status={"silencedBy": ["../../../status"]})),
    beside("a silence with nasty bytes for its id", alert(3, status={"silencedBy": [NASTY]})),
    beside("a fingerprint that is an object", alert(3, fingerprint={})),
    beside("notes that are a list", alert(3, annotations=[1, 2])),
    beside("notes that are numbers", alert(3, annotations={"summary": 4, "x": [1]})),
    beside("the same alert twice", alert(1)),
    # other answers
    *(
        whole(f"status {status}", body(b"x" * 100, status), "alertmanager: ")
        for status in (204, 301, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503, 504, 599)
    ),
    whole("an error of nasty bytes", doc({"message": NASTY}, 500), "alertmanager: "),
    whole("an error of 1 MiB", body(lambda: b'"' + b"e" * (1 << 20) + b'"', 500), "alertmanager: "),
    whole("an error nested deeply", body(b"[" * DEEP, 500), "alertmanager: "),
    whole("sent elsewhere", raw(head(302, "Location: http://127.0.0.1:1/", "Content-Length: 0")), "alertmanager: "),
    whole(
        "sent to a place of nasty bytes",
        raw(b"HTTP/1.1 302 X\r\nLocation: http://\xff\xfe/\x9b31m\r\nContent-Length: 0\r\n\r\n"),
        "alertmanager: ",
    ),
    # the clock
    *(
        whole(f"a Date of {name}", body(json.dumps([alert(1)]), 200, f"Date: {date}"), GOOD, quick=name == "the year 9999")
        for name, date in (
            ("the year 9999", "Fri, 31 Dec 9999 23:59:59 -2359"),
            ("the year 1", "Mon, 01 Jan 0001 00:00:00 GMT"),
            ("the year 0", "Mon, 01 Jan 0000 00:00:00 GMT"),
            ("no month", "Mon, 45 Foo 2026 99:99:99 GMT"),
            ("a huge zone", "Mon, 02 Nov 2026 10:00:00 +999999999999"),
            ("the year 2400", "Sat, 01 Jan 2400 00:00:00 GMT"),
            ("4,000 digits", LONG_NUMBER),
        )
    ),
    # its other questions
    whole("a status that is a list", doc([]), "", "/api/v2/status"),
    whole("a version of nasty bytes", doc({"versionInfo": {"version": NASTY}, "uptime": NASTY}), "", "/api/v2/status"),
    whole("a start in the year 9999", doc({"uptime": "9999-12-31T23:59:59Z"}), "", "/api/v2/status"),
    whole("a status that never comes", raw(60.0), "", "/api/v2/status"),
]


def _count() -> Any:
    import itertools

    return itertools.count().__next__


def _fresh() -> Any:
    import time

    stamp = int(time.time() * 10)
    told = json.dumps(
        [alert(n, labels={"alertname": f"Alert{n}", "at": str(stamp), "severity": "warning"}) for n in range(900)]
    ).encode()
    return body(told)()


def _bomb() -> bytes:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()


def _cut_gzip() -> Any:
    import gzip

    return body(gzip.compress(json.dumps([alert(1)]).encode())[:-12], 200, "Content-Encoding: gzip")()
