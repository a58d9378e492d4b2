"""What the screen costs, as a table: `python -m tests.bench [--only NAME] [--soak SECONDS] [--json FILE]`.

Every program measured runs in a pseudo-terminal of 120 by 40 cells. Other load on the machine moves the times: look at ratios.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.bench.row import Row, table


def _start(args: argparse.Namespace) -> list[Row]:
    from tests.bench import start

    return start.measure(args.times)


def _quiet(args: argparse.Namespace) -> list[Row]:
    from tests.bench import quiet

    return quiet.measure(args.seconds)


def _effort(args: argparse.Namespace) -> list[Row]:
    from tests.bench import effort

    return effort.measure(args.soak or args.seconds)


def _floor(args: argparse.Namespace) -> list[Row]:
    from tests.bench import floor

    return floor.measure(args.soak or args.seconds)


def _estate(args: argparse.Namespace) -> list[Row]:
    from tests.bench import estate

    return estate.measure(args.seconds)


def _wire(args: argparse.Namespace) -> list[Row]:
    from tests.bench import wire

    return wire.measure(args.seconds)


def _keys(args: argparse.Namespace) -> list[Row]:
    from tests.bench import keys

    return keys.measure()


def _press(args: argparse.Namespace) -> list[Row]:
    from tests.bench import press_to_stop

    return press_to_stop.rows()


def _first(args: argparse.Namespace) -> list[Row]:
    from tests.bench import first_figures

    return first_figures.rows()


def _thin(args: argparse.Namespace) -> list[Row]:
    from tests.bench import thin

    return thin.measure(args.seconds)


def _back(args: argparse.Namespace) -> list[Row]:
    from tests.bench import back

    return back.rows()


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "start": _start,
    "quiet": _quiet,
    "effort": _effort,
    "floor": _floor,
    "keys": _keys,
    "thin": _thin,
    "estate": _estate,
    "wire": _wire,
    "press": _press,  # these need a box: root, namespaces
    "first": _first,
    "back": _back,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(PARTS), help=" | ".join(PARTS))
    parser.add_argument("--times", type=int, default=11, metavar="N", help="starts of each program (11)")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="how long bytes and processor are watched (60)")
    parser.add_argument("--soak", type=float, metavar="S", help="how long processor and memory are watched; 3600 for an hour")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure there")
    args = parser.parse_args()
    rows: list[Row] = []
    missed: list[str] = []
    for name, part in PARTS.items():
        if not args.only or name in args.only:
            print(f"measuring {name} …", file=sys.stderr, flush=True)
            try:
                rows += part(args)
            except (AssertionError, OSError, RuntimeError) as error:  # the others are worth as much without it
                print(f"{name} was not measured: {error}", file=sys.stderr, flush=True)
                missed.append(name)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps([asdict(row) | {"verdict": row.verdict} for row in rows], indent=1))
    return 1 if missed or any(row.holds is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
