"""What is ours in what a login shell, a forced command and the on-box part write to one standard output."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from sovtui.core.clean import Clean
from sovtui.ports.errors import AnswerLost, PortError, Unsupported
from sovtui.ports.link import Completed, LineStream, Link, Patience
from sovtui.runtime import box, bundle, exchange
from tests.fakes.world import FakeLink, Script

pytestmark = pytest.mark.truth(of="exec channel")


class TalkingLink(FakeLink):
    """A link whose login shell is heard."""

    def __init__(self, script: Script) -> None:
        super().__init__(script=script)
        self.heard: list[str] = []
        self.on_banner = self.hear

    def hear(self, line: Clean) -> None:
        self.heard.append(line)


def saying(*lines: bytes) -> TalkingLink:
    return TalkingLink(lambda argv, stdin: (list(lines), 0))


async def told(link: Link, verb: str = "list") -> list[dict[str, Any]]:
    async with aclosing(exchange.lines(link, verb, {"limit": 3})) as lines:
        return [line async for line in lines]


ONE, TWO = b'(mark){"t":"action","id":"one"}', b'(mark){"t":"action","id":"two"}'


async def test_our_lines_count_wherever_they_stand_and_the_rest_is_the_banner() -> None:
    noise = b'{"t":"error","reason":"not ours"}'
    link = saying(b"hello \x1b[31mred" + ONE, noise + TWO, b'bye(mark){"t":"ready"}')
    assert [line["id"] for line in await told(link)] == ["one", "two"]
    assert link.heard == ["hello red", noise.decode(), "bye"]


async def test_what_every_command_says_again_is_shown_once_and_never_much_of_it() -> None:
    link = saying(*(b'it is %d:%d o\'clock(mark){"t":"ready"}' % (n, n) for n in range(5)))
    for _ in range(3):
        await told(link)
    assert link.heard == ["it is 0:0 o'clock"]
    link = saying(*(b"x" * n + b'(mark){"t":"ready"}' for n in range(1, 100)))
    await told(link)
    assert len(link.heard) == exchange.MAX_SHOWN
    link = saying(b"y" * 100_000 + ONE)
    assert len(await told(link)) == 1 and len(link.heard[0]) <= exchange.MAX_SHOWN_CHARACTERS + 1


async def test_a_command_that_is_printed_is_not_an_answer() -> None:
    def script(argv: Sequence[str], stdin: bytes) -> tuple[list[bytes], int]:
        return [b"running: " + " ".join(argv).encode() + b'{"t":"action","id":"echo"}(mark){"t":"ready"}', ONE], 0

    link = TalkingLink(script)
    assert [line["id"] for line in await told(link)] == ["one"]
    assert link.heard[0].startswith("running: python3 -IS") and len(link.heard[0]) < 50


async def test_an_answer_without_its_end_is_no_answer() -> None:
    for lines in ([b"CUT"], [ONE, b"CUT"]):
        with pytest.raises(AnswerLost, match="broke off"):
            await told(saying(*lines))
    with pytest.raises(AnswerLost, match="cannot be read"):
        await told(saying(ONE, b'(mark){"t":"action","id":"tick 1two"', TWO))
    assert await told(saying()) == [], "nothing, and it says so itself"


class Ends(FakeLink):
    """Whatever is begun there ends at once with these words."""

    def __init__(self, status: int, errors: bytes, *lines: bytes) -> None:
        super().__init__()
        self.end, self.spoken, self.given = Completed(status, b"", errors), lines, b""

    def stream(self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE) -> Any:
        outer = self

        class Lines:
            async def lines(self) -> AsyncIterator[bytes]:
                for line in outer.spoken:
                    yield line

            async def write(self, data: bytes) -> None:
                outer.given += data

            async def result(self) -> Completed:
                return outer.end

        @asynccontextmanager
        async def run() -> AsyncIterator[LineStream]:
            outer.given += stdin
            yield Lines()

        return run()


@pytest.mark.parametrize(
    ("status", "errors"),
    [
        (127, b"bash: line 1: python3: command not found"),
        (1, b"python3: Command not found."),
        (127, b"zsh:1: command not found: python3"),
        (127, b"fish: Unknown command: python3"),
        (3, b"some noise\nsh: 1: python3: not found"),
    ],
)
@pytest.mark.truth("a box without Python is said to have none")
async def test_no_python(status: int, errors: bytes) -> None:
    with pytest.raises(Unsupported, match="python3 was not found"):
        await told(Ends(status, errors))


async def test_where_it_does_not_run_nothing_is_sent_and_no_traceback_is_shown() -> None:
    trace = b'Traceback (most recent call last):\n  File "/home/ops/.rc.py", line 1, in <module>\nKeyError: 4'
    link = Ends(1, trace, b"This account may only back up", b'{"t":"action","id":"fake"}')
    with pytest.raises(PortError) as caught:
        await told(link)
    said = caught.value.sentence()
    assert "does not run on spark: it ended with status 1: KeyError: 4; This account may only back up" in said
    assert "Traceback" not in said and link.given == b"" and not isinstance(caught.value, AnswerLost)


class Hungry(FakeLink):
    """A start-up file there reads standard input to its end before any command begins; or standard input is closed already."""

    def __init__(self, closed: bool) -> None:
        super().__init__(script=lambda argv, stdin: ([ONE], 0))
        self.closed_input, self.asked = closed, list[tuple[Sequence[str], bool]]()
        self.given = b""

    def stream(self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE) -> Any:
        self.asked.append((argv, ends))
        mark, outer = bundle.marker(argv[4]), self

        class Lines:
            async def lines(self) -> AsyncIterator[bytes]:
                if not ends and not outer.closed_input:
                    await asyncio.sleep(60)
                yield mark + b'{"t":"ready"}'
                if not ends:
                    yield mark + b'{"t":"deaf"}'
                    return
                yield ONE.replace(b"(mark)", mark)
                yield mark + b'{"t":"over","status":0}'

            async def write(self, data: bytes) -> None:
                outer.given += data

            async def result(self) -> Completed:
                return Completed(0, b"", b"")

        @asynccontextmanager
        async def run() -> AsyncIterator[LineStream]:
            yield Lines()

        return run()


@pytest.mark.parametrize("closed", [False, True])
async def test_where_a_start_up_file_reads_standard_input_the_request_goes_another_way(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    monkeypatch.setattr(exchange, "READY_SECONDS", 0.05)
    link = Hungry(closed)
    for _ in range(2):
        assert [line["id"] for line in await told(link)] == ["one"]
    assert [ends for _, ends in link.asked] == [False, True, True], "once it is known it is not tried again"
    assert closed or link.given == b""


async def test_values_are_never_part_of_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "READY_SECONDS", 0.05)
    link = Hungry(False)
    request = {"id": "x", "plan": {"modes": [{"name": "a", "switch_env": {"KEY": "s3cret"}}]}}
    with pytest.raises(PortError, match="reads standard input before a command begins"):
        await box.answer(link, "start", request)
    assert [ends for _, ends in link.asked] == [False]


async def test_what_hangs_is_told() -> None:
    class Hangs(Hungry):
        def stream(
            self, argv: Sequence[str], *, stdin: bytes = b"", ends: bool = False, patience: Patience = Patience.NONE
        ) -> Any:
            return super().stream(argv, patience=patience)

    link = Hangs(False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, "READY_SECONDS", 0.05)
        patch.setattr(exchange, "ENCLOSED_SECONDS", 0.05)
        with pytest.raises(exchange.NotBegun, match="no command begins on spark") as caught:
            await told(link)
    assert "start-up file" in caught.value.advice and link.given == b""


def test_the_marker_is_not_in_the_command() -> None:
    for call in (bundle.call("list"), bundle.enclosed("list", {"limit": 1})):
        assert call.marker not in json.dumps(call.argv).encode() and call.marker not in " ".join(call.argv).encode()
