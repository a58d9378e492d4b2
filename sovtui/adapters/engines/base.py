"""What an engine's file must offer, and what the files share. Knows no engine by name."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sovtui.core import outside
from sovtui.core.activity import Activity
from sovtui.core.clean import clean
from sovtui.core.model import Engine
from sovtui.core.reading import Reading, Status, unknown, unsupported
from sovtui.onbox import signatures
from sovtui.ports.errors import Malformed, OtherProtocol

if TYPE_CHECKING:  # naming an engine must not cost the HTTP client's import
    import httpx

    from sovtui.adapters.engines.scrape import Scrape

SECOND_READING = "a second reading is needed"
RESTARTED = "it restarted between two readings"
NO_DRAFTS = "it runs without speculative decoding"
NOT_YET = "it has not reported this yet"
"""Why a figure of two readings is not there: said the same by every engine."""
METRICS = "/metrics"
MOST_MODELS = 2000
"""Names kept of a list of models: a LiteLLM with wildcards has hundreds."""
MODELS_EVERY_SECONDS = 60.0
"""Once known the list of models is asked for this often, and when anything hints at a change: every question is a line in its journal."""


@dataclass(frozen=True, slots=True)
class Windows:
    """How far back each kind of PromQL looks, in seconds."""

    speed: int = 15
    latency: int = 60
    hits: int = 300


def windows(scrape_seconds: float | None) -> Windows:
    """Windows for a scrape interval: at least three scrapes (Prometheus 3 leaves out the left edge of a range).

    Longer ones show tokens of an engine that is gone and hide a new one's speed, so no more than that.
    """
    interval = 15.0 if scrape_seconds is None else max(1.0, scrape_seconds)
    return Windows(
        speed=max(15, math.ceil(3 * interval)), latency=max(60, math.ceil(4 * interval)), hits=max(300, math.ceil(4 * interval))
    )


@dataclass(slots=True)
class Past:
    """What the probes of one engine have learned since its unit started. A new one at each start."""

    ready: bool = False
    """It was ready once."""
    models: tuple[str, ...] = ()
    context_tokens: int | None = None
    models_at: float = -math.inf
    """Monotonic time of the last list of models."""
    version: str = ""
    version_asked: bool = False
    missing: set[str] = field(default_factory=set)
    """Paths that answered 404: not asked again."""
    healthy_at: float = -math.inf
    """Monotonic time when its own health check last said yes."""
    health_tried_at: float = -math.inf
    failed_health: str = ""
    """What its health check complained of last; empty after a yes."""
    note: str = ""
    failures: int = 0
    """Probes in a row that got no answer."""
    at: datetime | None = None
    """Wall time of this look, by this machine's clock."""
    due: bool = False
    """Whether its figures are read at this look: an answered page of them proves that it lives, and no more need be asked."""
    page: Scrape | Reading | None = None
    """What the probe of this look has read of them already."""
    address: str = ""
    """`host:port` that it is asked at."""
    activity: Mapping[str, Activity] = field(default_factory=dict)
    """What its host tells of servers without asking them, by address, as far as that still holds."""
    blind: str = ""
    """Why the host tells nothing of them."""
    retell: Callable[[Engine], Engine] | None = None
    """What its figures, read after the probe, add to what that has said; None: nothing."""
    own: dict[str, Any] = field(default_factory=dict)
    """What its adapter keeps for itself between two looks."""


