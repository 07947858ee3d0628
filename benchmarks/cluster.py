"""The Compose cluster: time to build, to healthy and for the demo, memory of each service. `make bench NAME=cluster`

Memory is what `docker stats` shows, page cache left out; the peak of all is the greatest sum of one moment.

A project of its own, with the ports of .env: stop a cluster that uses them first. Its volumes are deleted at the end.
"""

import os
import re
import subprocess
import threading
import time
from collections import defaultdict

from benchmarks.common import show
from warehouse.config import PROJECT

UNITS = {"B": 1 / (1 << 20), "KiB": 1 / (1 << 10), "MiB": 1, "GiB": 1 << 10}


def main() -> None:
    os.environ |= {"COMPOSE_PROJECT_NAME": "warehouse-bench", "COMPOSE_PROFILES": ""}  # without Jenkins
    steps = {}
    try:
        script("stack.sh", "down", "--volumes", stdin="yes\n")
        script("make_env.sh")
        steps["build the image (from cache where it is there)"] = script("compose.sh", "build", "namenode")[0]
        started = time.monotonic()
        script("compose.sh", "up", "-d", "--no-build")
        script("stack.sh", "wait")
        steps["start until healthy"] = time.monotonic() - started
        steps["create the tables (run_setup.sh)"] = script("run_setup.sh")[0]
        services = containers()
        rest = memory(services)
        peak, stop = dict(rest), threading.Event()
        watcher = threading.Thread(target=watch, args=(services, peak, stop))
        watcher.start()
        try:
            seconds, said = script("compose.sh", "exec", "-T", "spark-client", "python", "-m", "scripts.cluster_demo")
        finally:
            stop.set()
            watcher.join()
        for name, taken in re.findall(r"^  (\S.*?) +([\d.]+) s ", said, re.MULTILINE):
            steps.setdefault(f"demo: {name}", float(taken))
        steps["demo, all together"] = seconds
        script("stack.sh", "down")
        started = time.monotonic()
        script("compose.sh", "up", "-d", "--no-build")
        script("stack.sh", "wait")
        steps["start until healthy, after down"] = time.monotonic() - started
    finally:
        script("stack.sh", "down", "--volumes", stdin="yes\n")
    show("The cluster", ["step", "seconds"], [[name, seconds] for name, seconds in steps.items()])
    show("Memory in use, MiB", ["service", "at rest", "peak of the demo"], [[n, rest[n], peak[n]] for n in rest])


def script(name: str, *arguments: str, stdin: str = "") -> tuple[float, str]:
    """Seconds and output of one of scripts/; what it says of a failure ends the benchmark."""
    started = time.monotonic()
    done = subprocess.run([PROJECT / "scripts" / name, *arguments], input=stdin, capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{name}: {done.stderr}")
    return time.monotonic() - started, done.stdout


def containers() -> dict[str, str]:
    """Id of each container → its service."""
    ids = script("compose.sh", "ps", "-q")[1].split()
    form = '{{index .Config.Labels "com.docker.compose.service"}}'
    services = subprocess.run(["docker", "inspect", "--format", form, *ids], capture_output=True, text=True).stdout
    return dict(zip(ids, services.split(), strict=True))


def memory(services: dict[str, str]) -> dict[str, float]:
    """Service → MiB in use, all its containers together; `all` is the sum."""
    stats = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", *services]
    used = subprocess.run(stats, capture_output=True, text=True).stdout
    found: dict[str, float] = defaultdict(float)
    for service, line in zip(services.values(), used.splitlines(), strict=True):
        number, unit = re.match(r"([\d.]+)(\w+)", line).groups()  # type: ignore[union-attr]
        found[service] += float(number) * UNITS[unit]
    return dict(sorted(found.items())) | {"all": sum(found.values())}


def watch(services: dict[str, str], peak: dict[str, float], stop: threading.Event) -> None:
    """Raise each service's peak, and that of all at one moment, until told to stop."""
    while not stop.wait(2):
        for service, used in memory(services).items():
            peak[service] = max(peak.get(service, 0), used)


if __name__ == "__main__":
    main()
