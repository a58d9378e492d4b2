from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sovtui.adapters.discovery import Found
from sovtui.cli import diagnostics
from sovtui.cli.main import main
from sovtui.cli.wiring import Wiring
from sovtui.config.schema import Config
from sovtui.core.events import Event
from sovtui.ports.link import Ask, Link, Tell
from sovtui.runtime.hub import Hub
from tests.fakes.hub import FakeHub, healthy

CONFIG = """
[host.spark]
address = "ops@spark"
watch = ["broken.service", "container:proxy"]
[[host.spark.mode]]
name = "qwen"
key = "1"
title = "Qwen 3.6"
engine = "vllm"
url = "http://127.0.0.1:30001"
services = ["qwen.service"]
expect_tok_s = 57
[[host.spark.mode]]
name = "mistral"
services = ["mistral.service"]
[[host.spark.backup]]
name = "nas"
service = "nas.service"
[alertmanager]
url = "http://127.0.0.1:9093"
[host.mgmt]
address = "ops@mgmt"
role = "management"
watch = ["prometheus.service"]
"""


@dataclass
class Told:
    code: int
    out: str
    err: str


@dataclass
class Command:
    """Runs a command line in this process on a fake hub."""

    capture: pytest.CaptureFixture[str]
    path: Path
    events: list[Event] = field(default_factory=healthy)
    options: dict[str, Any] = field(default_factory=dict)
    hub: FakeHub | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    served: tuple[list[str], int, tuple[str, ...]] | None = None
    link: Callable[[], Link] | Exception | None = None
    """What dialling a host that is not configured gives."""
    dialled: list[tuple[str, str]] = field(default_factory=list)
    engines: tuple[str, ...] = ("vllm", "sglang")

    def __call__(self, *words: str, config: str = CONFIG) -> Told:
        self.path.write_text(config)
        wiring = Wiring(
            build_hub=self._build,
            local=lambda path, hurry: Found(Config(), ()),
            dial=self._dial,
            control_room=lambda hub, theme, glyphs: 0,
            demo=self._no_demo,
            engines=lambda: self.engines,
            actions=lambda: {"drop-caches": "c"},
            serve=self._serve,
            themes=lambda: ([("sovtui-dark", "shipped")], ()),
        )
        try:
            code = main(["--config", str(self.path), *words], wiring)
        except SystemExit as end:
            code = int(end.code or 0)
        told = self.capture.readouterr()
        return Told(code, told.out, told.err)

    def _build(self, config: Config, **options: Any) -> Hub:
        self.asked.append(options)
        self.hub = FakeHub(config, self.events, read_only=options["read_only"], **self.options)
        return self.hub

    def _serve(self, command: Sequence[str], port: int, allow: Collection[str], tell: Callable[[str], None]) -> None:
        self.served = (list(command), port, tuple(allow))
        tell(f"http://127.0.0.1:{port}/#key=k")

    async def _dial(self, kind: str, address: str, ask: Ask | None, tell: Tell) -> Link:
        self.dialled.append((kind, address))
        if isinstance(self.link, Exception):
            raise self.link
        assert self.link is not None
        return self.link()

    def _no_demo(self, name: str, scenario: str) -> Hub:
        raise AssertionError(name)

    @property
    def executed(self) -> list[str]:
        assert self.hub is not None
        return [f"{plan.action} {plan.wish.target}".strip() for plan in self.hub.executed]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    return Command(capsys, tmp_path / "c.toml")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[str]], None]:
    """Pretends that somebody sits there and gives these answers."""

    def sits(answers: Iterable[str]) -> None:
        given = list(answers)

        async def read(prompt: str, source: int, sink: int, *, echo: bool = True) -> str:
            return given.pop(0)

        monkeypatch.setattr("sovtui.cli.act.on_terminal", lambda: True)
        monkeypatch.setattr("sovtui.cli.session.can_ask", lambda: True)
        monkeypatch.setattr(diagnostics, "read_line", read)

    return sits


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pretended hub tells all it knows at once."""
    monkeypatch.setattr("sovtui.cli.session.KNOWN_SECONDS", 0.05)
