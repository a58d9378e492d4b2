"""The words on the screen: plain, one per thing, and every abbreviation explained in the glossary."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import sovtui
from sovtui.cli.grammar import parser
from sovtui.cli.output import status
from sovtui.core import glossary
from sovtui.core.issues import Grade
from sovtui.core.model import AlertState, Engine, EnginePhase, PathKind
from sovtui.core.modes import Heat, mode_views
from sovtui.core.receipts import outcome_word, step_word
from sovtui.core.state import State
from sovtui.demo import scenario
from sovtui.demo.estate import estate
from sovtui.onbox.phrases import STEPS
from sovtui.onbox.receipt import OUTCOMES
from sovtui.tui import engines
from sovtui.tui.arrange import ORDER, Kind
from sovtui.tui.estate import host_choices
from sovtui.tui.following import default_service
from sovtui.tui.panes import base, inference
from sovtui.tui.panes.actions import ActionsPane
from sovtui.tui.panes.alerts import AlertsPane
from sovtui.tui.panes.backups import BackupsPane
from sovtui.tui.panes.inference import InferencePane
from sovtui.tui.panes.memory import LOOKS, MemoryPane
from sovtui.tui.panes.services import ServicesPane
from sovtui.tui.screens.help import glossary_rows, help_rows
from sovtui.tui.status import status_rows

NEVER = (
    r"\bundo-", r"\bgone\b", r"\bbeside\b", r"\bremarks?\b", r"\banew\b", r"\bhush", r"\bfor ever\b", r"\bcannot be had\b", r"\bnobody knows\b",
    r"\bdo(es)? not tell\b", r"\bnot told\b", r"\btells? no", r"\brefuses us\b", r"\bto us in part\b", r"\blet go\b", r"\bgoes on on\b", r"\bof then\b",
    r"\bwhat was before\b", r"\bby name only\b", r"\bnothing is hot\b", r"\bfree memory on\b", r"\bwhoever\b", r"\bhearsay\b", r"\bvouch",
)  # fmt: skip
"""Words that were on the screen once and that nobody outside this program uses so."""
BANNED = re.compile("|".join(NEVER), re.IGNORECASE)
FOREIGN = {"onbox/signatures.py", "onbox/enginewords.py", "demo/hostile.py"}
"""Hold what other programs write."""
PACKAGE = Path(sovtui.__file__).parent


def sentences() -> Iterator[tuple[str, str]]:
    """(place, text) of every literal of more than one word, without docstrings, in the files that hold such a word anywhere."""
    for file in sorted(PACKAGE.rglob("*.py")):
        place = file.relative_to(PACKAGE).as_posix()
        if place in FOREIGN:
            continue
        text = file.read_text(encoding="utf-8")
        if not BANNED.search(text):
            continue
        tree = ast.parse(text)
        documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in documented
                and " " in node.value
            ):
                yield f"{place}:{node.lineno}", node.value


def test_no_sentence_of_ours_has_a_word_of_a_dialect() -> None:
    found = [f"{place}: {words!r}" for place, words in sentences() if BANNED.search(words)]
    assert not found, "\n".join(found)


@functools.cache
def state(name: str, where: str = "spark") -> State:
    return scenario(name, where)


def shown(name: str, where: str = "spark") -> str:
    """What the status line and the panes say of the box, roomy."""
    found = state(name, where)
    view = base.View(found, estate(where).box, estate(where).config)
    rows = [line for kind, width in ((Kind.WIDE, 160), (Kind.PHONE, 44)) for line in status_rows(view, width, kind)]
    for pane in (InferencePane(), MemoryPane(), ServicesPane(), AlertsPane(), BackupsPane(), ActionsPane()):
        pane.view = view
        rows += pane.rows(view, 100, 60)
    return "\n".join(line.plain for line in rows)


@pytest.mark.parametrize(("name", "where"), [("failed", "spark"), ("alerting", "spark"), ("troubled", "mesh")])
def test_no_pane_shows_one_either(name: str, where: str) -> None:
    words = shown(name, where)
    assert not BANNED.search(words), words
    if name == "failed":
        assert "rollback: ready" in words and "rolled back" in words and "wait for exit" not in words


def test_steps_and_outcomes_have_plain_names_on_the_screen() -> None:
    for name in (
        "preflight",
        "hold",
        "drain",
        "stop",
        "gone",
        "memory",
        "drop-caches",
        "start",
        "ready",
        "proof",
        "verify",
        "release",
        *STEPS,
    ):
        assert not BANNED.search(step_word(name)), name
    run = state("failed").hosts["spark"].action
    assert run is not None and outcome_word(run) == "rolled back" and run.outcome == "rolled-back", "receipts keep their names"
    assert set(OUTCOMES) >= {"warned", "rolled-back", "rollback-failed"}


@pytest.mark.parametrize("modes", [True, False])
def test_a_box_whose_engines_serve_says_what_serves(modes: bool) -> None:
    found = state("healthy", "mesh")
    host = found.hosts["gpubox"]
    if not modes:
        host = replace(host, spec=replace(host.spec, modes=()))
        found = replace(found, hosts={**found.hosts, "gpubox": host})
    said = "● ollama hot, 1 more" + (", no mode" if modes else "")
    view = base.View(found, "gpubox", estate("mesh").config)
    for kind, width in ((Kind.WIDE, 120), (Kind.NORMAL, 80), (Kind.PHONE, 44)):
        words = "\n".join(line.plain for line in status_rows(view, width, kind))
        assert said in words and "nothing" not in words and "no mode is" not in words, (kind, words)
    assert inference.heat_span(host, found.now)[0] == said
    assert next(choice for choice in host_choices(found) if choice.id == "gpubox").note.count(said) == 1
    told = status(found, [host])
    assert "ollama: ollama ready" in told and "nothing" not in told
    assert default_service(view) == "container:ollama", "the log of what serves, not of what could be loaded"


def test_a_box_on_which_nothing_serves_says_so() -> None:
    found = state("healthy", "mesh")
    host = found.hosts["gpubox"]
    off = {name: replace(s, active="inactive", sub="exited") for name, s in host.services.items()}
    assert inference.heat_span(replace(host, services=off, engines={}), found.now)[0] == "○ no mode is hot"
    dead = {"ollama": Engine(EnginePhase.DEAD, reason="nothing listens any more")}
    assert inference.heat_span(replace(host, engines={**host.engines, **dead}), found.now)[0] == "✖ ollama dead, 1 more, no mode"


def terms() -> set[str]:
    """Every word and abbreviation of headings, labels and states that the code can show."""
    found = state("healthy").hosts["spark"]
    view = next(v for v in mode_views(found) if v.mode.name == "qwen")
    labels = {label for label, _ in engines.figures(found, view, state("healthy").now)}
    labels |= {"held", "on CPU"}
    seen = base.View(state("healthy"), "spark", estate("spark").config)
    labels |= {label for label, _ in MemoryPane()._figures(seen, found)}
    labels |= {"droppable", "cache in use", "unused", "others", "floor"} | {str(kind) for kind in LOOKS} - {
        "other",
        "stale",
        "cache",
    }
    labels |= {word for word, _ in inference.FORECASTS.values()}
    labels |= {str(phase) for phase in EnginePhase} | {str(heat) for heat in Heat} | {"busy", "resident", "thrashing", "slow"}
    labels |= {str(s) for s in AlertState} - {"untold"} | {"not reported yet", "pulse", "late", "rolled back"}
    labels |= {str(kind).replace("-", " ") for kind in PathKind}
    labels |= {
        "tok/s",
        "decode",
        "mem",
        "unified",
        "discrete",
        "free",
        "available",
        "mode",
        "tenant",
        "silence",
        "acknowledgement",
        "ITL",
        "prefill",
    }
    return labels


def test_every_label_and_state_is_in_the_glossary() -> None:
    known = glossary.names()
    missing = {
        word for word in terms() if not {word, word.removesuffix(" p50").removesuffix(" p95"), word.removeprefix("on ")} & known
    }
    assert not missing, sorted(missing)


UNITS = {"GiB", "MiB", "KiB", "TiB", "MHz"}
NAMES = re.compile(r"\b(?:[A-Z]{2,}[A-Z0-9-]*)\b")


@pytest.mark.parametrize(("name", "where"), [("failed", "spark"), ("alerting", "spark"), ("troubled", "mesh")])
def test_every_abbreviation_on_a_pane_is_in_the_glossary(name: str, where: str) -> None:
    found = {word for line in shown(name, where).splitlines() for word in NAMES.findall(_ours(line))}
    assert found - UNITS <= glossary.names() | {"CUDA", "OOM"}, sorted(found - glossary.names())
    assert {"KV", "TTFT", "TPOT", "GPU"} & found or name == "alerting"


def _ours(line: str) -> str:
    """Without what an engine wrote itself, and without names of the configuration."""
    return "" if line.startswith("  ") else line


def test_the_glossary_is_whole_and_can_be_read_everywhere() -> None:
    every = [name for _, found in glossary.GLOSSARY for term in found for name in term.names]
    assert len(every) == len(set(every)), "one meaning for each word"
    for width in (40, 76, 110):
        rows = glossary_rows(width)
        assert all(line.cells <= width for line in rows)
        flat = " ".join(" ".join(line.plain for line in rows).split())
        for _, found in glossary.GLOSSARY:
            for term in found:
                assert term.title in flat and " ".join(term.words.split()) in flat, term.names


def test_the_words_of_the_command_line_are_plain_too() -> None:
    assert not BANNED.search(parser().format_help())
    assert [grade.word for grade in Grade] == ["critical", "warning", "info"]
    assert set(ORDER) and not BANNED.search(" ".join(line.plain for line in help_rows({}, {}, 100)))
