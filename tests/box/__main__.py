"""By hand: python -m tests.box up|down|shell|ssh|list

up [HOSTNAME]       boot a box that stays, print its address and an ssh_config
down [NUMBER|all]   take it away
shell [NUMBER]      root shell inside, around SSH
ssh [NUMBER] [CMD]  as ops
list                what is running

SOVTUI_BOX_RELEASE=13 (or 24.04): a box of another release than Debian 12
"""

from __future__ import annotations

import os
import sys

from .box import RUN, Box, BoxError, attach, boot, running


def pick(words: list[str]) -> Box:
    numbers = running()
    if words and words[0].isdigit():
        return attach(int(words.pop(0)))
    if not numbers:
        raise BoxError("no box is running; start one with: python -m tests.box up")
    return attach(numbers[-1])


def main(argv: list[str]) -> int:
    verb, words = (argv[0] if argv else ""), argv[1:]
    if verb == "up":
        box = boot(hostname=words[0] if words else "testbox", keep=True)
        config = box.ssh_config(box.work / "ssh_config")
        print(f"box {box.number}: {box.address}\nssh_config: {config}\ntry: ssh -F {config} testbox")
    elif verb == "down":
        for number in running() if words == ["all"] else [pick(words).number]:
            if (RUN / str(number) / "owner").exists() and words == ["all"]:
                print(f"box {number} belongs to a test run, left alone")
                continue
            attach(number).down()
            print(f"box {number} is gone")
    elif verb == "shell":
        box = pick(words)
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=" + os.environ["TERM"]]
        argv = [*box.inside(), *environment, "bash", "-l"]
        os.execvp(argv[0], argv)
    elif verb == "ssh":
        box = pick(words)
        argv = box.ssh_argv(" ".join(words) if words else None)
        os.execvp(argv[0], argv)
    elif verb == "list":
        for number in running():
            print(number, attach(number).address, (RUN / str(number) / "hostname").read_text())
    else:
        print(__doc__)
        return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BoxError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(1)
