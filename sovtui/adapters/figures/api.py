"""The Prometheus HTTP API: one query, its errors as sentences. Knows no figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import httpx

from sovtui.adapters.figures.answers import Series
from sovtui.adapters.links.http import login_advice, request
from sovtui.core import outside
from sovtui.core.clean import clean, clean_bytes
from sovtui.ports.errors import Malformed, PortError, Refused, TimedOut, Unreachable
from sovtui.runtime.pace import paced

PLAIN_IN_FORMS = "()[]{}\"'~|,:/.*^$!<>@?\\"
"""What a form may hold as it is. A semicolon may not: some servers take it for the end of a field."""
FRESH = {"nocache": "1", "latency_offset": "1ms"}
"""VictoriaMetrics answers as of thirty seconds ago unless asked not to; others pass over these."""


MOST = outside.Most(bytes=4 << 20, items=300_000)
"""An instant vector of fifty hosts with two hundred units each is half of that."""
MOST_PER_QUESTION = 2000
"""Series: a host has two hundred units, or a hundred disks."""


class BadQuery(Malformed):
    """Prometheus understood us and refuses this one expression."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An instant vector."""

    series: tuple[Series, ...]
    size: int
    """Bytes of the body."""
    unread: int = 0
    """Series that cannot be read."""
    beyond: int = 0
    """Series of a question that had already been answered with more than any machine has."""


async def query(client: httpx.AsyncClient, expression: str, tags: Collection[str]) -> Reply:
    """Ask by POST: the length does not matter then. `tags`: those of its questions. Raises `BadQuery` and other `PortError`s."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await request(client, "POST", "/api/v1/query", content=_form(expression), headers=headers, idempotent=True)
    found: list[Series] = []
    per_tag: Counter[str] = Counter()
    told = beyond = 0

    def take(row: object) -> None:
        nonlocal told, beyond
        told += 1
        series = _series(row)
        tag = "" if series is None else series.labels.get("k", "")
        if series is None or tag not in tags:
            return
        per_tag[tag] += 1
        if per_tag[tag] > MOST_PER_QUESTION:
            beyond += 1
        else:
            found.append(series)

    data = await _data_around(answer, take)
    if data.get("resultType") != "vector" or not isinstance(data.get("result"), list):
        raise Malformed(
            f"Prometheus answered a {clean(outside.text(data.get('resultType')) or 'thing', 30)} where a vector was asked for"
        )
    return Reply(tuple(found), len(answer.content), told - len(found) - beyond, beyond)


async def _data_around(answer: httpx.Response, take: Callable[[object], None]) -> dict[str, Any]:
    """As `data_of`; the rows of the result are taken one by one, and it is empty afterwards."""
    if answer.status_code != 200:
        return data_of(answer)
    try:
        body = await paced(outside.each_row(answer.content, MOST, "result"), take)
    except outside.TooMuch as error:
        raise Malformed(f"Prometheus tells too much: {error}") from None
    except ValueError:
        body = None
    return _data_in(answer, body)


@lru_cache(maxsize=8)
def _form(expression: str) -> bytes:
    """As a form. The same few thousand characters are asked every second: what need not be written as three is not."""
    return urlencode({"query": expression, **FRESH}, safe=PLAIN_IN_FORMS).encode()


async def get(client: httpx.AsyncClient, path: str, **params: str) -> dict[str, Any]:
    """`data` of a GET."""
    return data_of(await request(client, "GET", path, params=params))


def data_of(answer: httpx.Response, most: outside.Most = MOST) -> dict[str, Any]:
    """The `data` of a successful answer; everything else is an error that says what to do."""
    if answer.status_code in (401, 403):
        raise _not_ours(answer)
    try:
        body = outside.document(answer.content, most)
    except outside.TooMuch as error:
        raise Malformed(f"Prometheus tells too much: {error}") from None
    except ValueError:
        body = None
    return _data_in(answer, body)


def _data_in(answer: httpx.Response, body: object) -> dict[str, Any]:
    if not isinstance(body, dict) or "status" not in body:
        raise _not_ours(answer)
    if answer.status_code == 200 and body["status"] == "success":
        data = body.get("data")
        if not isinstance(data, dict):
            raise Malformed("Prometheus answered without data")
        return data
    raise refusal(answer.status_code, *(outside.text(body.get(key)) for key in ("errorType", "error")))


def refusal(status: int, kind: str, text: str) -> PortError:
    """An error that Prometheus explains."""
    text = clean(text, 200)
    if kind in ("timeout", "canceled") or "context deadline exceeded" in text or "timed out" in text:
        return TimedOut(f"Prometheus did not finish the query in time: {text}", "It is overloaded, or its interval is too short")
    if status in (401, 403):
        return Refused(f"Prometheus denies access ({status})", "Look at the login in [prometheus]")
    if status in (400, 422):
        return BadQuery(f"Prometheus refuses the query: {text}")
    if status == 503:
        return Unreachable(f"Prometheus is not ready: {text}")
    return Malformed(f"Prometheus says {status}: {text}")


def _not_ours(answer: httpx.Response) -> PortError:
    status = answer.status_code
    text = clean_bytes(answer.content[:400], 80).strip()
    if status in (401, 403):
        said = f": {text}" if text and "html" not in answer.headers.get("content-type", "") else ""
        return Refused(f"Prometheus denies access ({status}{said})", login_advice(answer))
    if status in (404, 405):
        return Malformed(
            f"there is no Prometheus API at its address ({status})", "Put the path prefix into the url of [prometheus]"
        )
    if status in (502, 503, 504):
        return Unreachable(f"Prometheus is starting or down behind its proxy ({status}: {text})")
    if "html" in answer.headers.get("content-type", ""):
        return Malformed(f"a web page answers in place of Prometheus ({status})", "Look at the url of [prometheus]")
    return Malformed(f"Prometheus answered something that is not its API ({status}: {text})", "Look at the url of [prometheus]")


def _series(row: object) -> Series | None:
    """Native histograms have no `value`; they are not asked for."""
    if not isinstance(row, Mapping) or not isinstance(row.get("value"), list) or len(row["value"]) != 2:
        return None
    labels = row.get("metric", {})
    try:
        value = float(row["value"][1])
    except (TypeError, ValueError):
        return None
    return Series(labels, value) if outside.is_labels(labels) else None


def matrix(rows: Iterable[Any]) -> Iterator[tuple[dict[str, str], list[Any]]]:
    """Labels and samples of the rows of a range query; one that is no such row is passed over."""
    for row in rows:
        labels, values = (row.get("metric"), row.get("values")) if isinstance(row, dict) else (None, None)
        if isinstance(labels, dict) and isinstance(values, list) and outside.is_labels(labels):
            yield labels, values
