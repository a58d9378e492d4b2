"""llama-swap loads and unloads: a pretended one that listens, the real adapter, the real guards, and the box's machine with its own hands."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from http.server import ThreadingHTTPServer

import httpx
import pytest

from sovtui.actions import all_specs
from sovtui.actions.spec import Plan, Verdict, Wish
from sovtui.adapters.engines.watch import EnginesSource
from sovtui.adapters.registry import load_engine
from sovtui.config.schema import Bytes, Config, EngineConfig, HostConfig, ModeConfig
from sovtui.config.specs import host_specs
from sovtui.core.events import Event, LinkChanged, Sample, Samples
from sovtui.core.model import EnginePhase, Link, LinkPhase
from sovtui.core.reading import fresh
from sovtui.core.state import State, initial, reduce
from sovtui.onbox import effects, machine
from sovtui.onbox.plan import parse
from sovtui.onbox.words import ASKED, Began, End, Look, Looked
from sovtui.ports.errors import NotYet
from tests.box.pretend_loader import Handler, Llamaswap
from tests.fakes.world import FakeClock

SMALL, BIG = "qwen/qwen3-8b:q4", "gpt-oss-120b"


class Estate:
    """A host whose llama-swap listens on this machine."""

    def __init__(self, port: int) -> None:
        url = f"http://127.0.0.1:{port}"
        mode = ModeConfig(name="big", key="1", engine="vllm", url="http://127.0.0.1:9", model=BIG, services=("x.service",))
        swap = EngineConfig(name="swap", engine="llamaswap", url=url)
        self.config = Config(host={"spark": HostConfig(mode=(mode,), engine=(swap,))})
        self.clock = FakeClock()
        specs = host_specs(self.config)
        self.state: State = reduce(initial(specs, self.clock.now()), LinkChanged("spark", Link(LinkPhase.UP)))
        adapters = {"llamaswap": load_engine("llamaswap")}
        (engine,) = specs[0].beside
        self.source = EnginesSource("spark", (engine,), adapters, self._client, self.clock)

    @staticmethod
    def _client(base: str, mode: str = "") -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=base, trust_env=False)

    def put(self, event: Event) -> None:
        self.state = reduce(self.state, event)

    async def look(self) -> None:
        self.clock.passed += 31.0
        await self.source.poll(self.state, self.put)

    def figure(self, name: str, value: float) -> None:
        self.put(Samples("spark", (Sample(name, fresh(value, self.clock.now(), "engine"), "swap"),)))

    def plan(self, action: str, model: str, **options: str) -> Plan:
        return all_specs()[action].plan(self.state, self.config, Wish("spark", f"swap/{model}", options))

    def parts(self) -> dict[str, str]:
        return {part.name: part.state for part in self.state.hosts["spark"].engines["swap"].parts}


@pytest.fixture
async def swap() -> AsyncIterator[tuple[Llamaswap, Estate]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.loader = pretended = Llamaswap(SMALL, BIG, aliases={"chat": SMALL}, load_seconds=0.2)  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    estate = Estate(server.server_port)
    yield pretended, estate
    await estate.source.aclose()
    server.shutdown()
    thread.join()
    server.server_close()


def carry_out(plan: Plan) -> End:
    """As the box does it: the machine, and hands that really ask."""
    request = parse({"v": 1, "id": "20261120T200000Z-x-abcd", "who": "me", "host": "spark", **plan.request})
    hands, state = effects.Hands(request), machine.begin(request)
    hands.post(Began(time.monotonic()))
    while True:
        state, asked = machine.advance(state, hands.take())
        for effect in asked:
            if isinstance(effect, End):
                return effect
            if isinstance(effect, Look):
                hands.post(Looked(time.monotonic(), ()))  # no unit is named, and here may be no systemd
            elif isinstance(effect, ASKED):
                hands.perform(effect)


async def test_a_look_tells_what_could_be_loaded_and_loads_nothing(swap: tuple[Llamaswap, Estate]) -> None:
    pretended, estate = swap
    await estate.look()
    host = estate.state.hosts["spark"]
    told = {part.name: part.state for part in host.engines["swap"].installed}
    assert told == {SMALL: "installed", BIG: "installed", "spark2/big": "remote"} and not pretended.state
    specs = all_specs()
    targets = {id: specs[id].targets(host) for id in ("load", "pin", "unload")}  # type: ignore[misc]
    assert targets == {"load": (f"swap/{SMALL}", f"swap/{BIG}"), "pin": (), "unload": ()}


async def test_load_and_unload_from_the_plan_to_the_list_that_proves_it(swap: tuple[Llamaswap, Estate]) -> None:
    _, estate = swap
    await estate.look()
    plan = estate.plan("load", SMALL)
    assert plan.verdict is Verdict.GO and plan.commands == () and "made way" not in plan.reason
    end = await asyncio.to_thread(carry_out, plan)
    assert (end.outcome, end.reason) == ("done", f"{SMALL} is loaded")
    await estate.look()
    engine = estate.state.hosts["spark"].engines["swap"]
    assert estate.parts() == {SMALL: "ready"} and engine.phase is EnginePhase.READY
    assert estate.plan("load", SMALL).reason == f"{SMALL} is loaded already"
    assert (await asyncio.to_thread(carry_out, estate.plan("load", BIG))).outcome == "done"
    await estate.look()
    assert estate.parts() == {BIG: "ready"}
    estate.figure("engine.running", 0.0)
    plan = estate.plan("unload", BIG)
    assert plan.verdict is Verdict.GO and plan.request["consent"] == {}
    assert (await asyncio.to_thread(carry_out, plan)).reason == f"{BIG} is unloaded"
    await estate.look()
    assert estate.parts() == {}


async def test_an_unload_that_may_cut_requests_off_is_asked_first(swap: tuple[Llamaswap, Estate]) -> None:
    pretended, estate = swap
    pretended.state = {SMALL: "ready"}
    await estate.look()
    plan = estate.plan("unload", SMALL)
    assert plan.verdict is Verdict.ASK and "is not known" in plan.reason and "cut off" in plan.reason
    estate.figure("engine.running", 2.0)
    plan = estate.plan("unload", SMALL)
    assert plan.reason == f"llama-swap is busy with 2 requests and does not wait for them: those of {SMALL} would be cut off."
    assert plan.verdict is Verdict.ASK and plan.request["consent"] == {"busy": ["swap"]}


async def test_what_does_not_fit_is_asked_with_what_might_make_way(swap: tuple[Llamaswap, Estate]) -> None:
    pretended, estate = swap
    pretended.state = {SMALL: "ready"}
    settings = estate.config.host["spark"]
    at = settings.engine[0].url
    mode = ModeConfig(name="b", engine="llamaswap", url=at, model=BIG, needs=Bytes(60 << 30), services=("s.service",))
    estate.config = Config(host={"spark": HostConfig(mode=(mode,))})
    was = estate.state
    estate.state = reduce(initial(host_specs(estate.config), was.now), LinkChanged("spark", Link(LinkPhase.UP)))
    await estate.source.aclose()
    estate.source = EnginesSource(
        "spark", host_specs(estate.config)[0].modes, {"llamaswap": load_engine("llamaswap")}, estate._client, estate.clock
    )
    with contextlib.suppress(NotYet):  # nobody has told of its services
        await estate.look()
    for name, value in (("gpu.memory_total_bytes", 64.0 * 2**30), ("gpu.memory_used_bytes", 20.0 * 2**30)):
        estate.put(Samples("spark", (Sample(name, fresh(value, estate.clock.now(), "nvml"), "0"),)))
    plan = all_specs()["load"].plan(estate.state, estate.config, Wish("spark", f"b/{BIG}", {}))
    assert plan.verdict is Verdict.ASK and plan.request["consent"] == {"not_fitting": True}
    assert "does not fit" in plan.reason and plan.reason.endswith(f"It may fit once {SMALL} has been unloaded.")


@pytest.mark.parametrize(
    ("action", "model", "options", "says"),
    [
        ("pin", SMALL, {}, "is said in its own configuration, as ttl"),
        ("load", SMALL, {"for": "600"}, "is said in its own configuration, as ttl"),
        ("load", "gpt-oss-20b", {}, f'did you mean "{BIG}"?'),
        ("load", "spark2/big", {}, "runs elsewhere"),
        ("unload", BIG, {}, "is not in memory"),
    ],
)
async def test_what_llama_swap_cannot_do_is_refused_here(
    swap: tuple[Llamaswap, Estate], action: str, model: str, options: dict[str, str], says: str
) -> None:
    pretended, estate = swap
    await estate.look()
    plan = estate.plan(action, model, **options)
    assert plan.verdict is Verdict.NO and says in plan.reason
    assert all(method == "GET" and "/upstream" not in path for method, path in pretended.asked)
