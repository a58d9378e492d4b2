"""Bad inputs given to the screen as a user has it, as a table: `python -m tests.hostile [--only KIND] [--case WORDS] [--json FILE]`.

Each row: how long a key waited at most, the peak of the memory beside the idle figure, and the words shown. Exit 1 if one of them is
not ok: a raw byte, a key that waited more than 100 ms, memory above 1.5 times the idle figure or not back within a minute, a trace
in the log, or other words than it should say. Other load on the machine moves the times.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from dataclasses import asdict
from pathlib import Path

from tests.hostile.case import cases, kinds
from tests.hostile.stage import Row, stage, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", metavar="KIND", action="append", choices=kinds(), help=" | ".join(kinds()))
    parser.add_argument("--case", metavar="WORDS", default="", help="only those whose name holds this")
    parser.add_argument("--list", action="store_true", help="their names, and play none")
    parser.add_argument("--shuffle", metavar="SEED", type=int, help="in another order")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure there")
    args = parser.parse_args()
    rows: list[Row] = []
    for kind in args.only or kinds():
        chosen = [case for case in cases(kind) if args.case in case.name]
        if args.shuffle is not None:
            random.Random(args.shuffle).shuffle(chosen)
        if args.list:
            print("\n".join(f"{kind}: {case.name}" for case in chosen))
            continue
        if not chosen:
            continue
        with stage(kind) as played:
            for case in chosen:
                rows.append(played.play(case))
                print(table(rows[-1:]).partition("\n")[2], flush=True)
    if args.list:
        return 0
    bad = [row for row in rows if row.wrong]
    print("\n" + table(rows))
    print(
        f"\n{len(rows)} inputs, {len(rows) - len(bad)} ok; the longest wait of a key {max((r.key_seconds for r in rows), default=0) * 1000:.0f} ms"
    )
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
