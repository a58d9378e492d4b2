"""The command line: where each of its words goes. Imports what a command needs only when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sovtui.cli import grammar
from sovtui.cli.exits import Exit, Failure
from sovtui.cli.grammar import parser
from sovtui.config.problems import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from sovtui.cli.session import Session
    from sovtui.cli.wiring import Local, Wiring
    from sovtui.config.schema import Config
    from sovtui.config.surroundings import Glyphs
    from sovtui.runtime.hub import Hub


def main(argv: Sequence[str], wiring: Wiring) -> int:
    """Run a command line. Returns the exit code of the contract; argparse's own exits (usage, help) come as SystemExit."""
    args = parser().parse_args(argv)
    try:
        return int(_dispatch(args, wiring))
    except ConfigError as error:
        from sovtui.cli.diagnostics import say

        for problem in error.problems:
            say(str(problem))
        count = len(error.problems)
        say(f"The configuration has {count} problem{'s' if count > 1 else ''}. `sovtui config schema` explains every key.")
        return Exit.USAGE
    except Failure as failure:
        from sovtui.cli.diagnostics import say

        for sentence in failure.sentences:
            say(sentence)
        return int(failure.code)


def _dispatch(args: argparse.Namespace, wiring: Wiring) -> int:
    match args.command:
        case "config":
            return _config(args, wiring)
        case "themes":
            return _themes(wiring)
        case "completions":
            return _completions(args.shell)
        case "help":
            return _help(args.topic)
        case "init":
            return _init(args, wiring)
        case None | "demo":
            return _control_room(args, wiring)
        case "serve":
            return _serve(args, wiring)
        case _:
            return _headless(args, wiring)


@dataclass(frozen=True, slots=True)
class Loaded:
    config: Config
    path: Path | None
    """None where this machine is looked at because there is no file."""
    found: Local | None = None
    """What this machine has, then."""

    @property
    def notes(self) -> tuple[str, ...]:
        return self.found.notes if self.found is not None else ()


def _load(args: argparse.Namespace, wiring: Wiring, *, hurry: bool = False) -> Loaded:
    """The configuration and its file; without a file in the usual place, this machine. `hurry`: a screen waits for it."""
    from sovtui.config.paths import config_path
    from sovtui.config.reading import is_there

    place = config_path(args.config)
    if not place.said and not is_there(place.path):
        found = wiring.local(str(place.path), hurry)
        return Loaded(found.config, None, found)
    from sovtui.config.load import load

    return Loaded(load(place.path, engines=wiring.engines(), actions=wiring.actions()), place.path)


def _control_room(args: argparse.Namespace, wiring: Wiring) -> int:
    from sovtui.config.paths import config_path
    from sovtui.config.surroundings import dumb, served

    if not served(os.environ):
        if not (os.isatty(0) and os.isatty(1)):
            raise Failure(Exit.USAGE, "The control room needs a terminal. `sovtui status` prints one screen of text.")
        if dumb(os.environ):
            return _plain(args, wiring)

    def open_hub() -> Hub:
        if args.command == "demo":
            return wiring.demo(*grammar.demo_of(args))
        from sovtui.cli.session import Session

        loaded = _load(args, wiring, hurry=True)
        only = Session(loaded.config, wiring.build_hub, args.host, args.read_only).named_host()
        return wiring.build_hub(
            loaded.config,
            read_only=args.read_only,
            ask=None,
            only_host=only,
            interactive=True,
            notes=loaded.notes,
            found=loaded.found,
        )

    screen = {} if args.command == "demo" else _glimpse(config_path(args.config).path)
    glyphs: Glyphs = "auto"
    match screen.get("glyphs"):
        case "ascii" | "unicode" as wished:
            glyphs = wished
    return wiring.control_room(open_hub, args.theme or screen.get("theme"), glyphs)


def _glimpse(path: Path) -> dict[str, str]:
    """How the file wants the screen to look: the first frame is so already. Whatever is wrong with the file is told later."""
    import tomllib

    from sovtui.config.reading import CONFIG_BYTES, read

    try:
        screen = tomllib.loads(read(path, CONFIG_BYTES).decode("utf-8")).get("screen", {})
        return {key: screen[key] for key in ("theme", "glyphs") if isinstance(screen.get(key), str) and screen[key]}
    except (OSError, ValueError, AttributeError):
        return {}


def _serve(args: argparse.Namespace, wiring: Wiring) -> int:
    from sovtui.cli.serve import serve
    from sovtui.cli.session import Session

    if not args.demo:  # what is wrong is told here, not on each page
        Session(_load(args, wiring).config, wiring.build_hub, args.host, args.read_only).named_host()
    return serve(args, wiring)


