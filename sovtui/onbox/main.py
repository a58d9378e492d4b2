"""The door of the bundle: a verb as argument, one request as a JSON line on standard input, JSON lines as answer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from sovtui.onbox import box
from sovtui.onbox.names import BadRequest


def main(argv: list[str], marker: str = "") -> int:
    """Never a traceback: what goes wrong is an `error` line. Each line begins with `marker`."""
    verb = argv[0] if argv else ""
    box.mark(marker)
    try:
        if verb == "start":
            from sovtui.onbox import launch  # noqa: F401 - it may stand by for minutes: loaded before it is needed
        raw = json.loads(box.read_line() or b"{}")
        if not isinstance(raw, dict):
            raise BadRequest("the request is not an object")
        return _do(verb, raw)
    except BadRequest as problem:
        box.say({"t": "error", "reason": str(problem)})
    except (ValueError, TypeError) as problem:
        box.say({"t": "error", "reason": f"the request is not understood: {problem}"})
    except Exception as problem:  # noqa: BLE001 — a sentence, not a traceback
        box.say({"t": "error", "reason": f"{verb} failed on the box: {type(problem).__name__}: {problem}"})
    return 2


def _do(verb: str, request: Mapping[str, Any]) -> int:
    if verb == "probe":
        from sovtui.onbox import probe

        probe.probe(request)
    elif verb == "logs":
        from sovtui.onbox import logs

        logs.logs(request)
    elif verb == "follow":
        from sovtui.onbox import follow

        box.end_with_client()
        for line in follow.follow(str(request.get("id") or ""), int(request.get("skip", 0))):
            box.say(line)
    elif verb == "list":
        from sovtui.onbox import follow

        for line in follow.listed(int(request.get("limit", 50))):
            box.say(line)
    elif verb == "start":
        from sovtui.onbox import launch

        box.say(launch.start(request))
    elif verb == "rehearse":
        from sovtui.onbox import rehearsal

        box.say(rehearsal.rehearse(request))
    elif verb == "cancel":
        from sovtui.onbox import launch

        box.say(launch.cancel(str(request.get("id") or "")))
    elif verb == "rights":
        _rights(request)
    elif verb == "survey":
        from sovtui.onbox import survey

        survey.survey(request)
    elif verb == "serving":
        from sovtui.onbox import lookserving

        lookserving.serving(request)
    else:
        raise BadRequest(f"{verb!r} is not a verb")
    return 0


def _rights(request: Mapping[str, Any]) -> None:
    """What this user may do here: one summary, then one line per command. Nothing is changed."""
    from sovtui.onbox import launch, permission, receipt, rights
    from sovtui.onbox.authority import Authority

    box.say(
        {
            "t": "rights",
            "user": box.user(),
            "uid": os.geteuid(),
            "root": box.is_root(),
            "programs": [path for name in rights.PROGRAMS for path in permission.programs(name)[:1]],
            "systemd": box.has_systemd(),
            "lingers": box.has_systemd() and launch.lingers(enable=False),
            "journal": not box.journal_unreadable(),
            "state": os.path.dirname(receipt.home()),
        }
    )
    commands = request.get("commands", [])
    for words in commands:
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or not rights.is_one(words):
            raise BadRequest("a command is none of those that actions need")
    for number, grant in enumerate(Authority().grants(commands)):
        box.say({"t": "right", "number": number, "by": grant.by, "known": grant.known, "words": grant.words})
