"""One run: a switch, one fault at one step, the end, what the next client says of it, and the repair."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.box.box import BoxError
from tests.faults.kinds import BEFORE, KINDS, UNDO, Kind
from tests.faults.scene import FLOOR, HELD, PORTS, Agent, Scene, Truth

INVARIANTS = (
    "two modes loaded",
    "floor stopped",
    "none hot, and not said",
    "next client untruthful",
    "not repaired",
    "lock stuck",
    "hold left",
    "never ended",
    "client hung",
    "foreign process killed",
    "second switch ran beside",
)
HARNESS = "harness"
END_SECONDS = 75.0
SEEN_TICKS = 100.0
"""A second: from then on the machine must have seen an engine before it starts another one."""


@dataclass(frozen=True)
class Case:
    """What is to be tried. `origin` and `target` are `mode` or `none`; which mode it is, the box's state decides."""

    number: int
    kind: str
    step: str
    origin: str
    target: str


@dataclass
class Record:
    """What came of it."""

    case: Case
    origin: str = ""
    target: str = ""
    injected: bool = False
    at: str = ""
    """The step at which the fault really struck."""
    action: str = ""
    outcome: str = ""
    reason: str = ""
    client: int | None = None
    told: str = ""
    """The client's last line."""
    truth: str = ""
    repaired: bool = False
    samples: int = 0
    gap: float = 0.0
    """The longest time between two samples."""
    foreign_overlap: float = 0.0
    """Seconds with two loaded that the fault's own start of an engine made."""
    seconds: float = 0.0
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    receipt: list[dict[str, Any]] = field(default_factory=list)

    def broke(self, invariant: str, how: str) -> None:
        self.problems.append((invariant, how))

    @property
    def bad(self) -> bool:
        return any(invariant in INVARIANTS for invariant, _ in self.problems)

    def document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Record:
        """What `document` gave."""
        problems = [(str(what), str(how)) for what, how in document["problems"]]
        return cls(**{**document, "case": Case(**document["case"]), "problems": problems})


def drill(scene: Scene, case: Case) -> Record:
    """Never raises for what the box does; what cannot be carried out is a `harness` problem."""
    record = Record(case)
    began = time.monotonic()
    try:
        _drill(scene, case, KINDS[case.kind], record)
    except (BoxError, OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError, AssertionError) as problem:
        record.broke(HARNESS, f"{type(problem).__name__}: {problem}")
    finally:
        with contextlib.suppress(BoxError, OSError):
            scene.box.thaw()
        if scene.client and scene.client.poll() is None:
            scene.client.kill()
            scene.client.communicate()
    record.seconds = round(time.monotonic() - began, 1)
    return record


def _drill(scene: Scene, case: Case, kind: Kind, record: Record) -> None:
    hot = scene.steady().hot
    here = hot[0] if len(hot) == 1 else "qwen" if case.number % 2 else "mistral"
    origin = "none" if case.origin == "none" else here
    target = "none" if case.target == "none" else "qwen" if here == "mistral" else "mistral"
    record.origin, record.target = origin, target
    scene.reset(origin, target)
    scene.configure(kind.ready_timeout)
    agent = scene.agent
    assert agent
    kind.before(scene)
    agent.order("report", "report")  # counting begins here
    if case.step in UNDO:
        scene.box.fail(scene.unit(target).removesuffix(".service"), "oom")
    known = set(agent.actions)
    if case.step == BEFORE:
        kind.strike(scene)
        record.injected, record.at = True, BEFORE
    else:
        agent.send("arm", known=sorted(known), step=case.step)
    scene.client = scene.operator.start("switch", target, "--yes")
    if case.step != BEFORE:
        _inject(scene, case, kind, record, agent)
    agent = _ended(scene, kind, record, known)
    scene.join()
    truth = scene.steady()
    record.truth = str(truth)
    _next_client(scene, kind, record, truth)
    free = agent.order("lock", "lock")["free"]
    if not free:
        record.broke("lock stuck", "nobody runs and the lock is held")
    if scene.held():
        record.notes.append("held after the end, until the next action")
    kind.mend(scene)
    if scene.fault.get("foreign killed") and record.injected:
        record.broke("foreign process killed", "the foreign process was not there any more")
    _repair(scene, record, truth, case.number)
    if scene.held():
        record.broke("hold left", f"{HELD} is still held after the repair")
    _watched(agent, kind, record, scene)


def _inject(scene: Scene, case: Case, kind: Kind, record: Record, agent: Agent) -> None:
    assert scene.client
    end = time.monotonic() + 60
    while True:
        try:
            at = agent.wait("at", 0.3)
            break
        except BoxError:
            ended = scene.client.poll() is not None and not agent.order("look", "looked", known=sorted(agent.actions))["alive"]
            if ended or time.monotonic() > end:
                record.at = "not reached"
                return
    record.action, record.at = at["action"], at["step"] or "between steps"
    record.injected = at["step"] == case.step and bool(at["runner"])
    kind.strike(scene)
    with contextlib.suppress(BoxError):
        agent.order("go", "going", 3)
    if "struck" in scene.fault:
        record.at = scene.fault["struck"] or "between steps"
        record.injected = record.at == case.step


