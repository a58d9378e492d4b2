"""Lines that somebody installs as root: exactly one login, exactly one command. What sudo makes of them is asked on the booted box."""

from __future__ import annotations

import json
import re

import pytest

from sovtui.core import drop_ins
from sovtui.onbox.rights import DROP

pytestmark = pytest.mark.truth(of="sudo, polkit, users")

SYSTEMCTL = "/usr/bin/systemctl"


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("x.service", "x.service"),
        (r"a\x2db.service", r"a\\\\x2db.service"),  # grammar makes two of four, the pattern one of two
        ("a:b@1.service", r"a\:b@1.service"),
        ("--signal=SIGKILL", r"--signal\=SIGKILL"),
        ("a,b", r"a\,b"),
        ("a*b?[c]!", r"a\*b\?\[c\]\!"),
        ("a#b", r"a\#b"),
    ],
)
def test_a_word_for_both_readers(word: str, line: str) -> None:
    assert drop_ins.quoted(word) == line
    assert drop_ins.sudoers_line("ops", [SYSTEMCTL, "stop", word]) == f"ops ALL=(root) NOPASSWD: {SYSTEMCTL} stop {line}"


@pytest.mark.parametrize(
    ("name", "uid", "word"),
    [
        ("ops", 1000, "#1000"),
        ("ops\nALL ALL=(ALL) NOPASSWD: ALL", 1000, "#1000"),
        ("ops", None, "ops"),
        ("ops", -1, "ops"),
        ("ops", 2**32 - 1, "ops"),
        ("ALL", None, '"ALL"'),
        ("Defaults", None, '"Defaults"'),
        ("CORP\\ops", None, r"CORP\x5cops"),
        ("%wheel", None, r"\x25wheel"),
        ("+net", None, r"\x2bnet"),
        ("#0", None, r"\x230"),
        ("o@x.y", None, r"o\x40x.y"),
        ("a,b=c d\n", None, r"a\x2cb\x3dc\x20d\x0a"),
        ("ä", None, r"\xc3\xa4"),
    ],
)
def test_a_login_is_nobody_else(name: str, uid: int | None, word: str) -> None:
    assert drop_ins.user(name, uid) == word


def test_a_program_is_only_taken_from_where_programs_are() -> None:
    argv = [SYSTEMCTL, "start", "x.service"]
    assert drop_ins.placed(argv, ["/bin/systemctl", "/usr/bin/tee"]) == ["/bin/systemctl", "start", "x.service"]
    assert drop_ins.placed(argv, ["/tmp/systemctl", "/usr/bin/systemctl ALL, ALL"]) == argv
    assert drop_ins.placed(argv, []) == argv


def test_the_rule_for_polkit_names_each_verb_that_is_needed_and_no_other() -> None:
    name = 'o"\\\u2028p'
    odd = r"a\x2db.service"
    text = drop_ins.polkit_rule(
        name, [[SYSTEMCTL, "stop", odd], [SYSTEMCTL, "start", "x.service"], [SYSTEMCTL, "stop", odd], DROP]
    )
    assert text.isascii() and f"subject.user != {json.dumps(name)})" in text
    assert dict(re.findall(r'^ +("\S+"): (\[.*\]),$', text, re.MULTILINE)) == {
        json.dumps(odd): '["stop"]',
        '"x.service"': '["start"]',
    }
