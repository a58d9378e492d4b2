"""What leaves the box of units, compose files, scripts and cron: what is known to be harmless, and no secret wherever it stands."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from sovtui.onbox import lookcontainers, lookhost, lookquestions, lookscripts, lookswitches, lookunits, masking
from tests.onbox.commands import pretend

MARKS = ("hunter2", "s3cr3t-Val_07", "correcthorse", "aB9/xY+z7Qw==", "Tr0ub4dor&3", "pa$$word", "MARK01", "correct/horse")
"""Secrets of many forms: words, keys, with signs of a shell in them."""
PLACES = (
    "vllm serve org/m --api-key {}", "vllm serve org/m --api-key={}", "vllm serve org/m --api-key one {}", "vllm serve m --api_key {} --port 1",
    "vllm serve m --new-option {}", "vllm serve m --new-option={}", "llama-server -m /m.gguf --api-key a,{}", "llama-server -hft {}",
    "llama-server -m /m.gguf --chat-template-kwargs {{\"x\":\"{}\"}}", "restic -r rest:https://me:{}@nas/ backup /etc",
    "restic -r rest:https://{}@nas:8000/ backup", "restic -r s3:https://nas/{} backup", "git clone https://{}@git.lan/x",
    "curl https://hooks.example.com/services/T0/{}", "curl http://127.0.0.1:8000/message?token={}", "curl https://ntfy.lan/{}",
    "curl -H X-Key:{} http://localhost", "curl --header Cookie:{} http://localhost", "curl -u me:{} http://localhost", "curl -sume:{} x",
    "curl -d {} http://localhost/", "wget --password {} http://localhost/", "sshpass -p {} ssh nas", "sshpass -p{} ssh nas",
    "mysqldump -u root -p{} llm", "redis-cli -a {} ping", "docker login -u me -p {}", "docker run -e HF_TOKEN={} --rm image",
    "docker run -eANY={} image", "docker run --env=ANY={} image", "docker run --label x={} image", "docker run image notify {}",
    "docker exec litellm /app/set {}", "docker exec chat-1 /app/set {}", "env ANY={} vllm serve m", "sudo -u llm ANY={} vllm serve m", "systemctl set-environment ANY={}",
    "systemd-run -p Environment=ANY={} x", "systemd-run --setenv=ANY={} x", "echo {}", "printf %s {}", "logger {}", "/opt/notify.sh {}",
    "notify {} --level info", "openssl enc -k {}", "export ANY={}", "echo $(notify {})", "tmux new-session -d notify {}", "ssh nas notify {}",
    "curl ntfy.sh/{}", "curl -sf hooks.lan/services/{}", "wget -q ntfy.sh/{}", "curl --proxy-user me:{} http://localhost/",
    "curl --oauth2-bearer {} http://localhost/", "apprise slack://{}/x", "apprise tgram://{}/1", "psql host=h password={}",
    "redis-cli -u redis://:{}@h:6379", "vllm serve m --host me:{}@h", "docker run --network me:{}@h x", "env OLLAMA_HOST=me:{}@h ollama serve",
    "vllm serve m --extra {{\"keys\":[\"{}\"]}}", "vllm serve m --extra {{\"auth\":{{\"user\":\"{}\"}}}}", "mosquitto_pub -P {} -t x",
    "mount -o user=me,pass={} //nas/x /m", "zip -P {} x y", "htpasswd -b f me {}", "vault login {}", "aws configure set aws_secret_access_key {}",
    "tailscale up --authkey={}", "http :8000 X-Key:{}", "kubectl create secret generic x --from-literal=a={}",
    "python3 /opt/x.py --auth {}", "entrypoint.sh vllm serve org/m --hf-token {}", "PGPASSWORD={} pg_dump llm", "set password {}",
)  # fmt: skip
IN_SCRIPTS = (
    "TOKEN='{}'", 'curl -H "Authorization: Bearer {}" http://localhost/ollama', 'vllm serve m --port "${{PORT:-{}}}"', 'docker login <<< "{}"',
    "ollama run m '{{\"password\": \"{}\", \"n\": 1}}'", 'bash -c "notify {}; vllm serve m --api-key {}"', "x=`notify {}` vllm serve m",
    "[ \"$KEY\" = '{}' ] && systemctl start vllm", "case {} in x) systemctl start vllm;; esac", "notify ( '{}' ); systemctl start vllm",
    'vllm serve m \\\n --api-key \\\n {} \\\n --port 1', '"${{TOKEN:={}}}"', '"${{KEY:-{}}}"', "systemctl start vllm || notify {}",
    "echo {} | docker login --password-stdin", 'ssh nas "systemctl start vllm; notify {}"', "systemctl start vllm # {}", "password: {}",
)  # fmt: skip
IN_CODE = (
    'subprocess.run(["docker", "run", "-e", "ANY={}"], env={{"TOKEN": "{}"}})', 'login("{}"); os.system("systemctl start vllm")',
    'requests.post("https://ntfy.lan/{}", auth=("me", "{}"))', 'docker = {{"login": "{}", "x": ["{}"]}}', 'TOKEN = "{}"  # docker',
)  # fmt: skip
KEPT = (
    "/usr/bin/docker run --rm --name vllm-qwen36 --gpus all -p 127.0.0.1:30001:8000 -v /data/models:/models --ipc host --shm-size 16g "
    "vllm/vllm-openai:v0.20.1 --model /models/qwen36 --served-model-name qwen36 --gpu-memory-utilization 0.5 --max-num-batched-tokens 8192",
    "vllm serve Qwen/Qwen3-30B-A3B-Instruct --max-model-len 128k --kv-cache-dtype fp8 --tool-call-parser hermes --max-tokens 512",
    "python3 -m sglang.launch_server --model-path /models/mistral-4 --served-model-name mistral-4 --port 30000 --host nas.lan --tp 2",
    "llama-server -m /models/x.gguf -a small -ngl 99 -c 8192 -fa on --host 0.0.0.0 --port 8080 --api-key-file /etc/llm/key",
    "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M --alias qwen --ctx-size 32768 -ctk q8_0 -np 4 --api-prefix /llm",
    "sudo -n systemctl --user restart vllm-qwen36", "systemctl stop vllm@night.service comfyui", "docker start sglang-mistral4",
    "docker compose -f /srv/llm/compose.yaml up -d vllm", "nice -n 10 taskset -c 0-15 llama-server --port 9", "ollama serve",
    "restic --password-file /etc/restic/password -r sftp:nas:/backup backup /etc --keep-daily 7", "rsync -a /data/ ops@nas:/data/",
    "/opt/prometheus --web.listen-address=:9190 --web.external-url=http://mgmt.lan/prom", "sh -c 'exec vllm serve \"$0\" --port $PORT' org/m",
    "python main.py --listen 0.0.0.0 --port 8188", "litellm --config /etc/litellm/config.yaml --port 4000", "entrypoint.sh vllm serve org/m",
)  # fmt: skip
"""What a proposal is made of."""


@pytest.mark.parametrize("mark", MARKS)
def test_no_secret_leaves_wherever_it_stands(mark: str) -> None:
    for place in PLACES:
        if " litellm " in place and "/" in mark and "+" not in mark:
            continue  # to an engine it is a model
        argv = [word.format(mark) for word in place.split()]
        assert mark not in " ".join(masking.words(argv)), place
        assert mark not in masking.text(shlex.join(argv)), place
    for place in IN_SCRIPTS:
        assert mark not in masking.text(place.replace("{}", mark).replace("{{", "{").replace("}}", "}")), place
    for place in IN_CODE:
        assert mark not in masking.code(place.replace("{}", mark).replace("{{", "{").replace("}}", "}")), place


@pytest.mark.parametrize("line", KEPT)
def test_what_a_proposal_is_made_of_is_kept(line: str) -> None:
    argv = shlex.split(line)
    assert masking.words(argv) == argv
    assert masking.text(line) == line


def test_a_sentence_stays_one() -> None:
    for line in (
        "Qwen 3.6 PrismaQuant (vLLM 0.20.1) on http://127.0.0.1:8000/v1",
        "Key server: tokens for all",
        "mistral-small-3.2-24b-q4",
    ):
        assert masking.prose(line) == line
    assert (
        masking.prose("Key: abc, a=b TOKEN=abc see https://me:abc@h/ 8fK2mQ9xLp3vZ7tRw1")
        == "Key: *** a=b TOKEN=*** see https://***@h/ ***"
    )


@pytest.mark.parametrize("mark", ["hunter2", "sk-ab12", "Tr0ub4dor&3"])
def test_a_sentence_says_no_secret(mark: str) -> None:
    for sentence in (
        "admin password {}", "the key is {}", "token ({})", "passphrase {} for restic", "Bearer {}", '{{"token":"{}"}}', "--api-key {}",
        "PW={}", "pass: {}", "user:{}@host", "https://me:{}@h/x", "https://hooks.lan/{}", "Password [{}] for the nas", "pin = {}",
    ):  # fmt: skip
        assert mark not in masking.prose(sentence.format(mark)), sentence
    for line in ("Password [{}]: ", "Token (now {}): ", "key: {}"):
        assert mark not in masking.prompt(line.format(mark)), line


def test_a_number_after_a_word_for_a_secret_is_one_and_a_count_of_tokens_is_none() -> None:
    assert masking.words(["x", "--pin", "1234", "--api-keys", "1,2", "--max-tokens", "512"]) == [
        "x",
        "--pin",
        "***",
        "--api-keys",
        "***",
        "--max-tokens",
        "512",
    ]
    assert masking.value("LLAMA_ARG_PORT", "8080") == "8080" and masking.value("DB_PASSWORD", "8080") == masking.MASK
    assert (
        masking.value("LLAMA_ARG_ALIAS", "qwen") == "qwen"
        and masking.value("OLLAMA_HOST", "http://me:pw@h:1") == "http://***@h:1"
    )


@pytest.mark.parametrize("mark", ["hunter2", "s3cr3t-Val_07", "a;b|c(d"])
def test_nothing_of_a_unit_a_container_a_script_or_cron_tells_a_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mark: str
) -> None:
    script = tmp_path / "start-llm"
    script.write_text(
        f"#!/bin/bash\nTOKEN='{mark}'\ncurl -H \"X: $TOKEN\" http://localhost/vllm\nread -p 'Token (now {mark}:9)? ' a\n"
        f"vllm serve m --extra '{mark}' --port 8000 &\ncase $1 in qwen) systemctl start vllm --message='{mark}';; esac\n"
        f"[ \"$SURE\" = '{mark}' ] || read -p 'Sure? ' a\n"
    )
    script.chmod(0o755)
    other = tmp_path / "guard"
    other.write_text(f'#!/usr/bin/python3\nimport os\nos.system("systemctl restart vllm " + "{mark}")\n')
    other.chmod(0o755)
    unit = (
        f"Id=vllm.service\nDescription=Model, password: {mark}\n"
        "LoadState=loaded\nActiveState=active\nFragmentPath=/etc/systemd/system/vllm.service\n"
        f"Environment=ANY={shlex.quote(mark)} LLAMA_ARG_ALIAS=ok LLAMA_ARG_API_KEY={shlex.quote(mark)}\n"
        f"ExecStart={{ path=/x ; argv[]={script} qwen {mark} --pass {mark} ; ignore_errors=no ; }}\n"
        f"ExecStart={{ path=/x ; argv[]={other} $ANY ${{ANY}} ; ignore_errors=no ; }}\n"
    )
    pretend(monkeypatch, {"systemctl --no-pager": (0, unit, ""), "crontab": (0, f"@reboot ANY='{mark}' {script} '{mark}'\n", "")})
    told: list[Any] = [*lookunits.named("system", ["vllm.service"], every=True)]
    assert "--port" in json.dumps(told) and "systemctl" in json.dumps(told)
    told += [lookhost.cron(), lookswitches.script(str(script)), lookquestions.questions(script.read_text())]
    raw = {
        "Name": "/c",
        "Config": {
            "Image": "vllm/vllm-openai",
            "Cmd": ["--model", "m", "--x", mark, f"--y={mark}"],
            "Env": [f"ANY={mark}", f"PORT={mark}"],
        },
    }
    pretend(monkeypatch, {" ps ": (0, "abc\n", ""), "inspect": (0, json.dumps([raw]), "")})
    told += lookcontainers.containers()
    assert told[-2], "the container is told"
    assert lookscripts.read_through([str(script)], {}).lines, "the script is read"
    assert mark not in json.dumps(told).replace("\\\\", "\\")
