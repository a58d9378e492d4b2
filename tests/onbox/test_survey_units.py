"""Units as the survey reads them: their exact words, variables, scripts, instances; against pretended commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import box, lookunits
from tests.onbox.commands import pretend

SHOW = """\
Type=exec
ExecStart={{ path=/usr/bin/vllm ; argv[]=/usr/bin/vllm serve $MODEL --port ${{PORT}} --api-key ${{VLLM_API_KEY}} ; ignore_errors=no ; x }}
Environment=MODEL=org/m PORT=30001 VLLM_API_KEY=hunter22 "OTHER=a b"
EnvironmentFiles={file} (ignore_errors=yes)
User=engine
MainPID=0
Id=vllm-a.service
Description=vLLM serving a
LoadState=loaded
ActiveState=inactive
UnitFileState=disabled
FragmentPath=/etc/systemd/system/vllm-a.service

Type=oneshot
ExecStart={{ path={script} ; argv[]={script} nightly ; ignore_errors=no ; x }}
Id=save.service
LoadState=loaded
ActiveState=inactive
UnitFileState=static
TriggeredBy=save.timer
FragmentPath=/lib/systemd/system/save.service

TimersCalendar={{ OnCalendar=*-*-* 02:00:00 ; next_elapse=Sun }}
TimersMonotonic={{ OnUnitActiveUSec=5min ; next_elapse=1h }}
Triggers=save.service
Id=backup.timer
LoadState=loaded
ActiveState=active
UnitFileState=enabled
FragmentPath=/etc/systemd/system/backup.timer

Id=dbus.service
LoadState=loaded
ActiveState=active
FragmentPath=/lib/systemd/system/dbus.service
ExecStart={{ path=/usr/bin/dbus ; argv[]=/usr/bin/dbus ; ignore_errors=no ; x }}

