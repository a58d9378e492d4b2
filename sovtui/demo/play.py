"""One action of the demo while it runs: its receipt, grown record by record as on a real box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sovtui.core.clean import clean
from sovtui.core.model import ActionRun, Step
from sovtui.demo.world import World

LINES = 40
"""Followed lines kept in a run."""

Script = Iterator[float]
"""Yields the seconds until it wants to look again."""


@dataclass(slots=True)
class Play:
    """One action while it runs and after."""

    world: World
    host: str
    run: ActionRun
    records: list[dict[str, Any]] = field(default_factory=list)
    cancelled: bool = False
    """Somebody asked it to end; told to the machine once."""

    def tell(self, **record: Any) -> None:
        self.records.append({"at": f"{self.world.now:%Y-%m-%dT%H:%M:%S.%f}Z", **record})

    def line(self, unit: str, text: str) -> None:
        told = clean(text)
        self.run = replace(self.run, lines=(*self.run.lines, told)[-LINES:])
        self.tell(t="line", unit=unit, text=told)

    def step(self, name: str, state: str, seconds: float | None, detail: str, before: str | None = None) -> None:
        """A step as a machine tells it: opens, changes or closes the last one."""
        steps, last = self.run.steps, self.run.steps[-1] if self.run.steps else None
        if last is not None and last.name == name and last.state == "running":
            told = replace(last, state=state, seconds=seconds, detail=clean(detail) or last.detail, before=before)
            steps = (*steps[:-1], told)
        else:
            steps = (*steps, Step(name, state, self.world.now, seconds, clean(detail), before))
        self.run = replace(self.run, steps=steps)
        more = {} if before is None else {"before": before}
        self.tell(t="step", name=name, state=state, seconds=seconds, detail=detail, **more)

    def figures(self, when: str, values: tuple[tuple[str, float], ...]) -> None:
        figures = tuple((f"{when}.{name}", value) for name, value in values)
        self.run = replace(self.run, figures=(*self.run.figures, *figures))
        self.tell(t="figures", when=when, values=dict(values))

    def finish(self, outcome: str, reason: str, seconds: float, status: int) -> None:
        self.run = replace(self.run, outcome=outcome, reason=reason, seconds=seconds)
        self.tell(t="end", outcome=outcome, reason=reason, seconds=seconds, exit=status)
