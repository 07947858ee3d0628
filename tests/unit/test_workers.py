"""What Spark's Python workers start from, and how Python hands lists to Java."""

import socket
import sys

import pyarrow as pa
import pytest

from warehouse import workers
from warehouse.session import java_class


def test_workers_seek_modules_in_no_jar_or_zip_and_have_what_they_need(spark):
    def look(batches):
        list(batches)
        found = [entry for entry in sys.path if entry.endswith((".jar", ".zip"))]
        loaded = [name for name in ("warehouse.gold", "warehouse.landing") if name in sys.modules]
        yield pa.RecordBatch.from_pydict({"found": [" ".join(found)], "loaded": [" ".join(loaded)]})

    rows = spark.range(1).mapInArrow(look, "found string, loaded string").collect()
    assert {tuple(row) for row in rows} == {("", "warehouse.gold warehouse.landing")}


def test_a_worker_that_java_no_longer_listens_to_ends_without_a_word(monkeypatch, capfd):
    ours, theirs = socket.socketpair()
    theirs.close()

    def work(connection: socket.socket, authenticated: bool) -> int:
        connection.sendall(b"what nobody waits for")
        return 0

    monkeypatch.setattr(workers, "work", work)
    with ours:
        assert workers.worker(ours, True) == 1
    assert capfd.readouterr() == ("", "")


def test_another_fault_of_a_worker_is_told(monkeypatch):
    def work(connection: socket.socket, authenticated: bool) -> int:
        raise ValueError("a fault")

    monkeypatch.setattr(workers, "work", work)
    with socket.socket() as connection, pytest.raises(ValueError, match="a fault"):
        workers.worker(connection, True)


@pytest.mark.parametrize("length", [0, 1, 10, 11, 35])
def test_a_list_reaches_java_whole_and_in_a_few_messages(spark, monkeypatch, length):
    sent = []
    client = spark._jvm._gateway_client
    send = type(client).send_command
    monkeypatch.setattr(type(client), "send_command", lambda *a, **k: sent.append(a[1]) or send(*a, **k))
    given = [str(number) for number in range(length)]
    array_list = java_class(spark, "java.util.ArrayList")
    array_list([])  # what is asked once is known from here on
    sent.clear()
    there = array_list(given)
    assert len([command for command in sent if not command.startswith("m")]) <= 2 + 2 * -(-length // 10)  # m: forgotten
    assert list(there) == given
    assert list(array_list([*given, None])) == [*given, None]
    assert spark.range(1).selectExpr(*[f"0 as c{number}" for number in given]).columns == [f"c{n}" for n in given]
