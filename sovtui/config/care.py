"""Of a survey's facts: what would fight a switch, what backs up and how often, what else to watch. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from sovtui.config.check import service_problem
from sovtui.config.proposal import Item, Line, Table, line
from sovtui.config.units import write_duration
from sovtui.core import serving
from sovtui.core.servers import Certainty, Server, Sign, stem
from sovtui.core.survey import Facts, UnitFact

_CONTROL = re.compile(
    r"\b(?:systemctl|docker|podman)\b[^\n;|&]*?\b(?:start|restart|try-restart|reload-or-restart|kill|up|recreate)\b[^\n;|&]*"
)
_GUARD = re.compile(r"(?i)health|watchdog|heal|check|guard|revive|keepalive|monitor")
_UPDATER = re.compile(r"(?i)watchtower|watchdocker|autoheal|ouroboros|auto-?update")
_TOOL = re.compile(r"\b(restic|borg|borgmatic|rsync|rclone|kopia|duplicity|tar|age)\b")
_BACKUP_TOOLS = ("restic", "borg", "borgmatic", "kopia", "duplicity")
"""Tools that do nothing but back up."""
_NO_BACKUP = re.compile(r"(?i)dpkg-db|exporter|check|prune|verify|restore|mount|forget|metrics")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|m|h|d|day|w|week|month)s?\b")
_SPAN_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "day": 86400.0}
_SPAN_SECONDS.update(w=604800.0, week=604800.0, month=2678400.0)
MOST_WATCHED = 12


def job_of(facts: Facts, timer: UnitFact) -> UnitFact | None:
    """The unit that a timer starts."""
    prefix = "user:" if timer.name.startswith("user:") else ""
    return facts.unit(prefix + (timer.starts or f"{stem(timer.name)}.service"))


def timers_of(facts: Facts, unit: UnitFact) -> list[UnitFact]:
    return [u for u in facts.units if u.name.endswith(".timer") and job_of(facts, u) == unit]


# --- what fights a switch ---------------------------------------------------------------------------------------------


def holds(facts: Facts, servers: Sequence[Server], backups: Iterable[str]) -> tuple[Item, ...]:
    """Timers, services and containers that start or restart engines by themselves."""
    engines = {name for server in servers for name in (server.name, server.container) if name}
    jobs = set(backups)
    own = {server.service for server in servers}
    found: list[Item] = []
    for unit in facts.units:
        timer = unit.name.endswith(".timer")
        job = job_of(facts, unit) if timer else unit
        if not (unit.running or (timer and unit.at_boot)) or unit.name in own or (job is not None and job.name in jobs):
            continue
        if not timer and (timers_of(facts, unit) or unit.type == "oneshot"):
            continue
        sign = _fights(unit, job, engines, timer=timer, containers=any(s.container for s in servers))
        if sign and not service_problem(unit.name):
            found.append(Item(unit.name, sign))
    named = [s.container for s in servers if s.container and s.unprotected]
    for container in facts.containers:
        if container.running and _UPDATER.search(f"{container.name} {container.image}") and named:
            reason = f"it updates or restarts containers, and {named[0]} carries no label that opts out"
            found.append(Item(f"container:{container.name}", Sign(reason, Certainty.LIKELY)))
    return tuple(item for item in found if not service_problem(item.value))


def _fights(unit: UnitFact, job: UnitFact | None, engines: set[str], *, timer: bool, containers: bool) -> Sign | None:
    text = job.text if job is not None else ""
    for match in _CONTROL.finditer(text):
        said = match.group(0)
        if any(re.search(rf"(?<![A-Za-z0-9_-]){re.escape(name)}(?![A-Za-z0-9_-])", said) for name in engines):
            verb = "it says" if not timer else "what it starts says"
            return Sign(f"{verb} `{' '.join(said.split())[:80]}`", Certainty.SURE if timer else Certainty.LIKELY)
    about = f"{unit.name} {unit.description} {job.description if job else ''} {text}"
    near = any(name in about for name in engines) or any(pattern.search(about) for _, pattern in serving.WORDS)
    if timer and _GUARD.search(unit.name) and near:
        return Sign("named like a health check of an engine; such a one revives what was stopped", Certainty.LIKELY)
    if timer and containers and re.search(r"(?i)update|podman-auto", unit.name) and re.search(r"docker|podman", about):
        return Sign("it updates containers, and engines run in some", Certainty.LIKELY)
    return None


# --- backups ----------------------------------------------------------------------------------------------------------


def backups(facts: Facts, servers: Sequence[Server], host: str) -> tuple[Table, ...]:
    """One table per unit that backs up; one that no timer starts is left behind a `#`."""
    own = {server.service for server in servers}
    found: list[Table] = []
    names: set[str] = set()
    for unit in facts.units:
        if not unit.name.endswith(".service") or unit.name in own or _NO_BACKUP.search(unit.name) or service_problem(unit.name):
            continue
        timers = timers_of(facts, unit)
        tool = _TOOL.search(unit.text)
        named = "backup" in unit.name.lower() or re.search(r"(?i)restic|borg", unit.name) is not None
        if not named and (
            tool is None or tool.group(1) not in _BACKUP_TOOLS or "backup" not in f"{unit.text} {unit.description}"
        ):
            continue
        if not timers and unit.type != "oneshot":
            continue
        found.append(_backup(facts, unit, timers, tool.group(1) if tool else "", host, names))
    return tuple(sorted(found, key=lambda table: not table.active))


def _backup(facts: Facts, unit: UnitFact, timers: list[UnitFact], tool: str, host: str, names: set[str]) -> Table:
    name = word(re.sub(r"(?i)\b(?:backups?|restic|borg|borgmatic|job|daily|nightly)\b", "-", stem(unit.name)), stem(unit.name))
    while name in names:
        name += "-2"
    names.add(name)
    repository = _repository(unit)
    what = f"{tool} in what it runs" if tool else "its name says so"
    sure = Certainty.SURE if tool in _BACKUP_TOOLS and timers else Certainty.LIKELY if timers else Certainty.GUESS
    lines = [
        line("name", name, f"from the unit's name{f'; writes to {repository}' if repository else ''}", Certainty.LIKELY),
        line("service", unit.name, what if timers else f"{what}, but no timer starts it", sure),
    ]
    gap, said = _gap(timers)
    if gap:
        age = write_duration(late_after(gap))
        lines.append(line("max_age", age, f"{timers[0].name} runs {said}, and some time to spare", Certainty.LIKELY))
    metric = _metric(facts, name)
    if metric:
        lines.append(line("metric", metric, "Prometheus has this series, and a label names this backup", Certainty.LIKELY))
    return Table(("host", host, "backup"), True, tuple(lines), active=bool(timers))


def _repository(unit: UnitFact) -> str:
    told = [value for key, value in unit.env.items() if key.startswith(("RESTIC_REPOSITORY", "BORG_REPO"))]
    told += re.findall(r"(?:RESTIC_REPOSITORY|BORG_REPO)=[\"']?([^\s\"']+)", unit.text)
    told += re.findall(r"\brestic\b[^\n]*?\s(?:-r|--repo)[ =]([^\s\"']+)", unit.text)
    return next((place for place in told if "$" not in place), "")


def _metric(facts: Facts, name: str) -> str:
    for answer in facts.answers:
        for row in answer.backup_series:
            labels = {
                k: v for k, v in row.items() if k not in ("__name__", "instance", "job") and re.fullmatch(r"[A-Za-z_]\w*", k)
            }
            mine = [(k, v) for k, v in labels.items() if v == name and re.fullmatch(r"[A-Za-z0-9_.-]+", v)]
            metric = row.get("__name__", "")
            if mine and re.fullmatch(r"[A-Za-z_:][A-Za-z0-9_:]*", metric):
                return f'{metric}{{{mine[0][0]}="{mine[0][1]}"}}'
    return ""


def _gap(timers: Sequence[UnitFact]) -> tuple[float, str]:
    """The longest time between two runs, and how that was told."""
    for timer in timers:
        for calendar in timer.calendar:
            if gap := longest_gap(calendar):
                return gap, f"`{calendar}`"
        for span in timer.every:
            if gap := sum(float(n) * _SPAN_SECONDS[unit] for n, unit in _SPAN.findall(span)):
                return gap, f"every {span}"
    return 0.0, ""


def late_after(gap_seconds: float) -> float:
    """When a backup that runs at least so often is late: a tenth more, at least two hours, in whole hours or days."""
    late = gap_seconds + max(7200.0, gap_seconds * 0.1)
    return -(-late // 86400) * 86400 if late >= 172800 else late // 3600 * 3600


def longest_gap(calendar: str) -> float | None:
    """Seconds between two runs of systemd's `OnCalendar`, the longest; None for what is not understood."""
    words = calendar.split()
    days = set(range(7))
    if words and words[0][:3].lower() in _DAYS:
        days = _weekdays(words.pop(0))
    dates = [w for w in words if "-" in w]
    times = [w for w in words if ":" in w]
    date, time = (dates or ["*-*-*"])[0], (times or ["00:00:00"])[0]
    year_month, _, day = date.rpartition("-")
    if day != "*":
        return 31 * 86400.0 if year_month.endswith("*") else 366 * 86400.0
    if len(days) < 7:
        ordered = sorted(days)
        if not ordered:
            return None
        return 86400.0 * max((b - a) % 7 or 7 for a, b in zip(ordered, [*ordered[1:], ordered[0]], strict=True))
    hour = time.split(":")[0]
    if hour == "*":
        return 3600.0
    if "/" in hour:
        step = hour.partition("/")[2]
        return float(step) * 3600 if step.isdigit() else None
    return 86400.0 / len(hour.split(",")) if hour.replace(",", "").isdigit() else None


