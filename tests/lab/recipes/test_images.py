"""Images in a running lab: stand-ins say what they are, and an image from docker save runs as its configuration says."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(120)]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
START = "#!/bin/sh\necho started as $(id -u):$(id -g) in $PWD with $COLOUR and $*\nexec sleep 3600\n"


def add(archive: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def docker_save(path: Path) -> None:
    """A shell with its libraries in one layer, a script in another, as docker save writes them."""
    busybox = shutil.which("busybox") or ""
    libraries = [
        w
        for w in subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout.split()
        if w[0] == "/"
    ]
    lower, upper = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=lower, mode="w:gz") as layer:
        for place in libraries:
            add(layer, place.lstrip("/"), Path(place).read_bytes(), 0o755)
        add(layer, "bin/busybox", Path(busybox).read_bytes(), 0o755)
        for applet in ("sh", "id", "sleep"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            layer.addfile(link)
        add(layer, "etc/passwd", b"app:x:1000:1001::/:/bin/sh\n")
        add(layer, "hidden", b"x")
    with tarfile.open(fileobj=upper, mode="w") as layer:
        add(layer, "start", START.encode(), 0o755)
        add(layer, ".wh.hidden", b"")
    config = {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {
            "Entrypoint": ["/start"],
            "Cmd": ["arguments"],
            "Env": ["COLOUR=blue", "PATH=/bin"],
            "WorkingDir": "/work",
            "User": "app",
        },
    }
    manifest = [{"Config": "c.json", "RepoTags": ["team/own:1"], "Layers": ["1.tar", "2.tar"]}]
    with tarfile.open(path, "w") as whole:
        add(whole, "1.tar", lower.getvalue())
        add(whole, "2.tar", upper.getvalue())
        add(whole, "c.json", json.dumps(config).encode())
        add(whole, "manifest.json", json.dumps(manifest).encode())


def stockade(env: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stockade.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def test_an_image_of_ones_own(stages, tmp_path) -> None:
    stage = stages[0]
    docker_save(tmp_path / "own.tar")
    done = stockade(stage.env, "image", "load", str(tmp_path / "own.tar"))
    assert (done.returncode, done.stderr) == (0, "image docker.io/team/own:1 loaded\n")
    assert "docker.io/team/own:1\tloaded\t" in stockade(stage.env, "image", "list").stdout
    stage.run("run", "own", "--image=team/own:1")
    stage.run("wait", "--for=condition=Ready", "pod/own", "--timeout=20s")
    assert stage.run("logs", "own") == "started as 1000:1001 in /work with blue and arguments\n"
    assert stage.run("exec", "own", "--", "sh", "-c", "echo /hidden*") == "/hidden*\n"
    stage.run("delete", "pod", "own", "--grace-period=0", "--force")
    assert stockade(stage.env, "image", "rm", "team/own:1").returncode == 0
    assert "team/own" not in stockade(stage.env, "image", "list").stdout


def test_events_name_a_stand_in(stages) -> None:
    stage = stages[0]
    stage.run("run", "db", "--image=redis:4")
    stage.run("wait", "--for=condition=Ready", "pod/db", "--timeout=20s")
    events = json.loads(stage.run("get", "events", "-o", "json"))["items"]
    pulled = [e["message"] for e in events if e["reason"] == "Pulled" and e["involvedObject"]["name"] == "db"]
    assert len(pulled) == 1
    assert "stand-in for redis" in pulled[0]
    assert "redis\tbuilt-in stand-in\n" in stockade(stage.env, "image", "list").stdout
    assert stage.run("exec", "db", "--", "redis-cli", "ping") == "PONG\n"
    stage.run("delete", "pod", "db", "--grace-period=0", "--force")


def test_agnhost_probes_as_test_suites_do(stages) -> None:
    """/agnhost serve-hostname, netexec, porter and connect; bash and curl as far as this machine has them."""
    stage = stages[0]
    image = "--image=registry.k8s.io/e2e-test-images/agnhost:2.43"
    stage.run("run", "server", image, "--", "netexec", "--http-port=80", "--udp-port=80")
    stage.run("run", "client", image)
    stage.run("wait", "--for=condition=Ready", "pod/server", "pod/client", "--timeout=20s")
    ip = json.loads(stage.run("get", "pod", "server", "-o", "json"))["status"]["podIP"]

    def probe(port: int, protocol: str) -> str:
        line = f"/agnhost connect {ip}:{port} --timeout=2s --protocol={protocol}; echo $?"
        return stage.run("exec", "client", "--", "bash", "-c", f"exec 2>&1; {line}")

    assert probe(80, "tcp") == probe(80, "udp") == "0\n"
    assert probe(81, "tcp") == "REFUSED\n1\n"
    assert stage.run("exec", "client", "--", "wget", "-qO-", f"http://{ip}/hostname") == "server"
    stage.run("delete", "pod", "server", "client", "--grace-period=0", "--force")


def test_pull_says_what_is_missing_and_uses_skopeo(tmp_path, monkeypatch) -> None:
    docker_save(tmp_path / "own.tar")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = stockade(os.environ, "image", "pull", "team/own:1")
    assert done.returncode == 2
    assert "pulling needs skopeo" in done.stderr
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    skopeo = tmp_path / "skopeo"
    skopeo.write_text(
        f'#!/bin/sh\necho "$@" >{tmp_path}/asked\ncp {tmp_path}/own.tar "${{4#docker-archive:}}"\n'
    )
    skopeo.chmod(0o755)
    assert stockade(os.environ, "image", "pull", "team/own:1").returncode == 0
    asked = (tmp_path / "asked").read_text()
    assert asked.startswith("copy --quiet docker://docker.io/team/own:1 docker-archive:")
    assert "docker.io/team/own:1\tloaded\t" in stockade(os.environ, "image", "list").stdout
    skopeo.write_text("#!/bin/sh\necho no such host >&2\nexit 1\n")
    done = stockade(os.environ, "image", "pull", "team/other:1")
    assert (done.returncode, done.stderr) == (2, "stockade: team/other:1: no such host\n")
