"""What comes from outside, made nasty: escape sequences, markup, hidden and turned characters, odd names. Of any estate.

A real box can send all of it in alerts, logs and descriptions; nothing of it may reach the terminal or change the layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sovtui.core.model import Alert
from sovtui.demo.estate import Estate, HostFacts, ServiceFacts, alert

SUMMARY = (
    "\x1b[2J\x1b[31mopen-webui\x1b[0m restarted 14 times [b]since[/b] noon\u202e gpj.exe\x07\r\n\x1b]0;owned\x07 {{ $labels }}"
)
LABELS = {"name": "open-webui", "image": "images.example/\u202eevil\x1b[8m/ui:latest"}
SERVICE = "ui\\x2d\\x5bred\\x5d:@of-a-name-that-is-longer-than-any-pane-has-cells-for-it.service"
"""systemd allows it."""
DESCRIPTION = "\x1b]8;;http://evil.example\x07Web UI\x1b]8;;\x07 [b]$(reboot)[/b] \u200b\u2066z\u2069"
LINES = (
    "\x1b[2J\x1b[999;999H\x1b]52;c;aGFjaw==\x07all is well",
    "[red]not red[/red] \x1b[31mnot red either\x1b[0m [@click=app.quit]quit[/] \u202eneddih",
    "Z\u0351\u036b\u0343\u036a\u0302\u036b 漢字 👩\u200d👧 " + "x" * 3000,
)
"""What its log holds."""


def hostile(of: Estate) -> Estate:
    """The estate, with all of that in it."""
    box = of.config.host[of.box]
    config = replace(of.config, host={**of.config.host, of.box: replace(box, watch=(*box.watch, SERVICE))})
    facts: HostFacts = of.hosts[of.box]
    services = {**facts.services, SERVICE: ServiceFacts(DESCRIPTION, restarts=14, memory_bytes=2**20, journal=LINES)}
    return replace(of, config=config, hosts={**of.hosts, of.box: replace(facts, services=services)}, usual_alerts=_alerts(of))


def _alerts(of: Estate) -> Callable[[datetime], tuple[Alert, ...]]:
    def found(now: datetime) -> tuple[Alert, ...]:
        labels = {"instance": f"{of.box}:9100", **LABELS}
        return (*of.usual_alerts(now), alert(now, "0bad7e4471c35f90", "Nasty\x1b[5m\u202eAlert", "warning", 22, SUMMARY, labels))

    return found
