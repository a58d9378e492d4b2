"""What the words and abbreviations on the screen mean: for the help of the screen and of the command line. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """One meaning, under all its names."""

    names: tuple[str, ...]
    words: str

    @property
    def title(self) -> str:
        return ", ".join(self.names)


def _term(names: str, words: str) -> Term:
    return Term(tuple(names.split(", ")), words)


GLOSSARY: tuple[tuple[str, tuple[Term, ...]], ...] = (
    (
        "modes and engines",
        (
            _term("host", "A machine in the configuration. Its role is box, management, edge or nas."),
            _term("box", "A host that serves models."),
            _term("engine", "The software that serves models: vLLM, SGLang, llama.cpp, Ollama, LiteLLM, ComfyUI and others."),
            _term(
                "mode", "A named state of a box, such as “serve Qwen”. At most one mode is up at a time; `none` stops them all."
            ),
            _term("other engines", "Engines that are no part of a mode, such as a router. They are shown and never switched."),
            _term("switch", "The change from one mode to another. It runs on the box, and is rolled back if it fails."),
            _term("hot", "A mode or an engine whose services are up and whose readiness check passes."),
            _term("cold", "A mode that is not up."),
            _term("starting, stopping", "On the way up, on the way down."),
            _term("warming", "Up and still preparing, or decoding slower than usual just after a start."),
            _term("busy", "Hot, and requests are running or waiting."),
            _term("resident", "Hot and idle: loaded, and safe to stop."),
            _term("ready", "The engine answers its health check and lists the right model."),
            _term("asleep", "The engine is up and its model is not in memory; the next request loads it."),
            _term("spilled", "Part of the model does not fit into GPU memory and runs on the CPU, many times slower."),
            _term(
                "thrashing", "Several requests share a fraction of the usual speed, because their contexts do not fit together."
            ),
            _term("hung", "The engine takes connections or requests, and nothing moves."),
            _term("dead", "The engine was ready, and nothing answers any more."),
            _term("broken", "Services are up without serving the right model, or one of them has failed."),
            _term("unknown", "Not known yet, or no answer."),
            _term("absent", "Nothing answers on the engine's port."),
            _term("wrong-model", "The engine serves another model than the mode names."),
            _term("slow", "One request decodes clearly below the speed expected of the mode."),
            _term("floor", "Services that every switch leaves running, such as a small model on the CPU."),
            _term("tenant", "Any service that holds GPU memory."),
            _term("deployment, chain", "Of a router: a model that it sends requests to; the order in which it tries them."),
            _term("cooldown", "A router skips a deployment for a while after failures."),
            _term("pinned", "The model stays loaded until it is unloaded."),
        ),
    ),
    (
        "speed",
        (
            _term("tok/s", "Tokens per second, of all requests together."),
            _term("decode", "Generating the answer, token by token. Its speed is the large figure."),
            _term(
                "prompt, prefill",
                "Reading the request before the first token; its speed counts computed tokens, not cached ones.",
            ),
            _term("TTFT", "Time to first token: from the request to the first token of the answer."),
            _term("TPOT, ITL", "Time per output token after the first; also called inter-token latency."),
            _term("p50, p95", "Half of the requests, 95 of 100 requests, were at least this fast."),
            _term("running, waiting", "Requests being computed, and requests in the queue."),
            _term("KV, KV cache", "Memory for the contexts of requests, as the share in use. When it is full, requests wait."),
            _term("prefix", "Share of prompt tokens that were found in the cache."),
            _term("drafts", "Speculative decoding: the share of drafted tokens that were accepted, and tokens per step after ×."),
            _term("context", "The longest prompt with its answer, in tokens."),
            _term("expected", "The speed that the configuration says the mode should have (`expect_tok_s`)."),
        ),
    ),
    (
        "memory",
        (
            _term("unified", "Unified memory: CPU and GPU share one memory. There is one figure: what is available."),
            _term("discrete", "The GPU has memory of its own (VRAM)."),
            _term("free", "Unused memory of a GPU that has its own: what another model could take there."),
            _term("available, avail", "Memory of the host that programs can still get, droppable page cache included."),
            _term("unused", "Memory of the host that holds nothing, not even page cache."),
            _term("cache, page cache", "Files that the kernel keeps in memory."),
            _term("droppable", "Page cache that the action “drop caches” gives back."),
            _term("cache in use", "Page cache that cannot be dropped now: mapped or not yet written."),
            _term("others", "Memory of the host that no mode, tenant or floor accounts for."),
            _term("held", "Memory that the engine reports for its models."),
            _term("buffers, swap used, total", "As the kernel reports them."),
            _term(
                "fits, fits after drop, too big",
                "Whether a mode would fit into memory now, after dropping the page cache, or not.",
            ),
            _term("mem", "The GPU's own memory: used of total. The bar named “host” is the host's memory."),
            _term("≈", "An estimate from the configuration."),
            _term("GPU, CPU", "Graphics processor (accelerator), processor: the share of time in use."),
            _term("load", "Mean number of processes that run or wait to run."),
        ),
    ),
    (
        "services, alerts, backups",
        (
            _term("service", "What runs on a host: a systemd unit, a container (ctr:) or a compose project (cmp:)."),
            _term("↻", "Restarts since the last manual start."),
            _term("restart loop", "The service ends and is started again and again."),
            _term("alert, firing, active", "A rule of Prometheus whose condition is true, as Alertmanager reports it."),
            _term(
                "acknowledged, acknowledgement, ack", "Someone is dealing with the alert: a silence with author, comment and end."
            ),
            _term("silence", "Alertmanager's rule that mutes an alert for a time."),
            _term("inhibited", "Muted by Alertmanager because another alert explains it."),
            _term("pending", "The condition is true, for less time than the rule demands."),
            _term("not reported yet, not reported", "Alertmanager has restarted and does not know the alert again yet."),
            _term("unprocessed", "Alertmanager has the alert and has not handled it yet."),
            _term("pulse", "An alert that always fires by design; when it is missing, alerting is broken."),
            _term("issue", "Anything wrong on any host: critical, warning or info."),
            _term("late", "A backup whose last success is older than its limit; a timer that should have run."),
            _term("receipt", "The record of an action on the box: who, when, each step, the result."),
            _term("rolled back", "The action failed, and the mode of before was started again."),
            _term("pause, resume", "What would restart engines (timers, updaters) is stopped for the time of a switch."),
            _term("drain", "Wait for running requests before stopping an engine."),
        ),
    ),
    (
        "links and figures",
        (
            _term("link", "The connection to a host: SSH, or this machine itself."),
            _term(
                "direct, relay, peer relay",
                "How the link passes through the tailnet: directly, or through a relay, which is slower.",
            ),
            _term("idle, offline", "Of the tailnet: nothing is sent there now; the host is not in the tailnet."),
            _term("metered", "The host is updated every ten seconds to save data."),
            _term("source", "What a figure comes from: Prometheus, the engine, or the probe."),
            _term("probe", "A small program that reads the host's figures over the link. Nothing is installed."),
            _term("?", "Unknown: no answer."),
            _term("~", "Stale: the last known value, with its age."),
            _term("n/a", "Not supported by this hardware or engine."),
            _term("DEMO", "A simulated estate."),
            _term("READ-ONLY", "No action can be started."),
            _term("THEN", "The screen shows an earlier moment."),
            _term("PAUSED", "The log is stopped; new lines are counted."),
            _term("elsewhere", "Issues on hosts other than the one shown."),
        ),
    ),
)


def names() -> frozenset[str]:
    """Every name that is explained."""
    return frozenset(name for _, terms in GLOSSARY for term in terms for name in term.names)
