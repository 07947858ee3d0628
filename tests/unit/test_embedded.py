"""The Postgres server of the embedded home."""

import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest

from warehouse import embedded
from warehouse.embedded import GoldServer, start_gold, stop_gold
from warehouse.errors import WarehouseError


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
    pid = server_pid(home)
    assert start_gold(home) == server
    assert server_pid(home) == pid
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
    with pytest.raises(WarehouseError, match=r"postgresql\.conf.*server\.log"):
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
