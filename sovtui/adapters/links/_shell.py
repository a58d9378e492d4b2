"""A command line for a login shell that we do not know: bash, dash, zsh, fish, tcsh.

Single quotes mean the same to all of them, but not with everything in them: tcsh wants no line break and no `!`, fish reads
backslashes. Where one of these is in an argument, `sh` gets the line with them written as octal numbers.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

_ODD = re.compile(r"[\n\r!\\]")
_WRITTEN_AS_OCTAL = re.compile(rb"[\x00-\x1f'\\!\x7f-\xff]")


def line(argv: Sequence[str]) -> str:
    """The one line that runs `argv` there."""
    joined = shlex.join(argv)
    if not _ODD.search(joined):
        return joined
    octal = _WRITTEN_AS_OCTAL.sub(lambda found: b"\\0%03o" % found[0][0], joined.encode("utf-8", "surrogateescape")).decode(
        "ascii"
    )
    # With `exec` as the outer shell may do by itself: no process of ours stays between the command and its signals.
    return f"""sh -c 'eval "exec $(printf %b "$1")"' sh '{octal}'"""
