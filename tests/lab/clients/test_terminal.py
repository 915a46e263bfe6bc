"""What needs a terminal or a connection: exec -it, attach -it, run -it --rm, port-forward, debug; with kubectl of each minor."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stockade.lab.demo.terminal import Terminal

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]
SECONDS = 60
TRAP = """sh -c 'trap "echo inter""rupted; exit" INT; echo wai""ting; while :; do sleep 0.1; done'"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: sh, image: alpine, stdin: true, tty: true, command: [sh]}
  - {name: web, image: nginx, ports: [{containerPort: 80, name: http}]}
"""


class Client:
    """kubectl in its namespace."""

    def __init__(self, player) -> None:
        self.player = player
        # 1.22.0 to 1.22.2 do not see the end of what they ran unless this is off (kubernetes/kubectl#1098)
        self.env = {**player.env, **({"KUBECTL_COMMAND_HEADERS": "false"} if player.minor == 22 else {})}
        self.program = f"{player.env['PATH'].partition(':')[0]}/kubectl"

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            input=stdin,
            check=False,
        )

    def terminal(self, *arguments: str) -> Terminal:
        return Terminal([self.program, *arguments], self.env)

    @contextmanager
    def forward(self, *arguments: str) -> Iterator[str]:
        """The address that port-forward listens at."""
        with self.terminal("port-forward", *arguments) as terminal:
            said = terminal.wait_for("->", SECONDS)
            yield re.search(r"Forwarding from (127\.0\.0\.1:\d+)", said)[1]


@pytest.fixture(scope="module")
def client(stage, kubectl) -> Iterator[Client]:
    player = stage.player(kubectl, "terminal")
    made = Client(player)
    assert made.run("apply", "-f", "-", stdin=POD).returncode == 0
    ready = made.run("wait", "--for=condition=Ready", "pod/shell", f"--timeout={SECONDS}s")
    assert ready.returncode == 0, ready
    yield made
    stage.leave(player)


def test_exec_in_a_terminal(client):
    with client.terminal("exec", "-it", "shell", "-c", "sh", "--", "sh") as terminal:
        terminal.settle(seconds=SECONDS)
        assert terminal.ask("stty size") == "40 160"
        assert terminal.ask("tty").startswith("/dev/")
        assert terminal.ask("echo $((6 * 7))") == "42"
        terminal.type(TRAP)
        terminal.wait_for("waiting", SECONDS)
        terminal.interrupt()
        terminal.wait_for("interrupted", SECONDS)
        terminal.settle(seconds=SECONDS)
        terminal.type("exit 7")
        left, code = terminal.finish(SECONDS)
    assert code == 7
    assert "command terminated with exit code 7" in left


def test_attach_in_a_terminal(client):
    with client.terminal("attach", "-it", "shell", "-c", "sh") as terminal:
        terminal.settle(seconds=SECONDS)
        assert terminal.ask("echo attached to $((6 * 7))") == "attached to 42"
    assert "attached to 42" in client.run("logs", "shell", "-c", "sh").stdout


def test_run_in_a_terminal_and_remove(client):
    command = ("run", "once", "--rm", "-it", "--restart=Never", "--image=alpine", "--", "sh")
    with client.terminal(*command) as terminal:
        terminal.settle(seconds=SECONDS)
        assert terminal.ask("echo hello") == "hello"
        terminal.type("exit 3")
        left, code = terminal.finish(SECONDS)
    assert 'pod "once" deleted' in left
    assert code == 3, left
    assert client.run("get", "pod", "once").returncode == 1


def test_run_with_input_from_a_pipe(client):
    command = ("run", "pipe", "--rm", "-i", "--quiet", "--restart=Never", "--image=alpine", "--", "cat")
    done = client.run(*command, stdin="through a pipe\n")
    assert done.returncode == 0, done
    assert "through a pipe" in done.stdout


@pytest.mark.parametrize("target", ["pod/shell", "service/shell"])
def test_port_forward(client, target):
    if target.startswith("service"):
        client.run("label", "pod", "shell", "app=shell", "--overwrite")
        client.run("expose", "pod", "shell", "--port=8080", "--target-port=http")
    port = ":8080" if target.startswith("service") else ":80"
    with client.forward(target, port) as address:
        for _ in range(3):
            with urllib.request.urlopen(f"http://{address}/", timeout=SECONDS) as response:
                assert b"Welcome to nginx!" in response.read()


def test_port_forward_to_nobody(client):
    done = client.run("port-forward", "pod/nope", ":80")
    assert done.returncode == 1
    assert 'pods "nope" not found' in done.stderr


def test_debug_joins_a_pod(client, kubectl):
    """An ephemeral container: its own image, the pod's network. Before 1.23 kubectl wrote a form that servers no longer take."""
    if kubectl < 23:
        pytest.skip(
            "kubectl before 1.23 speaks of ephemeral containers in a form that no server from 1.23 on takes"
        )
    command = ("debug", "shell", "-it", "--image=alpine", "--container=debugger", "--", "sh")
    with client.terminal(*command) as terminal:
        terminal.settle(seconds=SECONDS)
        assert "Welcome to nginx!" in terminal.ask("wget -qO- http://localhost/")
        terminal.type("exit")
        terminal.finish(SECONDS)
    described = client.run("describe", "pod", "shell").stdout
    assert re.search(r"Ephemeral Containers:\n +debugger:", described), described