@runtime_checkable
class EngineAdapter(Protocol):
    """Exported as `ENGINE` by `adapters/engines/NAME.py`. Holds no state."""

    @property
    def name(self) -> str: ...

    @property
    def wanted(self) -> re.Pattern[str]:
        """Start of the `/metrics` lines that matter."""
        ...

    @property
    def no_metrics(self) -> str:
        """Why `/metrics` may answer 404."""
        ...

    @property
    def live(self) -> bool:
        """It tells more, or sooner, than Prometheus can know: asked also where Prometheus has its figures."""
        ...

    @property
    def every_seconds(self) -> float:
        """Least time between two readings of its figures; 0: at every look."""
        ...

    def queries(self, matchers: str, windows: Windows = ...) -> dict[str, str]:
        """PromQL by figure key. Each gives one value or none, without labels. `matchers` go into every selector.

        Empty for an engine that has no metrics: Prometheus is not asked about it then.
        """
        ...

    def sampled_at(self, matchers: str) -> str:
        """PromQL that gives the time of the newest sample."""
        ...

    def absent(self, figure: str) -> str:
        """Why this figure is never told although others are; empty if its absence means nothing yet."""
        ...

    def parse(
        self, before: Scrape | None, after: Scrape, *, latency_before: Scrape | None = ..., hits_before: Scrape | None = ...
    ) -> dict[str, Reading]:
        """Figures of the engine's own `/metrics`: gauges of `after`, speeds since `before`, the rest since the older ones."""
        ...

    async def scrape(
        self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float
    ) -> Scrape | Reading | Mapping[str, Reading] | None:
        """Read what `parse` needs, after a probe that found it alive. A reading stands for all figures: why there are none.

        Readings by figure are told as they are, and what was told of the others still holds; None: of all of them.
        Asks nothing that wakes, loads or bills a model. Raises the errors of the ports.
        """
        ...

    async def probe(self, client: httpx.AsyncClient, expected_model: str, past: Past, monotonic: float) -> Engine:
        """Ask whether it is ready. Raises `Unreachable`, `TimedOut` where nobody answers: the caller knows what that means."""
        ...