Id=gone.service
LoadState=masked
ActiveState=inactive
"""


def test_units_stopped_ones_too_with_their_commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "save.sh"
    script.write_text(
        "#!/bin/sh\nREPO=/srv/restic\necho hello\nrestic -r $REPO backup \\\n  /etc\nexport RESTIC_REPOSITORY=sftp:nas:/a RESTIC_PASSWORD=hunter22\n"
    )
    file = tmp_path / "env"
    file.write_text("# x\nPORT=30002\nHF_TOKEN=hunter22\n")
    names = "vllm-a.service disabled\nsave.service static\nbackup.timer enabled\nbroken@.service static\n"
    show = SHOW.format(file=file, script=script)
    pretend(
        monkeypatch, {"list-unit-files": (0, names, ""), "list-units": (0, "dbus.service loaded\n", ""), " show ": (0, show, "")}
    )
    told, count, problem = lookunits.units("system")
    assert (count, problem) == (4, "") and "hunter22" not in json.dumps(told)
    units = {one["name"]: one for one in told}
    assert list(units) == [
        "vllm-a.service",
        "save.service",
        "backup.timer",
    ]  # neither what is masked nor what is the system's own
    assert units["vllm-a.service"]["commands"] == [["/usr/bin/vllm", "serve", "org/m", "--port", "30002", "--api-key", "***"]]
    assert units["save.service"]["script"] == [
        "REPO=/srv/restic",
        "restic -r /srv/restic backup  /etc",
        "export RESTIC_REPOSITORY=sftp:nas:/a RESTIC_PASSWORD=***",
    ]
    assert units["backup.timer"]["calendar"] == ["*-*-* 02:00:00"] and units["backup.timer"]["every"] == ["5min"]
    assert units["backup.timer"]["starts"] == "save.service"
    assert lookunits.units("user")[0][0]["name"] == "user:vllm-a.service"


def shown(**more: str) -> str:
    facts = {"LoadState": "loaded", "ActiveState": "inactive", "FragmentPath": "/etc/systemd/system/x.service", **more}
    return "".join(f"{key}={value}\n" for key, value in facts.items())


def one_unit(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], answers: dict[str, Any] | None = None, **more: str
) -> dict[str, Any]:
    """A unit as `systemctl show` tells it, and its exact command line as busctl does."""
    start = f"{{ path={argv[0]} ; argv[]={' '.join(argv)} ; ignore_errors=no ; x }}"
    exact = json.dumps({"type": "a(sasbttttuii)", "data": [[argv[0], argv, False, 0, 0, 0, 0, 0, 0, 0]]})
    show = shown(Id="llm.service", ExecStart=start, **more)
    commands = {"list-unit-files": (0, "llm.service x\n", ""), "list-units": (0, "", ""), " show ": (0, show, "")}
    pretend(monkeypatch, {**commands, "busctl": (0, exact, ""), **(answers or {})})
    (told,) = lookunits.units("system")[0]
    return told


def test_words_keep_their_quotes(monkeypatch: pytest.MonkeyPatch) -> None:
    told = one_unit(monkeypatch, ["/bin/bash", "-c", "exec vllm serve m --served-model-name 'a b' -t $$(nproc)"])
    assert told["commands"] == [["/bin/bash", "-c", "exec vllm serve m --served-model-name 'a b' -t $(nproc)"]]
    assert told["runs"] == [["exec", "vllm", "serve", "m", "--served-model-name", "a b", "-t", "$(…)"]]
    told = one_unit(monkeypatch, ["/usr/bin/vllm", "serve", "m"], {"busctl": (1, "", "not there")})
    assert told["commands"] == [["/usr/bin/vllm", "serve", "m"]]  # as `systemctl show` has it


def test_scripts_are_followed_with_their_variables_and_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inner, outer = tmp_path / "serve", tmp_path / "start"
    (tmp_path / "llm.env").write_text("MODEL=org/m\n")
    inner.write_text('#!/bin/bash\nARGS=(--port "$2" --api-key hunter22)\nexec vllm serve "$MODEL" "${ARGS[@]}" --alias "$1"\n')
    outer.write_text(f"#!/bin/sh\nset -a\n. {tmp_path}/llm.env\nset +a\nnohup {inner} 'a b' $PORT > /dev/null 2>&1 &\n")
    for path in (inner, outer):
        path.chmod(0o755)
    told = one_unit(monkeypatch, [str(outer)], Environment="PORT=8001")
    assert told["files"] == [str(outer), str(inner)] and "hunter22" not in json.dumps(told)
    (run,) = told["runs"]
    assert run == ["exec", "vllm", "serve", "$MODEL", "--port", "8001", "--api-key", "***", "--alias", "a b"]


def test_what_tells_whether_a_unit_can_be_stopped_and_started(monkeypatch: pytest.MonkeyPatch) -> None:
    more: dict[str, Any] = {
        "RemainAfterExit": "yes",
        "ExecStop": "{ path=/x }",
        "User": "llm",
        "WorkingDirectory": "/srv/x",
        "Type": "oneshot",
    }
    told = one_unit(monkeypatch, ["/usr/bin/docker", "compose", "up", "-d"], **more)
    assert (told["remains"], told["stops"], told["user"], told["folder"]) == (True, True, "llm", "/srv/x")
    assert one_unit(monkeypatch, ["/x/vllm"], FragmentPath="/run/systemd/transient/llm.service")["transient"] is True


def test_scripts_are_named_from_where_a_unit_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told = one_unit(monkeypatch, ["/usr/bin/python3", "main.py", "--listen"], WorkingDirectory="/opt/ComfyUI")
    assert told["commands"] == [["/usr/bin/python3", "/opt/ComfyUI/main.py", "--listen"]]


def test_a_configuration_file_of_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("model: org/m\nport: 8001 # here\nserved-model-name: [a, b]\nenforce-eager: true\nmax-model-len: 9000\n")
    told = one_unit(monkeypatch, ["/usr/bin/vllm", "serve", "--config", str(file), "--port", "8002"])
    added = ["--model", "org/m", "--served-model-name", "a", "--enforce-eager", "--max-model-len", "9000"]
    assert told["commands"][0][5:] == ["8002", *added]


def test_environment_files_that_may_not_be_read_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "llm.env"
    file.write_text("PORT=1\n")
    monkeypatch.setattr("os.access", lambda *_: False)
    told = one_unit(monkeypatch, ["/usr/bin/vllm", "serve", "${MODEL}"], EnvironmentFiles=f"{file} (ignore_errors=no)")
    assert told["unread"] == [str(file)]


def test_instances_of_templates_that_there_are_files_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("qwen.env", "mistral-4.env", "notes.txt"):
        (tmp_path / name).touch()
    text = f"# /etc/systemd/system/llm@.service\n[Service]\nEnvironmentFile={tmp_path}/%i.env\nExecStart=/usr/bin/vllm serve %i\n"
    asked: list[list[str]] = []

    def command(argv: list[str], timeout: float | None = None, stdin: bytes = b"") -> tuple[int, str, str]:
        asked.append(argv)
        if "list-unit-files" in argv:
            return 0, "llm@.service disabled\nother@.service static\n", ""
        if "cat" in argv:
            return 0, text + "# /lib/systemd/system/other@.service\n[Service]\nExecStart=/bin/true /x/%i\n", ""
        names = argv[argv.index("--") + 1 :] if "show" in argv else []
        return 0, "\n".join(shown(Id=name, ExecStart="{ argv[]=/usr/bin/vllm serve x ; ignore_errors=no }") for name in names), ""

    monkeypatch.setattr(box, "command", command)
    assert [one["name"] for one in lookunits.units("system")[0]] == ["llm@mistral-4.service", "llm@qwen.service"]
    for name in ("qwen.env", "mistral-4.env"):
        (tmp_path / name).unlink()
    assert lookunits.units("system")[0] == [{"t": "template", "name": "llm@.service"}]


def test_a_systemd_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, {"systemctl": (1, "", "Failed to connect to bus: No medium found\n")})
    assert lookunits.units("user") == ([], 0, "Failed to connect to bus: No medium found")
