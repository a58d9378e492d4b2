"""Every bad input: file, line, key, what was expected, the nearest word; and all of them in one go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sovtui.config.load import load, loads
from sovtui.config.problems import ConfigError
from sovtui.config.show import EXAMPLES, config_text, example, schema_keys, schema_text

HOST = '[host.spark]\naddress = "ops@spark"\n'
MODE = HOST + '[[host.spark.mode]]\nname = "qwen"\nservices = ["qwen.service"]\n'
ENGINES = ("vllm", "sglang", "ollama", "comfyui", "litellm", "llamacpp")
ACTIONS = {"drop-caches": "c", "backup": "b", "logs": "l", "acknowledge": "a", "unacknowledge": "a", "(tab)": "tab"}


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(text, "c.toml", engines=ENGINES, actions=ACTIONS)
    return [str(problem) for problem in caught.value.problems]


BAD = [
    # syntax
    ("[host.spark\n", ["c.toml:1: not TOML:"]),
    ('[host.spark]\naddress = "x\n', ["c.toml:2: not TOML:"]),
    (HOST + 'address = "twice"\n', ["c.toml:3: not TOML:"]),
    (HOST + "watch = [", ["c.toml:3: not TOML:", "end of the file"]),
    # keys
    (HOST + 'lnk = "ssh"\n', ["c.toml:3: host.spark.lnk: unknown key; did you mean `link`?"]),
    ("[[host.spark.mode]]\nname='a'\nkye='1'\nservices=['a.service']\n", ["c.toml:3: host.spark.mode[0].kye: unknown key; did you mean `key`?"]),
    (HOST + "[hots]\n", ["c.toml:3: hots: unknown key; did you mean `host`?"]),
    ("[host.spark]\naddress = 'ops@a;id'\n", ["c.toml:2: host.spark.address: expected `USER@NAME` or a name of ssh_config (it holds ;)"]),
    ("[host.spark]\naddress = '-oX@spark'\n", ["c.toml:2: host.spark.address: expected `USER@NAME`"]),
    ("[host.'*']\ntailnet = 'x'\n", ["no other program reads as more than a name (it holds *)"]),
    (HOST + "zzzzz = 1\n", ["c.toml:3: host.spark.zzzzz: unknown key; known here: link, address"]),
    (HOST + "[host.spark.switch]\n\nready_timout = '1m'\n", ["c.toml:5: host.spark.switch.ready_timout: unknown key; did you mean `ready_timeout`?"]),
    (HOST + "switch = { rolback = true }\n", ["c.toml:3: host.spark.switch.rolback: unknown key; did you mean `rollback`?"]),
    (HOST + "switch.rolback = true\n", ["c.toml:3: host.spark.switch.rolback: unknown key"]),
    (HOST + "[[host.spark.backup]]\nname = 'nas'\n", ["c.toml:3: host.spark.backup[0].service: missing; expected a text in quotes"]),
    (HOST + "[prometheus]\n", ["c.toml:3: prometheus.url: missing; expected a text in quotes"]),
    # types
    (HOST + "role = 3\n", ['c.toml:3: host.spark.role: expected one of "box", "management"', "found the number 3"]),
    (HOST + 'memory = "unifed"\n', ["c.toml:3: host.spark.memory:", 'found "unifed"; did you mean `unified`?']),
    (HOST + 'watch = "a.service"\n', ["c.toml:3: host.spark.watch: expected a list of texts", 'found "a.service"']),
    (HOST + 'watch = [\n  "a.service",\n  7,\n]\n', ["c.toml:5: host.spark.watch[1]: expected a text in quotes, found the number 7"]),
    (HOST + "switch = 3\n", ["c.toml:3: host.spark.switch: expected a table, found the number 3"]),
    (HOST + "mode = 3\n", ["c.toml:3: host.spark.mode: expected tables in double brackets, found the number 3"]),
    ("host = 3\n", ["c.toml:1: host: expected a table, found the number 3"]),
    (HOST + "[host.spark.switch]\nrollback = 1\n", ["c.toml:4: host.spark.switch.rollback: expected true or false, found the number 1"]),
    (MODE + "expect_tok_s = true\n", ["c.toml:6: host.spark.mode[0].expect_tok_s: expected a number, found true"]),
    (MODE + "needs = '22 GX'\n", ["c.toml:6: host.spark.mode[0].needs: `GX` is not a unit of size", '"22 GB" or "22 GiB"', 'found "22 GX"']),
    (MODE + "needs = 2024-01-01\n", ["c.toml:6: host.spark.mode[0].needs: expected a size", "found the date or time 2024-01-01"]),
    (MODE + "needs = -1\n", ["c.toml:6: host.spark.mode[0].needs: expected a size"]),
    (HOST + "[host.spark.switch]\nstop_timeout = '2 mins'\n", ["c.toml:4: host.spark.switch.stop_timeout: `mins` is not a unit of time"]),
    (HOST + "notice_loss = '0.2s'\n", ["c.toml:3: host.spark.notice_loss: expected 1 second to 10 minutes"]),
    (HOST + "[host.spark.switch]\nready_timeout = '3d'\n", ["c.toml:4: host.spark.switch.ready_timeout: expected at most a day"]),
    # meaning
    ("", ["c.toml:1: no [host.NAME] table"]),
    (HOST + "[[host.spark.engine]]\nname = 'x'\nengine = 'vllm'\n", ["c.toml:3: host.spark.engine[0].url: missing; expected a text in quotes"]),
    (HOST + "[[host.spark.engine]]\nname = 'x'\nengine = 'vlm'\nurl = 'http://a'\n", ["c.toml:5: host.spark.engine[0].engine: no engine is named `vlm`; did you mean `vllm`?"]),
    (HOST + "[[host.spark.engine]]\nname = 'x'\nengine = 'vllm'\nurl = 'http://a'\nservices = ['x y']\n", ["c.toml:7: host.spark.engine[0].services[0]:"]),
    (MODE + "[[host.spark.engine]]\nname = 'qwen'\nengine = 'vllm'\nurl = 'http://a'\n", ["c.toml:7: host.spark.engine[0].name: a mode is named `qwen` already"]),
    (MODE + "url = 'http://a'\nengine = 'comfyui'\nmodel = 'm'\n", ["c.toml:8: host.spark.mode[0].model: ComfyUI does not report which"]),
    (MODE + "url = 'http://a'\nengine = 'comfyui'\nproof = true\n", ["c.toml:8: host.spark.mode[0].proof: needs a `url` and an `engine` that can be asked for a token"]),
    (MODE + "url = 'http://a'\nengine = 'ollama'\nmodel = 'a'\n[[host.spark.mode]]\nname = 'b'\nurl = 'http://a/'\nengine = 'ollama'\nmodel = 'b'\nservices = ['qwen.service']\n",
     ["c.toml:14: host.spark.mode[1].services: `qwen` is another model of the same server"]),
    (MODE + "key = '0'\n", ['c.toml:6: host.spark.mode[0].key: expected one of "1" to "9"']),
    (MODE + "key = '1'\n[[host.spark.mode]]\nname = 'b'\nkey = '1'\nservices = ['b.service']\n", ["c.toml:9: host.spark.mode[1].key: mode `qwen` has the key"]),
    (MODE + "[[host.spark.mode]]\nname = 'qwen'\nservices = ['b.service']\n", ["c.toml:7: host.spark.mode[1].name: another mode has this name"]),
    (HOST + "[[host.spark.mode]]\nname = 'none'\nservices = ['b.service']\n", ["c.toml:4: host.spark.mode[0].name: `none` is always there"]),
    (HOST + "[[host.spark.mode]]\nname = 'a b'\nservices = ['b.service']\n", ["c.toml:4: host.spark.mode[0].name: expected one word"]),
    (HOST + "[[host.spark.mode]]\nname = 'a'\n", ["c.toml:3: host.spark.mode[0]: neither `services` nor `url`"]),
    (HOST + "[prometheus]\nurl = 'http://x'\nvia = 'sparc'\n", ["c.toml:5: prometheus.via: no host is named `sparc`; did you mean `spark`?"]),
    (HOST + "watch = ['vllm']\n", ['c.toml:3: host.spark.watch[0]: "vllm" is not a unit; expected `vllm.service`, `user:vllm.service` or `container:vllm`']),
    (HOST + "watch = ['contaner:x']\n", ["c.toml:3: host.spark.watch[0]:", "did you mean `container`?"]),
    (HOST + "watch = ['user:x']\n", ["c.toml:3: host.spark.watch[0]:", "expected `user:NAME.service`"]),
    (HOST + "watch = ['-x.service']\n", ["c.toml:3: host.spark.watch[0]:", "is not a service"]),
    (HOST + "watch = ['x.service', 'x.service']\n", ["c.toml:3: host.spark.watch[1]: `x.service` is listed twice"]),
    (HOST + "[host.spark.switch]\nfloor = ['cpu']\n", ["c.toml:4: host.spark.switch.floor[0]:"]),
    (MODE + "may_stay = ['x.service']\n", ["c.toml:6: host.spark.mode[0].may_stay[0]: `x.service` is of no mode and no tenant"]),
    (MODE + "may_stay = ['qwen.service']\n", ["c.toml:6: host.spark.mode[0].may_stay[0]: `qwen.service` is of this mode itself"]),
    (MODE + "loader_factor = 20\nweights = '1 GB'\n", ["c.toml:6: host.spark.mode[0].loader_factor: expected 1 to 10"]),
    (MODE + "proof = true\n", ["c.toml:6: host.spark.mode[0].proof: needs a `url` and an `engine`"]),
    (MODE + "switch = ['switch.sh']\n", ['c.toml:6: host.spark.mode[0].switch[0]: expected a program with its whole path, found "switch.sh"']),
    (MODE + "switch_env = { A = 'b' }\n", ["c.toml:6: host.spark.mode[0].switch_env: is for the `switch` command"]),
    (MODE + "switch = ['/s']\nswitch_env = { 'a b' = 'c' }\n", ["c.toml:7:", "is not the name of a variable"]),
    (MODE + "[host.spark.switch]\nhold = ['qwen.service']\n", ["c.toml:7: host.spark.switch.hold[0]: `qwen.service` belongs to mode `qwen`"]),
    (MODE + "[host.spark.switch]\nfloor = ['f.service']\ntenants = ['f.service']\n", ["c.toml:8: host.spark.switch.tenants[0]:", "of the floor"]),
    (MODE + "[host.spark.switch]\nhold = ['x']\n", ["c.toml:7: host.spark.switch.hold[0]:"]),
    (MODE + "[host.spark.switch]\nreserve = 'much'\n", ["c.toml:7: host.spark.switch.reserve: expected a size"]),
    (HOST + "[[host.spark.backup]]\nname='n'\nservice='n.timer'\n", ["c.toml:5: host.spark.backup[0].service: a timer only starts it", "`n.service`"]),
    (HOST + "[prometheus]\nurl = 'ftp://x'\n", ["c.toml:4: prometheus.url: expected http://… or https://…"]),
    (HOST + "[prometheus]\nurl = 'localhost:9090'\n", ["c.toml:4: prometheus.url: expected http://… or https://…, and `localhost:9090` has no scheme"]),
    (HOST + "[prometheus]\nurl = 'http://'\n", ["c.toml:4: prometheus.url: names no host"]),
    (HOST + "[prometheus]\nurl = 'http://x:99999'\n", ["c.toml:4: prometheus.url: not an address"]),
    (HOST + "[prometheus]\nurl = ''\n", ["c.toml:4: prometheus.url: expected an address"]),
    (HOST + "[prometheus]\nurl = 'http://me:secret@x'\n", ["c.toml:4: prometheus.url: holds a user name or password"]),
    (MODE + "url = 'http://x:1'\nengine = 'vlm'\n", ["c.toml:7: host.spark.mode[0].engine: no engine is named `vlm`; did you mean `vllm`?"]),
    (MODE + "engine = 'vllm'\n", ["c.toml:6: host.spark.mode[0].engine: an engine is asked at its `url`"]),
    (
        MODE + "url = 'http://x:1'\nmodel = 'q'\n[[host.spark.mode]]\nname = 'b'\nurl = 'http://x:1/'\n",
        ["c.toml:8: host.spark.mode[1].model: missing; `qwen` answers at http://x:1 too"],
    ),
    (HOST + "[screen.keys]\ndrop-cahces = 'd'\n", ["c.toml:4: screen.keys.drop-cahces: no action has this name; did you mean `drop-caches`?"]),
    (HOST + "[screen.keys]\nbackup = 'd'\nlogs = 'd'\n", ['c.toml:5: screen.keys.logs: "d" is the key of `backup` already']),
    (HOST + "[screen.keys]\nbackup = '1'\n", ['c.toml:4: screen.keys.backup: "1" is a mode key']),
    (HOST + "[screen.keys]\ndrop-caches = 'b'\n", ['c.toml:4: screen.keys.drop-caches: "b" is the key of `backup` already; give that one another']),
    (HOST + "[screen.keys]\nlogs = 'ctrl+l, tab'\n", ['c.toml:4: screen.keys.logs: "tab" means the same everywhere']),
    (HOST + "[[profile]]\nname='p'\ntier='T9'\n", ["c.toml:5: profile[0].tier: expected one of"]),
    (HOST + "[[profile]]\nname='p'\ntier='T1'\n[[profile]]\nname='p'\ntier='T1'\n", ["c.toml:7: profile[1].name: another profile has this name"]),
    (HOST + 'tailnet = "a\\u001b[31m"\n', ["c.toml:3: host.spark.tailnet: holds control characters"]),
    ('[host."a b"]\n', ['c.toml:1: host."a b": a host\'s name is one word']),
]  # fmt: skip


def test_modes_at_one_address_may_be_told_apart_by_their_services_alone() -> None:
    shared = "url = 'http://x:1'\nengine = 'vllm'\n"
    config = loads(MODE + shared + "[[host.spark.mode]]\nname = 'b'\nservices = ['b.service']\n" + shared, engines=("vllm",))
    assert [mode.url for mode in config.host["spark"].mode] == ["http://x:1", "http://x:1"]
    same = MODE + shared + "[[host.spark.mode]]\nname = 'b'\nservices = ['qwen.service']\n" + shared
    assert any("or `services` of their own" in problem for problem in problems(same))


@pytest.mark.parametrize(("text", "parts"), BAD, ids=[parts[0][:60] for _, parts in BAD])
def test_each_bad_input_is_told_with_its_place(text: str, parts: list[str]) -> None:
    told = problems(text)
    assert any(all(part in problem for part in parts) for problem in told), told
    assert len(told) == 1, told


def test_all_problems_at_once_in_the_order_of_the_file() -> None:
    told = problems(HOST + "lnk = 1\nrole = 2\n[prometheus]\nvia = 'x'\n[alertmanager]\nurl = 'y'\n")
    assert [int(line.split(":")[1]) for line in told] == [3, 4, 5, 6, 8]


def test_a_hostile_key_does_not_reach_the_terminal_raw() -> None:
    (told,) = problems(HOST + '"a\\u001b[31m\\u202e" = 1\n')
    assert "\x1b" not in told and "\u202e" not in told


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"[host.a]\n# \xff\n")
    for path, text in ((tmp_path / "none.toml", "no such file"), (tmp_path, "cannot be read"), (bad, "bad.toml:2: not UTF-8")):
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert text in str(caught.value)


def test_a_deep_file_is_a_syntax_error_not_a_crash() -> None:
    assert "not TOML" in problems("a = " + "[" * 5000)[0]


def test_what_is_right_is_taken_as_meant() -> None:
    config = loads(
        MODE + "needs = '22 GB'\nexpect_tok_s = 57\nkey = '1'\n[host.spark.switch]\nready_timeout = '2h30m'\n", engines=ENGINES
    )
    mode = config.host["spark"].mode[0]
    assert (mode.needs, mode.expect_tok_s, config.host["spark"].switch.ready_timeout) == (22_000_000_000, 57.0, 9000.0)
    loads("\ufeff" + MODE)


def test_keys_may_be_swapped_and_opposites_may_share_one() -> None:
    keys = "[screen.keys]\nbackup = 'c'\ndrop-caches = 'b'\nacknowledge = 'x'\nunacknowledge = 'x'\n"
    assert loads(HOST + keys, actions=ACTIONS).screen.keys["drop-caches"] == "b"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_right_and_show_reads_back(name: str) -> None:
    config = loads(example(name), engines=ENGINES, actions=ACTIONS)
    assert config.host
    assert loads(config_text(config)) == config


def test_values_of_switch_env_are_never_shown() -> None:
    text = MODE + "switch = ['/s']\nswitch_env = { ANSWER = 'hunter2', PIN = 'x' }\n"
    shown = config_text(loads(text))
    assert 'switch_env = {ANSWER = "***", PIN = "***"}' in shown and "hunter2" not in shown
    with pytest.raises(ConfigError) as caught:
        loads(text.replace("'hunter2'", "70771"))
    assert "70771" not in str(caught.value) and "expected a text in quotes" in str(caught.value)


def test_every_key_has_a_type_and_a_meaning() -> None:
    keys = schema_keys()
    assert len(keys) > 40
    for key in keys:
        assert key.meaning.strip(), key
        assert key.type and "." not in key.type and "typing" not in key.type, key
        assert key.name in schema_text()
    assert {"[host.NAME]", "[[host.NAME.mode]]", "[host.NAME.switch]", "[[host.NAME.backup]]", "[prometheus]", "[screen]"} <= {
        key.table for key in keys
    }


# --- through the public command --------------------------------------------------------------------------------------


def sovtui(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, "-m", "sovtui", *words], capture_output=True, text=True, env=environment, timeout=60, check=False
    )


def test_check_tells_on_standard_error_and_exits_2(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "sovtui" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(MODE + "kye = '1'\nengine = 'vlm'\nurl = 'x'\n")
    done = sovtui(tmp_path, "config", "check")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{file}:6: host.spark.mode[0].kye: unknown key; did you mean `key`?" in done.stderr
    assert f"{file}:7: host.spark.mode[0].engine: no engine is named `vlm`; did you mean `vllm`?" in done.stderr
    assert "3 problems" in done.stderr
    assert sovtui(tmp_path, "status").returncode == 2


def test_an_example_passes_the_check_of_the_command(tmp_path: Path) -> None:
    for name in EXAMPLES:
        shown = sovtui(tmp_path, "config", "example", name)
        (tmp_path / "c.toml").write_text(shown.stdout)
        done = sovtui(tmp_path, "--config", str(tmp_path / "c.toml"), "config", "check")
        assert done.returncode == 0 and "nothing wrong" in done.stdout, done.stderr


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    done = sovtui(tmp_path, "status", "--config", str(tmp_path / "no.toml"))
    assert done.returncode == 2 and "no such file" in done.stderr


@pytest.mark.parametrize(("written", "read"), [('"auto"', "auto"), ("true", True), ("false", False)])
def test_a_link_is_metered_or_not_or_as_it_seems_fit(written: str, read: object) -> None:
    assert loads(f"[host.box]\nmetered = {written}\n", "x.toml").host["box"].metered == read


@pytest.mark.parametrize("written", ['"yes"', "1", "[]"])
def test_another_word_for_metered_is_refused_with_what_was_expected(written: str) -> None:
    with pytest.raises(ConfigError) as error:
        loads(f"[host.box]\nmetered = {written}\n", "x.toml")
    assert 'host.box.metered: expected true or false or one of "auto"' in str(error.value)


def test_a_disk_is_full_from_a_share_on() -> None:
    assert loads("[host.box]\ndisk_full = 0.8\n", "x.toml").host["box"].disk_full == 0.8
    with pytest.raises(ConfigError, match="share above 0"):
        loads("[host.box]\ndisk_full = 90\n", "x.toml")
