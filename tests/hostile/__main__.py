"""Bad inputs given to the screen as a user has it, as a table: `python -m tests.hostile [--kind KIND] [--from NUMBER] [--missed]`.

Each row: how long a key waited at most, the peak of the memory beside the idle figure, and the words shown. Exit 1 if one of them is
not ok: a raw byte, a key that waited more than 100 ms, memory above 1.5 times the idle figure or not back within a minute, a trace
in the log, or other words than it should say. A row is kept as soon as it is played, and is not played again on the same code.

Other load on the machine moves the times. So what counts is a key's wait without the time for which the screen had no processor, and
a case that is late while a trivial program beside the screen is late too is played again; the row says so.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.hostile.case import Case, cases, kinds
from tests.hostile.saved import PLACE, Saved
from tests.hostile.stage import stage, table, why_not


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kind", metavar="KIND", action="append", choices=kinds(), help=" | ".join(kinds()))
    parser.add_argument("--case", metavar="WORDS", default="", help="only those whose name holds this")
    parser.add_argument(
        "--from", metavar="NUMBER", dest="first", type=int, default=1, help="of each kind, those from this one on"
    )
    parser.add_argument("--to", metavar="NUMBER", dest="last", type=int, default=sys.maxsize, help="and up to this one")
    parser.add_argument("--again", action="store_true", help="also those that were played on this code")
    parser.add_argument("--missed", action="store_true", help="again those that missed something on this code")
    parser.add_argument("--list", action="store_true", help="their names and numbers, and play none")
    parser.add_argument("--table", action="store_true", help="what was played on this code, and play none")
    parser.add_argument("--shuffle", metavar="SEED", type=int, help="in another order")
    parser.add_argument("--rows", metavar="FILE", type=Path, default=PLACE, help="where rows are kept, one JSON object a line")
    args = parser.parse_args()
    saved = Saved(args.rows)

    def is_wanted(kind: str, case: Case) -> bool:
        row = saved.row(kind, case.name)
        return not args.table and (row is None or args.again or (args.missed and bool(row.wrong)))

    chosen: list[tuple[str, Case]] = []
    for kind in args.kind or kinds():
        numbered = [(number, case) for number, case in enumerate(cases(kind), 1) if args.case in case.name]
        numbered = [(number, case) for number, case in numbered if args.first <= number <= args.last]
        if args.list:
            print("\n".join(f"{kind} {number}: {case.name}" for number, case in numbered))
        chosen += [(kind, case) for _, case in numbered]
        todo = [case for _, case in numbered if not args.list and is_wanted(kind, case)]
        if args.shuffle is not None:
            random.Random(args.shuffle).shuffle(todo)
        if todo and (reason := why_not(kind)):
            print(f"{kind} is not played: {reason}")
        elif todo:
            with stage(kind) as played:
                for case in todo:
                    saved.keep(row := played.play(case))
                    print(table([row]).partition("\n")[2], flush=True)
    if args.list:
        return 0
    rows = [found for kind, case in chosen if (found := saved.row(kind, case.name)) is not None]
    bad = [row for row in rows if row.wrong]
    print("\n" + table(rows))
    longest = max((row.own_seconds for row in rows), default=0.0)
    print(
        f"\n{len(rows)} inputs of {len(chosen)} played, {len(rows) - len(bad)} ok; the longest wait of a key {longest * 1000:.0f} ms"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
