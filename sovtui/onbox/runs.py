"""Whether a start was a run: what systemd keeps of a unit's runs, and what its own lines in the journal tell where it keeps nothing.

`systemctl start` ends well also where a condition was not met and nothing ran. A unit that nothing refers to is forgotten at its end:
`show` is then the same as of one that has never run. Seen with systemd 252.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from sovtui.onbox import box
from sovtui.onbox.names import kind_of

_STARTING, _DONE, _NOT_DONE, _SKIPPED, _ENDED, _STOPPED, _FAILED = (
    "7d4958e842da4a758f6c1cdc7b36dcc5",
    "39f53479d3a045ac8e11786248231fbf",
    "be02cf6855d2428ba40df7e9d022f03d",
    "0e4284a0caca4bfc81c0bb6786972673",
    "7ad2d189f7e94e70a38c781354912448",
    "9d1aaa27d60140bd96365438aad20286",
    "d9b373ed55a64feb8242e02dbe79a49c",
)
"""systemd's own numbers of its messages: a start begins, is over, did not succeed; ExecCondition= unmet; ended well; was stopped; failed."""
_FIELDS = "MESSAGE,MESSAGE_ID,JOB_TYPE,JOB_RESULT,INVOCATION_ID,USER_INVOCATION_ID,_PID,_COMM"
_ARGV = re.compile(r"argv\[\]=(.*?) ; .*?status=(\d+)")
EXEC_CONDITION = "its ExecCondition= was not met"
CONDITION, ASSERT = "of an unmet condition check", "an assertion check was not met"
_UNMET = re.compile(r"(.* (?:was skipped because|skipped,) )|Condition check resulted in ", re.S)
_CHECK = "unmet condition check "
MOST = 60
"""Entries of the journal that are looked at, the newest."""


@dataclass(frozen=True)
class Story:
    """What the journal tells of the newest starts of a unit. Times are unix times."""

    ran: Optional[bool] = None
    """Whether the newest start was a run; None where it does not tell."""
    skipped: str = ""
    """Why the newest start was none, to follow "skipped, because"; `at`: when that was."""
    at: Optional[float] = None
    ended: Optional[float] = None
    """When a run last ended well."""
    problem: str = ""
    asserted: bool = False
    """It was skipped for an assertion."""
    well: Optional[bool] = None
    """Whether the newest run ended well; None where it does not tell."""


def kept(p: Mapping[str, str], active: str, moment: Any) -> dict[str, Any]:
    """What `show` tells of the last run: `ended` (well), `skipped` (why the last start was no run) and `skipped_at`, as unix times.

    `kept` is False where systemd keeps no record, which is not the same as never. `moment` reads its times.
    """
    get = p.get
    ended = None
    if get("Result") == "success" and get("ExecMainCode") == "1" and (active == "inactive" or get("SubState") == "exited"):
        # `reset-failed` makes a success of a failure: only the time of the change tells
        own = get("ExecMainStatus") == "0" or active == "active"
        if own or get("StateChangeTimestampMonotonic") == get("InactiveEnterTimestampMonotonic"):
            ended = moment(get("ExecMainExitTimestamp", ""))
    why, at = "", ""
    if get("Result") == "exec-condition":
        why, at = exec_condition(get("ExecCondition", "")), get("InactiveEnterTimestamp", "")
    elif get("ConditionResult") == "no" and get("ConditionTimestamp"):  # without a time it was never looked at
        why, at = CONDITION, get("ConditionTimestamp", "")
    elif get("AssertResult") == "no" and get("AssertTimestamp"):
        why, at = ASSERT, get("AssertTimestamp", "")
    record = bool(get("InvocationID") or at)
    return {"ended": ended, "skipped": why, "skipped_at": moment(at), "kept": record or active not in ("inactive", "missing")}


OWN: dict[str, str] = {}
"""The names under which units are kept that were looked at: of an alias it is another one."""


def own_name(service: str) -> str:
    """The name under which the journal has a unit: it tells nothing of an alias."""
    kind, name = kind_of(service)
    if service not in OWN:
        argv = box.systemctl(kind, "show", "-p", "Id", "--value", "--", name)
        OWN[service] = box.command(argv, 10.0)[1].strip() or name
    return OWN[service]


def exec_condition(shown: str) -> str:
    """With the command that said no, as `show` prints them."""
    commands = _ARGV.findall(shown)
    argv = next((words for words, status in commands if status != "0"), commands[0][0] if len(commands) == 1 else "")
    return f"{EXEC_CONDITION} ({argv})" if argv else EXEC_CONDITION


