"""The command line: which words there are, and where each goes. Imports what a command needs only when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import sovtui
from sovtui.cli.exits import Exit, Failure
from sovtui.config.problems import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from sovtui.cli.session import Session
    from sovtui.cli.wiring import Wiring
    from sovtui.config.schema import Config
    from sovtui.config.surroundings import Glyphs
    from sovtui.runtime.hub import Hub

DEMOS = ("spark", "mesh", "modes")
CODES = (
    "exit codes: 0 done, 1 the action failed, 2 usage or configuration, 3 host or source unreachable, 4 refused, "
    "5 done but a check after it did not hold, 130 interrupted (the action on the box goes on). "
    "Standard output is data, standard error is narration."
)


class Parser(argparse.ArgumentParser):
    """Suggests the nearest word for a mistyped one."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice: '" in message:
            from sovtui.config.words import nearest

            word, _, rest = message.partition("invalid choice: '")[2].partition("'")
            choices = [c.strip().strip("'") for c in rest.partition("(choose from ")[2].rstrip(")").split(",")]
            hint = nearest(word, choices) or f"; there are: {', '.join(choices)}"
            message = f"unknown word `{word}`{hint}"
        super().error(message)


def parser() -> argparse.ArgumentParser:
    """Everything the command line understands."""
    top = Parser(
        prog="sovtui",
        description="The terminal control room for a self-hosted LLM inference box. Without a command: the control room.",
        epilog=CODES,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"sovtui {sovtui.__version__}")
    _globals(top, None, False)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=Parser)

    def command(name: str, what: str, to: Any = commands) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = to.add_parser(name, help=what, description=what, allow_abbrev=False)
        _globals(made, argparse.SUPPRESS, argparse.SUPPRESS)
        return made

    def acting(name: str, what: str) -> argparse.ArgumentParser:
        made = command(name, what)
        made.add_argument("--yes", "-y", action="store_true", help="do it without asking, whatever would be lost")
        made.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
        return made

    def on_box(name: str, what: str) -> argparse.ArgumentParser:
        made = acting(name, what)
        made.add_argument("--no-wait", action="store_true", help="print the action's id and do not follow it")
        return made

    demo = command("demo", "The control room on a scripted estate: no box is needed.")
    demo.add_argument("estate", nargs="?", default="spark", choices=DEMOS, metavar="|".join(DEMOS))
    init = command("init", "Look at a host and propose a configuration, each line explained.")
    init.description = (
        "Look at a host and propose a configuration: every line says why it is there and how sure that is. Nothing is changed on "
        "the host, and nothing is written without --write. --host NAME calls the host so in the configuration."
    )
    init.add_argument("target", nargs="?", default="", metavar="[USER@]HOST", help="as for ssh; without it, this machine")
    init.add_argument("--write", action="store_true", help="write a new file, or add a new host at the end of the one there is")
    status = command("status", "What is hot, how fast, what holds the memory: one screen of text.")
    status.add_argument("--watch", action="store_true", help="again every second, until interrupted")
    on_box("switch", "Switch to a mode: stop what is hot, free its memory, start it, prove it.").add_argument(
        "mode", metavar="MODE", help="a configured mode, or `none`"
    )
    on_box("drop-caches", "Write dirty pages out and free the page cache.")
    on_box("backup", "Run a configured backup and follow it to its end.").add_argument("name", metavar="NAME")
    on_box("restart", "Restart a watched service and wait until it stays up.").add_argument("service", metavar="SERVICE")
    for name, what in (
        ("load", "Load a model of Ollama or llama-swap before somebody asks for it."),
        ("pin", "Load a model of Ollama and keep it until somebody unloads it."),
        ("unload", "Let go a model: of Ollama once its requests have ended, of llama-swap at once."),
    ):
        one = on_box(name, what)
        one.add_argument("model", metavar="MODEL", help="its name as the engine has it, or ENGINE/MODEL")
        if name == "load":
            one.add_argument(
                "--for",
                dest="duration",
                default="",
                metavar="DURATION",
                help="how long it stays without a request (Ollama); default: the engine's own",
            )
    on_box("free", "Let ComfyUI unload its models and free its memory.").add_argument(
        "engine", nargs="?", default="", metavar="ENGINE", help="its name in the configuration, if there are several"
    )
    alerts = command("alerts", "What is firing, and who has acknowledged it.")
    ack = acting("ack", "Acknowledge an alert: silence exactly this one, with a comment and an end.")
    ack.add_argument("alert", metavar="ALERT", help="its name, or the beginning of its fingerprint")
    ack.add_argument("--comment", required=True, metavar="TEXT", help="why, for whoever reads it next")
    ack.add_argument(
        "--for", dest="duration", default="", metavar="DURATION", help="how long, such as 2h; default from the configuration"
    )
    acting("unack", "End the silences of an alert.").add_argument("alert", metavar="ALERT")
    actions = command("actions", "What has been done, by whom, and how it ended; newest first.")
    command("follow", "Attach to an action: the one named, else the running one, else the newest.").add_argument(
        "id", nargs="?", default="", metavar="ID"
    )
    command("cancel", "Ask a running action to end: it finishes safely or brings the old mode back.").add_argument(
        "id", nargs="?", default="", metavar="ID"
    )
    logs = command("logs", "The journal of a service.")
    logs.add_argument("service", metavar="SERVICE")
    logs.add_argument("--follow", "-f", action="store_true", help="go on with new lines until interrupted")
    logs.add_argument("--since", default="", metavar="DURATION", help="only the last 10m, 2h, 1d")
    logs.add_argument("--lines", "-n", type=_count, default=200, metavar="N", help="at most this many old lines (200)")
    doctor = command("doctor", "What works, what does not, and what to do about it.")
    doctor.add_argument("--sudoers", action="store_true", help="print the smallest sudoers drop-in that the actions need")
    doctor.add_argument("--polkit", action="store_true", help="the same as a polkit rule, for a login without sudo")
    for document in (init, status, alerts, actions, doctor):
        document.add_argument("--json", action="store_true", help="as JSON")
    config = command("config", "Check, show or explain the configuration.")
    words = config.add_subparsers(dest="config_command", metavar="WORD", required=True, parser_class=Parser)
    command("check", "Find everything that is wrong with the file.", words)
    command("show", "The effective values, defaults included.", words)
    command("schema", "Every key: type, default, meaning.", words)
    command("path", "Where the file is looked for.", words)
    example = command("example", "A whole, commented file to begin with.", words)
    example.add_argument("name", choices=DEMOS, metavar="|".join(DEMOS))
    serve = command("serve", "The control room in a browser, on this machine's loopback alone; needs textual-serve.")
    serve.add_argument("--port", type=_port, default=8765, metavar="N", help="where it listens (8765); 0: any free port")
    serve.add_argument(
        "--allow", action="append", default=[], metavar="NAME", help="another name under which a forwarder may ask for the page"
    )
    serve.add_argument("--demo", choices=DEMOS, metavar="|".join(DEMOS), help="a scripted estate: no box is needed")
    command("themes", "The themes there are, and where they come from.")
    completions = command("completions", "Completions for a shell; needs shtab.")
    completions.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="bash|zsh|tcsh")
    return top


