"""A booted Debian with systemd as PID 1, in namespaces on this machine, to drive over SSH.

``boot()`` gives a :class:`Box`; ``Box.down()`` takes it away. The root file system is built once per release and
content of this directory and kept under ``$SOVTUI_BOX_DIR`` (default ``/tmp/sovtui-box``); boxes that
run are listed under ``/run/sovtui-box``, one directory per number, so parallel runs never share one.
``$SOVTUI_BOX_RELEASE`` says which release a box is of (:data:`RELEASES`).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("SOVTUI_BOX_DIR") or "/tmp/sovtui-box")
RUN = Path("/run/sovtui-box")
RELEASES = {"12": "bookworm", "13": "trixie", "24.04": "noble"}
"""What a box can be of, and how the archive calls it: two Debians, and the Ubuntu that many GPU machines run."""
USUAL = "12"
DECIDE = {
    "systemd": "systemd",
    "sudo": "sudo",
    "polkitd": "polkit",
    "openssh-server": "OpenSSH",
    "podman": "podman",
    "prometheus": "Prometheus",
    "prometheus-alertmanager": "Alertmanager",
    "prometheus-node-exporter": "node_exporter",
}
"""The packages whose programs answer sovtui's questions, as they are called."""
TEXTFILES = "/var/lib/prometheus/node-exporter"
TOOLS = ("unshare", "nsenter", "ip", "setpriv", "ssh", "ssh-keygen", "pgrep", "apt-get", "setsid")
Command = str | Sequence[str]
Result = subprocess.CompletedProcess[str]

_in_use: dict[str, int] = {}  # key of a tree -> descriptor with a shared lock, held as long as this process lives


class BoxError(RuntimeError):
    """The box could not be built, booted or brought into the wanted state."""


def why_not() -> str | None:
    """The reason why no box can be had here, or None."""
    if os.environ.get("SOVTUI_NO_BOX"):
        return "SOVTUI_NO_BOX is set"
    if os.geteuid() != 0:
        return "a booted box needs root (namespaces, mounts, veth)"
    for tool in TOOLS:
        if not shutil.which(tool):
            return f"the program {tool} is missing"
    probe = ["unshare", "--pid", "--mount", "--net", "--cgroup", "--time", "--fork", "true"]
    if subprocess.run(probe, capture_output=True).returncode:
        return "this kernel or container does not allow new namespaces"
    return None


# -- the root file system ----------------------------------------------------------------------------


def release() -> str:
    """Which release boxes are of; BoxError for one that is not known."""
    wanted = os.environ.get("SOVTUI_BOX_RELEASE") or USUAL
    if wanted not in RELEASES:
        raise BoxError(f"SOVTUI_BOX_RELEASE is {wanted!r}; there is {', '.join(RELEASES)}")
    return wanted


def tree_key() -> str:
    """A hash over the release and every file that ends up in the root file system, names and modes included."""
    files = [HERE / n for n in ("build.sh", "packages.txt", "sudoers", "pretend_engine.py")]
    files += sorted(p for p in (HERE / "tree").rglob("*") if p.is_file())
    h = hashlib.sha256(RELEASES[release()].encode())
    for f in files:
        h.update(f"{f.relative_to(HERE)}\0{f.stat().st_mode & 0o111:o}\0{f.stat().st_size}\0".encode())
        h.update(f.read_bytes())
    return h.hexdigest()[:12]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def ensure_tree() -> Path:
    """The directory with ``tree``, ``key`` and ``key.pub``; builds them if need be (a minute the first time)."""
    key = tree_key()
    base = CACHE / key
    with _locked(CACHE / "lock"):
        base.mkdir(parents=True, exist_ok=True)
        if key not in _in_use:
            fd = os.open(base / "used", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_SH)
            _in_use[key] = fd
        if not (base / "built").exists():
            _prune(keep=key)
            suite = RELEASES[release()]
            (base / "suite").write_text(suite)
            done = subprocess.run(["bash", str(HERE / "build.sh"), str(base), suite], capture_output=True, text=True)
            if done.returncode:
                shutil.rmtree(base / "tree.new", ignore_errors=True)
                raise BoxError(f"the box could not be built (no package mirror?): {done.stderr.strip()[-600:]}")
    return base


