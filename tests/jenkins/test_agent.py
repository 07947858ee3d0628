"""The agent's start script, against a stand-in of the controller and of Java."""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the agent's image has curl; this machine has not")

SCRIPT = Path(__file__).parents[2] / "jenkins" / "agent.sh"
SECRET = "0123456789abcdef" * 4
JAVA = """#!/usr/bin/env bash
{ printf '%s ' "$@"; echo; cat "$HOME/agent/agent.jar"; echo; cat "$SECRET_FILE"; echo; } >>"$HOME/java"
[ ! -e "$HOME/stays" ] || exec -a "java $*" sleep 600
exit 1
"""


class Controller(ThreadingHTTPServer):
    """Answers as Jenkins does while it starts (503), when it is cut off in the middle of the jar, and when it is up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.state = "starting"
        self.jar = b"the whole jar"
        self.asked = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Controller

    def do_GET(self) -> None:
        assert self.path == "/jnlpJars/agent.jar"
        self.server.asked += 1
        if self.server.state == "starting":
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.jar)))
        self.end_headers()
        self.wfile.write(self.server.jar[:5] if self.server.state == "cut" else self.server.jar)

    def log_message(self, *_: object) -> None:
        """Silence."""


class Agent:
    """The script as a process of its own, and what it has said and done."""

    def __init__(self, home: Path, controller: Controller, pause: str) -> None:
        self.home = home
        self.controller = controller
        self.secret = home / "shared" / "secret"
        java = home / "bin" / "java"
        for file in (self.secret, java):
            file.parent.mkdir()
        java.write_text(JAVA)
        java.chmod(0o755)
        variables = {
            "HOME": str(home),
            "PATH": f"{java.parent}:{os.environ['PATH']}",
            "JENKINS_URL": controller.url,
            "JENKINS_AGENT_SECRET": str(self.secret),
            "SECRET_FILE": str(self.secret),
            "JENKINS_AGENT_PAUSE": pause,
        }
        with (home / "said").open("w") as said:
            self.process = subprocess.Popen([SCRIPT], env=os.environ | variables, stdout=said, start_new_session=True)

    def said(self) -> list[str]:
        return (self.home / "said").read_text().splitlines()

    def runs(self) -> list[list[str]]:
        """Of each Java that was started: its arguments, the jar, the secret."""
        file = self.home / "java"
        lines = file.read_text().splitlines() if file.exists() else []
        return [lines[start : start + 3] for start in range(0, len(lines) - 2, 3)]


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


@pytest.fixture
def controller() -> Iterator[Controller]:
    controller = Controller()
    yield controller
    controller.shutdown()
    controller.server_close()


@pytest.fixture
def start(tmp_path: Path, controller: Controller) -> Iterator[Callable[..., Agent]]:
    started: list[Agent] = []

    def start(pause: str = "0.05") -> Agent:
        started.append(Agent(tmp_path, controller, pause))
        return started[-1]

    yield start
    for agent in started:
        with suppress(ProcessLookupError):
            os.killpg(agent.process.pid, signal.SIGKILL)
        agent.process.wait()


def test_it_waits_for_the_controller_then_for_its_secret_and_says_so_once(
    start: Callable[..., Agent], controller: Controller
) -> None:
    agent = start()
    wait_for(lambda: controller.asked >= 4)
    waits = f"agent: waits for the controller at {controller.url}"
    assert agent.said() == [waits]

    controller.state = "up"
    wait_for(lambda: len(agent.said()) > 1)
    assert agent.said()[1:] == [f"agent: waits for its secret in {agent.secret}"] and not agent.runs()

    (agent.home / "stays").touch()
    agent.secret.write_text(SECRET)
    wait_for(agent.runs)
    assert agent.said()[2:] == [f"agent: connects to {controller.url}"]
    [[arguments, jar, _]] = agent.runs()
    work = agent.home / "agent"
    assert jar == "the whole jar"
    assert arguments.split()[-12:] == [
        "-jar",
        f"{work}/agent.jar",
        "-url",
        controller.url,
        "-name",
        "spark",
        "-secret",
        f"@{agent.secret}",
        "-webSocket",
        "-workDir",
        str(work),
        "-noReconnect",
    ]


def test_a_jar_that_is_cut_short_is_not_run(start: Callable[..., Agent], controller: Controller) -> None:
    controller.state = "cut"
    agent = start()
    agent.secret.write_text(SECRET)
    wait_for(lambda: controller.asked >= 3)
    assert not agent.runs() and not (agent.home / "agent" / "agent.jar").exists()
    controller.state = "up"
    wait_for(agent.runs)
    assert {jar for _, jar, _ in agent.runs()} == {"the whole jar"}


def test_when_java_ends_it_begins_again_with_the_controller_s_new_jar_and_secret(
    start: Callable[..., Agent], controller: Controller
) -> None:
    controller.state = "up"
    agent = start()
    agent.secret.write_text(SECRET)
    wait_for(lambda: len(agent.runs()) >= 2)
    controller.state = "starting"
    wait_for(lambda: agent.said()[-1].startswith("agent: waits for the controller"))
    assert {(jar, secret) for _, jar, secret in agent.runs()} == {("the whole jar", SECRET)}

    before = len(agent.runs())
    controller.jar = b"a newer jar"
    agent.secret.write_text(SECRET[::-1])
    controller.state = "up"
    wait_for(lambda: len(agent.runs()) > before)
    assert agent.runs()[before][1:] == ["a newer jar", SECRET[::-1]]
    assert "agent: the connection has ended" in agent.said()


def of_all_processes(name: str) -> list[str]:
    """A file that /proc has of each."""
    texts = []
    for file in Path("/proc").glob(f"[0-9]*/{name}"):
        try:
            texts.append(file.read_text(errors="replace"))
        except OSError:  # it has ended
            continue
    return texts


def test_the_secret_is_in_no_command_line_and_not_in_what_is_said(
    start: Callable[..., Agent], controller: Controller
) -> None:
    controller.state = "up"
    agent = start()
    (agent.home / "stays").touch()
    agent.secret.write_text(SECRET)
    seen: list[str] = []

    def java_is_seen() -> bool:
        seen.extend(of_all_processes("cmdline"))
        return any(f"@{agent.secret}" in line for line in seen)

    wait_for(java_is_seen)
    assert not [line for line in seen if SECRET in line]
    assert SECRET not in "".join(agent.said())


@pytest.mark.parametrize("state", ["starting", "up"])
def test_term_ends_it_at_once_whether_it_waits_or_is_connected(
    start: Callable[..., Agent], controller: Controller, state: str
) -> None:
    controller.state = state
    agent = start(pause="600")
    (agent.home / "stays").touch()
    agent.secret.write_text(SECRET)
    wait_for(agent.runs if state == "up" else agent.said)
    agent.process.terminate()
    assert agent.process.wait(timeout=60) == 143

    def running() -> list[str]:
        """The processes of its group that are no zombies: state, parent and group follow the name."""
        facts = [text.rpartition(")")[2].split() for text in of_all_processes("stat")]
        return [state for state, _, group, *_ in facts if int(group) == agent.process.pid and state != "Z"]

    wait_for(lambda: not running())
