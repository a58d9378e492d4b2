"""What may leave the box of command lines and scripts: what is known to be harmless. All else is `***`. Pure.

Harmless are names of options, variables and units, numbers, paths, references (`$X`), the words of `KNOWN`, programs, and models and
containers where an option or a program says that such a name follows. What follows a word like `password` is masked whatever it is.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any, Pattern

from sovtui.onbox import commandline, containerline, enginewords

MASK = "***"


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SECRETS = _set(
    "key keys apikey token secret secrets password passwd pass passphrase pwd pw credential credentials creds auth authorization "
    "bearer basic login cookie cookies session signature sig salt pin otp psk dsn webhook webhooks hook private"
)
_SECRET_ENDS = ("password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "key", "credentials", "webhook", "auth")
_PLACES = _set("file path dir folder keyring")
"""`--password-file` names a place: a path may follow."""
_COUNTED = _set("tokens token")
KNOWN = _set(
    # values
    "true false yes no on off auto none all any cpu cuda gpu rocm hip vulkan metal host bridge private default always never "
    "on-failure unless-stopped half float float16 float32 bfloat16 fp32 fp16 bf16 fp8 fp4 nvfp4 mxfp4 int8 int4 f16 f32 awq gptq "
    "awq_marlin gptq_marlin marlin bitsandbytes compressed-tensors modelopt modelopt_fp4 q4_0 q4_1 q5_0 q5_1 q8_0 iq4_nl fp8_e4m3 "
    "fp8_e5m2 eagle eagle3 ngram mtp draft hermes mistral llama3_json pythonic qwen3 qwen3_coder qwen3_xml deepseek_r1 deepseek_v3 "
    "glm45 openai openai_gptoss triton flashinfer flash_attn fa2 fa3 trtllm_mha torch_native xgrammar outlines guidance info debug "
    "warning error critical mp ray uvloop asyncio http https tcp udp rank mean cls last pooling embed embedding score classify "
    "reward generate layer row nvidia localhost root nobody system user now quiet text json yaml main latest nightly "
    # verbs
    "start stop restart try-restart reload reload-or-restart kill enable disable mask isolate daemon-reload is-active is-enabled "
    "is-failed status show up down run create exec rm pull logs ps wait pause unpause attach inspect compose container image "
    "serve launch backup forget prune check snapshots restore copy sync init list archive extract unlock "
    # of a shell
    "in do done then fi else esac if elif while until for case function select time ! { } [ ] [[ ]] export local readonly declare "
    "typeset login-shell new new-session new-window send-keys stuff Enter C-m"
)
_STARTS_ANEW = _set("if then else elif while until do ! { time export local readonly declare typeset && ||")
_ENGINE = re.compile(
    r"(?:vllm|sglang|llama|ollama|litellm|comfy|koboldcpp|tabbyapi|lmdeploy|trtllm|aphrodite|mlx_|mlc_llm|infinity|text-(?:generation|embeddings)-)"
    r"[A-Za-z._-]*\Z"
)
"""Engines and their modules by the beginning of their names."""
_PROGRAMS = frozenset(
    (*enginewords.READERS, *enginewords.SHELLS, *containerline.CONTAINERS, *commandline.WRAPPERS, *commandline.SUB_WRAPPERS)
) | _set(
    "vllm sglang llama-server llama ollama litellm llama-swap llama-cli koboldcpp tabbyapi infinity_emb local-ai trtllm-serve lmdeploy "
    "aphrodite comfy mlx_lm.server text-generation-launcher text-embeddings-router xinference-local llamafile docker-compose "
    "podman-compose tmux screen su runuser sg env python python3 uvicorn gunicorn hypercorn granian duplicity perl node bash "
    "mysqldump pg_dump pg_dumpall mysql psql redis-cli sshpass openssl gpg mail sendmail date hostname id uname sync modprobe "
    "nvidia-smi systemd-run apptainer singularity main.py launch_server.py api_server.py"
)
_NAME_OPTIONS = _set(
    "model model-path served-model-name alias hf-repo hf-file model-id hf-repo-draft model-draft speculative-model tokenizer task "
    "runner convert name network net project-name reasoning-parser tool-call-parser chat-template device host hostname listen bind "
    "docker-repo attention-backend quantization dtype unit kind runtime gpus speculative-draft-model-path pooling"
)
"""What follows names a model, a container, a place to listen at or a way to compute."""
_SHORT_NAMES = _set("m a hf hfr hff hfd md dr listen n")
"""The same of engines alone: elsewhere `-a` may be a password."""
_VARIABLE_NAMES = re.compile(r"(?:.*_)?(?:MODEL|MODEL_ID|ALIAS|HF_REPO|HF_FILE|DOCKER_REPO|DEVICE|HOST|POOLING)\Z")
_NAMING = _set(
    "start stop restart try-restart reload reload-or-restart kill enable disable isolate is-active is-failed status up down run "
    "create exec rm pause unpause attach wait logs pull inspect cat show"
)
"""Verbs of systemctl, Docker and Podman that names follow."""
_MANAGERS = frozenset((*containerline.CONTAINERS, "systemctl", "docker-compose", "podman-compose"))
_MODELS = _MANAGERS | enginewords.SHELLS | {"python", "python3"}
"""Programs beside engines that are given models, images and scripts."""
_LOGINS = {
    "curl": ("-u", "--user", "-U", "--proxy-user", "-b", "-H", "--header", "-d", "--data", "-F", "--form"), "wget": ("--header", "--user"), "sshpass": ("-p",),
    "mysql": ("-p",), "mysqldump": ("-p",), "redis-cli": ("-a",), "smbclient": ("-U",), "docker": ("--label",), "http": ("-a",),
}  # fmt: skip
"""Options that a login or a whole message follows."""
_FETCHERS = _set("curl wget aria2c http https xh")
"""What they are given is a URL, also without a scheme."""
_SCHEMES = _set(
    "http https ws wss tcp udp unix ipc ssh git ftp ftps sftp rest s3 gs b2 azure swift rclone hf oci docker file redis rediss "
    "postgres postgresql mysql mariadb mongodb amqp amqps mqtt mqtts nats grpc smb nfs ldap ldaps"
)
"""Behind which a host follows: behind those of notifiers it is the secret."""
_PATH_URLS = ("--web.external-url", "--web.route-prefix")
_URL_WORDS = re.compile(
    r"(?:v\d|api|health|healthz|ready|metrics|models|chat|completions|embeddings|ping|version|status|info|props|slots)\Z"
)

_OPTION = re.compile(r"(--?[A-Za-z][\w.-]*)(?:=(.*))?\Z", re.DOTALL)
_ASSIGNED = re.compile(r"([A-Za-z_][\w.-]*)(\+?=)(.*)\Z", re.DOTALL)
_NUMBER = re.compile(
    r"[+-]?\d[\d.,:/x*_%-]{0,60}(?:[kKmMgGtT]?i?[bB]?|e[+-]?\d+|ms|us|s|m|h|d|w|min|days?|hours?|tcp|udp)\Z|\+%[%A-Za-z_:.-]{1,20}\Z|"
    r"\*/\d+\Z|\[?[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}\]?(?::\d+)?\Z|(?:[A-Za-z][\w.-]{0,60}|\*)?:\d{1,5}\Z"
)
_PATH = re.compile(r"(?:~|\$HOME|\$\{HOME\}|\.{1,2}|\$\{?\w+\}?)?(?:/(?:[\w.,@%~:+-]|\$\{?\w+\}?)*)+\*?\Z")
_REMOTE = re.compile(r"(?:sftp:|rclone:)?(?:[a-z_][a-z_-]{0,15}@)?[A-Za-z][A-Za-z0-9.-]{0,60}:(?!//)[~.]{0,2}/[\w./~-]*\Z")
_REFERENCE = re.compile(r"(?:\$(?:\{?\w+\}?|[@*#?$!-]|\{\w+\[[@*]\]\}|\(…\))|%[A-Za-z%])+\Z")
_DEFAULT = re.compile(r"(\$\{\w+:?[-=+?])([^{}]*)(\})\Z")
_FILE = re.compile(
    r"[\w@.:\\-]+\.(?:gguf|safetensors|onnx|sh|py|ya?ml|json|toml|conf|cfg|ini|env|log|txt|jinja2?|service|timer|socket|target|mount|"
    r"slice|scope|path|tar|gz|zst|age|sock|pid|lock)\Z"
)
_MODEL = re.compile(r"(?:[\w.-]+(?::\d+)?/)?[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?::[\w.-]{1,60})?(?:@sha256:[0-9a-f]+)?\Z")
_NAME = re.compile(r"[A-Za-z0-9%][\w.:/@%,+-]*(?: [\w.:/@%,+-]+){0,4}\Z")
_SAID = re.compile(r"([\w{\"'.-]+)([=:])(.+)\Z")
_IN_WORDS = re.compile(r"[^\W\d_]+(?:['/-][^\W\d_]+)*[.,:;!?]*\Z|[=:-]\Z")
_LOGIN = re.compile(r":[^@]*@(?!sha256:)")
_WORDY = re.compile(r"[A-Za-z]{0,16}\d{0,5}[A-Za-z]{0,4}\Z|\d+\Z|\d+x\d+[A-Za-z]?\Z|[A-Za-z]\d[A-Za-z]\d\d?\Z|[A-Za-z]{1,24}\Z")
_URL = re.compile(
    r"((?:[a-z0-9]{1,8}:)?[a-z][a-z0-9+.-]*://)(?:([^/@]*)@)?(\[[0-9a-fA-F:.]+\]|[\w.-]*|\$\{?\w+\}?)(:(?:\d+|\$\{?\w+\}?))?"
    r"(/[^?#]*)?([?#].*)?\Z",
    re.DOTALL,
)
_COMMAND = re.compile(r"\$\(((?:[^()]|\([^()]*\))*)\)|`([^`]*)`", re.DOTALL)
_PIECE = re.compile(
    r"(?P<space>\s+)|(?P<end>[;|&()\n]+)|(?P<into>[<>]+&?)|\"(?P<double>(?:\\.|[^\"\\])*)\"|'(?P<single>[^']*)'|"
    r"(?P<bare>(?:\$\((?:[^()]|\([^()]*\))*\)|`[^`]*`|\\.|\$(?!\()|[^\s\"'`;|&()<>$\\])+)|(?P<other>.)",
    re.DOTALL,
)

_CODE = re.compile(
    _PIECE.pattern.replace(r"(?P<space>\s+)", r"(?P<space>[\s,\[\]{}]+)").replace(r"<>$\\]", r"<>$\\,\[\]{}]"), re.DOTALL
)


def secret_name(name: str) -> bool:
    """Whether what is called so holds a secret: `HF_TOKEN`, `--api-key`; not `--tokenizer`, not `--password-file`."""
    parts = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return any(part in _SECRETS or part.endswith(_SECRET_ENDS) for part in parts if part) and not _PLACES.intersection(parts)


def harmless(word: str, models: bool = True) -> bool:
    """Whether a word tells nothing that somebody could use, wherever it stands. `models`: where the name of one may stand."""
    if word in KNOWN or not re.search(r"\w", word) or _NUMBER.match(word) or _REFERENCE.match(word) or _PATH.match(word):
        return len(word) < 1000
    known = _FILE.match(word) or (models and _MODEL.match(word)) or _REMOTE.match(word)
    return bool(known) and not _dense(word)


def _dense(word: str) -> bool:
    """Whether letters and digits stand in it as in a key."""
    return not all(_WORDY.match(run) for run in re.split(r"[^A-Za-z0-9]+", word.partition("@sha256:")[0]))


def words(argv: Sequence[str], image: str = "") -> list[str]:
    """A command line with `***` for all that is not known to be harmless. `image`: the container's that runs it."""
    reader = _Reader()
    reader.engine = _serves(image)
    return [reader.word(word) for word in argv]


