"""What the import contracts cannot say: sizes, laziness, hosts of registries, what ships in the wheel."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sovtui.config.paths import config_path
from sovtui.onbox import receipt

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "sovtui").rglob("*.py"))


def test_no_module_runs_away() -> None:
    long = {str(m.relative_to(ROOT)): n for m in MODULES if (n := len(m.read_text().splitlines())) > 440}
    assert not long


def test_every_module_says_its_one_job() -> None:
    silent = [
        str(m.relative_to(ROOT)) for m in MODULES if m.stat().st_size and ast.get_docstring(ast.parse(m.read_text())) is None
    ]
    assert not silent


def test_the_onbox_part_is_python_3_9_and_standard_library_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"sovtui"}
    for module in (ROOT / "sovtui" / "onbox").rglob("*.py"):
        tree = ast.parse(module.read_text(), feature_version=(3, 9))
        for node in ast.walk(tree):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            for name in names:
                assert name.split(".")[0] in allowed, f"{module.name} imports {name}"
                assert not name.startswith("sovtui.") or name.startswith("sovtui.onbox"), f"{module.name} imports {name}"


HEAVY = ("textual", "asyncssh", "httpx", "prometheus_api_client", "psutil", "pynvml", "requests", "rich")


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["config", "path"], ["config", "schema"]])
def test_quick_commands_import_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    code = f"import sys, json; sys.argv = ['sovtui', *{words!r}]\nfrom sovtui.__main__ import main\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
    code += f"print('\\n' + json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []


_REMOTE = """
[host.box]
link = "ssh"
address = "ops@127.0.0.1:9"

[[host.box.mode]]
name = "qwen"
engine = "vllm"
url = "http://127.0.0.1:8000"
services = ["vllm.service"]

[prometheus]
url = "http://127.0.0.1:9"

[alertmanager]
url = "http://127.0.0.1:9"
"""
UNUSED = ("psutil", "pynvml", "requests", "prometheus_api_client", "importlib.metadata", "pygments", "markdown_it")
"""What a room whose hosts are elsewhere holds nothing of: megabytes, for nothing."""


def test_a_room_without_this_machine_imports_only_what_it_uses(tmp_path: Path) -> None:
    code = f"""if True:
        import asyncio, json, sys
        sys.modules["click"] = None  # of a development tool; with it httpx imports its own command line
        from sovtui import __main__ as program
        from sovtui.bootstrap import build_hub
        from sovtui.config.load import loads
        import sovtui.tui.app, sovtui.tui.screens.room

        async def main():
            hub = build_hub(loads({_REMOTE!r}, engines=program._engines()))
            await hub.start()
            await hub.settle(10)
            assert {{source.name for source in hub.state.sources.values()}} >= {{"prometheus", "history", "alertmanager"}}
            print(json.dumps([m for m in {UNUSED!r} if m in sys.modules] + [m for m in ("asyncssh", "httpx") if m not in sys.modules]))
            await hub.aclose()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def _tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def test_constraints_pin_by_name_only() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+", line), line


def test_top_level_is_the_house() -> None:
    top = {p.relative_to(ROOT).parts[0] for p in _tracked()}
    allowed = {
        "pyproject.toml",
        "sovtui",
        "themes",
        "tests",
        "screenshots",
        "README.md",
        "CHANGELOG.md",
        "findings",
        "LICENSE",
        "Makefile",
    }
    assert top <= allowed | {"constraints.txt", ".ci", ".gitignore"}


def test_no_test_sees_what_the_user_of_this_machine_has_done_or_set(tmp_path_factory: pytest.TempPathFactory) -> None:
    for place in (receipt.home(), config_path(None).path, Path.home()):
        assert Path(place).is_relative_to(tmp_path_factory.getbasetemp())


def test_no_test_on_fakes_asks_that_something_took_no_longer_than_a_time() -> None:
    """That is how fast this machine is, beside whatever else it does. Tests of real programs are marked as `integration`."""
    clocks = ("monotonic", "perf_counter", "time")

    def spent(node: ast.AST) -> bool:
        """Whether a difference from what a clock says is in it."""
        return any(
            isinstance(part, ast.Call) and ast.unparse(part.func).rpartition(".")[2] in clocks
            for one in ast.walk(node)
            if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Sub)
            for part in ast.walk(one)
        )

    timed = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        if path.parent.name in ("integration", "engines") or re.search(
            r"(?m)^pytestmark = (\[\s*)?pytest\.mark\.integration", text
        ):
            continue
        tree = ast.parse(text)
        named = {ast.unparse(one.targets[0]) for one in ast.walk(tree) if isinstance(one, ast.Assign) and spent(one.value)}
        for check in (node for node in ast.walk(tree) if isinstance(node, ast.Assert)):
            for node in (one for one in ast.walk(check.test) if isinstance(one, ast.Compare)):
                sides = [node.left, *node.comparators]
                for left, op, right in zip(sides, node.ops, sides[1:], strict=False):
                    less = left if isinstance(op, (ast.Lt, ast.LtE)) else right if isinstance(op, (ast.Gt, ast.GtE)) else None
                    if less is not None and (
                        spent(less) or any(isinstance(x, ast.Name) and x.id in named for x in ast.walk(less))
                    ):
                        timed.append(f"{path.relative_to(ROOT)}:{check.lineno}")
    assert not timed


BUSY_SECONDS = 60.0
"""The least that a machine with a load of 15 is given for what an idle one does at once."""
MEASURES = ("bench", "engines", "faults", "hostile")
"""Folders whose programs measure how fast something is, on a machine that has nothing else to do."""


def test_no_test_waits_less_than_a_busy_machine_needs() -> None:
    """A bound of waiting is there for what never comes. A shorter one is right only where its end is what is waited for."""

    def gives_up(node: ast.AST) -> bool:
        """Whether the end of the wait is caught in it: then it is tried again, or meant."""
        if isinstance(node, ast.Try):
            caught = [ast.unparse(handler.type) for handler in node.handlers if handler.type is not None]
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            caught = [ast.unparse(item.context_expr) for item in node.items]
            caught = [text for text in caught if text.startswith(("pytest.raises", "contextlib.suppress"))]
        else:
            return False
        return any(word in text for text in caught for word in ("Timeout", "Empty", "OSError", "BoxError"))

    def bound(call: ast.Call) -> ast.expr | None:
        name = ast.unparse(call.func)
        last = name.rpartition(".")[2]
        words = {word.arg: word.value for word in call.keywords}
        if name == "asyncio.timeout":
            return call.args[0] if call.args else None
        if last == "wait_for":
            return call.args[1] if len(call.args) > 1 else words.get("timeout")
        if last in ("wait", "join"):
            return call.args[-1] if call.args else words.get("timeout")
        return words.get("timeout") if last in ("communicate", "get") or name == "subprocess.run" else None

    short = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.relative_to(ROOT).parts[1] in MEASURES or path.name.startswith("pretend_"):
            continue
        tree = ast.parse(path.read_text())
        meant = {id(part) for node in ast.walk(tree) if gives_up(node) for part in ast.walk(node)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and id(node) not in meant):
            told = bound(call)
            if isinstance(told, ast.Constant) and isinstance(told.value, int | float) and told.value < BUSY_SECONDS:
                short.append(f"{path.relative_to(ROOT)}:{call.lineno}: {told.value} s")
    assert not short
