"""A proposal beside an existing file: what would be added at its end, and what differs. Pure; never changes a line that is there."""

from __future__ import annotations

import difflib

from sovtui.config.proposal import Proposal, Table
from sovtui.config.schema import Config
from sovtui.config.show import config_text


def missing(proposal: Proposal, config: Config) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """The tables that the file does not have, and a sentence for each that stays out because it has one."""
    found: list[Table] = []
    left_out: list[str] = []
    for table in proposal.tables:
        top = table.path[0]
        if top != "host" and getattr(config, top, None) is not None:
            left_out.append(f"[{top}] is in the file already and stays as it is; found was {_url(table)}.")
        else:
            found.append(table)
    return tuple(found), tuple(left_out)


def _url(table: Table) -> str:
    return next((str(one.value) for one in table.lines if one.key == "url"), "another")


def joined(text: str, addition: str) -> str:
    """The file with the addition at its end. Every byte that was there stays; line breaks as the file has them."""
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    more = gap + addition
    return text + (more.replace("\n", "\r\n") if "\r\n" in text else more)


def difference(old: str, new: str, name: str, new_name: str = "") -> str:
    """A unified diff, without a line break at the end; empty if there is none."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), name, new_name or f"{name} (proposed)", lineterm="", n=2)
    return "\n".join(lines)


def host_difference(config: Config, proposed: Config, host: str, name: str) -> str:
    """What a host's table in the file says otherwise than what was found: effective values, comments and order aside."""
    return difference(_values(config, host), _values(proposed, host), f"{name} [host.{host}]", "found now")


def _values(config: Config, host: str) -> str:
    text = config_text(Config(host={host: config.host[host]}))
    return "\n".join(line for line in text.splitlines() if not line.endswith("# default"))
