"""What a phone installs: nothing there needs a compiler, but for what Termux packages itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PACKAGED_BY_TERMUX = {"cryptography": "python-cryptography", "bcrypt": "python-bcrypt", "cffi": "by python-cryptography"}
"""Not pure Python; each with where it comes from. The README's section on Termux names the packages."""
NOT_ON_A_PHONE = ("psutil", "nvidia-ml-py", "prometheus-api-client")
ANDROID: dict[str, str] = {
    **{k: str(v) for k, v in default_environment().items()},
    "sys_platform": "android",
    "platform_system": "Android",
    "os_name": "posix",
}


def wanted(platform: dict[str, str]) -> dict[str, list[str]]:
    """Everything that sovtui needs there, and what that needs in turn: the tags of each wheel as it is installed here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    todo = [(Requirement(words), frozenset[str]()) for words in project["dependencies"]]
    found: dict[str, list[str]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    while todo:
        requirement, extras = todo.pop()
        marker = requirement.marker
        if marker is not None and not any(marker.evaluate({**platform, "extra": extra}) for extra in (extras or {""})):
            continue
        name, more = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, more) in seen:
            continue
        seen.add((name, more))
        here = metadata.distribution(name)
        found[name] = re.findall(r"^Tag: (.+)$", here.read_text("WHEEL") or "", re.MULTILINE)
        todo += [(Requirement(words), more) for words in here.requires or ()]
    return found


def test_all_that_a_phone_needs_is_pure_python_or_packaged_by_termux() -> None:
    for name, tags in wanted(ANDROID).items():
        pure = bool(tags) and all(tag.endswith("-none-any") for tag in tags)
        assert pure or name in PACKAGED_BY_TERMUX, f"{name} ({', '.join(tags)}) would be compiled on a phone"


def test_every_exception_is_one_and_is_told_to_whoever_installs_it() -> None:
    found, readme = wanted(ANDROID), (ROOT / "README.md").read_text()
    for name, package in PACKAGED_BY_TERMUX.items():
        assert not all(tag.endswith("-none-any") for tag in found[name]), f"{name} is pure Python by now: leave it out here"
        assert package.removeprefix("by ") in readme


@pytest.mark.parametrize("name", NOT_ON_A_PHONE)
def test_what_has_nothing_to_read_on_a_phone_is_not_installed_there(name: str) -> None:
    assert name not in wanted(ANDROID)
    assert name in wanted({**ANDROID, "sys_platform": "linux", "platform_system": "Linux"})


def test_the_lists_of_versions_agree_with_what_is_installed() -> None:
    """Otherwise this file would judge other wheels than those that are pinned."""
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    versions = {canonicalize_name(name): version for name, version in pinned.items()}
    missing = [name for name in wanted(ANDROID) if name not in versions]
    assert not missing, f"not in constraints.txt: {missing}"


def test_nothing_tells_linux_from_others_by_the_beginning_of_a_word() -> None:
    """On a phone `sys.platform` is `android`, and it is as much a Linux as any."""
    for path in (ROOT / "sovtui").rglob("*.py"):
        assert 'platform.startswith("linux")' not in path.read_text(), path
        assert 'sys.platform == "linux"' not in path.read_text(), path


AS_ON_A_PHONE = """
import asyncio, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("psutil", "pynvml", "prometheus_api_client", "requests", "urllib3", "numpy", "pandas"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from sovtui.bootstrap import build_hub
from sovtui.config.load import loads
from sovtui.ports.errors import PortError
async def main():
    words = '[host.here]\\nlink = "local"\\n[prometheus]\\nurl = "http://127.0.0.1:9"\\n[alertmanager]\\nurl = "http://127.0.0.1:9"\\n'
    hub = build_hub(loads(words, "x.toml"))
    await hub.start()
    await hub.settle(20)
    told = [source.reason for source in hub.state.sources.values()]
    try:
        await hub.past(hub.state.now, hub.state.now)
    except PortError as error:
        told.append(str(error))
    await hub.aclose()
    print("\\n".join(told))
asyncio.run(main())
"""


def test_everything_starts_without_what_a_phone_has_not(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_A_PHONE], cwd=ROOT, env=home, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("nothing listens") >= 3, done.stdout  # both servers, and the past: asked, and not broken
    assert "broke inside sovtui" not in done.stdout and "ModuleNotFound" not in done.stdout + done.stderr
