"""What Spark's Python workers start from."""

import socket
import sys

import pyarrow as pa
import pytest

from warehouse import workers


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
