"""The client on disks without room and disks that may not be written: each in a mount namespace of its own. A case is a row of the table."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CONFIG = "[host.other]\nlink = 'local'\n"
FULL = "mount -t tmpfs -o size=64k small {home}; {config}; cat /dev/zero > {home}/fill 2> /dev/null || true"
READ_ONLY = "mount -t tmpfs -o size=64k small {home}; {config}; mount -o remount,ro {home}"
CONFIGURED = f"mkdir -p {{home}}/.config/sovtui; printf %s {shlex.quote(CONFIG)} > {{home}}/.config/sovtui/config.toml"
NO_TMP = "; ".join(
    f"mount -t tmpfs -o size=4k small {place}; cat /dev/zero > {place}/fill 2> /dev/null" for place in ("/tmp", "/var/tmp")
)
"""And none where one begins, which Python tries at last: that is the home."""


@dataclass(frozen=True)
class Case:
    name: str
    before: str
    """Run as root in the namespace."""
    words: str
    """The command, with what follows it in a shell."""
    status: int
    says: str = ""
    config: str | None = None
    """What the configuration holds afterwards."""


CASES = [
    Case("a first configuration, no room", FULL.replace("{config}", "true"), "init --write", 1, "cannot be written, and is as it was"),
    Case("one more host, no room", FULL, "init --host more --write", 1, "cannot be written, and is as it was", CONFIG),
    Case("a first configuration, read-only", READ_ONLY.replace("{config}", "true"), "init --write", 1, "read-only file system"),
    Case("one more host, read-only", READ_ONLY, "init --host more --write", 1, "read-only file system", CONFIG),
    Case("what is printed has no room", "true", "config example spark > /dev/full", 1, "the output cannot be written: no space left"),
    Case("what is printed as JSON has no room", FULL, "status --json > /dev/full", 1, "the output cannot be written: no space left", CONFIG),
    Case("a home without room", FULL, "status", 0, "", CONFIG),
    Case("another machine, and no room for temporary files", f"{READ_ONLY}; {NO_TMP}", "init me@127.0.0.1:1", 3, "refused", CONFIG),
    Case("a home that is read-only, and no room for temporary files", f"{READ_ONLY}; {NO_TMP}", "status --json", 0, "", CONFIG),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_is_a_sentence_and_leaves_what_was(case: Case, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root may mount")
    home = Path("/mnt")  # in the namespace alone
    before = case.before.format(home=home, config=CONFIGURED.format(home=home))
    after = f"cat {home}/.config/sovtui/config.toml 2> /dev/null; ls -A {home}/.config/sovtui 2> /dev/null"
    line = f"{before}\ncd {home}\nHOME={home} {shlex.quote(sys.executable)} -m sovtui {case.words}\necho status $? >&2\necho; echo =====; {after}"
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TMPDIR": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", line],
        env=environment, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    said = done.stderr
    assert f"status {case.status}\n" in said and case.says in said.lower(), said
    assert "Traceback" not in said and "unexpected" not in said and "crash" not in said, said
    held = done.stdout.rpartition("=====\n")[2]
    assert held == ("" if case.config is None else case.config + "config.toml\n"), "as it was, and nothing beside it"