def text(line: str, command: bool = True, pieces: Pattern[str] = _PIECE) -> str:
    """The same for a line of a shell's script. `command`: it begins with a command."""
    reader, made = _Reader(command), ""
    raw, value, quoted = "", "", False

    def ended() -> str:
        if not raw:
            return ""
        masked = reader.word(value, quoted)
        return raw if masked == value else shlex.quote(masked) if re.search(r"[\s{}]", masked) and "$" not in masked else masked

    for piece in pieces.finditer(line):
        kind = piece.lastgroup
        if kind in ("space", "end", "into"):
            made += ended() + piece.group(0)
            raw, value, quoted = "", "", False
            if kind == "end":
                reader.anew(command and "(" not in piece.group(0))
        else:
            raw += piece.group(0)
            value += piece.group(kind or 0)
            quoted = quoted or kind in ("single", "double")
    return made + ended()


def code(line: str) -> str:
    """The same for a line in another language."""
    return text(line, False, _CODE)


def prompt(line: str) -> str:
    """A line that asks somebody something: plain words stay."""
    made, hide, after = "", False, False
    for word, gap in re.findall(r"(\S+)(\s*)", line):
        hide = hide or (after and word[:1] in "[(")  # what an empty answer means
        bare = word.strip("\"'()[]?!,.:;")
        plain = (
            re.fullmatch(r"[^\W\d_]+(?:['/-][^\W\d_]+)*|\d*", bare)
            or _REFERENCE.match(bare)
            or _OPTION.match(word)
            or word in KNOWN
        )
        made += (MASK if hide or not (plain or not re.search(r"\w", word)) else word) + gap
        after = secret_name(word)
        hide = after and word.rstrip("\"'")[-1:] in ("=", ":")
    return made


