"""Take secrets out of command lines and texts before they leave the box. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"
_SECRET = (
    "key",
    "apikey",
    "token",
    "secret",
    "password",
    "passwd",
    "pass",
    "passphrase",
    "credential",
    "credentials",
    "auth",
    "bearer",
)
_HARMLESS = ("file", "path", "dir", "command", "cmd", "ssl", "keyring", "parallel")
"""`--password-file` names a place, not a secret."""
_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"
_OPTION = re.compile(rf"(--?{_NAME})(=?)(.*)\Z", re.DOTALL)
_ASSIGNED = re.compile(rf"({_NAME})=(.*)\Z", re.DOTALL)
_VALUE = r"(\"[^\"]*\"|'[^']*'|[^\s\"';|&]+)"
_SET = re.compile(rf"(?<![A-Za-z0-9_-])(-{{0,2}}{_NAME})(\s*=\s*|:\s+){_VALUE}")
_GIVEN = re.compile(rf"(?<![A-Za-z0-9_-])(--?{_NAME})(\s+)(?!-){_VALUE}")
_LOGIN = re.compile(r"(?<!\S)(-u|--user)([ =])([^\s:]+):\S+")
_URL = re.compile(r"([a-z][a-z0-9+.-]*://)([^/\s:@]*):([^/\s@]+)@", re.IGNORECASE)
_TOKEN = re.compile(
    r"\b(?:sk-|hf_|ghp_|gho_|github_pat_|glpat-|xox[abp]-|AKIA|nvapi-|gsk_|r8_|age-secret-key-)[A-Za-z0-9_-]{6,}", re.IGNORECASE
)
_BEARER = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9+/._~=-]{6,}", re.IGNORECASE)
_HEADER = re.compile(r"\b(authorization|x-api-key|proxy-authorization)\s*:\s*[^\"']+", re.IGNORECASE)


def secret_name(name: str) -> bool:
    """Whether what is called so holds a secret: `HF_TOKEN`, `--api-key`; not `--tokenizer`, not `--password-file`."""
    parts = [part for part in re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if part]
    return any(part in _SECRET for part in parts) and not any(part in _HARMLESS for part in parts)


def words(argv: Sequence[str]) -> list[str]:
    """A command line whose secrets are `***`."""
    found: list[str] = []
    hide = False
    for word in argv:
        if hide and not word.startswith("--"):
            found.append(MASK)
            hide = False
            continue
        hide = False
        option = _OPTION.match(word)
        assigned = _ASSIGNED.match(word)
        if option and secret_name(option.group(1)):
            if option.group(2):
                word = f"{option.group(1)}={MASK}"
            else:
                hide = True
        elif option and option.group(2) and (inner := _ASSIGNED.match(option.group(3))) and secret_name(inner.group(1)):
            word = f"{option.group(1)}={inner.group(1)}={MASK}"  # --env=HF_TOKEN=…
        elif assigned and not word.startswith("-") and secret_name(assigned.group(1)):
            word = f"{assigned.group(1)}={MASK}"
        found.append(text(word))
    return found


def plain(word: str) -> str:
    """One word without what is a secret by its form."""
    word = _URL.sub(lambda m: f"{m.group(1)}{m.group(2)}:{MASK}@", word)
    return _TOKEN.sub(MASK, word)


def text(line: str) -> str:
    """A line of a script, or of anything."""

    def hidden(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{name}{match.group(2)}{MASK}" if secret_name(name) else match.group(0)

    line = _HEADER.sub(lambda m: f"{m.group(1)}: {MASK}", line)
    line = _BEARER.sub(lambda m: f"{m.group(1)} {MASK}", line)
    line = _LOGIN.sub(lambda m: f"{m.group(1)}{m.group(2)}{m.group(3)}:{MASK}", line)
    return plain(_GIVEN.sub(hidden, _SET.sub(hidden, line)))
