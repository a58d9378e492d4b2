"""Range queries: prometheus-api-client in a thread, through the link; where that is not installed (a phone), httpx.

Never on the live path.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from sovtui.adapters.figures.api import FRESH, BadQuery, data_of, refusal
from sovtui.adapters.figures.questions import Question, joined, split
from sovtui.adapters.links.http import request
from sovtui.core.clean import clean
from sovtui.core.outside import Most, is_time
from sovtui.ports.errors import Malformed, PortError, TimedOut, Unreachable

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

MOST_BYTES = 3500
"""Of one query: the library puts it into the address, and servers before Prometheus limit that."""
AT_ONCE = 3
MOST = Most(bytes=8 << 20, items=1_000_000)
"""Of one query: some hundred series over 240 steps are a tenth of it."""
BEYOND = 9e18
"""Nothing that is measured is so large; what else cannot be a figure is told when it is known which figure it is."""


class Ranges:
    """Asks one server."""

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        timeout_seconds: float,
        *,
        make_adapter: Callable[[], BaseAdapter] | None = None,
    ) -> None:
        """`make_adapter` makes a `requests` adapter onto the link (called in the loop's thread); None: httpx."""
        self._url, self._client, self._timeout = url.rstrip("/"), client, timeout_seconds
        self._make_adapter = make_adapter
        self._running: set[BaseAdapter] = set()

    def close(self) -> None:
        """Give up what is still being asked."""
        for adapter in tuple(self._running):
            adapter.close()

    async def ask_all(self, questions: Sequence[Question], start: float, end: float, step: int) -> list[Any]:
        """The rows of all questions, a few queries at once. An expression that is refused is left out."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def part(asked: Sequence[Question]) -> list[Any]:
            try:
                async with gate:
                    return await self.ask(joined(asked), start, end, step)
            except BadQuery:
                if len(asked) < 2:
                    return []
                half = len(asked) // 2
                return [*await part(asked[:half]), *await part(asked[half:])]

        return [row for rows in await asyncio.gather(*(part(p) for p in split(questions, MOST_BYTES))) for row in rows]

    async def ask(self, query: str, start: float, end: float, step: int) -> list[Any]:
        """The result of one range query, as the server gives it. Raises `PortError`."""
        # In a thread: importing it takes a quarter of a second. It happens when somebody goes back in time, not before.
        if self._make_adapter is not None and await asyncio.to_thread(_library):
            return await self._by_library(query, start, end, step)
        form = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": str(step), **FRESH}
        answer = await request(
            self._client,
            "POST",
            "/api/v1/query_range",
            data=form,
            idempotent=True,
            timeout_seconds=self._timeout,
            max_bytes=MOST.bytes,
        )
        result = data_of(answer, MOST).get("result")
        return result if isinstance(result, list) else []

    async def _by_library(self, query: str, start: float, end: float, step: int) -> list[Any]:
        assert self._make_adapter is not None
        adapter = self._make_adapter()  # for this query alone: the library's session closes it at its end
        self._running.add(adapter)
        try:
            async with asyncio.timeout(self._timeout + 1):
                return await asyncio.to_thread(custom_query_range, self._url, adapter, self._timeout, query, start, end, step)
        except TimeoutError:
            raise TimedOut(f"Prometheus did not return the history within {self._timeout:g} s") from None
        finally:
            self._running.discard(adapter)
            adapter.close()  # ends the thread's wait if nobody waits for it any more


def _library() -> bool:
    """Whether there is the library, and what lets it use the link: not on a phone."""
    try:
        import prometheus_api_client  # noqa: F401

        import sovtui.adapters.links.sync_http  # noqa: F401
    except ImportError:
        return False
    return True


def numbers(values: list[Any]) -> list[tuple[float, float]]:
    """Missing steps are missing here too; NaN is no point."""
    found = []
    for pair in values:
        try:
            at, value = float(pair[0]), float(pair[1])
        except (TypeError, ValueError, IndexError):
            continue
        if is_time(at) and math.isfinite(value) and abs(value) < BEYOND:
            found.append((at, value))
    return found


def custom_query_range(
    url: str, adapter: BaseAdapter, timeout: float, query: str, start: float, end: float, step: int
) -> list[Any]:
    """One range query by prometheus-api-client, in a thread; its four families of exceptions become ours."""
    import re

    import requests
    from prometheus_api_client import PrometheusConnect
    from prometheus_api_client.exceptions import PrometheusApiClientException
    from urllib3.util import Retry

    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy of the environment on the way to the link
            # Its own retries turn one second into ten.
            connect = PrometheusConnect(url=url, session=session, retry=Retry(total=0), timeout=timeout)
            # The constructor mounts an adapter of its own for exactly this address: ours has to come after it.
            session.mount(url, adapter)
            found = connect.custom_query_range(
                query, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC), str(step), params=dict(FRESH)
            )
    except PortError:
        raise
    except PrometheusApiClientException as error:
        text = str(error)
        status = re.search(r"HTTP Status Code (\d+)", text)
        raise refusal(int(status[1]) if status else 0, "", text) from error
    except requests.JSONDecodeError as error:
        raise Malformed("Prometheus answered something that is not JSON", "Look at the url of [prometheus]") from error
    except requests.Timeout as error:
        raise TimedOut(f"Prometheus did not return the history within {timeout:g} s") from error
    except requests.RequestException as error:
        raise Unreachable(f"Prometheus did not return the history: {clean(str(error), 200)}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise Malformed(f"Prometheus' history cannot be read: {clean(str(error), 120)}") from error
    return found if isinstance(found, list) else []