def _ended(scene: Scene, kind: Kind, record: Record, known: set[str]) -> Agent:
    """Waits until no runner lives and every client has ended; the agent to go on with (another one after a reboot)."""
    agent, client = scene.agent, scene.client
    assert agent and client
    if kind.reboots and "boot" in scene.fault:
        since = time.monotonic()
        scene.wait_booted(scene.fault["boot"])
        if time.monotonic() - since > 45.0:
            record.notes.append(f"the box took {time.monotonic() - since:.0f} s to go down and boot again")
        agent = scene.new_agent()
    agent.actions = known
    end = time.monotonic() + END_SECONDS
    while (looked := agent.order("look", "looked", known=sorted(known)))["alive"]:
        if time.monotonic() > end:
            record.broke("never ended", f"the runner of {looked['alive'][0]} still lives after {END_SECONDS:g} s")
            scene.box.root("pkill -9 -u ops -f runner.py", check=False)
            break
        time.sleep(0.1)
    for who, process in (("client", client), ("second", scene.fault.get("second"))):
        if process is None:
            continue
        try:
            _, errors = process.communicate(timeout=40)
        except subprocess.TimeoutExpired:
            record.broke("client hung", f"{who} had not ended 40 s after the action's end")
            process.kill()
            _, errors = process.communicate()
        told = [line for line in errors.splitlines() if line.strip()]
        if who == "client":
            record.client, record.told = process.returncode, told[-1] if told else ""
        else:
            scene.fault["second told"] = (process.returncode, told[-1] if told else "")
    # the second operator's may have begun after the first one's end
    while (looked := agent.order("look", "looked", known=sorted(known)))["alive"] and time.monotonic() < end:
        time.sleep(0.1)
    record.action = record.action or next(iter(looked["new"]), "")
    receipts = {name: agent.order("receipt", "receipt", action=name)["lines"] for name in looked["new"]}
    record.receipt = receipts.get(record.action, [])
    spans = sorted((x[0]["at"], x[-1]["at"], name) for name, x in receipts.items() if x)
    for (_, ended, one), (begun, _, other) in itertools.pairwise(spans):
        if begun < ended:
            record.broke("second switch ran beside", f"{other} began at {begun}, {one} ended at {ended}")
    return agent


# -- the next client ---------------------------------------------------------------------------------


def _next_client(scene: Scene, kind: Kind, record: Record, truth: Truth) -> None:
    looking = [scene.operator.start(*words, "--json") for words in (("status",), ("actions",))]
    answers = [process.communicate(timeout=60) for process in looking]
    for process, (_, errors) in zip(looking, answers, strict=True):
        if process.returncode:
            record.broke("next client untruthful", f"exit {process.returncode}: {errors.strip()[-200:]}")
            return
    host = json.loads(answers[0][0])["hosts"][0]
    actions = json.loads(answers[1][0])
    if scene.truth().modes != truth.modes:
        record.notes.append("the box changed while it was looked at")
        return
    lies = [*_about_modes(host, truth), *_about_actions(actions, host["action"], kind, record, truth, scene)]
    for lie in lies:
        record.broke("next client untruthful", lie)
    said = {m["name"]: m["heat"] for m in host["modes"]}
    wanted = record.target != "none"
    settled = record.outcome in ("done", "warned", "rolled-back") and not _over(kind, record)
    if wanted and not truth.hot and ("hot" in said.values() or (settled and record.injected)):
        record.broke("none hot, and not said", f"{truth}; said: {said}, {record.outcome}")
    _about_client(scene, record)


def _over(kind: Kind, record: Record) -> bool:
    """What the outcome says was proved, and the fault went on after it: a look at the modes alone tells how it is now."""
    late = record.at in ("end", "between steps", "not reached")
    return late or kind.ends_after or (kind.reboots and record.outcome in ("done", "warned", "rolled-back"))


def _about_modes(host: dict[str, Any], truth: Truth) -> list[str]:
    found = []
    for mode in host["modes"]:
        name, heat = mode["name"], mode["heat"]
        true = truth.modes[name]
        allowed = {
            "hot": ("hot",),
            "loaded": ("starting", "broken"),
            "moving": ("starting", "broken", "cold"),
            "cold": ("cold", "broken") if name in truth.failed else ("cold",),
        }[true]
        if heat not in allowed:
            found.append(f"status says {name} is {heat} ({mode['reason']}), it is {true}")
    return found


