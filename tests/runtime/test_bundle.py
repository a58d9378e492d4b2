"""What goes to the box is the same program, only without its prose: patterns cut it, the parser says whether they did right."""

from __future__ import annotations

import ast
import json
import zlib
from pathlib import Path

import pytest

import sovtui.onbox
from sovtui.runtime import bundle

ONBOX = Path(sovtui.onbox.__file__).parent


@pytest.mark.parametrize("file", sorted(ONBOX.glob("*.py")), ids=lambda file: file.stem)
def test_what_is_sent_is_the_same_program_without_its_prose(file: Path) -> None:
    source = file.read_text()
    sent = bundle._without_prose(source)
    assert _program(sent) == _program(source)
    assert not [node for node in ast.walk(ast.parse(sent)) if _is_text(node)]


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _program(source: str) -> str:
    """What the parser reads, without texts that stand alone and without `pass`."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _is_text(n) and not isinstance(n, ast.Pass)]  # type: ignore[attr-defined]
    return ast.dump(tree)


@pytest.mark.parametrize("verb", ["probe", "logs", "follow", "list", "cancel", "rights", "start"])
def test_everything_that_is_imported_is_sent(verb: str) -> None:
    sent = json.loads(zlib.decompress(bundle.payload(verb)))
    for source in sent.values():
        for node in ast.parse(source).body:
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sovtui"):
                names = (
                    [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "sovtui.onbox" else [node.module]
                )
                assert set(names) <= set(sent)
