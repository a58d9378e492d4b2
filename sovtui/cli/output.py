"""Standard output: state as plain text, at most 80 columns wide. Pure but for `write`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from datetime import datetime

from sovtui.actions.spec import Plan, Verdict
from sovtui.cli.documents import gpus, late
from sovtui.core import path_words, text
from sovtui.core.catalog import Unit
from sovtui.core.clean import clean
from sovtui.core.glossary import GLOSSARY
from sovtui.core.headroom import AVAILABLE, FREE, gpu_free, headroom
from sovtui.core.issues import actionable, issues
from sovtui.core.model import ActionRun, Alert, AlertState, Backup, Engine, EnginePhase, LinkPhase, Service, TailnetPath
from sovtui.core.modes import Heat, ModeView, beside_views, mode_views, seen_at, unified
from sovtui.core.parts import about
from sovtui.core.reading import Status
from sovtui.core.receipts import outcome_word, step_word
from sovtui.core.state import Host, State
from sovtui.core.told import needless
from sovtui.runtime.hub import LogLine, Rehearsal

_FIGURES = (
    ("engine.decode_tok_s", "decode"),
    ("engine.running", "running"),
    ("engine.waiting", "waiting"),
    ("engine.kv_use_ratio", "KV cache"),
    ("engine.ttft_p95_seconds", "TTFT p95"),
    ("engine.memory_bytes", "holds"),
    ("engine.cpu_share_ratio", "on the CPU"),
)
_WHERE_TOLD = ("engine.memory_bytes", "engine.cpu_share_ratio")
"""Figures that most engines do not have: said only where there is one."""
WIDTH = 80
_TIE = "\xa0"


def write(what: str) -> None:
    """The only way to standard output. BrokenPipeError is for `main`."""
    print(what, flush=True)


def status(state: State, hosts: Iterable[Host]) -> str:
    """One readable screen."""
    hosts = list(hosts)
    wrong = _issues(state, {host.spec.name for host in hosts})
    blocks = [*(["\n".join(wrong)] if wrong else []), *("\n".join(_host(state, host)) for host in hosts)]
    blocks.append("\n".join([*_alert_lines(state), *_source_lines(state)]))
    return "\n\n".join(block for block in blocks if block)


def _issues(state: State, named: set[str]) -> list[str]:
    """All that is wrong, the worst first."""
    found = [issue for issue in issues(state) if issue.host in named or not issue.host]
    lines: list[str] = []
    for issue in found:
        ago = f" {text.age((state.now - issue.since).total_seconds())}" if issue.since is not None else ""
        where = f"{issue.host}: " if issue.host else ""
        detail = f": {issue.detail}" if issue.detail else ""
        first, *more = _wrap(f"{issue.grade.word:<8} {where}{issue.title}{ago}{detail}", "", WIDTH - 11)
        lines += [f"{'issues' if not lines else '':<7} {first}", *(f"{'':<17}{line}" for line in more)]
    return lines


def _host(state: State, host: Host) -> list[str]:
    link = host.link
    quality = text.quantity(link.latency_seconds, Unit.SECONDS) if link.latency_seconds else ""
    sparing = "  metered" if host.metered else ""
    head = f"{host.spec.name}  {link.kind} {link.address}  {link.phase}{f' {quality}' if quality else ''}{sparing}"
    lines = [_cut(f"{'DEMO  ' if state.demo else ''}{head}")]
    if link.phase is not LinkPhase.UP and link.reason:
        lines += _row("link", link.reason)
    if host.path is not None:
        lines += _rows("path", _path(state, host, host.path))
    lines += _rows("mode", [line for view in mode_views(host) for line in _mode(state, host, view)])
    for view in mode_views(host):
        if view.heat in (Heat.HOT, Heat.STARTING, Heat.STOPPING, Heat.BROKEN) and view.mode.url:
            lines += _row("engine", _engine(state, host, view))
            lines += _rows("", _parts(state, host, view))
    for view in beside_views(host):
        engine = host.engines.get(view.mode.name, Engine())
        reason = "" if view.strain else view.reason or engine.reason
        why = ": ".join(w for w in (view.word if view.word != engine.phase else "", reason) if w)
        lines += _row("engine", f"{_engine(state, host, view)}{f' ({why})' if why else ''}")
        lines += _rows("", _parts(state, host, view))
    memory = _row("memory", _memory(state, host))
    cards = [line for gpu in gpus(host) for line in _row(f"gpu {gpu}"[:9], _gpu(state, host, gpu))]
    lines += [*cards, *memory] if headroom(host).of_gpu else [*memory, *cards]
    lines += _rows("service", _services(host.services.values()))
    lines += _rows("backup", [_backup(state, b) for b in host.backups.values()])
    if host.action is not None:
        lines += _row("action", _action(state, host.action))
    return lines


def _path(state: State, host: Host, path: TailnetPath) -> list[str]:
    checked = ", host keys verified by the tailnet" if path.verified else ""
    why = f": {path.reason}" if path.reason and path.reason not in host.link.reason else ""
    return [f"{path_words.path(path, state.now)}{checked}{why}", *path.notes]


def _mode(state: State, host: Host, view: ModeView) -> list[str]:
    mode, last = view.mode, seen_at(host, view.mode)
    word = f"{view.word} {_old(state, last)}" if last is not None else view.word
    line = f"{mode.key or ' '} {mode.name:<14} {word:<9} {mode.title if mode.title != mode.name else ''}".rstrip()
    reason = view.reason if view.heat is not Heat.COLD or view.past else ""
    return [line, f"    {reason}"] if reason else [line]


def _old(state: State, at: datetime) -> str:
    """The sign for stale, with the age."""
    return f"{text.STALE_SIGN}{text.age((state.now - at).total_seconds())}"


def _engine(state: State, host: Host, view: ModeView) -> str:
    """What it is, and the figures that it has; those of one that does not serve are over, or not there yet."""
    name, engine = view.mode.name, host.engines.get(view.mode.name, Engine())
    last = seen_at(host, view.mode)
    what = f"{name}: {clean(f'{view.mode.engine} {engine.phase}'.strip())}{f' {_old(state, last)}' if last is not None else ''}"
    if engine.phase in (EnginePhase.ABSENT, EnginePhase.STARTING, EnginePhase.DEAD, EnginePhase.HUNG):
        return what
    said = [what]
    for figure, words in _FIGURES:
        reading = host.reading(figure, name)
        if reading.status is Status.UNSUPPORTED or (figure in _WHERE_TOLD and not reading.known):
            continue
        value = _together(text.reading(figure, reading, state.now))
        should = f" of {view.mode.expect_tok_s:g}" if figure == "engine.decode_tok_s" and view.mode.expect_tok_s else ""
        said.append(f"{words.replace(' ', _TIE)}{_TIE}{value}{should}")
    return ", ".join(said)


def _parts(state: State, host: Host, view: ModeView) -> list[str]:
    """What strains it, and what is behind it: loaded models, deployments, devices."""
    said = [f"    {view.strain.word}: {view.strain.sentence}"] if view.strain else []
    engine = host.engines.get(view.mode.name)
    for part in engine.parts if engine else ():
        said.append(f"    {part.name}: {', '.join(words for words in (part.state, about(part, state.now)) if words)}")
    return said


def _memory(state: State, host: Host) -> str:
    total, available = host.reading("memory.total_bytes"), host.reading("memory.available_bytes")
    if not total.known and not available.known:
        return f"{text.UNKNOWN_SIGN}{f': {available.reason}' if available.reason else ''}"
    parts = [
        f"{_together(text.reading('memory.available_bytes', available, state.now))} {AVAILABLE} of "
        f"{_together(text.reading('memory.total_bytes', total, state.now))}{' unified memory' if unified(host) else ''}"
    ]
    droppable = host.reading("memory.droppable_bytes")
    if droppable.status is not Status.UNSUPPORTED:
        parts.append(f"{_together(text.reading('memory.droppable_bytes', droppable, state.now))} droppable page cache")
    return ", ".join(parts)


def _gpu(state: State, host: Host, gpu: str) -> str:
    def say(figure: str) -> str:
        return _together(text.reading(figure, host.reading(figure, gpu), state.now))

    free = _together(text.reading("gpu.memory_total_bytes", gpu_free(host, gpu), state.now))
    memory = f"memory {free} {FREE} of {say('gpu.memory_total_bytes')}"
    if host.reading("gpu.memory_total_bytes", gpu).status is Status.UNSUPPORTED:
        memory = f"memory of its own {text.UNSUPPORTED_SIGN}"
    if ":" in gpu:  # an instance of a GPU: the rest is told of the whole
        return memory
    return f"{say('gpu.use_ratio')}, {say('gpu.power_watts')}, {say('gpu.temperature_celsius')}, {memory}"


def _services(services: Iterable[Service]) -> list[str]:
    """The troubled ones by name, the others as a count."""
    all_of = list(services)
    if not all_of:
        return []
    lines, active, inactive = [], 0, 0
    for service in all_of:
        restarts = f", restarted {service.restarts} times" if service.restarts else ""
        if service.active in ("active", "inactive") and not service.reason and not restarts:
            active += service.active == "active"
            inactive += service.active == "inactive"
            continue
        why = ": ".join(p for p in (service.result if service.result != "success" else "", service.reason) if p)
        lines.append(f"{service.name} {service.active}{restarts}{f' ({why})' if why else ''}")
    counts = [f"{count} {word}" for count, word in ((active, "active"), (inactive, "inactive")) if count]
    return [*lines, *([", ".join(counts)] if counts else [])]


def _backup(state: State, backup: Backup) -> str:
    if backup.last_success_at is None:
        done = f"last success {text.UNKNOWN_SIGN}"
    else:
        done = f"last success {text.age((state.now - backup.last_success_at).total_seconds())} ago"
    is_late = late(backup, state.now)
    word = "" if is_late is None else ", LATE" if is_late else ", in time"
    result = f", last run: {backup.last_result}" if backup.last_result and backup.last_result != "success" else ""
    if backup.last_result == "skipped":
        result = f", last start skipped, because {backup.skipped or 'a condition was not met'}"
    reason = f" ({backup.reason})" if backup.reason else ""
    return f"{backup.name}: {done}{word}{result}{reason}"


def _action(state: State, run: ActionRun) -> str:
    what = f"{run.kind} {run.target}".strip()
    if not run.running:
        return f"{what} by {run.who}: {outcome_word(run)}{f', {run.reason}' if run.reason else ''}"
    step = f", at step {step_word(run.steps[-1].name)}" if run.steps else ""
    return f"{what} by {run.who}, running for {text.duration((state.now - run.began_at).total_seconds())}{step} ({run.id})"


def _alert_lines(state: State) -> list[str]:
    if state.alerts_at is None:
        known = any(name == "alertmanager" for name, _ in state.sources)
        return _row("alerts", text.UNKNOWN_SIGN) if known else []
    active, pulses = actionable(state), [a for a in state.alerts if a.pulse]
    untold = sum(1 for a in state.alerts if a.state is AlertState.UNTOLD)
    rest = len(state.alerts) - len(active) - len(pulses) - untold
    head = f"{len(active)} active" + (f", {rest} acknowledged, inhibited or pending" if rest else "")
    head += f", {untold} not reported yet" if untold else ""
    if any(source.ok is False for (name, _), source in state.sources.items() if name == "alertmanager"):
        head += f" {_old(state, state.alerts_at)}"
    fires = [f"{a.name} fires, as it always should" for a in pulses if a.state is not AlertState.UNTOLD]
    why = [f"{text.UNKNOWN_SIGN} {state.alerts_untold}"] if state.alerts_untold else []
    return _rows("alerts", [head, *why, *(_alert(state, a) for a in active), *fires])


def _source_lines(state: State) -> list[str]:
    lines = []
    for source in state.sources.values():
        if needless(source):
            continue
        name = f"{source.name}{f' ({source.host})' if source.host else ''}"
        word = (source.reason or "not asked yet") if source.ok is None else "ok" if source.ok else source.reason or "failed"
        word += f", {source.left_out}" if source.ok and source.left_out else ""
        last = f", last answer {text.age((state.now - source.last_ok_at).total_seconds())} ago" if source.last_ok_at else ""
        lost = f"; {text.WITHOUT[source.name]}" if source.ok is False and source.name in text.WITHOUT else ""
        lines.append(f"{name}: {word}{last}{lost}")
    return _rows("sources", lines)


def _alert(state: State, alert: Alert) -> str:
    since = f" {text.age((state.now - alert.since).total_seconds())}" if alert.since else ""
    return f"{alert.fingerprint[:8]} {alert.severity or '-'} {alert.name}{since}: {alert.summary}".rstrip(": ")


def alerts(state: State) -> str:
    """`alerts`: one block per alert; nothing at all if none is known to fire."""
    lines = []
    for alert in state.alerts:
        first, *more = _wrap(_alert(state, alert), "", WIDTH - 13)
        lines += [f"{_alert_word(alert):<12} {first}", *(f"{'':<13}{line}" for line in more)]
        lines += [
            line for s in alert.silences for line in _wrap(f"by {s.author} until {text.moment(s.ends_at)}: {s.comment}", " " * 15)
        ]
    return "\n".join(lines)


def _alert_word(alert: Alert) -> str:
    if alert.pulse:
        return "pulse"
    return "not reported" if alert.state is AlertState.UNTOLD else str(alert.state)


def actions(runs: Iterable[tuple[str, ActionRun]]) -> str:
    """`actions`: one line per receipt, newest first."""
    lines = []
    for host, run in runs:
        took = text.duration(run.seconds) if run.seconds is not None else ""
        what = f"{run.kind} {run.target}".strip()
        lines.append(_cut(f"{text.moment(run.began_at)}  {host}  {what}  {outcome_word(run)}  {took}".rstrip()))
        lines.append(_cut(f"    {run.id}  {run.who}"))
        lines += _wrap(run.reason, "    ") if run.reason else []
    return "\n".join(lines)


def plan(of: Plan, told: Rehearsal | None = None) -> str:
    """`--dry-run`: what would be done, with which rights, and whether it would be asked or refused, here (`of`) or there (`told`)."""
    lines = [of.title, "steps:", *(line for n, step in enumerate(of.steps, 1) for line in _wrap(f"{n}. {step}", "  "))]
    if of.commands:
        lines += ["commands that need rights:", *(f"  {clean(command)}" for command in of.commands)]
    word = told.word if told is not None and not (told.word == "go" and of.verdict is Verdict.ASK) else str(of.verdict)
    lines.append(f"verdict: {word}")
    for reason in dict.fromkeys((of.reason, told.reason if told is not None else "")):
        lines += _wrap(reason, "  ") if reason else []
    return "\n".join(lines)


def glossary() -> str:
    """`help glossary`: every word of the screen with its meaning."""
    lines: list[str] = []
    for heading, terms in GLOSSARY:
        lines += [*([""] if lines else []), heading]
        for term in terms:
            first, *more = _wrap(term.words, "", WIDTH - 24)
            head = f"  {term.title}"
            lines += [f"{head:<24}{first}"] if len(head) < 24 else [head, f"{'':<24}{first}"]
            lines += [f"{'':<24}{line}" for line in more]
    return "\n".join(lines)


def log_line(line: LogLine) -> str:
    """Not cut: whoever reads logs wants all of it."""
    return clean(f"{text.moment(line.at)[:19]} {line.text}" if line.at else line.text)


# --- layout ---------------------------------------------------------------------------------------------------------


def _row(label: str, what: str) -> list[str]:
    return _rows(label, [what])


def _rows(label: str, rows: list[str]) -> list[str]:
    """The label before the first row, the rest below it; long rows go on indented."""
    lines: list[str] = []
    for row in rows:
        for index, line in enumerate(_wrap(row, "", WIDTH - 12)):
            lines.append(f"  {label if not lines else '':<9} {'  ' if index else ''}{line}".rstrip())
    return lines


def _wrap(what: str, indent: str, width: int = WIDTH) -> list[str]:
    """Words over lines of at most `width` columns; a word too long is broken."""
    lines, line = [], ""
    lead = what[: len(what) - len(what.lstrip(" "))]
    for word in clean(what).strip().split(" "):
        joined = f"{line} {word}" if line else lead + word
        if line and _columns(indent + joined) > width - 2:
            lines.append(indent + line)
            line = lead + word
        else:
            line = joined
        while _columns(indent + line) > width - 2:
            part = _head(line, width - 2 - len(indent))
            lines.append(indent + part)
            line = line[len(part) :]
    return [made.replace(_TIE, " ") for made in (*lines, indent + line)]


def _together(words: str) -> str:
    """A quantity stays on one line with its unit."""
    return words.replace(" ", _TIE)


def _cut(line: str) -> str:
    line = clean(line)
    return line if _columns(line) <= WIDTH else _head(line, WIDTH - 1) + "…"


def _head(line: str, width: int) -> str:
    used, end = 0, 0
    for character in line:
        used += _columns(character)
        if used > width and end:
            break
        end += 1
    return line[:end]


def _columns(line: str) -> int:
    if line.isascii():
        return len(line)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)
