"""llama.cpp's own HTTP server in this process: run by the environment `llamacpp`. One argument: fields of CommonParams as JSON."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import xllamacpp
from xllamacpp import CommonParams, Server


def main(fields: dict[str, Any]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    params = CommonParams()
    for name, value in fields.items():
        *path, last = name.split(".")
        place: Any = params
        for word in path:
            place = getattr(place, word)
        if path[-1:] == ["speculative"] and last == "types":
            value = [getattr(xllamacpp.common_speculative_type, f"COMMON_SPECULATIVE_TYPE_{word}") for word in value]
        setattr(place, last, value)
    server = Server(params)
    print("the server is up", flush=True)
    while server:
        signal.pause()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
