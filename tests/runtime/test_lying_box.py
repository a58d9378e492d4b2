"""What a box says that is broken or was taken over: bounded, dropped where it is none, and never the end of the rest."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from sovtui.adapters.services.probe import SILENT_SECONDS, Probe
from sovtui.core.events import ActivitySeen, Event, Samples, ServicesSeen
from sovtui.core.model import Mode
from sovtui.ports.errors import AnswerLost, PortError, TimedOut
from sovtui.ports.link import Completed, Patience
from sovtui.runtime import box, exchange
from sovtui.runtime.skews import Skews
from tests.fakes.clock import FakeClock
from tests.fakes.world import FakeLink
from tests.runtime.test_exchange import saying, told

NAMES = ("a.service", "b.service")
STRANGE: list[Any] = [5, "x", None, {"a": 1}, [1, None, "x", [], {}, {"name": [], "at": [], "mount": {}, "id": None}]]


def line(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


async def heard(*lines: Any, probe: Probe | None = None) -> list[Event]:
    link = FakeLink(script=lambda argv, stdin: ([line(one) for one in lines], 0))
    probe = probe or Probe("spark", NAMES, FakeClock(), engines=[Mode("m", url="http://127.0.0.1:8000")])
    return [event async for batch in probe.events(link) for event in batch]


async def test_only_the_services_that_were_asked_for_are_kept() -> None:
    probe = Probe("spark", NAMES, FakeClock())
    foreign = [{"name": f"x{n}.service", "active": "failed"} for n in range(500)]
    events = await heard({"t": "services", "services": [{"name": "a.service", "active": "active"}, *foreign]}, probe=probe)
    (seen,) = [event for event in events if isinstance(event, ServicesSeen)]
    assert [service.name for service in seen.services] == ["a.service"]
    assert probe.left_out == "500 services that nobody asked for left out"
    await heard({"t": "services", "services": [{"name": "a.service", "active": "active"}]}, probe=probe)
    assert probe.left_out == "", "of an earlier run"


@pytest.mark.parametrize("value", STRANGE, ids=str)
@pytest.mark.parametrize(("kind", "key"), [("services", "services"), ("disks", "disks"), ("gpus", "gpus"), ("activity", "of")])
async def test_a_line_of_a_wrong_kind_costs_itself_alone(kind: str, key: str, value: Any) -> None:
    good = {"t": "services", "services": [{"name": "b.service", "active": "active"}]}
    events = await heard({"t": kind, key: value, "asked": True}, good)
    assert any(isinstance(event, ServicesSeen) and event.services for event in events)
    assert not any(isinstance(event, ActivitySeen) and event.servers for event in events)


async def test_numbers_and_times_that_cannot_be_are_not_told() -> None:
    memory = b'{"t":"memory","total":%s,"available":1e999,"cached":NaN,"buffers":[1],"shared":true,"swap_total":7}' % (
        b"9" * 4000
    )
    service = {
        "name": "a.service",
        "active": [[]],
        "since": 2.5e11,
        "next": 1e300,
        "pid": [],
        "restarts": "x",
        "memory": {},
        "status": 1,
    }
    beats = [{"t": "beat", "now": now} for now in (-1e300, 2.5e11, "x", None)]
    events = await heard(memory, {"t": "services", "services": [service]}, *beats)
    figures = {
        s.figure: s.reading.value for e in events if isinstance(e, Samples) for s in e.samples if s.figure.startswith("memory")
    }
    assert figures == {"memory.swap_total_bytes": 7.0}
    (seen,) = next(event for event in events if isinstance(event, ServicesSeen)).services
    assert (seen.active, seen.since, seen.next_run_at, seen.main_pid, seen.restarts, seen.memory_bytes) == (
        "unknown",
        *[None] * 5,
    )


async def test_of_disks_and_activity_no_more_is_kept_than_a_machine_has() -> None:
    disks = {"t": "disks", "disks": [{"mount": f"/m{n}", "total": 10, "free": 5} for n in range(1000)]}
    of = [{"at": f"h:{n}", "cores": 1} for n in range(1000)] + [{"at": "127.0.0.1:8000", "cores": 1}]
    events = await heard(disks, {"t": "activity", "of": of})
    assert len({s.subject for e in events if isinstance(e, Samples) for s in e.samples}) <= 100
    assert [at for e in events if isinstance(e, ActivitySeen) for at, _ in e.servers] == ["127.0.0.1:8000"]


class Silent(FakeLink):
    """The probe begins there, and nothing more comes; its input stays open, and it never ends."""

    ends = False

    def stream(self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE) -> Any:
        word = argv[4]
        outer = self

        class Lines:
            async def lines(self) -> AsyncIterator[bytes]:
                yield b'\x1e%s{"t":"ready"}' % word.encode()
                if not outer.ends:
                    await asyncio.Event().wait()

            async def write(self, data: bytes) -> None: ...

            async def result(self) -> Completed:
                await asyncio.Event().wait()
                raise AssertionError

        @asynccontextmanager
        async def run() -> AsyncIterator[Lines]:
            yield Lines()

        return run()


async def test_a_probe_that_falls_silent_is_given_up() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimedOut, match="has told nothing for 32 s"):
        async for _ in Probe("spark", NAMES, FakeClock()).events(Silent()):
            pass
    assert loop.time() - began == pytest.approx(SILENT_SECONDS + 2.0)


async def test_a_command_that_closes_its_output_and_stays_is_not_waited_for() -> None:
    link = Silent()
    link.ends = True
    with pytest.raises(AnswerLost, match="does not end"):
        await told(link)


async def test_junk_is_counted_and_not_looked_at_once_enough_is_known() -> None:
    junk = [b"line %s of junk" % (b"x" * (n % 300)) + b'(mark){"t":"ready"}' for n in range(2000)]
    link = saying(*junk)
    async with exchange.exchange(link, "list", {}) as run, aclosing(run.lines()) as lines:
        assert [one async for one in lines] == []
        assert run.unread > 1500
    assert len(link.heard) == exchange.MAX_SHOWN


@pytest.mark.parametrize("last", ['"x"', "[]", "null", "1e999"])
async def test_a_last_line_that_is_none_is_a_broken_answer(last: str) -> None:
    with pytest.raises(AnswerLost):
        await told(saying(b'(mark){"t":"over","status":%s}' % last.encode(), b"CUT"))


@pytest.mark.parametrize("broken", [b"[" * 60_000, b"[1]", b'{"t":[]}', b"{}," * 50_000, b'{"t":5}'])
async def test_a_line_of_ours_that_is_none_is_a_broken_answer(broken: bytes) -> None:
    with pytest.raises(AnswerLost, match="cannot be read"):
        await told(saying(b"(mark)" + broken))


async def test_an_error_in_other_words_is_a_sentence() -> None:
    with pytest.raises(PortError, match="the box gave no reason"):
        await told(saying(b'(mark){"t":"error","reason":[[1]]}'))


async def test_of_receipts_no_more_is_read_than_was_asked_for() -> None:
    begin = {"t": "begin", "id": "x", "kind": "switch", "at": "9999-12-31T23:59:59-23:59"}
    end = {"t": "end", "outcome": "done", "seconds": 1e300, "at": "0001-01-01T00:00:00+23:59"}
    one = {
        "t": "receipt",
        "lines": [1, None, begin, *({"t": "step", "name": f"s{n}", "state": "done"} for n in range(1500)), end],
    }
    link = saying(*(b"(mark)" + line({"t": "receipt", "lines": wrong}) for wrong in STRANGE), *[b"(mark)" + line(one)] * 20)
    runs = await box.list_runs(link, 5, skews=Skews(), clock=FakeClock())
    assert len(runs) == 5 and all(len(run.steps) <= 100 and run.seconds is None for run in runs)
    assert runs[0].began_at + timedelta(days=1), "a moment that can be reckoned with"