def _prune(keep: str) -> None:
    """Removes trees of this release and other contents that no process and no box uses any more."""
    suite = RELEASES[release()]
    standing = {p.read_text().strip() for p in RUN.glob("*/tree") if p.is_file()}
    for other in CACHE.iterdir():
        if other.name == keep or not (other / "used").exists() or str(other / "tree") in standing:
            continue
        if (other / "suite").exists() and (other / "suite").read_text() != suite:
            continue
        with (other / "used").open("r+") as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(other, ignore_errors=True)


def versions(base: Path) -> dict[str, str]:
    """What a root file system is made of: its release, and the upstream version of each program that decides something."""
    about = dict(line.split("=", 1) for line in (base / "tree/etc/os-release").read_text().splitlines() if "=" in line)
    number = about["VERSION_ID"].strip('"')
    if about["ID"] == "debian":
        number = (base / "tree/etc/debian_version").read_text().strip()
    packages = {}
    for entry in (base / "tree/var/lib/dpkg/status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in entry.splitlines() if ": " in line and not line.startswith(" "))
        if "Version" in fields:
            packages[fields["Package"]] = fields["Version"].rpartition(":")[2].partition("-")[0].partition("+")[0]
    system = about["NAME"].strip('"').split()[0]
    return {
        "release": f"{system} {number}",
        **{name: packages[package] for package, name in DECIDE.items() if package in packages},
    }


# -- a box -------------------------------------------------------------------------------------------


@dataclass
class Box:
    """One running machine. ``root`` and ``write`` go around SSH; ``ssh`` is what an operator would do."""

    number: int
    hostname: str
    work: Path
    key_path: Path
    user: str = "ops"
    address: str = field(init=False)
    known_hosts_path: Path = field(init=False)
    _owner: int | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.address = f"198.18.{self.number}.2"
        self.known_hosts_path = self.work / "known_hosts"

    # the inside, as root and without SSH

    @property
    def pid(self) -> int:
        """The box's PID 1 as seen from here; another one after a reboot."""
        unshare = (self.work / "unshare.pid").read_text().strip()
        found = subprocess.run(["pgrep", "-P", unshare], capture_output=True, text=True).stdout.split()
        if not found:
            raise BoxError(f"box {self.number} is not running")
        return int(found[0])

    def root(self, command: Command, check: bool = True, input: str | None = None, timeout: float = 60.0) -> Result:
        """Runs a program (a list) or a shell line (a string) as root inside the box."""
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8"]
        return _run([*self.inside(), *environment, *argv], check, input, timeout)

    def inside(self) -> list[str]:
        """What a command line starts with to run in every namespace of the box.

        A shell of ours stands between, not nsenter's own fork: a machine that shuts down sends SIGSTOP to everything in it, nsenter
        then stops itself, does not notice that only its child is continued, and as it reaps nothing the box never ends.
        """
        namespaces = ["-m", "-u", "-i", "-p", "-n", "-C", "-T", "-F"]
        return ["nsenter", "-t", str(self.pid), *namespaces, "sh", "-c", '"$@"; exit $?', "inside"]

    def write(self, path: str, text: str, mode: str = "644") -> None:
        """Puts a file in the box in one step (written beside it, then renamed), directories included."""
        q, d = shlex.quote(path), shlex.quote(str(Path(path).parent))
        self.root(f"mkdir -p {d} && cat > {q}.new && chmod {mode} {q}.new && mv {q}.new {q}", input=text)

    def read(self, path: str) -> str:
        return self.root(["cat", path]).stdout

    @contextlib.contextmanager
    def rights(self, change: Callable[[str], str]) -> Iterator[None]:
        """Other lines of sudoers for a while: what `change` makes of those that there are."""
        path = "/etc/sudoers.d/sovtui"
        before = self.read(path)
        self.write(path, change(before), mode="440")
        try:
            yield
        finally:
            self.write(path, before, mode="440")

    def remove(self, *paths: str) -> None:
        self.root(["rm", "-rf", *paths])

    def systemctl(self, *args: str, check: bool = True) -> Result:
        return self.root(["systemctl", *args], check=check)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        lines = self.systemctl("show", unit, *(f"-p{p}" for p in properties)).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    # HTTP of the services in the box, which all listen on its loopback

    def http(self, port: int, path: str, data: object = None, timeout: float = 10.0) -> tuple[int, str]:
        """Status and body; status 0 where nobody listens."""
        argv = ["curl", "-sS", "-m", str(timeout), "-w", "\n%{http_code}", f"http://127.0.0.1:{port}{path}"]
        if data is not None:
            argv += ["-H", "content-type: application/json", "--data-binary", "@-"]
        text = None if data is None else json.dumps(data)
        done = self.root(argv, check=False, input=text, timeout=timeout + 5)
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def query(self, promql: str) -> list[dict[str, Any]]:
        """The ``result`` of an instant query to the box's Prometheus."""
        status, body = self.http(9090, "/api/v1/query?query=" + urllib.parse.quote(promql))
        if status != 200:
            raise BoxError(f"prometheus answered {status}: {body[:200]}")
        result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return result

    def alerts(self) -> list[dict[str, Any]]:
        """What the box's Alertmanager has, silenced ones included."""
        status, body = self.http(9093, "/api/v2/alerts")
        if status != 200:
            raise BoxError(f"alertmanager answered {status}: {body[:200]}")
        found: list[dict[str, Any]] = json.loads(body)
        return found

    def raise_alert(self, what: str, severity: str = "warning") -> None:
        """Makes the alert MyAlert fire (within some 5 s); several may stand at once."""
        name = hashlib.sha256(what.encode()).hexdigest()[:8]
        label = what.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        self.write(f"{TEXTFILES}/alert-{name}.prom", f'my_alert{{what="{label}",severity="{severity}"}} 1\n')

    def raise_hostile_alert(self) -> None:
        self.write(f"{TEXTFILES}/alert-hostile.prom", "my_hostile_alert 1\n")

    def clear_alerts(self) -> None:
        self.root(f"rm -f {TEXTFILES}/alert-*.prom")

    # pretend engines

    def fail(self, name: str, word: str = "") -> None:
        """Sets (or, without a word, takes back) what goes wrong at the next start of a model or unit."""
        if word:
            self.write(f"/etc/pretend/{name}.fail", word + "\n")
        else:
            self.remove(f"/etc/pretend/{name}.fail")

    def tune(self, unit: str, **knobs: object) -> None:
        """Sets the environment of a unit: ``tune("vllm-qwen36", load_seconds=5, tok_s=120)``; none resets it."""
        text = "".join(f"PRETEND_{k.upper()}={v}\n" for k, v in knobs.items())
        self.write(f"/etc/pretend/{unit}.env", text)

    # SSH

    def ssh_argv(self, command: str | None = None, user: str | None = None) -> list[str]:
        options = {
            "IdentityFile": self.key_path,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.known_hosts_path,
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": 5,
            "LogLevel": "ERROR",
        }
        flags = [word for k, v in options.items() for word in ("-o", f"{k}={v}")]
        tail = [] if command is None else [command]
        return ["ssh", "-F", "/dev/null", *flags, f"{user or self.user}@{self.address}", *tail]

    def ssh(
        self,
        command: Command,
        check: bool = False,
        input: str | None = None,
        timeout: float = 60.0,
        user: str | None = None,
    ) -> Result:
        """Runs a shell line (or a list, quoted) over SSH, as ``ops`` unless another user is named."""
        line = command if isinstance(command, str) else shlex.join(command)
        return _run(self.ssh_argv(line, user), check, input, timeout)

    def ssh_config(self, path: Path, alias: str = "testbox", user: str | None = None) -> Path:
        path.write_text(
            f"Host {alias}\n    HostName {self.address}\n    User {user or self.user}\n"
            f"    IdentityFile {self.key_path}\n    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {self.known_hosts_path}\n    StrictHostKeyChecking yes\n"
        )
        path.chmod(0o600)
        return path

    def home(self, tmp_path: Path, alias: str = "testbox", user: str | None = None) -> Path:
        """A HOME of its own for a subprocess, with .ssh/config, .ssh/known_hosts and .ssh/id_ed25519."""
        home = tmp_path / "home"
        ssh = home / ".ssh"
        ssh.mkdir(parents=True, exist_ok=True)
        ssh.chmod(0o700)
        shutil.copy(self.known_hosts_path, ssh / "known_hosts")
        shutil.copy(self.key_path, ssh / "id_ed25519")
        (ssh / "id_ed25519").chmod(0o600)
        self.ssh_config(ssh / "config", alias, user)
        text = (ssh / "config").read_text()
        text = text.replace(str(self.known_hosts_path), str(ssh / "known_hosts"))
        (ssh / "config").write_text(text.replace(str(self.key_path), str(ssh / "id_ed25519")))
        return home

    # faults

    def cut_network(self) -> None:
        """Drops every packet from and to the box, silently: what a dead link looks like."""
        rules = (
            "add table inet cut\n"
            "add chain inet cut i { type filter hook input priority 0; }\n"
            "add chain inet cut o { type filter hook output priority 0; }\n"
            'add rule inet cut i iif != "lo" drop\nadd rule inet cut o oif != "lo" drop\n'
        )
        _run(["ip", "netns", "exec", self.netns, "nft", "-f", "-"], True, rules, 10)

    def restore_network(self) -> None:
        _run(["ip", "netns", "exec", self.netns, "nft", "delete", "table", "inet", "cut"], False, None, 10)
        self.wait_for_ssh()

    def kill_sessions(self) -> None:
        """Kills sshd's process of every open connection; the listener stays."""
        self.root(["pkill", "-9", "-f", "^sshd(-session)?: [^/]"], check=False)

    def reset_connections(self) -> None:
        """Resets (RST) every established connection to sshd."""
        _run(
            ["ip", "netns", "exec", self.netns, "ss", "-K", "state", "established", "sport", "=", ":22"],
            False,
            None,
            10,
        )

    def freeze(self) -> None:
        """Stops every process of the box; the kernel still answers TCP."""
        v1 = Path(f"/sys/fs/cgroup/freezer/{self.netns}/freezer.state")
        if not v1.exists():
            Path(f"/sys/fs/cgroup/{self.netns}/cgroup.freeze").write_text("1")
            return
        v1.write_text("FROZEN")
        wait_for(lambda: v1.read_text().strip() == "FROZEN", 60, "the box to freeze")

    def thaw(self) -> None:
        v1 = Path(f"/sys/fs/cgroup/freezer/{self.netns}/freezer.state")
        if v1.exists():
            v1.write_text("THAWED")
        else:
            Path(f"/sys/fs/cgroup/{self.netns}/cgroup.freeze").write_text("0")

    def reboot(self, wait: bool = True) -> None:
        before = self.boot_id()
        self.root(["systemctl", "reboot"], check=False)
        if wait:
            wait_for(lambda: self.boot_id(missing="") not in ("", before), 60, "the box to reboot")
            self.wait_up()

    def boot_id(self, missing: str | None = None) -> str:
        try:
            return self.root(["cat", "/proc/sys/kernel/random/boot_id"], timeout=10).stdout.strip()
        except (BoxError, OSError, subprocess.SubprocessError):
            if missing is None:
                raise
            return missing

    @contextlib.contextmanager
    def real_caches(self) -> Iterator[None]:
        """What drops the page cache drops it: that of the whole machine. Otherwise a file that is written to takes its place."""
        self.root(["umount", "/proc/sys/vm/drop_caches"])
        try:
            yield
        finally:
            self.root(["mount", "--bind", "/run/.drop_caches", "/proc/sys/vm/drop_caches"])

    # life

    @property
    def netns(self) -> str:
        return f"sovbox-{self.number}"

    def wait_for_ssh(self, timeout: float = 60.0) -> None:
        wait_for(lambda: self.ssh("true", timeout=10).returncode == 0, timeout, "sshd to let ops in")

    def wait_up(self, timeout: float = 60.0) -> None:
        """Until systemd says running, users may log in, and the three Prometheus services answer."""
        self.root(["systemctl", "is-system-running", "--wait"], check=False, timeout=timeout)
        self.wait_for_ssh()
        for port, path in ((9100, "/"), (9093, "/-/ready"), (9090, "/-/ready")):
            wait_for(lambda port=port, path=path: self.http(port, path)[0] == 200, timeout, f"port {port}")  # type: ignore[misc]

    def down(self) -> None:
        """Takes the box away, whatever state it is in; twice is fine."""
        _down(self.work, self.number)
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None


def wait_for(condition: Callable[[], bool], timeout: float = 60.0, what: str = "a condition") -> None:
    """Polls until true; BoxError after the timeout."""
    end = time.monotonic() + timeout
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if condition():
                return
        if time.monotonic() > end:
            raise BoxError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(0.05)


def boot(hostname: str = "testbox", keep: bool = False, wait: bool = True) -> Box:
    """Boots a box (about a second once the tree is there). ``keep``: it outlives this process."""
    if reason := why_not():
        raise BoxError(reason)
    base = ensure_tree()
    owner: int | None = None
    with _locked(RUN / "lock"):
        number = _free_number()
        work = RUN / str(number)
        work.mkdir()
        (work / "tree").write_text(str(base / "tree"))
        (work / "hostname").write_text(hostname)
        if not keep:
            owner = os.open(work / "owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(owner, fcntl.LOCK_EX)
    # the key is copied so that a later build cannot take it from under a box by hand
    key = work / "key"
    shutil.copy(base / "key", key)
    key.chmod(0o600)
    box = Box(number, hostname, work, key, _owner=owner)
    try:
        _run(["bash", str(HERE / "up.sh"), str(work), str(number), hostname, str(base / "tree")], True, None, 60)
        if wait:
            box.wait_up()
    except BaseException:
        box.down()
        raise
    return box


def attach(number: int) -> Box:
    """A box that is already running."""
    work = RUN / str(number)
    return Box(number, (work / "hostname").read_text(), work, work / "key")


def running() -> list[int]:
    return sorted(int(p.name) for p in RUN.glob("*") if p.name.isdigit())


def sweep() -> list[int]:
    """Takes down boxes whose test process died; those kept by hand stay. Returns their numbers."""
    gone: list[int] = []
    with _locked(RUN / "lock"):
        for number in running():
            owner = RUN / str(number) / "owner"
            if not owner.exists():
                continue
            with owner.open("r+") as f:
                try:
                    fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                _down(RUN / str(number), number)
                gone.append(number)
    return gone


def _down(work: Path, number: int) -> None:
    subprocess.run(["bash", str(HERE / "down.sh"), str(work), str(number)], capture_output=True, timeout=60)


def _free_number() -> int:
    """The one after the last that anybody took: where a box died, nobody answers for a long while. Under the lock."""
    last = RUN / "last"
    told = last.read_text() if last.exists() else ""
    start = int(told) if told.isdigit() else 0
    for i in range(250):
        number = (start + i) % 250 + 1
        if not (RUN / str(number)).exists() and not Path(f"/run/netns/sovbox-{number}").exists():
            last.write_text(str(number))
            return number
    raise BoxError("250 boxes are running; take some down (python -m tests.box down all)")


def _run(argv: Sequence[str], check: bool, input: str | None, timeout: float) -> Result:
    stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if input is None else {"input": input}
    done = subprocess.run(
        list(argv), capture_output=True, text=True, errors="replace", timeout=timeout, **stdin
    )  # fmt: skip
    if check and done.returncode:
        tail = (done.stderr.strip() or done.stdout.strip())[-600:]
        raise BoxError(f"{shlex.join(argv)} ended with {done.returncode}: {tail}")
    return done
