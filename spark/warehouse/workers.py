"""What starts Spark's Python workers, in place of pyspark.daemon, which it then is.

Spark puts its jar and zips on their path, and each task of theirs reads the directories of all of these anew
(importlib.invalidate_caches: 0.1 s a task). Here they are not needed, since PySpark is installed. And what every
worker would import, each is forked with.
"""

import socket
import sys

sys.path[:] = [entry for entry in sys.path if not entry.endswith((".jar", ".zip"))]
sys.path_importer_cache.clear()

from pyspark import daemon  # noqa: E402 - needs the path

import warehouse.gold  # noqa: E402
import warehouse.landing  # noqa: E402, F401

work = daemon.worker


def worker(connection: socket.socket, authenticated: bool) -> int:
    """A worker that ends without a word where Java has hung up, as it does when a session ends."""
    try:
        return int(work(connection, authenticated))  # type: ignore[no-untyped-call]
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    daemon.worker = worker
    daemon.manager()  # type: ignore[no-untyped-call]
