"""State as JSON documents: the keys are a contract. Absent is null with its status, never zero. Pure.

Text goes through `clean`; `dumps` escapes everything beyond ASCII, so that nothing in a document moves a terminal's cursor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from sovtui.core.catalog import CATALOG
from sovtui.core.clean import clean
from sovtui.core.issues import Issue, backup_word, issues
from sovtui.core.model import ActionRun, Alert, Backup, Engine, Mode, Part, Service, Source, TailnetPath
from sovtui.core.modes import Heat, ModeView, mode_view, mode_views, seen_at
from sovtui.core.reading import Reading
from sovtui.core.state import Host, State

VERSION = 1
Document = dict[str, Any]


def dumps(document: Document | list[Document], *, indent: int | None = 2) -> str:
    return json.dumps(document, indent=indent, ensure_ascii=True, allow_nan=False)


def status(state: State, hosts: Iterable[Host]) -> Document:
    """`status --json`."""
    return {
        "version": VERSION,
        "at": moment(state.now),
        "demo": state.demo,
        "read_only": state.read_only,
        "issues": [issue(i) for i in issues(state)],
        "hosts": [host(h, state.now) for h in hosts],
        "alerts_at": moment(state.alerts_at),
        "alerts_untold": clean(state.alerts_untold),
        "alerts": [alert(a) for a in state.alerts],
        "sources": [source(s) for s in state.sources.values()],
    }


def issue(of: Issue) -> Document:
    return {
        "grade": of.grade.name.lower(),
        "kind": of.kind,
        "host": of.host or None,
        "title": clean(of.title),
        "detail": clean(of.detail),
        "since": moment(of.since),
        "target": clean(of.target) or None,
    }


def host(of: Host, now: datetime) -> Document:
    link = of.link
    return {
        "name": of.spec.name,
        "role": of.spec.role,
        "link": {
            "phase": str(link.phase),
            "kind": link.kind,
            "address": clean(link.address),
            "reason": clean(link.reason),
            "verdict": str(link.verdict),
            "latency_seconds": link.latency_seconds,
            "since": moment(link.since),
            "retry_at": moment(link.retry_at),
            "metered": clean(of.metered) or None,
            "sent_bytes": of.traffic.sent_bytes if of.traffic else None,
            "clock_skew_seconds": None if of.skew_seconds is None else round(of.skew_seconds, 3),
            "received_bytes": of.traffic.received_bytes if of.traffic else None,
            "path": None if of.path is None else path(of.path),
        },
        "modes": [mode(of, v) for v in mode_views(of)],
        "engines": [
            engine(of, m, of.engines.get(m.name, Engine()), now)
            for m in (*of.spec.modes, *of.spec.beside)
            if m.url or m.name in of.engines
        ],
        "memory": _figures(of, "memory.", "", now),
        "cpu": _figures(of, "cpu.", "", now),
        "disks": [{"mount": clean(m), **_figures(of, "disk.", m, now)} for m in of.subjects("disk.total_bytes")],
        "gpu": [{"id": gpu, **_figures(of, "gpu.", gpu, now)} for gpu in gpus(of)],
        "services": [service(s) for s in of.services.values()],
        "backups": [backup(b, now) for b in of.backups.values()],
        "action": run(of.action) if of.action else None,
    }


def path(of: TailnetPath) -> Document:
    """How the link goes through the tailnet."""
    return {
        "kind": str(of.kind),
        "latency_seconds": of.latency_seconds,
        "via": clean(of.via) or None,
        "since": moment(of.since),
        "expired": of.expired,
        "verified": of.verified,
        "reason": clean(of.reason),
        "notes": [clean(note) for note in of.notes],
        "source": of.source or None,
    }


def gpus(of: Host) -> tuple[str, ...]:
    """Every GPU that any figure tells of."""
    found = {subject for key, subject in of.figures if key.startswith("gpu.")}
    return tuple(sorted(found, key=lambda gpu: [(int(part) if part.isdigit() else 0, part) for part in gpu.split(":")]))


def mode(of: Host, view: ModeView) -> Document:
    return {
        "name": view.mode.name,
        "title": view.mode.title,
        "key": view.mode.key,
        "heat": str(view.heat),
        "hot": None if view.heat is Heat.UNKNOWN else view.heat is Heat.HOT,
        "busy": view.busy,
        "reason": clean(view.reason),
        "model": view.mode.model or None,
        "seen_at": moment(seen_at(of, view.mode)),
    }


def engine(of: Host, asked: Mode, said: Engine, now: datetime) -> Document:
    beside = asked in of.spec.beside
    view = mode_view(of, asked)
    return {
        "mode": None if beside else asked.name,
        "name": asked.name,
        "engine": asked.engine or None,
        "phase": str(said.phase),
        "models": [clean(m) for m in said.models],
        "context_tokens": said.context_tokens,
        "version": clean(said.version) or None,
        "progress": clean(said.progress),
        "reason": clean(said.reason),
        "denied": clean(said.denied) or None,
        "strain": view.strain.word if view.strain else None,
        "parts": [part(p) for p in said.parts],
        "installed": [{"name": clean(p.name), "state": p.state, "size_bytes": p.size_bytes} for p in said.installed],
        "figures": _figures(of, "engine.", asked.name, now),
    }


def part(of: Part) -> Document:
    return {
        "name": clean(of.name),
        "state": clean(of.state),
        "trouble": of.trouble,
        "detail": clean(of.detail),
        "size_bytes": of.size_bytes,
        "accelerator_bytes": of.accelerator_bytes,
        "context_tokens": of.context_tokens,
        "ends_at": moment(of.ends_at),
        "ends_guessed": of.ends_guessed,
        "pinned": of.pinned,
    }


def _figures(of: Host, prefix: str, subject: str, now: datetime) -> Document:
    return {key: figure(of.reading(key, subject), now) for key in CATALOG if key.startswith(prefix)}


def figure(what: Reading, now: datetime) -> Document:
    age = what.age_seconds(now)
    return {
        "value": what.value,
        "status": str(what.status),
        "age_seconds": None if age is None else round(age, 3),
        "source": what.source or None,
        "reason": clean(what.reason),
    }


def service(of: Service) -> Document:
    return {
        "name": of.name,
        "active": of.active,
        "sub": of.sub,
        "result": of.result,
        "since": moment(of.since),
        "restarts": of.restarts,
        "memory_bytes": of.memory_bytes,
        "exit_status": of.exit_status,
        "next_run_at": moment(of.next_run_at),
        "reason": clean(of.reason),
    }


def late(of: Backup, now: datetime) -> bool | None:
    """Whether the last success is too old; None where it is not known or has no limit."""
    if of.last_success_at is None or of.max_age_seconds is None:
        return None
    return backup_word(replace(of, last_result=""), now) == "late"


def backup(of: Backup, now: datetime) -> Document:
    age = None if of.last_success_at is None else round((now - of.last_success_at).total_seconds(), 3)
    return {
        "name": of.name,
        "service": of.service,
        "last_success_at": moment(of.last_success_at),
        "age_seconds": age,
        "max_age_seconds": of.max_age_seconds,
        "late": late(of, now),
        "last_result": of.last_result or None,
        "skipped": clean(of.skipped),
        "source": of.source or None,
        "reason": clean(of.reason),
    }


def alert(of: Alert) -> Document:
    return {
        "fingerprint": clean(of.fingerprint),
        "name": clean(of.name),
        "severity": clean(of.severity) or None,
        "state": str(of.state),
        "since": moment(of.since),
        "summary": clean(of.summary),
        "pulse": of.pulse,
        "told_by": of.told_by or "alertmanager",
        "labels": {clean(k): clean(v) for k, v in of.labels},
        "silences": [
            {"id": clean(s.id), "author": clean(s.author), "comment": clean(s.comment), "ends_at": moment(s.ends_at)}
            for s in of.silences
        ],
    }


def source(of: Source) -> Document:
    return {
        "name": of.name,
        "host": of.host or None,
        "ok": of.ok,
        "reason": clean(of.reason),
        "last_ok_at": moment(of.last_ok_at),
        "detail": clean(of.detail),
        "left_out": clean(of.left_out),
    }


def run(of: ActionRun) -> Document:
    return {
        "id": clean(of.id),
        "kind": clean(of.kind),
        "target": clean(of.target),
        "who": clean(of.who),
        "began_at": moment(of.began_at),
        "running": of.running,
        "outcome": of.outcome or None,
        "reason": clean(of.reason),
        "seconds": of.seconds,
        "steps": [
            {
                "name": clean(s.name),
                "state": s.state,
                "began_at": moment(s.began_at),
                "seconds": s.seconds,
                "detail": clean(s.detail),
            }
            for s in of.steps
        ],
        "figures": {clean(k): v for k, v in of.figures},
    }


def moment(at: datetime | None) -> str | None:
    """ISO 8601 with zone, or null."""
    return None if at is None else at.isoformat(timespec="seconds")
