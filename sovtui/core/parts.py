"""What is behind an engine, in words: the same on the screen and on the command line. Pure."""

from __future__ import annotations

from datetime import datetime

from sovtui.core import text
from sovtui.core.model import Part


def about(part: Part, now: datetime) -> str:
    """`33 % on the CPU, unloads in 4 min 40 s, 14.4 GiB`; empty where there is nothing to add to its state."""
    said = [on_cpu(part), until(part, now)]  # what matters first: a narrow screen cuts the rest
    if part.size_bytes:
        said.append(text.size(part.size_bytes))
    if part.context_tokens:
        said.append(context(part.context_tokens))
    said.append(part.detail if part.state != "spilled" else "")
    return ", ".join(words for words in said if words)


def on_cpu(part: Part) -> str:
    """`33 % on the CPU`, for one that does not fit."""
    return f"{part.detail} on the CPU" if part.state == "spilled" and part.detail else ""


def until(part: Part, now: datetime) -> str:
    """When it is unloaded, or its cooldown ends (`perhaps` where that is a guess); `pinned` if never by itself."""
    if part.pinned:
        return "pinned"
    if part.ends_at is None:
        return "its end is not known" if part.state == "cooldown" else ""
    left = (part.ends_at - now).total_seconds()
    if left <= 0:
        return ""
    if part.state == "cooldown":
        return f"{'perhaps ' if part.ends_guessed else ''}until {text.clock(part.ends_at)}, {text.duration(left)} more"
    return f"unloads in {text.duration(left)}"


def context(tokens: int) -> str:
    """`32k context`."""
    return f"{tokens // 1024}k context" if tokens >= 1024 else f"{tokens} tokens context"