class FromMetrics:
    """For engines all of whose figures are in `/metrics`. Their probes may read the page themselves, by `read`."""

    name: str
    wanted: re.Pattern[str]
    no_metrics: str

    async def read(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading:
        """The page, kept for `scrape`. One that is not there is not asked for again until a question goes unanswered."""
        if past.failures:
            past.missing.discard(METRICS)
        if METRICS in past.missing:
            past.page = unsupported(self.no_metrics, "engine")
            return past.page
        past.page = await page_or_why(read_metrics(client, METRICS, self.wanted, self.no_metrics, at, monotonic))
        if isinstance(past.page, Reading) and past.page.status is Status.UNSUPPORTED:
            past.missing.add(METRICS)
        return past.page

    async def scrape(self, client: httpx.AsyncClient, past: Past, at: datetime, monotonic: float) -> Scrape | Reading | None:
        """See `EngineAdapter`."""
        page, past.page = past.page, None
        return page if page is not None else await self.read(client, past, at, monotonic)


class WithoutMetrics:
    """For engines that Prometheus knows nothing of: asked at every look, by their own endpoints."""

    live: bool = True
    every_seconds: float = 0.0
    wanted: re.Pattern[str] = re.compile(r"(?!)")

    def queries(self, matchers: str, windows: Windows = Windows()) -> dict[str, str]:
        """See `EngineAdapter`."""
        return {}

    def sampled_at(self, matchers: str) -> str:
        """See `EngineAdapter`."""
        return ""


async def read_metrics(
    client: httpx.AsyncClient, path: str, wanted: re.Pattern[str], missing: str, at: datetime, monotonic: float
) -> Scrape | Reading:
    """Ask for a page of metrics. `missing` is why it may answer 404 or 501."""
    from sovtui.adapters.engines.scrape import MAX_BYTES, in_slices
    from sovtui.adapters.links.http import heard_at, request

    answer = await request(client, "GET", path, max_bytes=MAX_BYTES)
    heard = heard_at(client)
    if answer.status_code in (404, 501):
        return unsupported(missing, "engine")
    if answer.status_code in (401, 403):
        return unknown(f"its metrics are closed: {closed(answer)}", "engine")
    if answer.status_code != 200:
        return unknown(f"its metrics answer {answer.status_code}", "engine")
    page = await in_slices(answer.content.decode("utf-8", "replace"), wanted, at, monotonic)
    return replace(page, heard=heard if math.isfinite(heard) else None)


async def page_or_why(reading: Awaitable[Scrape | Reading]) -> Scrape | Reading:
    """A page that cannot be read is no sign of who serves it: a reading that says so. Whatever else is wrong is raised."""
    try:
        return await reading
    except OtherProtocol:
        raise
    except Malformed as error:
        return unknown(str(error), "engine")


async def json_at(client: httpx.AsyncClient, path: str, **words: Any) -> tuple[int, Any]:
    """Status and JSON of a GET; None where it is none. Raises the errors of the ports where nobody answers."""
    from sovtui.adapters.links.http import request

    answer = await request(client, "GET", path, **words)
    return answer.status_code, json_in(answer)


def json_in(answer: httpx.Response) -> Any:
    """The JSON of an answer, or None."""
    try:
        return outside.document(answer.content)
    except ValueError:
        return None


def closed(answer: httpx.Response) -> str:
    """Why an answer lets us not in, as a sentence part: a key is missing, or the one that was sent is refused."""
    sent = answer.extensions.get("login", "")
    status = answer.status_code
    return f"its key is refused ({status}): {sent}" if sent else f"it wants an API key ({status}): give it a `bearer`"


def clock_ahead(answer: httpx.Response, now: datetime) -> timedelta:
    """How far this machine's clock is ahead of that of who answered; zero where that is not told or is within its second."""
    from sovtui.adapters.links.http import date_of

    told = date_of(answer.headers.get("date", ""))
    if told is None:
        return timedelta(0)
    ahead = now - told
    return ahead if abs(ahead) > timedelta(seconds=2) else timedelta(0)


def served_by(page: Scrape) -> tuple[object, ...]:
    """What of a page changes with the process and the model behind it: when it started, the models that its series name."""
    from sovtui.adapters.engines.scrape import START

    models = {dict(labels).get("model_name", "") for series in page.series.values() for labels in series} - {""}
    return (*sorted(page.named(START).values()), *sorted(models))


def models_due(past: Past, monotonic: float, page: Scrape | None = None) -> bool:
    """Whether the list of models is to be asked for: never yet, long ago, after a silence, or `page` is of another process or model."""
    seen = None if page is None else served_by(page)
    another = seen is not None and past.own.get("served", seen) != seen
    if seen is not None:
        past.own["served"] = seen
    return bool(another or past.failures or monotonic - past.models_at >= MODELS_EVERY_SECONDS)


def wrong_model(served: Sequence[str], expected: str) -> str:
    """The sentence for an engine that serves something else."""
    return clean(f"it serves {', '.join(served[:5]) or 'no model'}, not {expected}", 300)


def selector(name: str, matchers: str, *more: str) -> str:
    """A selector for `engine:name`; some pipelines turn the colon into an underscore."""
    engine, colon, rest = name.partition(":")
    inner = [f'__name__=~"{engine}[:_]{rest}"'] if colon else []
    parts = ",".join(part for part in (*inner, *more, matchers.strip().strip(",")) if part)
    return f"{{{parts}}}" if colon else f"{name}{{{parts}}}"


def gated(function: str, series: str, seconds: int) -> str:
    """`rate` or `increase`, only while the series itself is there: otherwise a stopped engine goes on for a window."""
    return f"({function}({series}[{seconds}s]) and {series})"


def progress(line: str) -> str:
    """What a start is doing, from one line of its journal; empty if the line does not say."""
    return clean(signatures.progress(line), 120)


def cause(lines: Sequence[str]) -> str:
    """Why it failed, from the lines since its last start; empty if they do not say."""
    return clean(signatures.find_cause([clean(line) for line in lines]), 320)


def models_of(answer: object) -> tuple[tuple[str, ...], int | None] | None:
    """Ids and context length of an answer of `/v1/models`; None if it is something else."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, list):
        return None
    rows = [row for row in outside.rows(data) if isinstance(row.get("id"), str)][:MOST_MODELS]
    lengths = [n for row in rows if isinstance(n := row.get("max_model_len"), int) and not isinstance(n, bool)]
    return tuple(str(row["id"])[:300] for row in rows), (max(lengths) if lengths else None)
