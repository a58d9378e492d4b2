"""`init`: look at a host, propose a configuration, explain each line; write it only if asked, and never over a user's words."""

from __future__ import annotations

import argparse
import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sovtui.cli import documents, output, rights
from sovtui.cli.asking import ask_operator, can_ask
from sovtui.cli.diagnostics import banner, say, sentence
from sovtui.cli.exits import Exit, Failure
from sovtui.cli.wiring import Wiring
from sovtui.config import adding, files, proposal
from sovtui.config.load import load, loads
from sovtui.config.paths import config_path
from sovtui.config.problems import ConfigError
from sovtui.config.proposal import Proposal
from sovtui.config.propose import LOCAL, Asked, host_name, propose
from sovtui.config.reading import CONFIG_BYTES, is_there, read
from sovtui.config.schema import Config
from sovtui.core import text
from sovtui.core.survey import Facts, gather
from sovtui.ports.errors import PortError
from sovtui.ports.link import Link, Telling
from sovtui.runtime import box, exchange
from sovtui.runtime.clock import RealClock
from sovtui.runtime.hub import Rights

SURVEY_SECONDS = 180.0
"""How long the whole look may take, a slow link included."""
HERE = ("", "local", "localhost", *LOCAL)


@dataclass(frozen=True, slots=True)
class Place:
    """The configuration file as it is now."""

    path: Path
    text: str | None
    """None where there is no file."""
    config: Config | None

    @classmethod
    def read(cls, option: str | None, wiring: Wiring) -> Place:
        """Raises ConfigError for a file that cannot be used: nothing is added to what is broken."""
        path = config_path(option).path
        if not is_there(path):
            return cls(path, None, None)
        config = load(path, engines=wiring.engines(), actions=wiring.actions())
        return cls(path, read(path, CONFIG_BYTES).decode("utf-8"), config)


async def init(args: argparse.Namespace, wiring: Wiring) -> int:
    if args.write and args.read_only:
        raise Failure(Exit.REFUSED, "--read-only: nothing is written.")
    place = Place.read(args.config, wiring)
    address = "" if args.target in HERE else args.target
    async with _reached(address, wiring) as link:
        facts, looked = await _look(link)
        asked = Asked(args.host or host_name(address, facts.machine.hostname), "ssh" if address else "local", address)
        proposed = propose(facts, asked, wiring.engines())
        config = _checked(proposed, wiring)
        await _tell(link, facts, proposed, config)
    result = _compared(place, proposed, config, asked, wiring)
    if args.json:
        told = {"version": documents.VERSION, "host": asked.name, "address": address, "path": str(place.path)}
        told |= {"lines": proposal.document(proposed.tables), "notes": [*proposed.unseen, *proposed.notes], "looked": looked}
        output.write(
            documents.dumps({**told, "toml": result.whole, "difference": result.difference, "conflict": result.conflict})
        )
    elif result.difference or place.text is None:
        output.write((result.difference or result.whole).rstrip("\n"))
    for words in result.sentences:
        say(words)
    return _written(args, place, result)


# --- looking ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _reached(address: str, wiring: Wiring) -> AsyncIterator[Link]:
    """The link, closed at the end. Failure 3 with the reason if there is none."""
    kind = "ssh" if address else "local"
    say(f"Looking at {address or 'this machine'}; nothing is changed there.")
    try:
        link = await wiring.dial(kind, address, ask_operator if can_ask() else None, banner)
    except ValueError as error:
        raise Failure(Exit.USAGE, sentence(str(error))) from None
    except PortError as error:
        raise Failure(Exit.UNREACHABLE, sentence(f"{address} cannot be reached: {error.sentence()}")) from None
    if isinstance(link, Telling):
        link.on_banner = banner
    try:
        yield link
    except PortError as error:
        raise Failure(
            Exit.UNREACHABLE, sentence(f"{address or 'This machine'} could not be looked at: {error.sentence()}")
        ) from None
    except TimeoutError:
        raise Failure(Exit.UNREACHABLE, f"The look took longer than {text.duration(SURVEY_SECONDS)} and was ended.") from None
    finally:
        await link.aclose()


async def _look(link: Link) -> tuple[Facts, list[dict[str, Any]]]:
    """Every fact, each part told as it is done."""
    told: list[dict[str, Any]] = []
    looked: list[dict[str, Any]] = []
    async with asyncio.timeout(SURVEY_SECONDS), aclosing(exchange.lines(link, "survey", {})) as lines:
        async for line in lines:
            told.append(line)
            if line.get("t") == "looked":
                looked.append({key: line.get(key) for key in ("what", "found", "problem")})
                say(_looked(line))
    return gather(told), looked


def _looked(line: dict[str, Any]) -> str:
    count = str(line.get("found", 0))
    if isinstance(line.get("kept"), int) and line.get("found"):
        count += f", {line['kept']} worth a closer look"
    problem = f" ({line['problem']})" if line.get("problem") else ""
    return f"  {line.get('what', '')!s:<16} {count}{problem}"


