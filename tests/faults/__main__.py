"""The fault table: switches on booted boxes, one fault in each, and what came of it.

python -m tests.faults [--count N] [--seed S] [--only KIND[:STEP]] [--boxes N] [--json FILE] [--show FILE]

Exit 1 if an invariant broke: its run, seed and receipt are printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.box.box import sweep, why_not
from tests.faults.drill import Record
from tests.faults.kinds import KINDS
from tests.faults.table import cases, play, table, verdict


def main(argv: list[str]) -> int:
    p = argparse.ArgumentParser(prog="python -m tests.faults", description="Inject faults into switches on booted boxes.")
    p.add_argument("--count", type=int, default=300)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", action="append", default=[], metavar="KIND[:STEP]", help=", ".join(KINDS))
    p.add_argument("--boxes", type=int, default=2, help="how many at a time")
    p.add_argument("--json", type=Path, metavar="FILE")
    p.add_argument("--show", type=Path, metavar="FILE", help="only print the table of an earlier --json, of a run broken off too")
    a = p.parse_args(argv)
    if a.show:
        earlier = [Record.of(row) for row in json.loads(a.show.read_text())["runs"]]
        print(f"{table(earlier)}\n\n{verdict(earlier)}")
        return 1 if any(r.bad for r in earlier) else 0
    if reason := why_not():
        print(f"no test box: {reason}", file=sys.stderr)
        return 2
    unknown = [word for word in a.only if word.partition(":")[0] not in KINDS]
    if unknown:
        p.error(f"no such kind of fault: {', '.join(unknown)}; there are: {', '.join(KINDS)}")
    sweep()
    records: list[Record] = []

    def told(record: Record) -> None:
        records.append(record)
        c = record.case
        where = c.step if record.injected else f"{c.step} (struck: {record.at})"
        print(
            f"{len(records):4}  {c.kind:19} {where:12} {record.origin}→{record.target}  {record.outcome or '–'}"
            f"  {record.truth}  {record.seconds:.0f} s" + "".join(f"\n      ! {i}: {how}" for i, how in record.problems),
            flush=True,
        )
        if a.json:
            rows = [r.document() for r in records]
            a.json.write_text(json.dumps({"seed": a.seed, "asked": a.count, "runs": rows}, indent=1))

    play(cases(a.count, a.seed, a.only), a.boxes, told)
    print("\n" + table(records))
    bad = [r for r in records if r.bad]
    for record in bad:
        print(f"\nbroke an invariant: run {record.case.number} of seed {a.seed}: --only {record.case.kind}:{record.case.step}")
        print(json.dumps(record.document(), indent=1))
    print("\n" + verdict(records))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
