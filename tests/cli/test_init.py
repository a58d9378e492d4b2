"""`init`: what it prints, what it writes, and that nothing of a user's is ever lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sovtui.cli.main import main
from sovtui.cli.wiring import Wiring
from sovtui.config.load import loads
from sovtui.config.schema import Config
from sovtui.ports.errors import HostKeyError, Unreachable
from sovtui.ports.link import Ask, Link, Tell
from tests.cli.conftest import Told
from tests.config.boxes import answer, timer, unit
from tests.fakes.world import FakeLink

SURVEY: list[dict[str, Any]] = [
    {"t": "machine", "hostname": "thing", "user": "ops", "python": "3.11.2", "systemd": True, "memory": 1 << 35},
    {"t": "looked", "what": "GPUs", "found": 0, "problem": ""},
    unit("vllm-qwen36.service", "/opt/vllm/bin/vllm serve org/qwen --served-model-name qwen36 --port 30001", type="exec"),
    unit("backup-nas.service", "/usr/bin/restic backup /etc", type="oneshot"),
    timer("backup-nas.timer", "*-*-* 02:00:00", starts="backup-nas.service"),
    {"t": "looked", "what": "system units", "found": 120, "kept": 3, "problem": ""},
    {"t": "looked", "what": "containers", "found": 0, "problem": "docker does not answer ops: permission \x1b[31mdenied"},
    answer(9090, "prometheus", version="2.42.0"),
]
RIGHTS = [
    {"t": "rights", "user": "ops", "systemd": True, "lingers": True, "journal": True},
    {"t": "right", "number": 0, "by": "", "known": True, "words": "a password is required"},
]
MINE = '# my words\n[host.mgmt]\naddress="ops@mgmt"   # keep\n'


class Init:
    """Runs `sovtui init` on a pretended box with a configuration file of its own."""

    def __init__(self, capture: pytest.CaptureFixture[str], path: Path) -> None:
        self.capture = capture
        self.path = path
        self.error: Exception | None = None
        self.links: list[FakeLink] = []
        self.dialled: list[tuple[str, str]] = []

    def __call__(self, *words: str) -> Told:
        def unused(*_: Any, **__: Any) -> Any:
            pytest.fail("not for init")

        wiring = Wiring(
            build_hub=unused,
            local=unused,
            dial=self._dial,
            control_room=unused,
            demo=unused,
            engines=lambda: ("vllm", "sglang"),
            actions=lambda: {"drop-caches": "c"},
            themes=unused,
            serve=unused,
        )
        code = main(["--config", str(self.path), "init", *words], wiring)
        told = self.capture.readouterr()
        return Told(code, told.out, told.err)

    async def _dial(self, kind: str, address: str, ask: Ask | None, tell: Tell) -> Link:
        self.dialled.append((kind, address))
        if self.error is not None:
            raise self.error

        def script(argv: Sequence[str], stdin: bytes) -> tuple[list[bytes], int]:
            lines = {"survey": SURVEY, "rights": RIGHTS}[argv[-1]]
            return [json.dumps(line).encode() for line in lines], 0

        self.links.append(FakeLink(script=script))
        return self.links[-1]

    def config(self) -> Config:
        return loads(self.path.read_text(), engines=("vllm", "sglang"))


@pytest.fixture
def init(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Init:
    return Init(capsys, tmp_path / "deep" / "c.toml")


def test_a_proposal_goes_to_standard_output_and_nowhere_else(init: Init) -> None:
    told = init("ops@spark")
    assert told.code == 0 and not init.path.exists()
    config = loads(told.out, engines=("vllm", "sglang"))
    assert config.host["spark"].address == "ops@spark" and config.host["spark"].mode[0].model == "qwen36"
    assert init.dialled == [("ssh", "ops@spark")] and init.links[0].closed
    assert "system units     120, 3 worth a closer look" in told.err
    assert "docker does not answer ops: permission denied" in told.err and "\x1b" not in told.err + told.out
    assert "lacks 1 of " in told.err
    assert f"`sovtui init --config {init.path} ops@spark --write` writes it to {init.path}" in told.err


def test_write_makes_a_file_for_the_user_alone(init: Init) -> None:
    told = init("ops@spark", "--write")
    assert told.code == 0 and init.path.read_text() == told.out
    assert init.path.stat().st_mode & 0o777 == 0o600
    assert [mode.name for mode in init.config().host["spark"].mode] == ["qwen36"]
    again = init("ops@spark", "--write")
    assert again.code == 0 and again.out == "" and "what was found is the same" in again.err


def test_another_host_is_added_at_the_end_and_shown_as_a_difference(init: Init) -> None:
    init.path.parent.mkdir()
    init.path.write_text(MINE)
    init.path.chmod(0o640)
    shown = init("ops@spark")
    assert shown.code == 0 and init.path.read_text() == MINE
    added = [line[1:] for line in shown.out.splitlines() if line.startswith("+") and not line.startswith("+++")]
    assert not [line for line in shown.out.splitlines() if line.startswith("-") and not line.startswith("---")]
    told = init("ops@spark", "--write")
    assert told.code == 0
    text = init.path.read_text()
    assert text.startswith(MINE) and text[len(MINE) :].splitlines() == added
    assert list(init.config().host) == ["mgmt", "spark"] and init.path.stat().st_mode & 0o777 == 0o640


def test_a_host_that_is_there_is_never_touched(init: Init) -> None:
    mine = '[host.spark]\naddress = "me@spark"\n[[host.spark.mode]]\nname = "qwen36"\nservices = ["other.service"]\n'
    init.path.parent.mkdir()
    init.path.write_text(mine)
    told = init("ops@spark", "--write")
    assert told.code == 2 and init.path.read_text() == mine
    assert '-address = "me@spark"' in told.out and '+address = "ops@spark"' in told.out
    assert '-services = ["other.service"]' in told.out and '+services = ["vllm-qwen36.service"]' in told.out
    assert "Nothing in it is changed" in told.err and "--host NAME" in told.err
    assert init("ops@spark").code == 0  # to look is no mistake
    assert init("ops@spark", "--host", "spark2", "--write").code == 0
    assert init.path.read_text().startswith(mine) and list(init.config().host) == ["spark", "spark2"]


def test_a_file_that_is_wrong_is_not_added_to(init: Init) -> None:
    init.path.parent.mkdir()
    init.path.write_text("[host.a]\naddres = 'x'\n")
    told = init("ops@spark", "--write")
    assert told.code == 2 and f"{init.path}:2: host.a.addres" in told.err and init.dialled == []
    assert init.path.read_text() == "[host.a]\naddres = 'x'\n"


def test_tables_that_cannot_be_extended_are_refused(init: Init) -> None:
    init.path.parent.mkdir()
    init.path.write_text("host = {a = {}}\n")
    told = init("ops@spark", "--write")
    assert told.code == 2 and init.path.read_text() == "host = {a = {}}\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (
            Unreachable("nothing answers at spark", "Is it on?"),
            3,
            "ops@spark cannot be reached: nothing answers at spark. Is it on?",
        ),
        (HostKeyError("the host key is not known", changed=False, fingerprint="x"), 3, "the host key is not known"),
        (ValueError("'a b' is not an address; write USER@NAME"), 2, "'a b' is not an address"),
    ],
)
def test_a_box_that_cannot_be_reached(init: Init, error: Exception, code: int, says: str) -> None:
    init.error = error
    told = init("ops@spark", "--write")
    assert (told.code, told.out) == (code, "") and says in told.err and not init.path.exists()


def test_read_only_writes_nothing(init: Init) -> None:
    told = init("--read-only", "ops@spark", "--write")
    assert told.code == 4 and init.dialled == [] and not init.path.exists()


@pytest.mark.parametrize("words", [(), ("local",), ("localhost",)])
def test_this_machine(init: Init, words: tuple[str, ...]) -> None:
    told = init(*words)
    assert told.code == 0 and init.dialled == [("local", "")]
    config = loads(told.out, engines=("vllm", "sglang"))
    assert config.host["thing"].link == "local" and config.host["thing"].address == ""
    assert config.prometheus is not None and config.prometheus.via == "thing"


def test_json_tells_every_line(init: Init) -> None:
    told = init("ops@spark", "--json")
    document = json.loads(told.out)
    assert told.code == 0 and document["host"] == "spark" and document["conflict"] is False
    assert document["looked"][1] == {"what": "system units", "found": 120, "problem": ""}
    model = next(line for line in document["lines"] if line["key"] == "model")
    assert model == {
        "table": "host.spark.mode[0]",
        "key": "model",
        "value": "qwen36",
        "reason": "its command line",
        "certainty": "likely",
        "active": True,
    }
    assert loads(document["toml"], engines=("vllm", "sglang")).host["spark"]
