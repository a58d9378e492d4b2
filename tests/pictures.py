"""Draws `screenshots/` anew: `python -m tests.pictures OUTDIR`. Every scenario of the demo at every size, the same bytes each time."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from sovtui.demo import still
from sovtui.tui.pictures import picture, to_png

SIZES = {"120x40": (120, 40), "80x24": (80, 24), "44x80": (44, 80)}
SCENARIOS = ("healthy", "troubled", "switching", "failed", "link-down", "alerting", "hostile", "empty")
PNG = ("healthy", "switching")
"""Those that are kept as PNG too: pixels do not compress over versions."""


def draw(outdir: Path) -> list[Path]:
    os.environ["TZ"] = "UTC"  # the same times in the picture wherever it is drawn
    time.tzset()
    outdir.mkdir(parents=True, exist_ok=True)
    written = []
    for scenario in SCENARIOS:
        for name, size in SIZES.items():
            svg = asyncio.run(picture(still(scenario), size, theme="sovtui-dark"))
            file = outdir / f"{scenario}-{name}.svg"
            file.write_text(svg, encoding="utf-8")
            written.append(file)
            if scenario in PNG:
                file.with_suffix(".png").write_bytes(to_png(svg))
                written.append(file.with_suffix(".png"))
    for estate in ("mesh", "modes"):
        for name, size in SIZES.items():
            svg = asyncio.run(picture(still("healthy", estate), size, theme="sovtui-dark"))
            file = outdir / f"{estate}-{name}.svg"
            file.write_text(svg, encoding="utf-8")
            written.append(file)
    for name, size in SIZES.items():  # just before the switch has failed
        svg = asyncio.run(picture(still("failed"), size, theme="sovtui-dark", keys=("t", "comma", "comma", "left")))
        file = outdir / f"time-travel-{name}.svg"
        file.write_text(svg, encoding="utf-8")
        written.append(file)
    svg = asyncio.run(picture(still("healthy"), SIZES["120x40"], theme="sovtui-light"))
    light = outdir / "healthy-120x40-light.svg"
    light.write_text(svg, encoding="utf-8")
    return [*written, light]


if __name__ == "__main__":
    for path in draw(Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")):
        print(path)
