"""From the command line to a front end. Everything heavy is imported only when it is about to run."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sovtui.adapters.discovery import Found
    from sovtui.config.schema import Config
    from sovtui.config.surroundings import Glyphs
    from sovtui.ports.link import Ask, Link, Tell
    from sovtui.runtime.hub import Hub

CRASH_FILES = 10
"""Kept in the state directory."""


def main(argv: list[str] | None = None) -> int:
    """The console script. No traceback reaches the terminal."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 gets `?`, not an exception
    try:
        from sovtui.cli.main import main as run
        from sovtui.cli.wiring import Wiring

        wiring = Wiring(
            build_hub=_build_hub,
            local=_local,
            dial=_dial,
            control_room=_control_room,
            demo=_demo,
            engines=_engines,
            actions=_actions,
            themes=_themes,
            serve=_serve,
        )
        try:
            return run(sys.argv[1:] if argv is None else argv, wiring)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _write_nothing_more()  # whoever read our output has seen enough
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or error.filename is not None:
            return _crashed(error)
        _write_nothing_more()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"sovtui: the output cannot be written: {(error.strerror or str(error)).lower()}\n")
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence: one sentence instead of a traceback
        return _crashed(error)


def _write_nothing_more() -> None:
    """Also not at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _build_hub(config: Config, **options: Any) -> Hub:
    from sovtui import bootstrap

    return bootstrap.build_hub(config, **options)


def _local(config_path: str, hurry: bool) -> Found:
    from sovtui import bootstrap

    return bootstrap.local(config_path, hurry)


async def _dial(kind: str, address: str, ask: Ask | None, tell: Tell) -> Link:
    from sovtui import bootstrap

    return await bootstrap.dial(kind, address, ask, tell)


def _control_room(open_hub: Callable[[], Hub], theme: str | None, glyphs: Glyphs) -> int:
    import gc

    gc.disable()  # until the room is there: looking through what imports make finds nothing and takes a tenth of the start
    from sovtui.tui.app import run

    return run(open_hub, theme=theme, glyphs=glyphs)


def _demo(name: str, scenario: str) -> Hub:
    from sovtui.demo import build

    return build(name, scenario=scenario)


def _themes() -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    from sovtui.tui import themes

    found = themes.load()
    return themes.told(found), found.problems


def _serve(command: Sequence[str], port: int, allow: Collection[str], tell: Callable[[str], None]) -> None:
    from sovtui import bootstrap
    from sovtui.tui import serve

    bootstrap.log_to_file()
    serve.run(command, port, allow, tell)


def _engines() -> Collection[str]:
    """Names only: loading the registry would load httpx."""
    import pkgutil
    from pathlib import Path

    folder = Path(__file__).parent / "adapters" / "engines"
    ours = {m.name for m in pkgutil.iter_modules([str(folder)]) if m.name not in ("base", "scrape", "watch") and m.name[0] != "_"}
    return _Names(ours)


class _Names:
    """Our engines; those that others bring are looked for when one is not ours: that takes 50 ms and 2 MiB."""

    def __init__(self, ours: set[str]) -> None:
        self._ours = ours
        self._all: frozenset[str] | None = None

    def _every(self) -> frozenset[str]:
        if self._all is None:
            from importlib.metadata import entry_points

            self._all = frozenset(self._ours | entry_points(group="sovtui.engines").names)
        return self._all

    def __contains__(self, name: object) -> bool:
        return name in self._ours or name in self._every()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._every()))

    def __len__(self) -> int:
        return len(self._every())

    def __bool__(self) -> bool:
        return True


def _actions() -> dict[str, str]:
    """What `[screen.keys]` may name, with its usual key; what cannot be given away has a name no action has."""
    from sovtui.actions import all_specs
    from sovtui.tui.keymap import FIXED, default_keys

    return {**default_keys(all_specs()), **{f"({key})": key for key in FIXED}}


def _crashed(error: Exception) -> int:
    import secrets
    import traceback

    from sovtui.config import files
    from sovtui.config.paths import state_dir
    from sovtui.core.clean import clean

    where = "no crash file could be written"
    with contextlib.suppress(OSError):
        folder = state_dir()
        path = folder / f"crash-{secrets.token_hex(4)}.txt"
        files.create(path, "".join(traceback.format_exception(error)).encode("utf-8", "replace"))
        where = f"details are in {path}"
        old = sorted(folder.glob("crash-*.txt"), key=lambda p: p.stat().st_mtime)[:-CRASH_FILES]
        for file_path in old:
            file_path.unlink()
    with contextlib.suppress(OSError, ValueError):
        what = clean(f"{type(error).__name__}: {error}", 300)
        sys.stderr.write(f"sovtui: something unexpected happened ({what}); {clean(where)}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