def _plain(args: argparse.Namespace, wiring: Wiring) -> int:
    """The status as text, for a terminal that cannot move its cursor."""
    import asyncio

    from sovtui.cli import run
    from sovtui.cli.diagnostics import say
    from sovtui.cli.session import Session

    if args.command == "demo":
        demo = wiring.demo(*grammar.demo_of(args))
        session = Session(demo.config, lambda config, **options: demo, None, args.read_only)
    else:
        session = Session(_load(args, wiring).config, wiring.build_hub, args.host, args.read_only)
    code = asyncio.run(run.status(session, as_json=False, watch=False))
    say(
        "This terminal cannot show the control room (TERM=dumb), so this was `sovtui status`; `sovtui --help` lists the commands."
    )
    return code


def _init(args: argparse.Namespace, wiring: Wiring) -> int:
    import asyncio

    from sovtui.cli.init import init

    return int(asyncio.run(init(args, wiring)))


def _headless(args: argparse.Namespace, wiring: Wiring) -> int:
    import asyncio

    from sovtui.cli.diagnostics import say, sentence
    from sovtui.cli.session import Session

    loaded = _load(args, wiring)
    for note in loaded.notes:
        say(sentence(note))
    session = Session(loaded.config, wiring.build_hub, args.host, args.read_only, loaded.found)
    return asyncio.run(_runner(args, session, loaded.path))


def _runner(args: argparse.Namespace, session: Session, path: Path | None) -> Coroutine[Any, Any, int]:
    from sovtui.cli import act, doctor, rights, run

    how = act.How(getattr(args, "yes", False), getattr(args, "no_wait", False), getattr(args, "dry_run", False))
    match args.command:
        case "status":
            return run.status(session, as_json=args.json, watch=args.watch)
        case "switch":
            return act.act(session, "switch", args.mode, how)
        case "drop-caches":
            return act.act(session, "drop-caches", "", how)
        case "backup":
            return act.act(session, "backup", args.name, how)
        case "restart":
            return act.act(session, "restart", args.service, how)
        case "load" | "pin" | "unload":
            return act.on_model(session, args.command, args.model, getattr(args, "duration", ""), how)
        case "free":
            return act.free(session, args.engine, how)
        case "alerts":
            return run.alerts(session, as_json=args.json)
        case "ack":
            return act.acknowledge(session, args.alert, args.comment, args.duration, how)
        case "unack":
            return act.unacknowledge(session, args.alert, how)
        case "actions":
            return run.receipts(session, as_json=args.json)
        case "follow":
            return run.follow(session, args.id)
        case "cancel":
            return run.cancel(session, args.id)
        case "logs":
            return run.logs(session, args.service, follow=args.follow, since=args.since, lines=args.lines)
        case "doctor" if args.sudoers or args.polkit:
            return rights.print_drop_ins(session, polkit=not args.sudoers)
        case "doctor":
            return doctor.doctor(session, path, as_json=args.json)
        case other:
            raise LookupError(other)


def _config(args: argparse.Namespace, wiring: Wiring) -> int:
    from sovtui.cli import output
    from sovtui.cli.diagnostics import say
    from sovtui.config import show
    from sovtui.config.login import warnings
    from sovtui.config.paths import config_path
    from sovtui.config.reading import is_there

    place = config_path(args.config)
    match args.config_command:
        case "path":
            output.write(str(place.path))
            if not is_there(place.path):
                say(
                    "There is no such file yet. `sovtui init [USER@]HOST` proposes one, `sovtui config example spark` prints one."
                )
        case "schema":
            output.write(show.schema_text().rstrip())
        case "example":
            output.write(show.example(args.name).rstrip())
        case "show":
            output.write(show.config_text(_load(args, wiring).config).rstrip())
        case _ if not place.said and not is_there(place.path):
            say(f"There is no configuration at {place.path}: sovtui looks at this machine.")
        case _:
            loaded = _load(args, wiring)
            modes = sum(len(host.mode) for host in loaded.config.host.values())
            for source, what, advice in warnings(loaded.config):
                say(f"Warning: [{source}] {what}. {advice}")
            output.write(f"{loaded.path}: nothing wrong. {len(loaded.config.host)} hosts, {modes} modes.")
    return 0


def _themes(wiring: Wiring) -> int:
    from sovtui.cli import output
    from sovtui.cli.diagnostics import say
    from sovtui.config.paths import theme_dirs

    found, problems = wiring.themes()
    for name, origin in found:
        output.write(f"{name:<24} {origin}")
    for problem in problems:
        say(problem)
    say(f"Your own go to {theme_dirs()[0]}: a file there is seen while sovtui runs.")
    return 0


def _help(topic: str) -> int:
    from sovtui.cli import output

    if topic == "glossary":
        output.write(output.glossary())
        return 0
    try:
        parser().parse_args([*([topic] if topic else []), "--help"])
    except SystemExit as ended:
        return int(ended.code or 0)
    raise LookupError(topic)


def _completions(shell: str) -> int:
    from sovtui.cli import output

    try:
        import shtab
    except ImportError:
        raise Failure(
            Exit.USAGE, f"Completions need shtab, which is not installed: {sys.executable} -m pip install shtab"
        ) from None
    output.write(shtab.complete(parser(), shell))
    return 0
