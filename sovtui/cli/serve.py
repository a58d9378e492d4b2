"""`sovtui serve`: what is run for each page, and what is said about it. The pages themselves are the screen's business."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sovtui.cli import output
from sovtui.cli.diagnostics import say
from sovtui.cli.exits import Exit, Failure

if TYPE_CHECKING:
    from sovtui.cli.wiring import Wiring


def serve(args: argparse.Namespace, wiring: Wiring) -> int:
    """Until it is ended. The address is standard output's one line."""

    def tell(url: str) -> None:
        output.write(url)
        say("Open this address in a browser on this machine; anyone who has it can do all that you can do here.")
        say(
            "From a tablet: forward the port (ssh -L) or let `tailscale serve` do it, with --allow and the tailnet name. Ctrl+C ends it."
        )

    try:
        wiring.serve(command(args), args.port, tuple(args.allow), tell)
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("textual_serve", "aiohttp"):
            raise
        raise Failure(
            Exit.USAGE, f"`serve` needs textual-serve, which is not installed: {sys.executable} -m pip install 'sovtui[serve]'"
        ) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        why = (error.strerror or str(error)).rpartition(": ")[2]
        raise Failure(
            Exit.USAGE, f"Port {args.port} of this machine is not available: {why}. Choose another with --port."
        ) from None
    return Exit.DONE


def command(args: argparse.Namespace) -> list[str]:
    """The same program with the same options."""
    started = Path(sys.argv[0])
    words = [sys.executable, *(["-m", "sovtui"] if started.name == "__main__.py" else [sys.argv[0]])]
    for option in ("config", "host", "theme"):
        if getattr(args, option) is not None:
            words += [f"--{option}", getattr(args, option)]
    if args.read_only:
        words.append("--read-only")
    return [*words, "demo", args.demo] if args.demo else words
