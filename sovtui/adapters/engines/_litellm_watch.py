"""What happens to LiteLLM's deployments and along its chains, from one page of its counters to the next. Pure.

Told nowhere is a cooldown: it begins when its counter goes up, and lasts for the deployment's own `cooldown_time`, else for the
provider's `retry-after`, else for the router's. The provider's is not told either, so that only the first of these is known; with
any other the end is a guess. The gauge of states is not believed where it says 2: nothing ever sets that series back. Where it
says 1 the last answer was an error, which may have been the request's own fault: a failure counter tells which.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sovtui.adapters.engines._litellm_routes import ANY, KINDS, Chain, Deployment, chain_of
from sovtui.adapters.engines.scrape import START, Scrape
from sovtui.core import outside
from sovtui.core.model import Part

FALLBACK_SECONDS = 300.0
"""A chain that was taken within this is told as taken."""
MOST_PARTS = 60
OWN_FAULT = ("400", "413", "422")
"""What a provider answers to a request that is wrong in itself: too long, against its rules, malformed."""
TRIED = "not tried since"

_STATE, _COOLED = "litellm_deployment_state", "litellm_deployment_cooled_down_total"
_SUCCESS, _FAILURE = "litellm_deployment_success_responses_total", "litellm_deployment_failure_responses_total"
_HOPS = {"taken": "litellm_deployment_successful_fallbacks_total", "missed": "litellm_deployment_failed_fallbacks_total"}

Counts = dict[tuple[str, ...], float]


@dataclass(slots=True)
class Watch:
    """What is remembered of one proxy. `take` each page of it."""

    deployments: tuple[Deployment, ...] = ()
    chains: tuple[Chain, ...] = ()
    router_cooldown_seconds: float | None = None
    """None: not told."""
    started: float | None = None
    """When its process started, as Unix time; None where that is not told."""
    states: dict[str, dict[str, float]] | None = None
    """By deployment and model: 0 well, 1 its last answer was an error. None: no page yet."""
    cooled: dict[str, datetime] = field(default_factory=dict)
    """When a page first told of its last cooldown."""
    blameless: set[str] = field(default_factory=set)
    """Deployments all of whose errors, so far or since we look, were the requests' own."""
    _last: tuple[datetime, dict[str, Counts]] | None = None
    """Time and counters of the last page."""
    _hops: list[tuple[float, dict[str, Counts]]] = field(default_factory=list)

    def take(self, page: Scrape) -> bool:
        """Notice what has happened since the last page. Whether the proxy has started anew since: its lists may be others."""
        began = max(page.named(START).values(), default=None)
        new = {
            _COOLED: _by(page, _COOLED, "model_id", "exception_status"),
            _SUCCESS: _by(page, _SUCCESS, "model_id"),
            _FAILURE: _by(page, _FAILURE, "model_id", "exception_status"),
        }
        anew = self._last is not None and (began != self.started or _fell(self._last[1], new))
        if anew:
            self._last = None
            for kept in (self.cooled, self._hops, self.blameless):
                kept.clear()
        self._blame(new[_FAILURE])
        if self._last is not None:
            self._cooldowns(new, page)
        self._last, self.started = (page.at, new), began
        self.states = {}
        for labels, value in page.named(_STATE).items():
            told = dict(labels)
            if (id_ := told.get("model_id", "")) and value < 2:
                models = self.states.setdefault(id_, {})
                model = told.get("litellm_model_name", "")
                models[model] = max(models.get(model, 0.0), value)
        hops = {kind: _by(page, name, "requested_model", "fallback_model", "exception_class") for kind, name in _HOPS.items()}
        self._hops.append((page.monotonic, hops))
        while len(self._hops) > 2 and page.monotonic - self._hops[1][0] >= FALLBACK_SECONDS:
            self._hops.pop(0)
        return anew

    def _blame(self, failures: Counts) -> None:
        """Whose fault the errors since the last page were; of a first page: all that it counts."""
        statuses: dict[str, set[str]] = {}
        for id_, status in _grown(failures, self._last[1][_FAILURE] if self._last else {}):
            statuses.setdefault(id_, set()).add(status)
        for id_, told in statuses.items():
            if told <= set(OWN_FAULT):
                self.blameless.add(id_)
            else:
                self.blameless.discard(id_)

    def _cooldowns(self, new: dict[str, Counts], page: Scrape) -> None:
        assert self._last is not None
        before, old = self._last
        guessed = {one.id for one in self.deployments if one.cooldown_seconds is None}
        for id_, *_ in (*_grown(new[_SUCCESS], old[_SUCCESS]), *_grown(new[_FAILURE], old[_FAILURE])):
            if id_ in guessed:
                self.cooled.pop(id_, None)  # it is tried again: its end was a guess, and is over
        made = _by(page, _COOLED.replace("_total", "_created"), "model_id", "exception_status")
        for key in _grown(new[_COOLED], old[_COOLED]):
            # A counter is made at its first cooldown: that is when it began, by the proxy's clock. Of later ones only the page is known.
            first = (outside.unix(made.get(key)) if key not in old[_COOLED] else None) or page.at
            self.cooled[key[0]] = min(max(first, before), page.at)

    def told(self, now: datetime | None) -> tuple[tuple[Part, ...], str]:
        """Deployments and chains, those in trouble first, and one sentence about what of all deployments is not well.

        Of very many the well ones are left out; the sentence counts them all. It is empty if all is well.
        """
        every = [self.part(one, now) for one in self.deployments]
        counts = {word: sum(part.state == word for part in every) for word in ("cooldown", "failing")}
        said = [f"{n} {'in cooldown' if word == 'cooldown' else word}" for word, n in counts.items() if n]
        bad, well = [p for p in every if p.trouble], [p for p in every if not p.trouble]
        gained = {kind: self._gained(kind) for kind in _HOPS}
        chains = [_chain(one, gained["taken"].get(one, 0.0), gained["missed"].get(one, 0.0)) for one in self.chains]
        room = max(0, MOST_PARTS - len(bad) - len(chains))
        parts = sorted([*bad, *well[:room], *chains], key=lambda part: not part.trouble)
        return tuple(parts[:MOST_PARTS]), f"{' and '.join(said)} of {len(every)} deployments" if said else ""

    def part(self, one: Deployment, now: datetime | None) -> Part:
        """One deployment in words."""
        known = self.states is not None
        models = (self.states or {}).get(one.id, {})
        bad = sorted(model for model, value in models.items() if value)
        state = "unknown" if not known else "unused" if not models else "ready"
        said = [one.where, f"at {one.host}" if one.host else "", one.model]
        if bad and one.id not in self.blameless:
            if len(bad) == len(models):
                state = "failing"
            else:
                said.append(f"{bad[0]} failing" if len(bad) == 1 else f"{len(bad)} of {len(models)} models failing")
        ends_at, guess = None, False
        if since := self.cooled.get(one.id):
            seconds = one.cooldown_seconds if one.cooldown_seconds is not None else self.router_cooldown_seconds
            guess = one.cooldown_seconds is None
            ends_at = since + timedelta(seconds=seconds) if seconds is not None else None
            over = ends_at is not None and now is not None and now >= ends_at
            if not over:
                state = "cooldown"
            else:
                ends_at = None
                if guess and state == "failing":
                    said.insert(0, f"its cooldown may be over, {TRIED}")
        name = f"{one.group}: {one.id}" if one.id else one.group
        detail = " ".join(word for word in said if word)
        bad_state = state in ("cooldown", "failing")
        return Part(name, state, bad_state, detail, ends_at=ends_at, ends_guessed=guess and ends_at is not None)

    def _gained(self, kind: str) -> dict[Chain, float]:
        """Hops along each chain since the oldest page of the window; a first page alone tells nothing of when."""
        found: dict[Chain, float] = {}
        if len(self._hops) > 1:
            first, last = self._hops[0][1][kind], self._hops[-1][1][kind]
            for hop in _grown(last, first):
                if (chain := chain_of(self.chains, *hop)) is not None:
                    found[chain] = found.get(chain, 0.0) + last[hop] - first.get(hop, 0.0)
        return found


def _chain(one: Chain, taken: float, missed: float) -> Part:
    """One chain in words, and how often it was taken lately."""
    counted = [f"taken {taken:.0f}×" if taken else "", f"failed {missed:.0f}×" if missed else ""]
    lately = ", ".join(word for word in counted if word)
    when = KINDS[one.kind] or ("of groups without one" if one.group == ANY else "")
    said = [f"{lately} in {FALLBACK_SECONDS / 60:.0f} min" if lately else "", when]
    return Part(one.name, "chain", bool(lately), ", ".join(word for word in said if word))


def _grown(new: Counts, old: Counts) -> list[tuple[str, ...]]:
    return [key for key, count in new.items() if count > old.get(key, 0.0)]


def _fell(old: dict[str, Counts], new: dict[str, Counts]) -> bool:
    return any(new[name].get(key, 0.0) < count for name, counts in old.items() for key, count in counts.items())


def _by(page: Scrape, name: str, *labels: str) -> Counts:
    """The sum of a counter by labels; without what has not the first of them."""
    found: Counts = {}
    for key, value in page.named(name).items():
        told = dict(key)
        words = tuple(told.get(label, "") for label in labels)
        if words[0]:
            found[words] = found.get(words, 0.0) + value
    return found