def unmet(service: str, asserted: bool = False) -> str:
    """Which condition or assertion was not met, as systemd names it; empty where it does not tell. Of a unit that it has forgotten it
    tells only which there are: with `asserted`, the only one is it."""
    kind, name = kind_of(service)
    path = "".join(c if c.isalnum() and c.isascii() and (i or not c.isdigit()) else f"_{ord(c):02x}" for i, c in enumerate(name))
    place = ["org.freedesktop.systemd1", f"/org/freedesktop/systemd1/unit/{path}", "org.freedesktop.systemd1.Unit"]
    manager = "--user" if kind == "user" else "--system"
    code, out, _ = box.command(["busctl", manager, "--json=short", "get-property", *place, "Conditions", "Asserts"], 10.0)
    found = []
    try:
        rows = [json.loads(line)["data"] for line in out.splitlines()] if not code else []
        for told in rows:
            alone = asserted and told is rows[-1] and len(told) == 1
            found += [
                f"{name}={'|' if any_ else ''}{'!' if no else ''}{what}" for name, any_, no, what, at in told if at < 0 or alone
            ]
    except (ValueError, KeyError, TypeError):
        return ""
    return f"{', '.join(found)} {'were' if len(found) > 1 else 'was'} not met" if found else ""


def story(service: str, since: Optional[float] = None, oneshot: bool = True) -> Story:
    """What the journal tells; nothing of what is no unit."""
    kind = kind_of(service)[0]
    if kind not in ("system", "user"):
        return Story()
    unit = "--user-unit" if kind == "user" else "--unit"
    argv = ["journalctl", unit, own_name(service), "--quiet", "--no-pager", "--all", "--reverse"]
    argv += ["--output=json", f"--lines={MOST}", f"--output-fields={_FIELDS}", *([f"--since=@{since:.6f}"] if since else [])]
    argv += [f"MESSAGE_ID={one}" for one in (_STARTING, _DONE, _NOT_DONE, _SKIPPED, _ENDED, _STOPPED, _FAILED)]
    code, out, err = box.command(argv, 15.0)
    entries = [_entry(line) for line in reversed(out.splitlines())]
    mine = [e for e in entries if e and (e["pid"] == "1" if kind == "system" else e["comm"] == "systemd")]
    problem = box.journal_unreadable() if kind == "system" else ""
    return told(mine, oneshot, problem or (box.last_line(err) if code else ""))


def _entry(line: str) -> Optional[dict[str, Any]]:
    try:
        raw = json.loads(line)
        at = int(raw["__REALTIME_TIMESTAMP"]) / 1e6
    except (ValueError, KeyError, TypeError):
        return None
    run = raw.get("INVOCATION_ID") or raw.get("USER_INVOCATION_ID") or ""
    words = {key: str(raw.get(field) or "") for key, field in _KEYS.items()}
    return {"at": at, "run": str(run), **words}


_KEYS = {"id": "MESSAGE_ID", "job": "JOB_TYPE", "result": "JOB_RESULT", "text": "MESSAGE", "pid": "_PID", "comm": "_COMM"}


def told(entries: Sequence[Mapping[str, Any]], oneshot: bool, problem: str = "") -> Story:
    """The story of systemd's own entries, oldest first.

    A start that is skipped keeps the number of the run before, or has none; a run has one of its own. Only where the run before lies too
    far back to be among the entries its words have to tell.
    """
    begun, over, no, stopped, failed = set(), set(), set(), set(), set()
    ended: dict[str, float] = {}
    ran: Optional[bool] = None
    why, at, asserted, newest = "", None, False, ""
    for e in entries:
        asserted = e["result"] == "assert" or (asserted and not e["result"])
        run, text = e["run"], e["text"].rstrip(".")
        if e["id"] == _STARTING:
            begun.add(run)
        elif e["id"] == _SKIPPED:
            no.add(run)
            ran, why, at = False, EXEC_CONDITION, e["at"]
        elif e["id"] == _ENDED and not oneshot:
            ended[run] = e["at"]
        elif e["id"] == _STOPPED or e["job"] == "stop":
            stopped.add(run)
        elif e["id"] == _FAILED:
            failed.add(run)
        elif e["result"] == "assert":
            ran, why, at = False, text[:1].lower() + text[1:], e["at"]
        elif e["id"] == _NOT_DONE:
            ran, why, newest = run in begun, "", run
            failed.add(run)
        elif e["job"] == "start" and run not in no:
            if not run or run in over or (run not in begun and _UNMET.match(text)):
                ran, why, at = False, _why(text), e["at"]
            else:
                over.add(run)
                ran, why, newest = True, "", run
                if oneshot:
                    ended[run] = e["at"]
    good = {run: when for run, when in ended.items() if run and (oneshot or run not in stopped)}
    well = True if newest in good else False if newest and newest in failed | stopped else None
    return Story(ran, why, at if why else None, max(good.values(), default=None), problem, asserted, well if ran else None)


def _why(text: str) -> str:
    """As systemd before 257 says it: "of an unmet condition check (ConditionX=y)"; since then without "of an" and brackets."""
    found = _UNMET.match(text)
    why = text[found.end() :] if found and found[1] else text
    return f"of an {_CHECK}({why[len(_CHECK) :]})" if why.startswith(_CHECK) else why


def named(service: str, found: Story) -> Story:
    """With the condition by its name, where systemd tells it and the journal does not."""
    kind, name = kind_of(service)
    if found.skipped == EXEC_CONDITION:
        argv = box.systemctl(kind, "show", "-p", "ExecCondition", "--value", "--", name)
        return replace(found, skipped=exec_condition(box.command(argv, 10.0)[1]))
    if found.skipped and not re.search(r"\w=", found.skipped):
        return replace(found, skipped=unmet(service, found.asserted) or found.skipped)
    return found
