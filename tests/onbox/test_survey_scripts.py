"""The owner's own scripts as the survey reads them: what they start, what they ask, where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import lookswitches


def script(tmp_path: Path, text: str, name: str = "switch.sh") -> dict[str, Any]:
    path = tmp_path / name
    path.write_text(f"#!/bin/bash\n{text}")
    path.chmod(0o755)
    return lookswitches.script(str(path)) or {}


def test_the_owner_s_switch_script(tmp_path: Path) -> None:
    text = 'case "$1" in\n  qwen|q) systemctl start vllm-qwen36 ;;\n  none) systemctl stop vllm-qwen36;;\nesac\n'
    told = script(tmp_path, text)
    assert told["words"] == ["qwen", "q", "none"] and told["starts"] == ["vllm-qwen36.service"] and "asks" not in told
    (tmp_path / "switch.sh").chmod(0o644)
    assert lookswitches.script(str(tmp_path / "switch.sh")) is None  # not one to be run
    assert script(tmp_path, "echo hello\n") == {}


def test_what_a_script_per_mode_starts(tmp_path: Path) -> None:
    (tmp_path / "names.env").write_text("NAME=vllm-agent\n")
    told = script(
        tmp_path,
        'cd "$(dirname "$0")"\nsource names.env\ndocker stop vllm-forensic\ndocker start "$NAME" tts\n'
        "docker compose -f stacks/audio.yml up -d worker\nsudo systemctl --user restart floor\nsystemctl enable later\n",
        "agent-mode.sh",
    )
    assert script(tmp_path, "systemctl restart vllm-a\n", "look-after.sh") == {}, "it starts again what it looks after"
    compose = f"compose:{tmp_path}/stacks:worker"
    assert told["starts"] == ["container:vllm-agent", "container:tts", compose, "user:floor.service"]


def test_functions_and_loops_of_a_script(tmp_path: Path) -> None:
    text = (
        'start_one() {\n  docker start "$1"\n}\nswitch_to() {\n  for t in a b; do docker stop "$t"; done\n  start_one "$1"\n}\n'
        'switch_to vllm-agent\nfor s in tts audio; do\n  sudo systemctl start "$s.service" ; docker start "$s-worker"\ndone\n'
    )
    starts = script(tmp_path, text, "agent-mode.sh")["starts"]
    assert starts == ["container:vllm-agent", "tts.service", "audio.service", "container:tts-worker", "container:audio-worker"]


@pytest.mark.parametrize(
    ("text", "env", "flag"),
    [
        ('read -p "Stop the others? [y/N] " a\n', {}, ""),
        ('if [ "$YES" = 1 ]; then\n a=y\nelse\n read -rp "Sure? " a\nfi\n', {"YES": "1"}, ""),
        ('if [[ -z "${ASSUME_YES:-}" ]]; then\n  read -p "Sure? " a\nfi\n', {"ASSUME_YES": "1"}, ""),
        ('[ -n "$FORCE" ] || read -p "go? " x\n', {"FORCE": "1"}, ""),
        ('confirm() {\n  [ "${YES:-0}" = 1 ] && return 0\n  read -r -p "$1" a\n}\nconfirm x\n', {"YES": "1"}, ""),
        ('ok() {\n  if [ "$YES" = "yes" ]; then\n    return 0\n  fi\n  read -p "$1" a\n}\nok x\n', {"YES": "yes"}, ""),
        ('YES=0\ncase "$1" in\n  -y|--yes) YES=1;;\nesac\nif [ "$YES" != 1 ]; then read -p "x" a; fi\n', {}, "-y"),
        ('[ "$1" = --yes ] || { read -p "x" a; }\n', {}, "--yes"),
        ('if ! $ASSUME_YES; then\n whiptail --yesno "x" 8 40\nfi\n', {"ASSUME_YES": "true"}, ""),
        ('ASK=${ASK:-1}\nif [ "$ASK" = 1 ]; then read -p x a; fi\n', {"ASK": "0"}, ""),
        ("(( YES )) || read -p x a\n", {"YES": "1"}, ""),
        ("select m in qwen mistral; do break; done\n", {}, ""),
        ('echo "Really?"\nread answer\n', {}, ""),
        ('YES=1\n[ "$YES" = 2 ] || read -p "x" a\n', {}, ""),  # it sets that itself, whatever it is given
        ('[ "$YES" = 1 ] || read -p "x" a\nread -p "and this?" b\n', {}, ""),  # one of two is left
    ],
)
def test_that_a_script_asks_is_told_with_what_answers_it(tmp_path: Path, text: str, env: dict[str, str], flag: str) -> None:
    told = script(tmp_path, text + "systemctl start vllm-a\n")
    assert told["asks"] and (told.get("answer_env", {}), told.get("answer_flag", "")) == (env, flag)


@pytest.mark.parametrize(
    "text",
    [
        'if [ -t 0 ]; then read -p "x" a; fi\n',  # a switch has no terminal
        'while read -r line; do echo "$line"; done < f\n',
        'read -r a b <<< "$x"\n',
        "docker ps | while IFS= read -r l; do :; done\n",
        'echo "read this"\n',
        'if [ "$DEBUG" = 1 ]; then read -p x a; fi\n',  # only where somebody has asked for it
    ],
)
def test_what_is_no_question(tmp_path: Path, text: str) -> None:
    assert "asks" not in script(tmp_path, text + "systemctl start vllm-a\n")


def test_scripts_below_what_units_cron_and_profiles_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    for folder in ("ai/modes", "by-unit/bin", "by-cron", "other"):
        (home / folder).mkdir(parents=True)
        path = home / folder / f"{folder.rpartition('/')[2]}-mode.sh"
        path.write_text("#!/bin/sh\nsystemctl start vllm-a\n")
        path.chmod(0o755)
    (home / ".bashrc").write_text("alias forensic=$HOME/ai/modes/modes-mode.sh\n")
    monkeypatch.setenv("HOME", str(home))
    told = lookswitches.scripts([{"commands": [[f"{home}/by-unit/bin/vllm", "serve"]]}], [{"line": f"@reboot {home}/by-cron/x"}])
    mine = sorted(Path(one["path"]).name for one in told if one["path"].startswith(str(home)))
    assert mine == ["bin-mode.sh", "by-cron-mode.sh", "modes-mode.sh"]