def _globals(to: argparse.ArgumentParser, text: Any, flag: Any) -> None:
    """Options that stand before or after the command. A command's own default must not undo what stood before it."""
    group = to.add_argument_group("options everywhere")
    group.add_argument("--config", metavar="FILE", default=text, help="another configuration file")
    group.add_argument("--host", metavar="NAME", default=text, help="only this host of the configuration")
    group.add_argument("--read-only", action="store_true", default=flag, help="change nothing, whatever is asked")
    group.add_argument("--theme", metavar="NAME", default=text, help="the control room's theme, this time")


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100000:
        raise argparse.ArgumentTypeError("from 1 to 100000")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("from 0 to 65535")
    return value


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
    notes: tuple[str, ...] = ()


def _load(args: argparse.Namespace, wiring: Wiring) -> Loaded:
    """The configuration and its file; without a file in the usual place, this machine."""
    from sovtui.config.paths import config_path

    place = config_path(args.config)
    if not place.said and not place.path.exists():
        config, notes = wiring.local(str(place.path))
        return Loaded(config, None, notes)
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
            return wiring.demo(args.estate)
        from sovtui.cli.session import Session

        loaded = _load(args, wiring)
        only = Session(loaded.config, wiring.build_hub, args.host, args.read_only).named_host()
        return wiring.build_hub(
            loaded.config, read_only=args.read_only, ask=None, only_host=only, interactive=True, notes=loaded.notes
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

    try:
        screen = tomllib.loads(path.read_text(encoding="utf-8")).get("screen", {})
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
        demo = wiring.demo(args.estate)
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
    session = Session(loaded.config, wiring.build_hub, args.host, args.read_only)
    if args.command == "doctor" and (args.sudoers or args.polkit):
        from sovtui.cli import doctor, output

        print_rights = doctor.sudoers if args.sudoers else doctor.polkit
        output.write(print_rights(loaded.config, session.named_host()))
        return 0
    return asyncio.run(_runner(args, session, loaded.path))


def _runner(args: argparse.Namespace, session: Session, path: Path | None) -> Coroutine[Any, Any, int]:
    from sovtui.cli import act, doctor, run

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

    place = config_path(args.config)
    match args.config_command:
        case "path":
            output.write(str(place.path))
            if not place.path.exists():
                say(
                    "There is no such file yet. `sovtui init [USER@]HOST` proposes one, `sovtui config example spark` prints one."
                )
        case "schema":
            output.write(show.schema_text().rstrip())
        case "example":
            output.write(show.example(args.name).rstrip())
        case "show":
            output.write(show.config_text(_load(args, wiring).config).rstrip())
        case _ if not place.said and not place.path.exists():
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
