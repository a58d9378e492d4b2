"""`sovtui init` on this machine beside real servers: each is proposed rightly, and one that sleeps sleeps on."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import lookanswers
from tests.engines.litellm import litellm
from tests.engines.llamacpp import llamacpp, tiny
from tests.engines.place import python
from tests.engines.running import Running, answer
from tests.fakes.apart import apart

pytestmark = pytest.mark.integration

SLEEP_SECONDS = 2
"""After so long without a request the server unloads its model."""
SECRET = "hunter22hunter"
MEAN, RANK = 1, 4
"""llama.cpp's numbers for ways of pooling."""


def llama_server(stack: ExitStack, folder: Path, *options: str, **fields: Any) -> Running:
    """A process whose command line is llama-server's and says what `fields` do."""
    told = ("--model", str(tiny()), *options)
    server = stack.enter_context(llamacpp(folder, options=told, **{"model_alias": [], **fields}))
    server.url += fields.get("api_prefix", "")
    return server


def _asleep(url: str) -> bool:
    return json.loads(answer(f"{url}/props")[1])["is_sleeping"] is True


def sovtui(folder: Path, *words: str, okay: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "sovtui", "--config", str(folder / "config.toml"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    assert done.returncode in okay, done.stderr
    return done


def _each_is_proposed_rightly(folder: Path) -> None:
    with ExitStack() as stack:
        plain = llama_server(stack, folder, "--alias", "chat", "--metrics", model_alias=["chat"], endpoint_metrics=True)
        below = llama_server(stack, folder, "--api-prefix", "/llm", api_prefix="/llm")
        keyed = llama_server(stack, folder, "--api-key", SECRET, api_keys=[SECRET])
        pooling: dict[str, Any] = {"embedding": True, "pooling_type": MEAN}
        named = llama_server(stack, folder, "--embeddings", model_alias=["embedder"], **pooling)
        ranks = llama_server(stack, folder, "--reranking", model_alias=["ranker"], **{**pooling, "pooling_type": RANK})
        sleepy = llama_server(stack, folder, model_alias=["sleepy"], endpoint_metrics=True, sleep_idle_seconds=SLEEP_SECONDS)
        unnamed = stack.enter_context(llamacpp(folder, model_alias=["other"]))  # its command line tells nothing
        pooled = stack.enter_context(llamacpp(folder, model_alias=["pooled"], **pooling))
        model = {"model_name": "big", "litellm_params": {"model": "openai/chat", "api_base": f"{plain.url}/v1", "api_key": "x"}}
        router = stack.enter_context(litellm(folder, {"model_list": [model]}))
        limit = time.monotonic() + 60
        while not _asleep(sleepy.url):
            assert time.monotonic() < limit, "it never fell asleep"
            time.sleep(0.2)

        done = sovtui(folder, "init", "--write", "--host", "here")
        assert _asleep(sleepy.url), "init wakes nobody"
        text = (folder / "config.toml").read_text()
        host = tomllib.loads(text)["host"]["here"]
        assert done.stdout == text and SECRET not in text + done.stderr
        (mode,) = host["mode"]  # no switch can stop what was started by hand: only one may call itself a mode
        tables = [mode, *host["engine"]]
        assert {table["url"]: (table["engine"], table.get("model", "")) for table in tables} == {
            plain.url: ("llamacpp", "chat"),
            below.url: ("llamacpp", str(tiny())),
            keyed.url: ("llamacpp", str(tiny())),
            sleepy.url: ("llamacpp", "sleepy"),
            unnamed.url: ("llamacpp", "other"),
            named.url: ("llamacpp", "embedder"),
            ranks.url: ("llamacpp", "ranker"),
            pooled.url: ("llamacpp", "pooled"),
            router.url: ("litellm", ""),
        }
        assert mode["url"] in (plain.url, below.url, keyed.url, sleepy.url, unnamed.url), "what generates nothing is no mode"
        for said in (
            "It serves embeddings and generates nothing: `--embeddings` in its command line.",
            "It serves reranking and generates nothing: `--reranking` in its command line.",
            "It serves embeddings and generates nothing: its own answers.",
        ):
            assert said in text
        assert text.count("It asks for a key") == 2  # llama.cpp's and LiteLLM's
        assert text.count("It was started by hand") == len(tables)
        assert "rejected" not in router.said().lower() and "401" not in router.said(), "what is asked there is not refused"
        sovtui(folder, "config", "check")
        status: Any = json.loads(sovtui(folder, "status", "--json", okay=(0, 3)).stdout)
        phases = {engine["name"]: engine["phase"] for engine in status["hosts"][0]["engines"]}
        assert phases["chat"] == phases["embedder"] == "ready" and phases["sleepy"] == "asleep", phases


def test_real_servers_are_proposed_rightly_and_one_that_sleeps_sleeps_on(tmp_path: Path) -> None:
    tiny()  # made outside, where other tests may wait for them
    python("llamacpp"), python("litellm")
    apart(_each_is_proposed_rightly, tmp_path)


def test_a_look_does_not_keep_a_model_awake(tmp_path: Path) -> None:
    kinds: tuple[dict[str, Any], ...] = ({}, {"embedding": True, "pooling_type": MEAN})
    for fields in kinds:
        with llamacpp(tmp_path, endpoint_metrics=True, sleep_idle_seconds=SLEEP_SECONDS, **fields) as server:
            port = int(server.url.rpartition(":")[2])
            limit = time.monotonic() + 90
            while True:  # far more often than it takes to fall asleep: whatever begun the wait anew would do so for ever
                told = lookanswers.ask({"address": "127.0.0.1", "port": port}, (), ("/other",), True)
                assert told is not None and told["kind"] == "llamacpp"
                if told.get("state") == "asleep":
                    break
                assert told["side"] == ("embeddings" if fields else "")
                assert time.monotonic() < limit, "it never fell asleep while it was looked at"
                time.sleep(0.2)
            for _ in range(5):
                lookanswers.ask({"address": "127.0.0.1", "port": port})
            assert _asleep(server.url)
