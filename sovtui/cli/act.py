"""Commands that change something: each is a wish, a plan, perhaps a question, and then followed to its end."""

from __future__ import annotations

from dataclasses import dataclass

from sovtui.actions.free import KINDS as FREED
from sovtui.actions.loading import LOADERS
from sovtui.actions.request import agreed, asked_anew
from sovtui.actions.spec import Plan, Verdict, Where, Wish
from sovtui.cli import output
from sovtui.cli.diagnostics import Narrator, confirm, link_told, on_terminal, say, sentence
from sovtui.cli.exits import Exit, Failure
from sovtui.cli.run import alerts_known, followed
from sovtui.cli.session import MODES_NONE, Session, engine_known, find_service, reach, unknown
from sovtui.config.schema import HostConfig
from sovtui.config.specs import watched, with_engines
from sovtui.config.units import parse_duration
from sovtui.core.model import Alert
from sovtui.runtime.hub import Hub


@dataclass(frozen=True, slots=True)
class How:
    """The options that all of them share."""

    yes: bool = False
    no_wait: bool = False
    dry_run: bool = False


async def act(session: Session, action: str, target: str, how: How) -> int:
    """Switch, drop caches, run a backup, restart a service."""
    host, target = _place(session, action, target)
    async with session.hub(host) as hub:
        await reach(hub, host, _touched(session.config.host[host], action, target))
        options = {"consent": "all"} if how.yes else {}
        return await carry_out(hub, action, Wish(host, target, options), how)


def _place(session: Session, action: str, target: str) -> tuple[str, str]:
    match action:
        case "switch" if target == MODES_NONE:
            named = session.named_host()
            boxes = [name for name, host in session.config.host.items() if host.mode]
            if named is None and len(boxes) > 1:
                raise Failure(Exit.USAGE, f"Several hosts have modes: {', '.join(boxes)}. Say which with --host.")
            return named or (boxes[0] if boxes else session.box()), target
        case "switch":
            return session.choose("mode", target, lambda h, t: t if t in _modes(h) else None, lambda h: [*_modes(h), MODES_NONE])
        case "backup":
            return session.choose("backup", target, lambda h, t: t if t in _backups(h) else None, _backups)
        case "restart":
            return session.choose("service", target, find_service, watched)
        case _:
            return session.box(), ""


def _touched(host: HostConfig, action: str, target: str) -> list[str]:
    """The services whose state decides whether the action is asked about or refused."""
    modes = [*(service for mode in host.mode for service in mode.services), *host.switch.tenants]
    match action:
        case "switch":
            return modes
        case "restart":
            return [*modes, target]
        case "backup":
            return [backup.service for backup in host.backup if backup.name == target]
        case _:
            return []


def _modes(host: HostConfig) -> list[str]:
    return [mode.name for mode in host.mode]


def _backups(host: HostConfig) -> list[str]:
    return [backup.name for backup in host.backup]


async def on_model(session: Session, action: str, model: str, duration: str, how: How) -> int:
    """Load, pin or unload a model."""
    options = {"for": f"{_seconds(duration):g}"} if duration else {}
    if how.yes:
        options["consent"] = "all"
    host, engine, name = _model_place(session, model)
    async with session.hub(host) as hub:
        await engine_known(hub, session.config.host[host], host, engine)
        return await carry_out(hub, action, Wish(host, f"{engine}/{name}", options), how)


async def free(session: Session, engine: str, how: How) -> int:
    """Let an engine free its memory."""
    host, name = session.choose("ComfyUI", engine, lambda h, t: _only(_engines(h, FREED), t), lambda h: _engines(h, FREED))
    async with session.hub(host) as hub:
        await engine_known(hub, session.config.host[host], host, name)
        return await carry_out(hub, "free", Wish(host, name), how)


def _engines(host: HostConfig, kinds: tuple[str, ...]) -> list[str]:
    return [one.name for one in with_engines(host) if one.engine in kinds and one.url]


def _only(names: list[str], wanted: str) -> str | None:
    """The one that is named, else the only one."""
    return wanted if wanted in names else names[0] if not wanted and len(names) == 1 else None


def _model_place(session: Session, model: str) -> tuple[str, str, str]:
    """Host, engine and model: `ENGINE/MODEL`, or the model of the only engine that loads any."""
    first, _, rest = model.partition("/")
    named = session.named_host()
    hosts = {named: session.config.host[named]} if named is not None else session.config.host
    places = [(name, engine) for name, host in hosts.items() for engine in _engines(host, LOADERS)]
    exact = [place for place in places if rest and place[1] == first]
    if exact:
        if len(exact) > 1:
            raise Failure(Exit.USAGE, f"{first} is on several hosts: {', '.join(h for h, _ in exact)}. Say which with --host.")
        return (*exact[0], rest)
    if len(places) == 1:
        return (*places[0], model)
    if not places:
        raise Failure(
            Exit.USAGE, "No engine that loads models (Ollama, llama-swap) is configured: add it as [[host.NAME.engine]]."
        )
    raise Failure(
        Exit.USAGE, f"Several engines load models: {', '.join(f'{e} on {h}' for h, e in places)}. Say ENGINE/MODEL, and --host."
    )