def prose(line: str) -> str:
    """A sentence: what stays out is what follows a name for a secret, what looks like a key, and the login of a URL."""
    made, hide, after = "", False, False
    for word, gap in re.findall(r"(\S+)(\s*)", line):
        said = _SAID.match(word)
        long = len(word) > 15 and _dense(word) and not _FILE.match(word)
        if said and secret_name(said.group(1)):
            made += said.group(1) + said.group(2) + MASK + gap
        elif hide or long or (after and not _IN_WORDS.match(word)):
            made += MASK + gap
        else:
            made += (_address(word) if "://" in word else f"{MASK}@" if _LOGIN.search(word) else word) + gap
        after = secret_name(word) or (after and word in ("is", "was", "now", "=", ":"))
        hide = secret_name(word) and word[-1:] in ("=", ":")
    return made


def _serves(name: str) -> bool:
    """Whether a program, a module or an image is an engine's by its name."""
    return any(_ENGINE.match(part) for part in re.split(r"[/:@]", name)) and not secret_name(name)


def value(name: str, content: str) -> str:
    """What a variable holds."""
    return _Reader(False).valued(name, content)


class _Reader:
    """One command line, word by word."""

    def __init__(self, command: bool = True) -> None:
        self.verb = ""
        self.anew(command)

    def anew(self, command: bool) -> None:
        self.begins = command
        """What comes is a program, or a variable for it."""
        self.program = self.option = ""
        self.engine = self.secret = self.naming = self.named = self.wrapped = False

    def word(self, word: str, quoted: bool = False) -> str:
        option = _OPTION.match(word)
        if word[:1] == "#" and not quoted:
            self.anew(False)  # a remark
        if option and not self.begins:
            return self._option(word, option.group(1), option.group(2))
        if self.secret:
            return MASK
        name, self.option = self.option, ""
        base = enginewords.base(word)
        verb = word in _NAMING and self.program in _MANAGERS  # `docker exec`, which is no `exec`
        known = not verb and (base in _PROGRAMS or enginewords.is_python([word]) or _serves(base))
        if known and (self.begins or self.wrapped or not name) and re.fullmatch(r"[\w./~$+-]+", word):
            self._runs(base)
            return word
        if self.begins or (self.wrapped and not name and _PATH.match(word)):
            return self._first(word, base, quoted)
        if name and not self._flag(name):
            return self._given(name, word)
        if self.named or (self.naming and _name(word)):
            named, self.named = self.named, False
            if _name(word) or _REFERENCE.match(word):
                if self.naming and self.program != "systemctl" and self.verb in ("run", "create", "exec"):
                    self.anew(True)  # an image or a container: what follows is run in it
                    self.engine = _serves(word)
                return word if named or not word.startswith("http") else self._plain(word)
        if verb:
            self.naming, self.verb = True, word
        if word == "serve":
            self.named = True
        return self._plain(word)

    def _runs(self, base: str) -> None:
        self.begins, self.program = False, base
        self.wrapped = base in commandline.WRAPPERS or base in commandline.SUB_WRAPPERS or base in ("env", "tmux", "screen")
        self.engine = self.engine or _serves(base)
        self.naming = self.secret = False

    def _first(self, word: str, base: str, quoted: bool) -> str:
        if _ASSIGNED.match(word):
            return self._plain(word)
        if word in _STARTS_ANEW:
            return word
        if _OPTION.match(word):  # a container's words may begin with one
            self.begins = False
            return self.word(word)
        self._runs(base)
        self.engine = self.engine and _MODEL.match(word) is not None
        self.secret = secret_name(word)
        plain = re.fullmatch(r"[A-Za-z_][A-Za-z_.-]*", word) and not quoted and len(word) < 40
        return word if plain or harmless(word) else self._plain(word)

    def _flag(self, option: str) -> bool:
        """Whether an option is known to have no value."""
        if self.program == "systemctl":
            return True
        return self.program in containerline.CONTAINERS and (
            option in containerline.BOOLEAN or re.match(r"-[ditPq]+\Z", option) is not None
        )

    def _option(self, word: str, name: str, content: str | None) -> str:
        behind, self.secret, self.named, self.option = self.secret, False, False, ""
        bare = name.lstrip("-")
        if behind and not re.fullmatch(r"--?[a-z][a-z0-9.-]*", name):
            return MASK
        if (
            not name.startswith("--")
            and len(bare) > 1
            and not (
                bare in _SHORT_NAMES or (bare.isalpha() and len(bare) <= 5) or re.fullmatch(r"[a-z]{2,6}(?:[.-][a-z]+)+", bare)
            )
        ):
            rest = word[2:]
            return word if harmless(rest) and name[:2] not in _LOGINS.get(self.program, ()) else f"{word[:2]}{MASK}"
        if len(bare) > 60:
            return MASK
        hidden = secret_name(name) or name in _LOGINS.get(self.program, ())
        if content is None:
            self.secret = hidden
            self.option = name
            return word
        return f"{name}={self.valued(name, content)}" if not hidden else f"{name}={self._hidden(name, content)}"

    def _given(self, name: str, word: str) -> str:
        """What stands behind an option."""
        if re.fullmatch(r"-[a-z]*c|--command|-S|--split-string", name) and re.search(r"\s", word):
            return text(word)
        return self.valued(name, word)

    def _hidden(self, name: str, content: str) -> str:
        parts = re.split(r"[^a-z]+", name.lower())
        counted = _COUNTED.intersection(parts) and "tokens" in parts and content.isdigit()
        return content if counted or not content else MASK

    def valued(self, name: str, content: str) -> str:
        """What an option or a variable holds."""
        if secret_name(name):
            return self._hidden(name, content)
        bare = name.lstrip("-").replace("_", "-")
        names = (
            (bare in _NAME_OPTIONS and name.startswith("--"))
            or _VARIABLE_NAMES.match(name) is not None
            or (bare in _SHORT_NAMES and (self.engine or enginewords.is_python([self.program])))
        )
        if names and _name(content):
            return content
        return self._plain(content, name in _PATH_URLS, False)

    def _plain(self, word: str, paths: bool = False, models: bool = True) -> str:
        """A word of which nothing is known but itself."""
        if self.program in _FETCHERS and re.match(r"[\w.-]+(?::\d+)?/", word):
            return _address(f"http://{word}").partition("://")[2]
        if harmless(word, models and (self.engine or self.program in _MODELS)):
            return word
        if "://" in word:
            return _address(word, paths)
        if word[:1] in "{[" and (told := _json(word)) is not None:
            return told
        if assigned := _ASSIGNED.match(word):
            return "".join(assigned.group(1, 2)) + self.valued(assigned.group(1), assigned.group(3))
        if default := _DEFAULT.match(word):
            name = re.findall(r"\w+", default.group(1))[0]
            return default.group(1) + self.valued(name, default.group(2)) + default.group(3)
        if _COMMAND.search(word):  # what is around it counts as a word with a variable in it
            around = harmless(_COMMAND.sub("$X", word))
            return _COMMAND.sub(lambda m: f"$({text(m.group(1) or m.group(2) or '')})", word) if around else MASK
        if re.search(r"\s", word) and not re.fullmatch(_PIECE, word):
            start = word.split(maxsplit=1)[0] if word.strip() else ""
            return text(word, enginewords.base(start) in _PROGRAMS or self.program in ("ssh", "eval", "tmux", "screen", "alias"))
        bare = word.rstrip(":=,").lower()
        self.secret = self.secret or (secret_name(bare) and not _dense(bare))
        return word if bare in _SECRETS else MASK