def _about_actions(
    actions: list[dict[str, Any]], current: dict[str, Any] | None, kind: Kind, record: Record, truth: Truth, scene: Scene
) -> list[str]:
    found = []
    running = [a["id"] for a in actions if a["running"]]
    if running or (current and current["running"]):
        found.append(f"says that {running or current} runs, nothing does")
    if not record.receipt:
        return found
    own = next((a for a in actions if a["id"] == record.action), None)
    if own is None:
        return [*found, f"{record.action} is not among the actions"]
    end = next((line for line in record.receipt if line.get("t") == "end"), None)
    record.outcome, record.reason = own["outcome"] or "", own["reason"]
    if record.outcome != (end["outcome"] if end else "lost"):
        found.append(f"says {record.outcome}, the receipt {end}")
    if record.outcome == "lost" and not kind.loses:
        found.append(f"lost, though nobody killed the runner: {own['reason']}")
    elif record.outcome == "lost" and ("reboot" in own["reason"]) != ("boot" in scene.fault):
        found.append(f"lost, and why: {own['reason']}")
    newest = actions[0]
    if _over(kind, record):
        return found
    return [*found, *_claims(newest, record, truth)]


def _claims(newest: dict[str, Any], record: Record, truth: Truth) -> list[str]:
    """What the newest action's outcome says of the box, against the truth."""
    outcome, reason = newest["outcome"], newest["reason"]
    if outcome in ("done", "warned"):
        hot = [] if newest["target"] == "none" else [newest["target"]]
    elif outcome == "rolled-back":
        hot = [] if record.origin == "none" else [record.origin]
    elif "has been rebooted since" in reason:
        return []
    elif "No mode is hot now" in reason:
        return [] if not truth.up else [f"says that no mode is hot: {truth}"]
    elif "Running now: " in reason:
        words = reason.rpartition("Running now: ")[2]
        wrong = [m for m in truth.up if m not in words] + [m for m in PORTS if m in words and m not in truth.up]
        return [f"says that runs: {words} — {truth}"] if wrong else []
    else:
        return []
    return [] if truth.hot == hot == truth.up else [f"says {outcome} ({reason}), but: {truth}"]


def _about_client(scene: Scene, record: Record) -> None:
    """The client that saw it through must not have said anything else."""
    second = scene.fault.get("second told")
    if second and second[0] == 0:
        record.notes.append(f"the second switched after the end of the first: {second[1]}")
    code = record.client
    if code is None or code < 0 or not record.outcome:
        return
    right = {"done": 0, "warned": 5}.get(record.outcome, 1)
    if code not in (right, 3, 130):
        record.broke("next client untruthful", f"the client ended with {code}, the action is {record.outcome}: {record.told}")
    if code == 3:
        record.notes.append(f"the client gave up: {record.told}")


# -- afterwards --------------------------------------------------------------------------------------


def _repair(scene: Scene, record: Record, truth: Truth, number: int) -> None:
    """One more switch, to a mode that is not hot, leaves exactly that one."""
    for unit in PORTS:
        scene.box.fail(scene.unit(unit).removesuffix(".service"))
    choice = [m for m in PORTS if truth.hot != [m]]
    mode = choice[number % len(choice)]
    scene.configure("20s")
    done = scene.operator.run("switch", mode, "--yes", timeout=100)
    after = scene.steady()
    record.repaired = done.returncode == 0 and after.hot == after.up == [mode]
    if not record.repaired:
        lines = done.stderr.strip().splitlines()
        journal = scene.box.root(
            ["journalctl", "-q", "-n", "12", "-o", "short-precise", "-u", scene.unit(mode)], check=False
        ).stdout
        told = f"{lines[-1] if lines else ''}\n{journal}"
        record.broke("not repaired", f"switch {mode} ended with {done.returncode}, then {after}: {told}")


def _unseen(loaded: list[dict[str, Any]], origin: str) -> bool:
    """The fault started the old engine after the new one, or so shortly before that no look could have seen it."""
    born = {x["unit"]: float(x["born"]) for x in loaded}
    return born[origin] > max(at for unit, at in born.items() if unit != origin) - SEEN_TICKS


def _watched(agent: Agent, kind: Kind, record: Record, scene: Scene) -> None:
    """What the sampler saw from before the switch until after the repair."""
    report = agent.order("report", "report")
    record.samples, record.gap = report["samples"], report["gap"]
    began: dict[str, Any] | None = None
    for line in [*agent.seen]:
        if line["t"] == "two":
            began = line
            if not (kind.foreign_start and _unseen(line["loaded"], scene.unit(record.origin))):
                record.broke("two modes loaded", json.dumps(line["loaded"]))
        elif line["t"] == "two-over" and began is not None:
            record.foreign_overlap = round(max(record.foreign_overlap, line["at"] - began["at"]), 2)
        elif line["t"] == "floor" and not line["up"]:
            record.broke("floor stopped", f"{FLOOR} had no process")
    if scene.box.show(FLOOR, "ActiveState")["ActiveState"] != "active":
        record.broke("floor stopped", f"{FLOOR} is not active at the end")
