"""A fake Prometheus."""

from __future__ import annotations

from typing import Any

from tests.hostile.case import DEEP, LONG_NUMBER, NASTY, Case, body, doc, drip, endless, head, listed, raw

AT, QUERY = "prometheus", "/api/v1/query"


def case(name: str, give: Any, words: str = "prometheus: ", path: str = QUERY, **more: Any) -> Case:
    return Case(name, AT, give, path, words, **more)


def vector(*rows: Any) -> Any:
    return doc({"status": "success", "data": {"resultType": "vector", "result": [*rows, GOOD]}})


GOOD = {"metric": {"k": "now"}, "value": [1.0, "1790000000"]}
UNREAD = "1 series that cannot be read left out"
SERIES = '{"metric":{"k":"u0","name":"unit-%d.service","state":"active","instance":"h:9100"},"value":[1.5,"1"]}'


def series(count: int, row: str = SERIES) -> Any:
    return body(listed(count, lambda n: row % n, '{"status":"success","data":{"resultType":"vector","result":[', "]}}"))


def disks(count: int) -> Any:
    row = '{"metric":{"k":"d0","__name__":"node_filesystem_%s_bytes","mountpoint":"/m%d","instance":"127.0.0.1:9100"},"value":[1.5,"%d"]}'
    return body(
        listed(
            count,
            lambda n: row % (("size", "avail")[n % 2], n // 2, 1 << 40),
            '{"status":"success","data":{"resultType":"vector","result":[',
            "]}}",
        )
    )


def gpus(count: int) -> Any:
    row = '{"metric":{"k":"g0","__name__":"nvidia_smi_power_draw_watts","uuid":"G%d","instance":"127.0.0.1:9100"},"value":[1.5,"70"]}'
    return series(count, row)


CASES = [
    case("170,000 series", series(170_000), "sends more than 4 MiB"),
    case("40,000 series", series(40_000), "sends more than|tells too much"),
    case("21,000 short series", series(21_000, '{"metric":{"k":"u%d"},"value":[1,"1"]}'), ""),
    case("ten thousand series", series(10_000), "", quick=True),
    case("nineteen thousand series", series(19_000, '{"metric":{"k":"u0","n":"%d"},"value":[1,"1"]}'), ""),
    case("ten thousand disks", disks(20_000 - 2), ""),
    case("five thousand GPUs", gpus(5000), ""),
    case("16 MiB of empty objects", body(listed(5_600_000, lambda n: "{}")), "sends more than 4 MiB"),
    case("4 MiB of numbers", body(listed(900_000, lambda n: "1.5")), "tells too much"),
    case("20 MiB of blanks", body(lambda: b" " * (20 << 20)), "sends more than"),
    case("3 MiB in one label", vector({"metric": {"k": "u0", "x": "y" * (3 << 20)}, "value": [1, "1"]}), UNREAD),
    case("ten thousand labels", vector({"metric": {f"l{n}": "x" for n in range(10_000)}, "value": [1, "1"]}), UNREAD),
    case("an endless reply", endless(b"1,", b'{"status":"success","data":['), "sends more than"),
    case("an endless reply in chunks of a byte", endless(b"1", b"[", chunked=True), "no answer within"),
    case("a byte now and then", drip(head() + b"{}" * 100, 0.3), "no answer within", seconds=6.0),
    case("a head and then nothing", raw(head(200, "Content-Length: 100"), 60.0), "no answer within", seconds=6.0),
    case("nothing at all", raw(60.0), "no answer within", seconds=6.0),
    case(
        "interim answers without end",
        lambda: (b"HTTP/1.1 100 Continue\r\n\r\n" * 500 for _ in iter(int, 1)),
        "no answer within",
        quick=True,
    ),
    case(
        "a status line of 1 MiB",
        raw(b"HTTP/1.1 200 " + b"x" * (1 << 20) + b"\r\n\r\n"),
        "does not answer in HTTP|closed the connection",
    ),
    case("a bomb of gzip", body(lambda: _bomb(), 200, "Content-Encoding: gzip"), "sends more than", quick=True),
    case("gzip that is none", body(b"not packed", 200, "Content-Encoding: gzip"), "cannot be unpacked"),
    case("the greeting of ssh", raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "does not answer in HTTP|closed the connection"),
    case("random bytes", raw(bytes(range(256)) * 200), "does not answer in HTTP"),
    case("ended in the middle", raw(head(200, "Content-Length: 100"), b"{}"), "in the middle"),
    case("nothing in it", body(b""), "not its API"),
    case("a web page", body(b"<html>x</html>", 200, kind="text/html"), "web page"),
    case("a list", body(b"[]"), "not its API"),
    case("no data", doc({"status": "success"}), "without data"),
    case("data that is a list", doc({"status": "success", "data": []}), "without data"),
    case("a matrix", doc({"status": "success", "data": {"resultType": "matrix", "result": []}}), "where a vector was asked for"),
    case(
        "a kind of nasty bytes",
        doc({"status": "success", "data": {"resultType": NASTY, "result": []}}),
        "where a vector was asked for",
    ),
    case(
        "a kind that is a list",
        doc({"status": "success", "data": {"resultType": [[[]]], "result": []}}),
        "where a vector was asked for",
    ),
    case(
        "a result that is an object",
        doc({"status": "success", "data": {"resultType": "vector", "result": {}}}),
        "where a vector was asked for",
    ),
    case("nested a hundred thousand times", body(b"[" * DEEP), "not its API", quick=True),
    case("nested objects", body(b'{"a":' * 50_000), "not its API"),
    case("bytes that are no UTF-8", body(b'{"status":"success","data":{"resultType":"vector","result":[],"x":"\xff\xfe"}}'), ""),
    case(
        "NaN and infinities",
        body(b'{"status":"success","data":{"resultType":"vector","result":[NaN,Infinity,1e999]}}'),
        "3 series that cannot be read",
    ),
    # one bad row
    case("a row that is null", vector(None), UNREAD),
    case("a row that is a text", vector("x"), UNREAD),
    case("a row without a value", vector({"metric": {}}), UNREAD),
    case("a value that is an object", vector({"metric": {}, "value": {}}), UNREAD),
    case("a value of three", vector({"metric": {}, "value": [1, "1", 2]}), UNREAD),
    case("a value that is a list", vector({"metric": {"k": "c0"}, "value": [1, [1]]}), UNREAD, quick=True),
    case("a value that is a word", vector({"metric": {"k": "c0"}, "value": [1, "many"]}), UNREAD),
    case("a value of 4,000 digits", vector({"metric": {"k": "c0", "instance": "h:1"}, "value": [1, LONG_NUMBER]}), ""),
    case(
        "a number of 4,000 digits",
        body(f'{{"status":"success","data":{{"resultType":"vector","result":[{LONG_NUMBER}]}}}}'),
        UNREAD,
    ),
    case("labels that are a list", vector({"metric": [], "value": [1, "1"]}), UNREAD),
    case("a label that is a number", vector({"metric": {"k": 1}, "value": [1, "1"]}), UNREAD),
    case(
        "a label nested nine hundred times",
        body(
            '{"status":"success","data":{"resultType":"vector","result":[{"metric":{"k":'
            + "[" * 900
            + "]" * 900
            + '},"value":[1,"1"]}]}}'
        ),
        UNREAD,
    ),
    case(
        "labels of nasty bytes",
        vector({"metric": {"k": "d0", "__name__": NASTY, "mountpoint": NASTY, "instance": NASTY}, "value": [1, "1"]}),
        "",
    ),
    *(
        case(
            f"a disk whose {what} is {value}",
            vector(
                *(
                    {
                        "metric": {"k": "d0", "__name__": f"node_filesystem_{one}_bytes", "mountpoint": NASTY, "instance": "h:1"},
                        "value": [1, value if one == what else "1e12"],
                    }
                    for one in ("size", "avail")
                )
            ),
            "",
        )
        for what, value in (("size", "-1"), ("size", "NaN"), ("avail", "1e300"), ("avail", "+Inf"))
    ),
    *(
        case(
            f"a host's time of {value}",
            vector(
                {"metric": {"k": "t0", "instance": "127.0.0.1:9100"}, "value": [1, value]},
                {
                    "metric": {"k": "m0", "__name__": "node_memory_MemTotal_bytes", "instance": "127.0.0.1:9100"},
                    "value": [1, "1e10"],
                },
            ),
            "",
        )
        for value in ("1e300", "-1", "NaN", "+Inf", "99999999999999")
    ),
    *(
        case(
            f"a time of its own of {value}",
            doc(
                {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"k": "now"}, "value": [1, value]}]}}
            ),
            "",
        )
        for value in ("1e300", "-1", "NaN", "0")
    ),
    case(
        "several machines of nasty names",
        vector(
            *(
                {"metric": {"k": "m0", "__name__": "node_memory_MemTotal_bytes", "instance": f"{NASTY}{n}:1"}, "value": [1, "1"]}
                for n in range(500)
            )
        ),
        "",
    ),
    # refusals
    *(
        case(f"status {status}", body(b"x" * 100, status))
        for status in (204, 301, 400, 401, 403, 404, 422, 429, 500, 502, 503, 504, 599)
    ),
    case("an error of nasty bytes", doc({"status": "error", "errorType": NASTY, "error": NASTY}, 500)),
    case("an error of 1 MiB", doc({"status": "error", "errorType": "x", "error": "e" * (1 << 20)}, 500)),
    case("an error that is a list", doc({"status": "error", "errorType": [], "error": [[[]]]}, 500)),
    case(
        "each expression refused",
        doc({"status": "error", "errorType": "bad_data", "error": "no"}, 400),
        "refuses|not Prometheus",
        quick=True,
    ),
    # its other question, asked every ten minutes
    case(
        "targets that are no objects",
        doc({"status": "success", "data": {"activeTargets": [1, None, [], "x", {}]}}),
        "",
        "/api/v1/targets",
    ),
]


def _bomb() -> bytes:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
