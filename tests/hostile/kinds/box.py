"""A box whose `python3` and `systemctl` lie."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

from tests.hostile.case import DEEP, LONG_NUMBER, NASTY, Case, Pieces

MARK = b"@MARK@"
"""Stands for the marker of the run."""
HELLO = {"t": "hello", "now": 1790000000.0, "boot_id": "b", "hostname": "h", "python": "3.11", "systemd": True, "user": "u"}


def line(value: Any) -> bytes:
    return MARK + (value if isinstance(value, bytes) else json.dumps(value).encode("utf-8", "surrogatepass")) + b"\n"


def says(*values: Any, then: Iterable[Any] = (), pause: float = 0.0) -> Callable[[], Pieces]:
    """The lines of a probe that is there, then more, and then it stays."""

    def give() -> Pieces:
        yield line({"t": "ready"}) + line(HELLO) + b"".join(line(value) for value in values)
        for value in then:
            yield value if isinstance(value, (bytes, float)) else line(value)
            if pause:
                yield pause
        yield 600.0

    return give


def probe(name: str, *values: Any, words: str = "", then: Iterable[Any] = (), pause: float = 0.0, **more: Any) -> Case:
    return Case(name, "python3", says(*values, then=then, pause=pause), "probe", words, **more)


def other(name: str, give: Callable[[], Pieces], words: str = "", path: str = "probe", **more: Any) -> Case:
    return Case(name, more.pop("at", "python3"), give, path, words, **more)


def forever(piece: bytes, size: int = 1 << 15) -> Callable[[], Pieces]:
    return lambda: itertools.repeat(piece * max(1, size // len(piece)))


def services(count: int, **more: Any) -> dict[str, Any]:
    told = {
        "active": "active",
        "sub": "running",
        "result": "success",
        "since": 1.79e9,
        "restarts": 0,
        "pid": 5,
        "memory": 5,
        "description": "d",
        "status": 0,
        "next": None,
    }
    return {"t": "services", "services": [{"name": f"unit-{n:02d}.service", **told, **more} for n in range(count)]}


def one(**more: Any) -> dict[str, Any]:
    """One service that was asked for, told wrongly."""
    return {"t": "services", "services": [*services(3)["services"], {**services(6)["services"][5], **more}]}


def steps(count: int) -> Callable[[], Pieces]:
    def give() -> Pieces:
        yield line({"t": "ready"}) + line(
            {
                "t": "begin",
                "v": 1,
                "id": "20261101T100000Z-switch-abcd",
                "kind": "switch",
                "target": "x",
                "who": "w",
                "at": "2026-11-01T10:00:00Z",
            }
        )
        for number in range(count):
            yield line(
                {"t": "step", "name": f"step {number}", "state": "running", "at": "2026-11-01T10:00:00Z", "detail": "d" * 100}
            )
        yield 600.0

    return give


_ACTION = {
    "t": "action",
    "id": "20261101T100000Z-switch-abcd",
    "who": "w",
    "kind": "switch",
    "target": "x",
    "since": 1.79e9,
    "step": "s",
}


def acting(name: str, give: Callable[[], Pieces], words: str = "", **more: Any) -> Case:
    """The probe says that an action runs, and what is followed then is this."""

    def both() -> Pieces:  # the liar is asked with either verb; each gets what it understands
        yield from give()

    return Case(name, "python3", both, "follow|probe", words, **more)


def followed(lines: Callable[[], Iterable[bytes]]) -> Callable[[], Pieces]:
    def give() -> Pieces:
        yield line({"t": "ready"}) + line(HELLO) + line(_ACTION)
        yield from lines()
        yield 600.0

    return give


def begun(*more: Any) -> bytes:
    first = {"t": "begin", "v": 1, "id": _ACTION["id"], "kind": "switch", "target": "x", "who": "w", "at": "2026-11-01T10:00:00Z"}
    return line(first) + b"".join(line(value) for value in more)


def step(number: int, **more: Any) -> dict[str, Any]:
    return {"t": "step", "name": f"step {number}", "state": "running", "at": "2026-11-01T10:00:00Z", "detail": "d", **more}


def receipts(count: int, **more: Any) -> Callable[[], Pieces]:
    def give() -> Pieces:
        yield line({"t": "ready"})
        for number in range(count):
            begin = {
                "t": "begin",
                "v": 1,
                "id": f"20261101T10{number % 6000:04d}Z-switch-abcd",
                "kind": "switch",
                "target": NASTY,
                "who": NASTY,
                "at": "2026-11-01T10:00:00Z",
            }
            yield line(
                {
                    "t": "receipt",
                    "running": False,
                    "lines": [
                        begin,
                        {**step(1), **more},
                        {"t": "end", "outcome": "done", "at": "2026-11-01T10:00:00Z", "seconds": 5, **more},
                    ],
                }
            )
        yield line({"t": "over", "status": 0})

    return give


CASES = [
    # floods
    other("junk lines without end", forever(b"junk\n"), "bench", at="login"),
    other("junk of nasty bytes without end", forever(NASTY.encode("utf-8", "replace") + b"\n"), "bench", at="login"),
    other("empty lines without end", forever(b"\n"), "bench", at="login"),
    other("one line without end", forever(b"x"), "bench", at="login"),
    probe(
        "junk lines behind the probe's own",
        then=itertools.cycle((b"junk\n" * 6000, {"t": "beat", "now": 1790000000.0})),
        words="lines of something else left out",
        quick=True,
    ),
    probe("lines of 1 MiB", then=itertools.repeat(b"x" * (1 << 20) + b"\n")),
    probe("one line without end behind its own", then=itertools.repeat(b"x" * (1 << 16))),
    probe(
        "memory told without end",
        then=itertools.repeat(b"".join(line({"t": "memory", "total": 10**10 + n, "available": n}) for n in range(500))),
    ),
    probe("services told without end", then=itertools.repeat(b"".join(line(services(40, pid=n)) for n in range(10)))),
    probe(
        "services that change at each line",
        then=itertools.cycle(line(services(40, active=active)) for active in ("failed", "active", "activating")),
    ),
    probe(
        "disks told without end",
        then=(
            line({"t": "disks", "disks": [{"mount": f"/m{n}-{i}", "total": 10**12, "free": n} for i in range(60)]})
            for n in itertools.count()
        ),
        quick=True,
    ),
    probe(
        "GPUs told without end",
        then=(
            line(
                {
                    "t": "gpus",
                    "asked": True,
                    "gpus": [{"id": f"{n}-{i}", "use": 5, "power": 5, "used": 1, "total": 2} for i in range(30)],
                }
            )
            for n in itertools.count()
        ),
    ),
    probe("beats without end", services(40), then=itertools.repeat(line({"t": "beat", "now": 1790000000.0}) * 200)),
    probe(
        "problems without end",
        then=(line({"t": "problem", "what": "system services", "reason": f"r{n}"}) for n in itertools.count()),
    ),
    probe(
        "actions without end", then=(line({"t": "action", "id": f"20261101T100000Z-switch-{n:04x}"}) for n in itertools.count())
    ),
    probe("lines that are broken without end", then=itertools.repeat(line(b"{broken") * 2000)),
    probe("lines of an unknown kind without end", then=itertools.repeat(line({"t": "x", "y": "z" * 50}) * 500)),
    probe(
        "activity told without end",
        then=(line({"t": "activity", "of": [{"at": f"h:{n}-{i}", "cores": 1} for i in range(200)]}) for n in itertools.count()),
    ),
    # more than was asked for
    probe(
        "a hundred thousand services",
        {"t": "services", "services": [{"name": f"u{n}"} for n in range(20_000)]},
        words="services that nobody asked for",
        quick=True,
    ),
    probe(
        "services of its own beside ours",
        {
            "t": "services",
            "services": [*services(40)["services"], *({"name": f"x{n}.service", "active": "failed"} for n in range(500))],
        },
        words=r"[0-9]+ services that nobody asked for",
    ),
    probe("one service told fifty thousand times", services(1) | {"services": services(1)["services"] * 5000}),
    probe(
        "ten thousand disks", {"t": "disks", "disks": [{"mount": f"/m{n}", "total": 10**12, "free": 1} for n in range(10_000)]}
    ),
    probe("a thousand GPUs", {"t": "gpus", "asked": True, "gpus": [{"id": f"{n}", "use": 5} for n in range(1000)]}),
    probe("a line of 900 kB of empty objects", b"[" + b"{}," * 300_000 + b"{}]"),
    # a wrong kind
    *(
        probe(f"a {kind} line that is {name}", {"t": kind, key: value})
        for kind, key in (("services", "services"), ("disks", "disks"), ("gpus", "gpus"), ("activity", "of"))
        for name, value in (
            ("a number", 5),
            ("a list of wrong things", [1, None, "x", [], {"name": [], "at": [], "mount": {}, "id": None}]),
            ("an object", {"a": 1}),
        )
    ),
    probe("memory of lists", {"t": "memory", "total": [1], "available": {"a": 1}, "cached": None, "buffers": "x"}),
    probe("memory of impossible numbers", b'{"t":"memory","total":1e999,"available":-5,"cached":NaN,"buffers":1e308}'),
    probe(
        "a number of 4,000 digits",
        b'{"t":"memory","total":' + LONG_NUMBER.encode() + b',"available":' + LONG_NUMBER.encode() + b"}",
        quick=True,
    ),
    probe("processors of a wrong kind", {"t": "cpu", "use_ratio": "x", "load": [], "cpus": -5}),
    probe("an action that is a list", {"t": "action", "id": [[]], "since": {}}),
    probe("a problem of nasty bytes", {"t": "problem", "what": "system services", "reason": NASTY * 50}),
    probe("an error that is a list", {"t": "error", "reason": [[1]]}, words="probe"),
    probe("an error of nasty bytes", {"t": "error", "reason": NASTY * 50}, words="probe"),
    probe("a kind that is a list", {"t": ["services"]}),
    probe("a line that is a list", [1, 2]),
    probe("a line nested deeply", b"[" * DEEP),
    probe("a line nested nine hundred times", b'{"t":"problem","what":' + b"[" * 900 + b"]" * 900 + b',"reason":5}'),
    probe("a last line that is a text", {"t": "over", "status": "x"}),
    probe("a last line with a huge status", {"t": "over", "status": 10**18}),
    probe("a beat before all calendars", {"t": "beat", "now": -1e300}),
    probe("a beat in the year 9999", {"t": "beat", "now": 2.5e11}),
    probe(
        "a beat that jumps an hour each time",
        services(40),
        then=(line({"t": "beat", "now": 1.79e9 + 3600 * (n % 2)}) for n in range(200)),
        pause=0.05,
    ),
    *(
        probe(f"a service whose {name}", one(**more), **words)
        for name, more, words in (
            ("description is nasty", {"description": NASTY * 20}, {}),
            ("state is nasty", {"active": NASTY, "sub": NASTY, "result": NASTY}, {}),
            ("state is a list", {"active": [[]], "sub": {}, "result": 5}, {}),
            ("start is in the year 9999", {"since": 2.5e11, "next": 1e300}, {}),
            ("start is a text", {"since": "x", "next": []}, {}),
            ("memory is below zero", {"memory": -5}, {}),
            ("memory is a list", {"memory": [], "pid": {}, "restarts": "x", "status": []}, {}),
            ("memory is huge", {"memory": 10**18, "pid": 10**18, "restarts": 10**18}, {}),
        )
    ),
    # slow, silent, gone
    other("nothing at all", lambda: iter((600.0,)), seconds=6.0, at="login"),
    other("its first word and then nothing", says()),
    other(
        "a byte now and then", lambda: (x for b in (line({"t": "ready"}) + line(HELLO)) for x in (bytes((b,)), 0.1)), seconds=6.0
    ),
    other("ended at once", lambda: iter(()), at="login"),
    other("ended in the middle of a line", lambda: iter((line({"t": "ready"}) + MARK + b'{"t":"mem',))),
    other("random bytes", lambda: iter((bytes(range(256)) * 1000, 600.0)), at="login"),
    other("the marker and nothing else", lambda: iter((line({"t": "ready"}) + (MARK + b"\n") * 10_000, 600.0))),
    other("the marker twice in a line", lambda: iter((line({"t": "ready"}) + (MARK + MARK + b"{}\n") * 1000, 600.0))),
    # actions
    acting("thousands of steps", followed(lambda: (begun(), *(line(step(n)) for n in range(20_000)))), quick=True),
    acting("steps without end", followed(lambda: itertools.chain((begun(),), (line(step(n)) for n in itertools.count())))),
    acting(
        "lines of a journal without end",
        followed(lambda: itertools.chain((begun(),), (line({"t": "line", "text": f"l{n} {NASTY}"}) for n in itertools.count()))),
    ),
    acting(
        "figures without end",
        followed(
            lambda: itertools.chain(
                (begun(),),
                (
                    line({"t": "figures", "when": "before", "values": {f"f{n}.{i}": i for i in range(50)}})
                    for n in itertools.count()
                ),
            )
        ),
    ),
    acting("a step of nasty bytes", followed(lambda: (begun(step(1, name=NASTY, detail=NASTY * 20)),))),
    acting(
        "a step of wrong kinds",
        followed(
            lambda: (
                begun(
                    step(1, name=[], state={}, at=5, seconds="x", detail=[]),
                    step(2, seconds=1e300),
                    step(3, at="9999-12-31T23:59:59-23:59"),
                ),
            )
        ),
    ),
    acting(
        "an end of wrong kinds",
        followed(
            lambda: (begun({"t": "end", "outcome": [], "reason": {}, "seconds": 1e300, "at": "0001-01-01T00:00:00+23:59"}),)
        ),
    ),
    acting("a begin in the year 9999", followed(lambda: (begun().replace(b"2026-11", b"9999-12"),))),
    Case("five thousand receipts", "list", receipts(5000), "list", ""),
    Case("receipts whose times cannot be", "list", receipts(20, at="9999-12-31T23:59:59-23:59", seconds=1e300), "list", ""),
    Case(
        "a receipt that is a list",
        "list",
        lambda: iter(
            (
                line({"t": "ready"})
                + line({"t": "receipt", "lines": [1, None, [], {"t": "begin", "id": []}]})
                + line({"t": "receipt", "lines": 5})
                + line({"t": "over", "status": 0}),
            )
        ),
        "list",
        "",
    ),
    Case(
        "receipts without end",
        "list",
        lambda: itertools.chain((line({"t": "ready"}),), itertools.repeat(line({"t": "receipt", "lines": []}) * 500)),
        "list",
        "",
    ),
    # systemctl
    *(
        Case(f"systemctl: {name}", "systemctl", give, "", "")
        for name, give in (
            ("nothing at all", lambda: iter((600.0,))),
            ("an empty answer", lambda: iter(())),
            ("blocks without end", forever(b"Id=unit-01.service\nActiveState=active\n\n")),
            ("a line without end", forever(b"x")),
            ("random bytes", lambda: iter((bytes(range(256)) * 1000,))),
            (
                "ten thousand units of its own",
                lambda: iter(
                    ("".join(f"Id=x{n}.service\nLoadState=loaded\nActiveState=failed\n\n" for n in range(10_000)).encode(),)
                ),
            ),
            (
                "nasty bytes",
                lambda: iter(
                    (
                        f"Id=unit-01.service\nLoadState=loaded\nActiveState=active\nDescription={NASTY}\nSubState={NASTY}\n\n".encode(
                            "utf-8", "replace"
                        ),
                    )
                ),
            ),
            (
                "numbers that are none",
                lambda: iter(
                    (
                        f"Id=unit-01.service\nLoadState=loaded\nActiveState=active\nMainPID=x\nNRestarts={LONG_NUMBER}\nMemoryCurrent=-5\nStateChangeTimestamp=Fri 9999-12-31 23:59:59 UTC\nExecMainStartTimestampMonotonic={LONG_NUMBER}\n\n".encode(),
                    )
                ),
            ),
            (
                "a megabyte of description",
                lambda: iter(
                    (b"Id=unit-01.service\nLoadState=loaded\nActiveState=active\nDescription=" + b"d" * (1 << 20) + b"\n\n",)
                ),
            ),
        )
    ),
]
