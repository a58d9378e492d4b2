"""Logins of sources: references only, never a value; what is not wise is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sovtui.cli.doctor import login_checks
from sovtui.config.load import loads
from sovtui.config.login import warnings
from sovtui.config.problems import ConfigError
from sovtui.config.schema import Secret
from sovtui.config.show import config_text, schema_text
from tests.config.test_load import sovtui

HOST = '[host.spark]\naddress = "ops@spark"\n'
VALUE = "hunter2"


def source(text: str, url: str = "https://metrics.example/prom", table: str = "prometheus", via: str = "") -> str:
    return f'{HOST}[{table}]\nurl = "{url}"\nvia = "{via}"\n{text}\n'


BAD = [
    (
        "user = 'ops'\npassword = 'hunter2'",
        "7: prometheus.password: is written out, and sovtui stores no secrets; expected { env =",
    ),
    ("bearer = 'hunter2'", "6: prometheus.bearer: is written out"),
    ("bearer = 7", "6: prometheus.bearer: expected { env = "),
    ("bearer = ['hunter2']", "6: prometheus.bearer: expected { env = "),
    ("bearer = {}", "6: prometheus.bearer: expected exactly one of"),
    ("bearer = { env = 'A', file = '/a' }", "6: prometheus.bearer: expected exactly one of"),
    ("bearer = { fiel = 'hunter2' }", "6: prometheus.bearer.fiel: unknown key; did you mean `file`?"),
    ("bearer = { zzz = 'hunter2' }", "6: prometheus.bearer.zzz: unknown key; known here: env, file, command"),
    ("bearer = { env = 'hunter2!' }", "6: prometheus.bearer.env: is not the name of a variable"),
    ("bearer = { file = 'hunter2' }", "6: prometheus.bearer.file: expected a whole path"),
    ("bearer = { file = 7 }", "6: prometheus.bearer.file: expected a text in quotes"),
    ("bearer = { command = 'echo hunter2' }", "6: prometheus.bearer.command: expected the program and its words as a list"),
    ("bearer = { command = [] }", "6: prometheus.bearer.command: expected the program and its words as a list"),
    ("bearer = { command = ['hunter2', 7] }", "6: prometheus.bearer.command: expected the program and its words as a list"),
    ("[prometheus.bearer]\nfile = 'hunter2'", "7: prometheus.bearer.file: expected a whole path"),
    ("user = 'ops'", "6: prometheus.user: needs a `password` = {"),
    ("user = 'o:ps'\npassword = { env = 'A' }", "6: prometheus.user: cannot hold a colon"),
    ("password = { env = 'A' }", "6: prometheus.password: needs a `user`; a token alone is `bearer`"),
    ("user = 'ops'\npassword = { env = 'A' }\nbearer = { env = 'B' }", "8: prometheus.bearer: is instead of"),
    ("headers = 'hunter2'", "6: prometheus.headers: expected a table, found something else"),
    ("headers = { X = 7 }", "6: prometheus.headers.X: expected { env = "),
    ("headers = { Authorization = 'Bearer hunter2' }", "6: prometheus.headers.Authorization: is a secret"),
    ("headers = { X-Api-Key = 'hunter2' }", "6: prometheus.headers.X-Api-Key: is a secret"),
    ("headers = { 'X Y' = 'hunter2' }", '6: prometheus.headers."X Y": is not the name of a header'),
    ("headers = { Host = 'hunter2' }", "6: prometheus.headers.Host: is a header that sovtui sets itself"),
    ("headers = { X-Scope-OrgID = '' }", "6: prometheus.headers.X-Scope-OrgID: expected a text of plain letters"),
    (
        "headers = { Authorization = { env = 'A' } }\nbearer = { env = 'B' }",
        "6: prometheus.headers.Authorization: says the login",
    ),
    ("ca_file = 'ca.pem'", "6: prometheus.ca_file: expected a whole path"),
]


@pytest.mark.parametrize(("text", "said"), BAD, ids=[said[:50] for _, said in BAD])
def test_each_bad_login_is_told_with_its_place_and_without_the_value(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loads(source(text), "c.toml")
    (problem,) = map(str, caught.value.problems)
    assert problem.startswith(f"c.toml:{said}"), problem
    assert VALUE not in problem


def test_alertmanager_is_held_to_the_same() -> None:
    with pytest.raises(ConfigError) as caught:
        loads(source("bearer = 'hunter2'\nca_file = '~/ca.pem'", url="http://x", table="alertmanager"), "c.toml")
    told = [str(problem) for problem in caught.value.problems]
    assert [line.partition(": ")[2][:24] for line in told] == ["alertmanager.bearer: is ", "alertmanager.ca_file: is"]
    assert VALUE not in str(told)


def test_a_login_is_read_and_shown_as_references_only() -> None:
    text = source(
        "user = 'ops'\npassword = { file = '~/prom-password' }\nca_file = '~/ca.pem'\n"
        "headers = { X-Scope-OrgID = 'team', 'X-Api-Key' = { command = ['pass', 'show', 'a \"b'] } }"
    )
    config = loads(text)
    assert config.prometheus is not None
    assert config.prometheus.password == Secret(file="~/prom-password")
    assert config.prometheus.headers == {"X-Scope-OrgID": "team", "X-Api-Key": Secret(command=("pass", "show", 'a "b'))}
    shown = config_text(config)
    assert 'password = { file = "~/prom-password" }' in shown
    assert loads(shown) == config
    assert 'bearer =                              # { env = "NAME" } | { file = "PATH" } | { command = ["…"] }' in schema_text()


def test_a_file_that_others_may_read_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(VALUE)
    config = loads(source(f"bearer = {{ file = '{file}' }}"))
    file.chmod(0o640)
    assert list(warnings(config)) == [("prometheus", f"bearer: others may read {file}", f"chmod 600 {file}")]
    (check,) = login_checks(config)  # and so for `doctor`
    assert (check.sign, check.what, check.advice) == ("?", "prometheus: login", f"chmod 600 {file}")
    file.chmod(0o600)
    assert not list(warnings(config)) and not list(login_checks(config))
    file.unlink()
    assert not list(warnings(config))


@pytest.mark.parametrize(
    ("url", "via", "said"),
    [
        ("https://metrics.example", "", ""),
        ("http://127.0.0.1:9090", "", ""),
        ("http://[::1]:9090", "", ""),
        ("http://localhost:9090", "spark", ""),
        ("http://metrics.example", "", "its login goes unencrypted over the network to metrics.example"),
        ("http://10.0.0.7:9090", "spark", "its login goes unencrypted from spark to 10.0.0.7"),
        ("http://10.0.0.7:9090", "here", "its login goes unencrypted over the network to 10.0.0.7"),
    ],
)
def test_a_login_over_plain_http_is_a_warning_unless_it_stays_on_one_machine(url: str, via: str, said: str) -> None:
    text = source("bearer = { env = 'TOKEN' }", url=url, via=via) + '[host.here]\nlink = "local"\n'
    assert [what for _, what, _ in warnings(loads(text))] == ([said] if said else [])
    assert not list(warnings(loads(source("headers = { X-Scope-OrgID = 'team' }", url=url))))  # a tenant is no secret


def test_check_tells_warnings_and_a_written_out_secret_ends_with_2(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    token = tmp_path / "token"
    token.write_text(VALUE)
    os.chmod(token, 0o644)
    file.write_text(source(f"bearer = {{ file = '{token}' }}", url="http://metrics.example"))
    done = sovtui(tmp_path, "--config", str(file), "config", "check")
    assert done.returncode == 0 and "nothing wrong" in done.stdout
    assert f"Warning: [prometheus] bearer: others may read {token}. chmod 600" in done.stderr
    assert "unencrypted over the network to metrics.example" in done.stderr
    shown = sovtui(tmp_path, "--config", str(file), "config", "show")
    assert str(token) in shown.stdout and VALUE not in done.stdout + done.stderr + shown.stdout + shown.stderr
    file.write_text(source("bearer = 'hunter2'"))
    done = sovtui(tmp_path, "--config", str(file), "status")
    assert done.returncode == 2 and f"{file}:6: prometheus.bearer: is written out" in done.stderr
    assert VALUE not in done.stdout + done.stderr