async def _tell(link: Link, facts: Facts, proposed: Proposal, config: Config) -> None:
    """Who looked, what is known of the rights, and what no line can say."""
    machine = facts.machine
    say(
        f"  {'machine':<16} {machine.hostname}, Python {machine.python}, {text.size(machine.memory_bytes)} of memory, as {machine.user}"
    )
    wanted = rights.commands(config.host[proposed.host])
    if wanted:
        try:
            found = await box.rights(link, wanted)
        except (PortError, TimeoutError) as error:
            say(f"  {'rights':<16} could not be asked: {error or 'no answer in time'}")
        else:
            say(f"  {'rights':<16} {_rights(found)}")
            if not found.journal:
                say(f"  {'journal':<16} cannot be read; there, as root: usermod -aG systemd-journal {found.user}")
    for note in proposed.notes:
        say(note)


def _rights(found: Rights) -> str:
    whole = len(found.asked)
    if found.missing:
        return f"lacks {len(found.missing)} of {whole}: once this is written, `sovtui doctor --sudoers` prints the lines"
    if found.unknown:
        return f"{len(found.unknown)} of {whole} are not known: once this is written, `sovtui doctor` says why"
    return f"all {whole} are there"


# --- comparing and writing --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Result:
    whole: str
    """The proposed tables, with what stands before them."""
    addition: str = ""
    difference: str = ""
    conflict: bool = False
    """The file has a table of that name."""
    sentences: tuple[str, ...] = ()


def _checked(proposed: Proposal, wiring: Wiring) -> Config:
    """The proposal as a configuration: it must pass the same check as any other."""
    try:
        return loads(proposal.write(proposed.tables), "proposal", engines=wiring.engines(), actions=wiring.actions())
    except ConfigError as error:
        problems = "; ".join(str(problem) for problem in error.problems[:3])
        raise Failure(
            Exit.FAILED, f"What was found there makes no configuration, which is a mistake of sovtui's: {problems}."
        ) from None


def _head(asked: Asked, proposed: Proposal, added: bool) -> str:
    today = text.moment(RealClock().now())[:10]
    words = ["sovtui init", *([asked.address] if asked.address else [])]
    sentences = [
        f"{'Added' if added else 'Proposed'} by `{' '.join(words)}` on {today}, from what was found there.",
        "Behind each line: why it is there, and how sure that is. sure: seen. likely: from a name, a default, an estimate.",
        "guess: could be otherwise; what a guess would stop or change is commented out with `#`, for you to decide.",
        "Not to be found by looking: expect_tok_s, weights, reserve. `sovtui config schema` explains every key.",
        *proposed.unseen,
        *proposed.notes,
    ]
    return proposal.head(sentences) + "\n"


def _compared(place: Place, proposed: Proposal, config: Config, asked: Asked, wiring: Wiring) -> Result:
    if place.text is None or place.config is None:
        whole = _head(asked, proposed, False) + proposal.write(proposed.tables)
        return Result(whole, whole)
    name = str(place.path)
    if asked.name in place.config.host:
        whole = proposal.write(proposed.tables)
        shown = adding.host_difference(place.config, config, asked.name, name)
        found = "what was found differs as shown" if shown else "and what was found is the same"
        said = f"{name} has a [host.{asked.name}] already, {found}. Nothing in it is changed."
        more = ("Take over by hand what is right, or name this one otherwise with --host NAME.",) if shown else ()
        return Result(whole, difference=shown, conflict=True, sentences=(said, *more))
    tables, left_out = adding.missing(proposed, place.config)
    addition = _head(asked, proposed, True) + proposal.write(tables)
    combined = adding.joined(place.text, addition)
    loads(combined, name, engines=wiring.engines(), actions=wiring.actions())
    return Result(proposal.write(tables), addition, adding.difference(place.text, combined, name), sentences=left_out)


def _written(args: argparse.Namespace, place: Place, result: Result) -> int:
    if result.conflict:
        return Exit.USAGE if args.write and result.difference else Exit.DONE
    where = str(place.path)
    if not args.write:
        options = [word for name in ("config", "host") if (value := getattr(args, name)) for word in (f"--{name}", value)]
        again = shlex.join(["sovtui", "init", *options, *([args.target] if args.target else []), "--write"])
        say(f"Nothing is written. `{again}` {'adds this to' if place.text is not None else 'writes it to'} {where}.")
        return Exit.DONE
    try:
        if place.text is None:
            files.create(place.path, result.addition.encode())
        else:
            whole = adding.joined(place.text, result.addition)
            files.extend(place.path, place.text.encode(), whole[len(place.text) :].encode())
    except files.Changed:
        raise Failure(Exit.USAGE, f"{where} has been changed meanwhile; nothing is written. Run it again.") from None
    except FileExistsError:
        raise Failure(Exit.USAGE, f"{where} has appeared meanwhile; nothing is written. Run it again.") from None
    except OSError as error:
        raise Failure(
            Exit.FAILED, f"{where} cannot be written, and is as it was: {(error.strerror or str(error)).lower()}."
        ) from None
    say(f"{'Added to' if place.text is not None else 'Written to'} {where}. Next: `sovtui doctor`, then `sovtui`.")
    return Exit.DONE
