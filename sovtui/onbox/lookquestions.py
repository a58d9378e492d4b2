"""What a script asks, and which variable or option the script itself takes for the answer. Pure; runs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from sovtui.onbox import masking, shellwords

Told = dict[str, Any]
Answer = tuple[str, str]
"""A variable and its value; an option and an empty text; two empty texts where nothing is asked as long as nothing is set."""
_PROGRAMS = ("read", "select", "whiptail", "dialog", "zenity", "kdialog", "fzf")
_ASKS = re.compile(
    r"\b(?:read|select|whiptail|dialog|zenity|kdialog|gum|fzf)\b|\b(?:raw_)?input\(|\bclick\.confirm\(|\bConfirm\.ask\("
)
_FED = re.compile(
    r"(?:\bwhile\b|\buntil\b)[^;\n]*\bread\b|<<|<\s*<\(|\bread\b[^;\n]*<\s*(?!/dev/tty)[\w/\"'$&{]|"
    r"(?<!\|)\|(?!\|)\s*(?:while\s+)?(?:\w+=\S*\s+)?read\b"
)
_TERMINAL = re.compile(r"-t\s+[012]\b|\btty\s+-s\b")
_NAME = r"[A-Z][A-Z0-9_]{1,}"
_EMPTY = re.compile(rf"(!\s+)?-z\s+\"?\$\{{?({_NAME})")
_FILLED = re.compile(rf"(!\s+)?(?:-n\s+\"?\$\{{?|\[\[?\s+\"?\$\{{?|\(\(\s*\$?)({_NAME})(?::?-)?\}}?\"?\s*(?:\]|\)\))")
_CALLED = re.compile(rf"(?:\bif|\belif|^|\|\||&&|;)\s*(!\s+)?\"?\$\{{?({_NAME})(?::?-(?:true|false))?\}}?\"?\s*(?:;|\|\||&&|\Z)")
_EQUAL = re.compile(rf"\"?\$\{{?({_NAME})(?::?-([^}}]*))?\}}?\"?\s*(==?|!=|-eq|-ne|=~)\s*[\"'^]*([\w.-]*)")
_GIVEN = re.compile(r"\$\{?[1-9@*](?::?-)?\}?\"?\s*(==?|!=|=~)\s*[\"']?(-{1,2}[A-Za-z][\w-]*)")
NEAR = 60
"""Lines before a question that are looked at."""


def questions(text: str) -> Told:
    """`asks`: the line with which it asks; `answer_env`, `answer_flag`: what answers it. Empty where it asks nothing of a switch."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    shell = re.match(r"#!.*\b(?:ba|da|z|k|fi)?sh\b", text) is not None
    flags = _flags(text)
    defaults = dict(
        re.findall(rf"^\s*(?:export\s+|:\s+)?(?:{_NAME}=)?\"?\$\{{({_NAME}):?[-=]\"?([\w.-]*)\"?\}}", text, re.MULTILINE)
    )
    asked, env, flag, open_ = "", dict[str, str](), "", False
    for number, line in enumerate(lines):
        if not _asks(line, shell):
            continue
        around = _conditions(lines, number)
        if any(_TERMINAL.search(one) for one, _ in around):
            continue  # only where there is a terminal, which a switch has not
        answer = next((found for one, holds in around if (found := _answer(one, holds, defaults)) is not None), None)
        if answer == ("", ""):
            continue
        asked = asked or masking.prompt(line.strip())[:160]
        name, value = answer or ("", "")
        if name in flags or name.startswith("-"):
            flag = flag or flags.get(name, name)
        elif name and not _sets(text, name) and masking.value(name, value) == value:
            env[name] = value
        else:
            open_ = True
    if not asked or open_:
        return {"asks": asked} if asked else {}
    return {"asks": asked, **({"answer_env": env} if env else {}), **({"answer_flag": flag} if flag else {})}


def _asks(line: str, shell: bool) -> bool:
    if not _ASKS.search(line) or line.lstrip().startswith("#"):
        return False
    if not shell:
        return re.search(r"\b(?:raw_)?input\(|\bclick\.confirm\(|\bConfirm\.ask\(", line) is not None
    if _FED.search(line):
        return False
    for command in shellwords.commands(line):
        words = shellwords.assigned(command)[1]
        if words and (
            words[0] in _PROGRAMS or words[:2] in (["gum", "confirm"], ["gum", "choose"], ["gum", "input"], ["gum", "filter"])
        ):
            return True
    return False