def _weekdays(text: str) -> set[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("..")
        ends = [_DAYS.index(w[:3]) for w in (first, last or first) if w[:3] in _DAYS]
        if len(ends) == 2:
            found |= {(ends[0] + i) % 7 for i in range((ends[1] - ends[0]) % 7 + 1)}
    return found


# --- what else to watch -----------------------------------------------------------------------------------------------


def watched(facts: Facts, rest: Sequence[Server], taken: set[str]) -> Line | None:
    """Engines that are no mode, helpers beside them, and what has failed."""
    items: list[Item] = []
    for server in rest:
        if server.service and (server.running or server.at_boot):
            items.append(
                Item(
                    server.service,
                    Sign(
                        f"{serving.shown(server.engine) or 'serves models'}{f' ({server.side})' if server.side else ''}, {server.engine_sign.reason}",
                        server.engine_sign.certainty,
                    ),
                )
            )
    for unit in facts.units:
        if not unit.name.endswith(".service"):
            continue
        if unit.active == "failed":
            items.append(Item(unit.name, Sign("it has failed", Certainty.SURE)))
        elif unit.running and re.search(r"(?i)proxy|gateway|webui|router", unit.name) and _near(unit):
            items.append(Item(unit.name, Sign("named like a helper of an engine", Certainty.LIKELY)))
    chosen: dict[str, Item] = {}
    for item in items:
        if item.value not in taken and not service_problem(item.value):
            chosen.setdefault(item.value, item)
    if not chosen:
        return None
    return Line(
        "watch", tuple(chosen.values())[:MOST_WATCHED], Sign("shown in addition to what modes and backups use", Certainty.SURE)
    )


def _near(unit: UnitFact) -> bool:
    return any(pattern.search(f"{unit.name} {unit.description}") for _, pattern in serving.WORDS)


def word(text: str, otherwise: str = "it") -> str:
    """One word for the command line out of any text."""

    def made(raw: str) -> str:
        return re.sub(r"[^A-Za-z0-9_.]+", "-", raw).strip("-._")

    return made(text) or made(otherwise) or "it"
