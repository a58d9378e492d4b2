"""The command line: which words and options there are, and what each is for. `--help` and the completions come from here."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

import sovtui

SERVICE = "as the configuration or `status` names it: NAME.service, container:NAME, compose:PROJECT"
ALERT = "its name, or the beginning of its fingerprint"
DEMOS = ("spark", "mesh", "modes")
SCENARIOS = {
    "healthy": "nothing is wrong",
    "idle": "nothing is wrong and no request runs",
    "troubled": "a late backup, a failed unit, alerts",
    "switching": "in the middle of a switch",
    "failed": "a switch that failed and was rolled back",
    "link-down": "the box does not answer",
    "alerting": "the engine is dead, and more",
    "hostile": "escape sequences and odd names in what comes from outside",
    "empty": "nothing is known yet",
}
"""Of the demo, each with what it shows."""
KINDS = "unified memory and two engines | a 12 GB card, a router and many containers | one of several exclusive modes"
CODES = (
    "exit codes: 0 done, 1 the action failed, 2 usage or configuration, 3 host or source unreachable, 4 refused, "
    "5 done but a check afterwards failed, 130 interrupted (the action on the box continues). "
    "Standard output is data, standard error is progress and messages."
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
        made.add_argument(
            "--dry-run", action="store_true", help="print what would be done and whether the box would allow it; change nothing"
        )
        return made

    def on_box(name: str, what: str) -> argparse.ArgumentParser:
        made = acting(name, what)
        made.add_argument("--no-wait", action="store_true", help="print the action's id and do not follow it")
        return made

    demo = command("demo", "The control room on a scripted estate: no box is needed.")
    first = (*DEMOS, *SCENARIOS)
    demo.add_argument("estate", nargs="?", default="spark", choices=first, metavar="|".join(DEMOS), help=KINDS)
    told = "; ".join(f"{name}: {what}" for name, what in SCENARIOS.items())
    demo.add_argument("scenario", nargs="?", default="healthy", choices=tuple(SCENARIOS), metavar="SCENARIO", help=told)
    init = command("init", "Look at a host and propose a configuration, each line explained.")
    init.description = (
        "Look at a host and propose a configuration: every line says why it is there and how sure that is. Nothing is changed on "
        "the host, and nothing is written without --write. --host NAME names the host in the configuration."
    )
    init.add_argument("target", nargs="?", default="", metavar="[USER@]HOST", help="as for ssh; without it, this machine")
    init.add_argument("--write", action="store_true", help="write a new file, or add a new host at the end of the one there is")
    status = command("status", "What is hot, how fast it is, what uses the memory: one screen of text.")
    status.add_argument("--watch", action="store_true", help="repeat every second until interrupted")
    on_box("switch", "Switch to a mode: stop what is hot, release its memory, start it, verify it.").add_argument(
        "mode", metavar="MODE", help="a configured mode, or `none`"
    )
    on_box("drop-caches", "Write dirty pages to disk and drop the page cache.")
    on_box("backup", "Run a configured backup and follow it to its end.").add_argument(
        "name", metavar="NAME", help="its name in the configuration"
    )
    on_box("restart", "Restart a watched service and wait until it stays up.").add_argument(
        "service", metavar="SERVICE", help=SERVICE
    )
    for name, what in (
        ("load", "Load a model of Ollama or llama-swap before the first request for it."),
        ("pin", "Load a model of Ollama and keep it until it is unloaded."),
        ("unload", "Unload a model: of Ollama once its requests have ended, of llama-swap at once."),
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
    on_box("free", "Let ComfyUI unload its models and release its memory.").add_argument(
        "engine", nargs="?", default="", metavar="ENGINE", help="its name in the configuration, if there are several"
    )
    alerts = command("alerts", "What is firing, and who has acknowledged it.")
    ack = acting("ack", "Acknowledge an alert: silence exactly this one, with a comment and an end.")
    ack.add_argument("alert", metavar="ALERT", help=ALERT)
    ack.add_argument("--comment", required=True, metavar="TEXT", help="why, for the next reader")
    ack.add_argument(
        "--for", dest="duration", default="", metavar="DURATION", help="how long, such as 2h; default from the configuration"
    )
    acting("unack", "End the silences of an alert.").add_argument("alert", metavar="ALERT", help=ALERT)
    actions = command("actions", "What has been done, by whom, and how it ended; newest first.")
    command("follow", "Attach to an action: the one named, else the running one, else the newest.").add_argument(
        "id", nargs="?", default="", metavar="ID", help="as `actions` lists it, or its beginning"
    )
    command("cancel", "Ask a running action to end: it finishes safely or rolls back.").add_argument(
        "id", nargs="?", default="", metavar="ID", help="as `actions` lists it, or its beginning"
    )
    logs = command("logs", "The journal of a service.")
    logs.add_argument("service", metavar="SERVICE", help=SERVICE)
    logs.add_argument("--follow", "-f", action="store_true", help="keep following new lines until interrupted")
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
    example = command("example", "A complete, commented file to start from.", words)
    example.add_argument("name", choices=DEMOS, metavar="|".join(DEMOS), help=KINDS)
    serve = command("serve", "The control room in a browser, on this machine's loopback alone; needs textual-serve.")
    serve.add_argument("--port", type=_port, default=8765, metavar="N", help="where it listens (8765); 0: any unused port")
    serve.add_argument(
        "--allow",
        action="append",
        default=[],
        type=_name,
        metavar="NAME",
        help="another host name that the page may be opened under",
    )
    serve.add_argument("--demo", choices=DEMOS, metavar="|".join(DEMOS), help="a scripted estate: no box is needed")
    command("themes", "The available themes, and where they come from.")
    help = command("help", "What the words on the screen mean (`help glossary`), or the help of a command.")
    help.add_argument("topic", nargs="?", default="", metavar="TOPIC", help="glossary, or a command")
    completions = command("completions", "Completions for a shell; needs shtab.")
    completions.add_argument("shell", choices=("bash", "zsh", "tcsh"), metavar="bash|zsh|tcsh")
    return top


def demo_of(args: argparse.Namespace) -> tuple[str, str]:
    """Estate and scenario of `demo`; `sovtui demo alerting` is a scenario of the first estate."""
    return (DEMOS[0], args.estate) if args.estate in SCENARIOS else (args.estate, args.scenario)


def _globals(to: argparse.ArgumentParser, text: Any, flag: Any) -> None:
    """Options that stand before or after the command. A command's own default must not undo what stood before it."""
    group = to.add_argument_group("global options")
    group.add_argument("--config", metavar="FILE", default=text, help="another configuration file")
    group.add_argument("--host", metavar="NAME", default=text, help="only this host of the configuration")
    group.add_argument("--read-only", action="store_true", default=flag, help="change nothing")
    group.add_argument("--theme", metavar="NAME", default=text, help="the control room's theme, this time")


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100000:
        raise argparse.ArgumentTypeError("from 1 to 100000")
    return value


def _name(text: str) -> str:
    from sovtui.core.addresses import authority

    found = authority(text)
    if found is None or found[1] is not None:
        raise argparse.ArgumentTypeError("a host name alone, without https:// and port")
    return text


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError("from 0 to 65535")
    return value