def _sets(text: str, name: str) -> bool:
    """Whether the script sets it whatever it was given: `YES=0`, not `YES=${YES:-0}`."""
    return (
        re.search(rf"^\s*(?:export\s+|readonly\s+|declare\s+(?:-\w+\s+)*)?{name}=(?!\"?\$\{{{name}\b)", text, re.MULTILINE)
        is not None
    )


def _conditions(lines: Sequence[str], number: int) -> list[tuple[str, bool]]:
    """The conditions under which a line is reached, the nearest first: each with whether it must hold."""
    found: list[tuple[str, bool]] = []
    own = lines[number]
    head = _ASKS.search(own)
    before = own[: head.start()] if head else ""
    if "||" in before:
        found.append((before, False))
    elif re.search(r"\bif\b|\[\[?\s|\btest\b|&&", before):
        found.append((before, re.search(r"\belse\b", before) is None))
    inner: list[bool] = []  # blocks that end before the line: whether each leaves the script
    holds = True
    for line in reversed(lines[max(0, number - NEAR) : number]):
        bare = line.strip()
        leaves = re.search(r"\b(?:return|exit)\b", bare) is not None
        if re.match(r"(?:if|case)\b", bare) and re.search(r"(?:^|[;\s])(?:fi|esac)\b", bare):
            if leaves and not inner:
                found.append((bare, False))
        elif re.match(r"(?:fi|esac)\b", bare):
            inner.append(False)
        elif re.match(r"(?:if|case)\b", bare):
            if not inner:
                found.append((bare, holds))
                holds = True
            elif inner.pop() and not inner:
                found.append((bare, False))
        elif inner:
            inner[-1] = inner[-1] or leaves
        elif re.match(r"(?:else|elif)\b", bare):
            if bare.startswith("elif"):
                found.append((bare, holds))
            holds = False
        elif leaves and re.search(r"(?:&&|\|\|)", bare):
            found.append((bare, "||" in bare))
        elif re.match(r"(?:function\s+)?[\w-]+\s*\(\)|function\s", bare):
            break
    return found


def _answer(line: str, holds: bool, defaults: Mapping[str, str]) -> Optional[Answer]:
    """With what the condition is not as it must be for the question."""
    if match := _GIVEN.search(line):
        return (match.group(2), "") if (match.group(1) != "!=") != holds else ("", "")
    if equal := _EQUAL.search(line):
        name, default, sign, value = equal.groups()
        if (sign not in ("!=", "-ne")) != holds:
            return (name, value) if value else None
        if (defaults.get(name) if default is None else default) == value:
            return name, "0" if value != "0" else "1"
        return "", ""
    for pattern, wanted, value in ((_EMPTY, False, "1"), (_FILLED, True, "1"), (_CALLED, True, "true")):
        if match := pattern.search(line):
            negated = bool(match.group(1)) or re.search(r"\bif\s+!\s|^\s*!\s", line) is not None
            return (match.group(2), value) if (wanted != negated) != holds else ("", "")
    return None


def _flags(text: str) -> dict[str, str]:
    """Variables that an option of the script sets: `-y|--yes) YES=1`."""
    found: dict[str, str] = {}
    for options, name in re.findall(rf"^\s*\(?[\"']?(-[\w|\s\"'-]+?)[\"']?\)\s*({_NAME}|[a-z_]\w*)=", text, re.MULTILINE):
        found.setdefault(name, re.split(r"[|\s\"']+", options)[0])
    for option, name in re.findall(
        rf"\$\{{?[1-9@*](?::?-)?\}}?\"?\s*(?:==?|=~)\s*[\"']?(--?[\w-]+)[\"']?\s*\]\]?\s*(?:&&|;\s*then)\s*({_NAME}|[a-z_]\w*)=",
        text,
    ):
        found.setdefault(name, option)
    for option, name in re.findall(r"^\s*([a-zA-Z])\)\s*([A-Za-z_]\w*)=", text, re.MULTILINE):
        if "getopts" in text:
            found.setdefault(name, f"-{option}")
    return found