def _seconds(duration: str) -> float:
    try:
        return parse_duration(duration)
    except ValueError as error:
        raise Failure(Exit.USAGE, f"--for: {error}.") from None


async def carry_out(hub: Hub, action: str, wish: Wish, how: How) -> int:
    """Plan, ask if need be, execute, follow."""
    plan = hub.plan(action, wish)
    if how.dry_run:
        told = await hub.rehearse(plan) if plan.verdict is not Verdict.NO and plan.where is Where.BOX else None
        output.write(output.plan(plan, told))
        return plan.exit_code if plan.verdict is Verdict.NO else told.exit_code if told is not None else Exit.DONE
    _refused(plan)
    if plan.verdict is Verdict.ASK and not how.yes:
        if not on_terminal():
            raise Failure(
                Exit.REFUSED,
                sentence(f"{plan.title}: {plan.reason}"),
                "Not done: there is no terminal to ask on. Use --yes to do it anyway.",
            )
        plan = await _agreed(hub, plan, "Do it?")
    elif plan.verdict is Verdict.ASK:
        say(sentence(f"{plan.title}: {plan.reason}"))
    narrator = Narrator()
    if how.no_wait or plan.where is Where.ALERTS:
        outcome = await hub.execute(plan, narrator, wait=not how.no_wait)
        if how.no_wait and outcome.run is not None:
            output.write(outcome.run.id)
        say(sentence(outcome.message))
        return outcome.exit_code
    say(sentence(plan.title))
    with link_told(hub, wish.host):
        while True:
            outcome = await followed(hub.execute(plan, narrator), narrator, wish.host)
            if outcome.run is None or not outcome.run.asks or how.yes or not on_terminal():
                return outcome.exit_code
            if not await confirm("Do it all the same?"):  # the box has named what nobody could know here
                return outcome.exit_code
            asked = asked_anew(plan, outcome.run.asks, outcome.run.reason)
            plan, narrator = await _still_agreed(hub, asked), Narrator()


async def _agreed(hub: Hub, plan: Plan, question: str) -> Plan:
    say(sentence(f"{plan.title}: {plan.reason}"))
    if not await confirm(question):
        raise Failure(Exit.REFUSED, "Not done.")
    return await _still_agreed(hub, plan)


async def _still_agreed(hub: Hub, plan: Plan) -> Plan:
    """The plan made anew, as the world went on while the question stood; what was not asked about is asked about now."""
    again = hub.plan(plan.action, plan.wish)
    _refused(again)
    return again if agreed(again) <= agreed(plan) else await _agreed(hub, again, "Do it?")


def _refused(plan: Plan) -> None:
    if plan.verdict is Verdict.NO:
        raise Failure(plan.exit_code, sentence(f"{plan.title}: {plan.reason}"))


# --- alerts ---------------------------------------------------------------------------------------------------------


async def acknowledge(session: Session, alert: str, comment: str, duration: str, how: How) -> int:
    if not comment.strip():
        raise Failure(Exit.USAGE, "A comment is needed: say why, for the next reader.")
    options = {"comment": comment.strip()}
    if duration:
        options["for"] = f"{_seconds(duration):g}"
    async with alerts_known(session) as hub:
        found = find_alert(hub, alert)
        return await carry_out(hub, "acknowledge", Wish(session.box(), found.fingerprint, options), how)


async def unacknowledge(session: Session, alert: str, how: How) -> int:
    async with alerts_known(session) as hub:
        found = find_alert(hub, alert)
        return await carry_out(hub, "unacknowledge", Wish(session.box(), found.fingerprint), how)


def find_alert(hub: Hub, word: str) -> Alert:
    """By the beginning of its fingerprint (four characters at least) or by its name. Failure 2 with the choice if it is not clear."""
    known = hub.state.alerts
    found = [a for a in known if a.fingerprint == word] or [a for a in known if a.name == word]
    if not found and len(word) >= 4:
        found = [a for a in known if a.fingerprint.startswith(word)]
    if len(found) == 1:
        return found[0]
    if not found:
        if not known:
            raise Failure(Exit.USAGE, "No alert is firing.")
        raise Failure(Exit.USAGE, unknown("alert", word, dict.fromkeys(a.name for a in known)))
    lines = (f"  {a.fingerprint}  {a.name}  {a.summary}" for a in found)
    raise Failure(Exit.USAGE, f"{len(found)} alerts are named `{word}`; say which by its fingerprint:", *lines)
