"""The link's fault table: what is told of a link while a fault is in it, when, whether it was right, and how it comes back.

python -m tests.faults.link [--count N] [--box N] [--seed S] [--only KIND] [--losses N] [--soak SECONDS] [--json FILE]

Boots a box and a client beside it. Exit 1 if anything was wrong or left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path

from tests.box.box import sweep, why_not
from tests.faults.link.box_kinds import BOX, NAMED
from tests.faults.link.ground import INSIDE, Client, ground, inside
from tests.faults.link.kinds import JUMP, PROXY
from tests.faults.link.lane import Record
from tests.faults.link.play import Result, document, losses, play, table, verdict
from tests.faults.link.threads import follow


def main(argv: list[str]) -> int:
    if argv[:1] == [INSIDE]:
        return asyncio.run(_inside(Client(int(argv[1]), Path(argv[2])), Path(argv[2]), _read(argv[3:])))
    _read(argv)
    if reason := why_not():
        print(f"no test box: {reason}", file=sys.stderr)
        return 2
    sweep()
    with ground() as (box, folder):
        return subprocess.run(inside(box, folder, "tests.faults.link", argv), check=False).returncode


def _read(argv: list[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m tests.faults.link", description=__doc__.partition("\n")[0])
    p.add_argument("--count", type=int, default=200, help="faults on the way, several at a time (200)")
    p.add_argument(
        "--box", type=int, default=0, metavar="N", help="faults in the box and in the network besides, one at a time (0)"
    )
    p.add_argument("--seed", type=int, default=1)
    kinds = [kind.name for kind in (*PROXY, *JUMP, *BOX, *NAMED)]
    p.add_argument("--only", action="append", default=[], metavar="KIND", choices=kinds, help=", ".join(kinds))
    p.add_argument(
        "--losses", type=int, default=0, metavar="N", help="instead: one link, lost so many times right after its login"
    )
    p.add_argument("--follow", type=int, default=0, metavar="CUTS", help="instead: a switch and a log followed over so many cuts")
    p.add_argument("--soak", type=float, default=0.0, metavar="SECONDS", help="go on for so long")
    p.add_argument("--json", type=Path, metavar="FILE")
    return p.parse_args(argv)


async def _inside(client: Client, folder: Path, a: argparse.Namespace) -> int:
    if a.follow:
        cuts, receipt, log, wrong = await follow(client, folder, a.follow)
        print(f"{cuts} cuts; the receipt's {receipt} lines and {log} lines of a log: {'; '.join(wrong) or 'all once, in order'}")
        return 1 if wrong else 0
    if a.losses:
        result = await losses(client, folder, a.losses, lambda line: print(line, flush=True))
    else:
        result = await play(client, folder, count=a.count, box_count=a.box, seed=a.seed, only=a.only, told=_told, soak=a.soak)
        print("\n" + table(result.records))
    print("\n" + verdict(result))
    if a.json:
        a.json.write_text(json.dumps(document(result, seed=a.seed), indent=1))
    return 1 if result.bad or result.leaks else 0


def _told(record: Record) -> None:
    numbers = "  ".join("–" if x is None else f"{x:.1f}" for x in (record.lost_after, record.told_after, record.back_after))
    print(f"{record.number:4}  {record.lane:7} {record.kind:26} {numbers}  bar {record.bar_seconds:.1f}  {record.verdict or '–'}")
    for what, how in record.problems:
        print(f"      ! {what}: {how}")
    if record.problems:
        for line in record.said:
            print(f"        {line}")
    sys.stdout.flush()


__all__ = ["Result", "main"]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