def _name(word: str) -> bool:
    return _NAME.match(word) is not None and "://" not in word and word[-1:] != ":" and not _LOGIN.search(word)


def _address(word: str, paths: bool = False) -> str:
    """A URL: who logs in, what is asked, and all of a path that is not known stay on the box."""
    match = _URL.match(word)
    if match is None or (_dense(match.group(3)) and not match.group(3).startswith(("$", "["))):
        return MASK
    scheme, user, host, port, path, query = match.groups()
    if re.split(r"[:+]", scheme)[0] not in _SCHEMES:
        return scheme + MASK
    if path and not (paths and _PATH.match(path)):
        path = "/".join(
            part if not part or _URL_WORDS.match(part) or _REFERENCE.match(part) else MASK for part in path.split("/")
        )
    who = "" if user is None else f"{MASK}@"
    return f"{scheme}{who}{host}{port or ''}{path or ''}{query[0] + MASK if query else ''}"


def _json(word: str) -> str | None:
    try:
        return json.dumps(_masked(json.loads(word)), separators=(",", ":"))
    except (ValueError, RecursionError):
        return None


def _masked(told: Any, hide: bool = False) -> Any:
    if isinstance(told, dict):
        return {
            str(k) if re.fullmatch(r"[A-Za-z_][\w.-]{0,60}", str(k)) and not _dense(str(k)) else MASK: _masked(
                v, hide or secret_name(str(k))
            )
            for k, v in told.items()
        }
    if isinstance(told, list):
        return [_masked(one, hide) for one in told]
    return MASK if hide or (isinstance(told, str) and not harmless(told, False)) else told
