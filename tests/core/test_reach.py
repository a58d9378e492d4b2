"""What was seen of a way to a host, and the one sentence that says what is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sovtui.core.reach import Evidence, Fault, Here, Stage, Tailnet, Verdict, is_slow, judge

AT = Evidence("spark (ops@spark)", "spark", 22, Stage.CONNECT, Fault.SILENCE, 5.0, addresses=("192.168.1.20",))
HOME = Here("192.168.1.5", True)
IN_TAILNET = ("100.99.1.2",)


@pytest.mark.parametrize(
    ("seen", "verdict", "words"),
    [
        (AT, Verdict.HOST_DOWN, "did not answer within 5 s"),
        (replace(AT, here=HOME), Verdict.HOST_DOWN, "did not answer"),
        (replace(AT, here=Here("", False)), Verdict.OFFLINE, "this machine is offline"),
        (replace(AT, here=Here("", True), fault=Fault.UNREACHABLE, detail="No route"), Verdict.NO_ROUTE, "no way to spark"),
        (replace(AT, here=HOME, fault=Fault.UNREACHABLE, detail="No route"), Verdict.HOST_DOWN, "nothing answers at the address"),
        (replace(AT, fault=Fault.REFUSED), Verdict.SSHD_DOWN, "refused the connection on port 22"),
        (replace(AT, fault=Fault.FORBIDDEN, detail="Permission denied"), Verdict.BLOCKED, "this machine itself"),
        (replace(AT, stage=Stage.NAME, fault=Fault.UNKNOWN_NAME), Verdict.NO_NAME, "cannot resolve the name spark"),
        (replace(AT, stage=Stage.NAME, fault=Fault.NO_NAME_SERVER), Verdict.NO_NAME, "no name server answers"),
        (replace(AT, stage=Stage.NAME, fault=Fault.SILENCE), Verdict.NO_NAME, "no name server has answered for 5 s"),
        (replace(AT, stage=Stage.NAME, addresses=(), here=Here("", False)), Verdict.OFFLINE, "offline"),
        (replace(AT, stage=Stage.GREETING), Verdict.HANGS, "takes connections on port 22 but did not answer within 5 s"),
        (replace(AT, stage=Stage.GREETING, fault=Fault.UNACKNOWLEDGED), Verdict.HOST_DOWN, "nothing got through any more"),
        (replace(AT, stage=Stage.GREETING, fault=Fault.CLOSED), Verdict.TURNED_AWAY, "before its greeting"),
        (replace(AT, stage=Stage.GREETING, fault=Fault.FOREIGN, detail="HTTP"), Verdict.NOT_SSH, "does not speak ssh"),
        (replace(AT, stage=Stage.GREETING, fault=Fault.CLOSED, said="Exceeded MaxStartups"), Verdict.TURNED_AWAY, "Exceeded"),
        (replace(AT, stage=Stage.GREETING, fault=Fault.CLOSED, said="HTTP/1.1 400"), Verdict.NOT_SSH, "it says “HTTP/1.1 400”"),
        (replace(AT, stage=Stage.GREETING, said="220 mail"), Verdict.NOT_SSH, "it says “220 mail”"),
        (replace(AT, stage=Stage.LOGIN), Verdict.HANGS, "in the middle of the login"),
        (
            replace(AT, stage=Stage.LOGIN, fault=Fault.CLOSED, detail="reset", said="Bye"),
            Verdict.TURNED_AWAY,
            "reset (it said: Bye)",
        ),
        (replace(AT, stage=Stage.LOGIN, fault=Fault.DAMAGED, detail="MAC"), Verdict.LOST, "damaged on the way"),
        (replace(AT, stage=Stage.UP), Verdict.LOST, "does not answer any more"),
        (replace(AT, stage=Stage.UP, here=Here("", False)), Verdict.OFFLINE, "offline"),
        (replace(AT, stage=Stage.UP, fault=Fault.CLOSED), Verdict.LOST, "closed the connection"),
        (replace(AT, stage=Stage.UP, fault=Fault.CLOSED, detail="reset"), Verdict.LOST, "was lost: reset"),
        (replace(AT, stage=Stage.UP, fault=Fault.MOVED), Verdict.LOST, "address of this machine has changed"),
    ],
)
def test_one_sentence_for_what_was_seen(seen: Evidence, verdict: Verdict, words: str):
    found = judge(seen)
    assert found.verdict is verdict
    assert words in found.sentence
    assert found.advice or seen.stage is Stage.UP


@pytest.mark.parametrize(
    ("seen", "verdict", "words"),
    [
        (
            replace(AT, tailnet=Tailnet(True, True, True, "it is up; policy blocks it")),
            Verdict.BLOCKED,
            "5 s: it is up; policy blocks",
        ),
        (replace(AT, fault=Fault.REFUSED, tailnet=Tailnet(True, True, True)), Verdict.SSHD_DOWN, "refused"),
        (replace(AT, tailnet=Tailnet(True, False, None, "offline since 12:03.")), Verdict.HOST_DOWN, "5 s: offline since 12:03"),
        (replace(AT, tailnet=Tailnet(True, True, False, "online, silent")), Verdict.HOST_DOWN, "5 s: online, silent"),
        (replace(AT, tailnet=Tailnet(False, words="Tailscale is off")), Verdict.HOST_DOWN, "5 s: Tailscale is off"),
        (
            replace(AT, addresses=IN_TAILNET, tailnet=Tailnet(False, words="Tailscale is off: tailscale up")),
            Verdict.TAILNET_OFF,
            "is not reached: Tailscale is off: tailscale up",
        ),
        (replace(AT, addresses=IN_TAILNET, here=HOME), Verdict.TAILNET_OFF, "leave from 192.168.1.5"),
        (replace(AT, addresses=IN_TAILNET, here=Here("100.64.0.9", True)), Verdict.HOST_DOWN, "did not answer"),
        (replace(AT, addresses=IN_TAILNET, here=HOME, fault=Fault.REFUSED), Verdict.SSHD_DOWN, "refused"),
        (replace(AT, addresses=IN_TAILNET, here=Here("", False)), Verdict.OFFLINE, "offline"),
    ],
)
def test_what_the_tailnet_knows_is_weighed(seen: Evidence, verdict: Verdict, words: str):
    found = judge(seen)
    assert (found.verdict, words in found.sentence) == (verdict, True), found


JUMP = replace(AT, label="the jump host mini", host="mini", target="spark (ops@spark)")


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (JUMP, Verdict.JUMP_DOWN),
        (replace(JUMP, fault=Fault.REFUSED), Verdict.JUMP_DOWN),
        (replace(JUMP, stage=Stage.UP), Verdict.JUMP_DOWN),
        (replace(JUMP, here=Here("", False)), Verdict.OFFLINE),
    ],
)
def test_a_jump_host_that_is_down_is_named_with_whom_it_leads_to(seen: Evidence, verdict: Verdict):
    found = judge(seen)
    assert found.verdict is verdict
    if verdict is Verdict.JUMP_DOWN:
        assert found.sentence.startswith("the jump host mini") or "the jump host mini" in found.sentence
        assert found.sentence.endswith("so spark (ops@spark) is not reached")


@pytest.mark.parametrize(
    ("detail", "fault", "verdict"),
    [
        ("Connection refused", Fault.UNREACHABLE, Verdict.SSHD_DOWN),
        ("Connection timed out", Fault.UNREACHABLE, Verdict.HOST_DOWN),
        ("No route to host", Fault.UNREACHABLE, Verdict.HOST_DOWN),
        ("Network is unreachable", Fault.UNREACHABLE, Verdict.NO_ROUTE),
        ("Name or service not known", Fault.UNREACHABLE, Verdict.NO_NAME),
        ("open failed", Fault.FORBIDDEN, Verdict.BLOCKED),
        ("", Fault.SILENCE, Verdict.HOST_DOWN),
    ],
)
def test_what_a_jump_host_tells_of_the_host_behind_it(detail: str, fault: Fault, verdict: Verdict):
    found = judge(replace(AT, via="the jump host mini", fault=fault, detail=detail, addresses=()))
    assert found.verdict is verdict
    assert "spark" in found.sentence


def test_slow_is_what_a_person_sees():
    assert [is_slow(x) for x in (None, 0.08, 0.4, 0.9)] == [False, False, False, True]
