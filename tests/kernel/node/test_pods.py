# ruff: noqa: ASYNC240, T201
# Scenarios are alone on their event loop; what they print is shown when they fail.
"""Pods as real processes: started, looked into, ended. Each test runs its scenario as the daemon below a zygote of its own."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from stockade.lab.node.runtime import LogOptions, NotRunningError, StreamOptions

pytestmark = pytest.mark.kernel


def run_scenario(name: str, directory: Path) -> None:
    here = Path(__file__)
    command = [sys.executable, str(here.with_name("pid1.py")), str(here), name, str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    [
        "runs_to_success",
        "exit_code_of_a_failed_pod",
        "command_not_found",
        "sees_nothing_of_the_host",
        "cannot_change_the_host",
        "exec_with_exit_code",
        "exec_in_a_terminal",
        "exec_takes_input",
        "attach_to_a_shell",
        "stdin_once",
        "serves_the_nginx_page",
        "waits_for_the_gate",
        "unknown_image_then_loaded",
        "loaded_image_is_not_changed",
        "deleted_with_grace",
        "deleted_by_force",
        "restarts_and_backs_off",
        "init_containers_come_first",
        "a_program_of_the_lab",
        "logs_follow_and_previous",
        "non_root_user",
        "address_is_not_reused_at_once",
        "says_what_it_leaves_out",
        "works_without_overlay",
        "readiness_and_liveness",
        "host_network",
        "hundred_pods",
    ],
)
def test_scenario(name: str, tmp_path: Path) -> None:
    run_scenario(f"scenario_{name}", tmp_path)


async def scenario_runs_to_success(lab) -> None:
    uid = lab.pod(
        "job", "sh", "-c", "hostname; echo $HOME; pwd; cat /etc/resolv.conf /etc/hosts", policy="Never"
    )
    await lab.finished("job")
    status = lab.status("job")
    assert status["phase"] == "Succeeded"
    assert lab.state("job")["terminated"]["exitCode"] == 0
    assert lab.state("job")["terminated"]["reason"] == "Completed"
    assert status["podIP"] == "10.244.0.2" == status["podIPs"][0]["ip"]
    assert status["hostIP"] == "172.30.0.1"
    assert (await lab.logs(uid, "job")).splitlines() == [
        "job",
        "/root",
        "/",
        "search default.svc.cluster.local svc.cluster.local cluster.local",
        "nameserver 10.96.0.10",
        "options ndots:5 timeout:1 attempts:2",
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.244.0.2\tjob",
    ]
    assert lab.events.reasons("job") == ["Pulled", "Created", "Started"]


async def scenario_exit_code_of_a_failed_pod(lab) -> None:
    lab.pod("job", "sh", "-c", "exit 7", policy="Never")
    lab.pod("killed", "sh", "-c", "kill -9 $$; sleep 5 & sh -c 'kill -9 $PPID'; exit 3", policy="Never")
    await lab.finished("job")
    await lab.finished("killed")
    assert lab.status("job")["phase"] == "Failed"
    assert lab.state("job")["terminated"]["exitCode"] == 7
    assert lab.state("job")["terminated"]["reason"] == "Error"
    assert lab.state("killed")["terminated"]["exitCode"] == 3  # pid 1 of a container is immune to its own


async def scenario_command_not_found(lab) -> None:
    lab.pod("job", "no-such-thing", policy="Never")
    uid = lab.pod("ok", "sleep", "100")
    await lab.finished("job")
    ended = lab.state("job")["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
    assert 'exec: "no-such-thing": executable file not found in $PATH' in ended["message"]
    await lab.running("ok")
    with pytest.raises(NotRunningError, match=r'exec: "nope": executable file not found in \$PATH'):
        await lab.runtime.exec(uid, "ok", ["nope"], StreamOptions())
    with pytest.raises(NotRunningError, match="stat /no/such: no such file or directory"):
        await lab.runtime.exec(uid, "ok", ["/no/such"], StreamOptions())
    with pytest.raises(NotRunningError, match="permission denied"):
        await lab.runtime.exec(uid, "ok", ["/etc/passwd"], StreamOptions())


async def scenario_sees_nothing_of_the_host(lab) -> None:
    uid = lab.pod("box", "sleep", "100")
    await lab.running("box")
    _, names, _ = await lab.sh(uid, "box", "ls -A / /home /root /tmp /mnt /var/log; cat /etc/passwd")
    expected = [
        "bin",
        "dev",
        "etc",
        "home",
        "mnt",
        "opt",
        "proc",
        "root",
        "run",
        "sbin",
        "srv",
        "sys",
        "tmp",
        "usr",
        "var",
    ]
    libraries = [name for name in ("lib", "lib32", "lib64") if Path("/", name).exists()]
    assert sorted(names.split("\n\n")[0].split()[1:]) == sorted(expected + libraries)
    assert "/home:\n\n/mnt:\n\n/root:\n\n/tmp:\n" in names
    _, pids, _ = await lab.sh(uid, "box", "ls /proc | grep -c '^[0-9]'; cat /proc/1/comm")
    assert int(pids.split()[0]) <= 5
    assert pids.split()[1] == "sleep"
    _, links, _ = await lab.sh(uid, "box", "grep -c : /proc/net/dev")
    assert links.strip() >= "1"
    host_file = lab.directory / "secret"
    host_file.write_text("host")
    code, _, _ = await lab.sh(uid, "box", f"cat {host_file} || cat /proc/1/root{host_file}")
    assert code == 1


async def scenario_cannot_change_the_host(lab) -> None:
    uid = lab.pod("box", "sleep", "100")
    await lab.running("box")
    for script, text in (
        ("mount -t tmpfs x /mnt", "denied"),
        ("mount -o remount,rw /usr/lib", "denied"),
        ("touch /usr/lib/x", "Read-only file system"),
        ("echo x > /opt/stockade/python/bin/python3", "Read-only file system"),
        ("echo x > /bin/busybox", "Read-only file system"),
        ("mknod /tmp/sda b 8 0", "Operation not permitted"),
        ("echo 1 > /proc/sys/vm/drop_caches", "Read-only file system"),
        ("hostname other", "not permitted"),
        ("umount /usr/lib", "not permitted"),
        ("nsenter -t 1 -m true", "not permitted"),
        ("unshare -U true", "not permitted"),
        ("unshare -n true", "not permitted"),
    ):
        code, _, error = await lab.sh(uid, "box", script)
        assert code != 0, script
        assert text.lower() in error.lower(), (script, error)
    _, privileges, _ = await lab.sh(uid, "box", "grep -E 'NoNewPrivs|CapBnd' /proc/self/status")
    assert "NoNewPrivs:\t1" in privileges
    _, seccomp, _ = await lab.sh(uid, "box", "grep Seccomp: /proc/self/status")
    assert seccomp.split() == ["Seccomp:", "2"]
    assert int(privileges.split()[1], 16) & (1 << 21 | 1 << 27 | 1 << 12) == 0  # SYS_ADMIN, MKNOD, NET_ADMIN


async def scenario_exec_with_exit_code(lab) -> None:
    uid = lab.pod("box", "sleep", "100", env=[{"name": "GREETING", "value": "hi"}])
    await lab.running("box")
    assert await lab.sh(uid, "box", "echo $GREETING; echo oops >&2; exit 42") == (42, "hi\n", "oops\n")
    session = await lab.runtime.exec(uid, "box", ["sh", "-c", "sleep 1234; true"], StreamOptions())
    await asyncio.sleep(0.1)
    await session.close()
    assert await session.wait() == 128 + signal.SIGKILL
    assert await lab.sh(uid, "box", "ps -o args | grep -c '^sleep 1234'") == (1, "0\n", "")
    # A process left behind that keeps the pipe open must not hold the session.
    code, out, _ = await lab.sh(uid, "box", "sleep 50 & echo done")
    assert (code, out) == (0, "done\n")
    # More than a pipe holds, and a slow reader.
    session = await lab.runtime.exec(uid, "box", ["sh", "-c", "yes | head -c 3000000"], StreamOptions())
    await asyncio.sleep(0.2)
    received = await session.stdout.read()
    assert len(received) == 3_000_000


async def scenario_exec_in_a_terminal(lab) -> None:
    uid = lab.pod("box", "sleep", "100")
    await lab.running("box")
    session = await lab.runtime.exec(uid, "box", ["sh"], StreamOptions(stdin=True, tty=True))
    assert session.stderr is None
    session.resize(111, 33)
    await session.write(b"tty; stty size; echo $TERM; exit 5\n")
    output = (await session.stdout.read()).decode()
    assert "/dev/pts/0\r\n" in output
    assert "33 111\r\n" in output
    assert "xterm\r\n" in output
    assert "/ # " in output
    assert await session.wait() == 5


async def scenario_exec_takes_input(lab) -> None:
    uid = lab.pod("box", "sleep", "100")
    await lab.running("box")
    session = await lab.runtime.exec(uid, "box", ["wc", "-c"], StreamOptions(stdin=True))
    await session.write(b"x" * 1_000_000)
    await session.close_stdin()
    assert (await session.stdout.read()).strip() == b"1000000"
    assert await session.wait() == 0
    await session.write(b"late")  # dropped


async def scenario_attach_to_a_shell(lab) -> None:
    uid = lab.pod("test", image="alpine", policy="Never", stdin=True, stdinOnce=True, tty=True, args=["ash"])
    await lab.running("test")
    options = StreamOptions(stdin=True, tty=True, stderr=False)
    session = await lab.runtime.attach(uid, "test", options)
    second = await lab.runtime.attach(uid, "test", StreamOptions(tty=True))
    await session.write(b"echo $((6*7)); exit 3\n")
    output = (await session.stdout.read()).decode()
    assert "42\r\n" in output
    assert "42\r\n" in (await second.stdout.read()).decode()
    assert await session.wait() == 3
    await lab.finished("test")
    assert lab.state("test")["terminated"]["exitCode"] == 3
    assert "42\r\n" in await lab.logs(uid, "test")
    with pytest.raises(NotRunningError):
        await lab.runtime.attach(uid, "test", options)


async def scenario_stdin_once(lab) -> None:
    uid = lab.pod("cat", "cat", policy="Never", stdin=True, stdinOnce=True)
    await lab.running("cat")
    session = await lab.runtime.attach(uid, "cat", StreamOptions(stdin=True))
    await session.write(b"hello\n")
    await session.close_stdin()
    assert await session.stdout.read() == b"hello\n"
    assert await session.wait() == 0


async def scenario_serves_the_nginx_page(lab) -> None:
    uid = lab.pod("web", image="nginx")
    await lab.running("web")
    for _ in range(100):
        try:
            reader, writer = await lab.runtime.connect(uid, 80)
            break
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    page = (await reader.read()).decode()
    writer.close()
    assert "<title>Welcome to nginx!</title>" in page
    assert "<h1>Welcome to nginx!</h1>" in page
    code, out, _ = await lab.sh(uid, "web", "wget -qO- --timeout 1 http://127.0.0.1:80/; which wget")
    assert code == 0
    assert "Thank you for using nginx." in out
    code, _, error = await lab.sh(uid, "web", "wget -O- --timeout 1 http://127.0.0.1")
    assert error.startswith("Connecting to 127.0.0.1 (127.0.0.1:80)\nwriting to stdout\n")
    code, out, error = await lab.sh(uid, "web", "wget -qO- --timeout 1 http://web.invalid:80/")
    assert (code, out, error) == (1, "", "wget: bad address 'web.invalid:80'\n")
    code, out, _ = await lab.sh(uid, "web", "ping -c 1 127.0.0.1")
    assert code == 0
    assert "PING 127.0.0.1 (127.0.0.1): 56 data bytes" in out
    assert "built-in stand-in for nginx" in next(
        message for _, _, reason, message in lab.events.seen if reason == "Pulled"
    )
    began = time.monotonic()
    lab.registry.delete("default", "web")
    await lab.until(lambda: not lab.registry.pods)
    assert time.monotonic() - began < 10  # ends by itself, long before the grace period


async def scenario_waits_for_the_gate(lab) -> None:
    lab.gate.is_open.clear()
    lab.pod("box", "sleep", "100")
    await lab.until(lambda: "FailedCreatePodSandBox" in lab.events.reasons("box"))
    assert lab.gate.asked[0] == ("box", "10.244.0.2")
    assert lab.status("box")["podIP"] == "10.244.0.2"
    assert lab.status("box")["phase"] == "Pending"
    assert lab.state("box") == {"waiting": {"reason": "ContainerCreating"}}
    assert "Started" not in lab.events.reasons("box")
    lab.gate.is_open.set()
    await lab.running("box")
    assert {address for _, address in lab.gate.asked} == {"10.244.0.2"}
    lab.gate.is_open.clear()
    lab.pod("never", "sleep", "100")
    await lab.until(lambda: "never" in [name for name, _ in lab.gate.asked])
    lab.registry.delete("default", "never")
    await lab.until(lambda: ("default", "never") not in lab.registry.pods)


async def scenario_unknown_image_then_loaded(lab) -> None:
    lab.pod("app", "/bin/tool", image="registry.example/team/tool:v2")
    await lab.until(
        lambda: lab.state("app").get("waiting", {}).get("reason") in {"ErrImagePull", "ImagePullBackOff"}
    )
    message = lab.state("app")["waiting"]["message"]
    assert "agnhost, alpine, " in message
    assert "stockade image load registry.example/team/tool:v2 PATH" in message
    root = lab.directory / "source"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_bytes(
        Path("/bin/busybox").read_bytes()
    )  # dynamically linked: cannot find its loader
    (root / "bin" / "tool").chmod(0o755)
    lab.images.load("registry.example/team/tool:v2", root)
    await lab.until(lambda: "Pulled" in lab.events.reasons("app"))


def program_that_exits(status: int) -> bytes:
    """A complete static ELF program: an image that holds nothing else needs no library of the host."""
    machine, code = {
        # mov edi, status; mov eax, 60 (exit); syscall
        "x86_64": (62, b"\xbf" + struct.pack("<I", status) + b"\xb8\x3c\x00\x00\x00\x0f\x05"),
        # mov x0, #status; mov x8, #93 (exit); svc #0
        "aarch64": (183, struct.pack("<III", 0xD2800000 | status << 5, 0xD2800BA8, 0xD4000001)),
    }[platform.machine()]
    base, start = 0x400000, 64 + 56
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    size = start + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000) + code


async def scenario_loaded_image_is_not_changed(lab) -> None:
    root = lab.directory / "source"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "motd").write_text("hi")
    (lab.directory / "outside").mkdir()
    (root / "etc" / "resolv.conf").symlink_to(lab.directory / "outside" / "resolv.conf")
    (root / "dev").symlink_to(lab.directory / "outside")
    (root / "app").write_bytes(program_that_exits(9))
    (root / "app").chmod(0o755)
    lab.images.load("own", root)
    lab.pod("own", "/app", image="own", policy="Never")
    await lab.finished("own")
    assert lab.state("own")["terminated"]["exitCode"] == 9
    assert not list((lab.directory / "outside").iterdir())
    stored = Path(lab.images.resolve("own").root)
    assert sorted(entry.name for entry in stored.iterdir()) == ["app", "dev", "etc"]


async def scenario_deleted_with_grace(lab) -> None:
    lab.pod("polite", "sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.05; done")
    lab.pod("stubborn", "sleep", "1000")
    await lab.running("polite")
    await lab.running("stubborn")
    began = time.monotonic()
    lab.registry.delete("default", "polite", 30)
    lab.registry.delete("default", "stubborn", 1)
    await lab.until(lambda: ("default", "polite") not in lab.registry.pods)
    assert time.monotonic() - began < 20
    await lab.until(lambda: not lab.registry.pods)
    assert time.monotonic() - began >= 1
    assert "Killing" in lab.events.reasons("polite")


async def scenario_deleted_by_force(lab) -> None:
    uid = lab.pod("box", "sleep", "1000")
    await lab.running("box")
    lab.registry.remove("pods", "default", "box")
    for _ in range(1000):
        try:
            await lab.runtime.attach(uid, "box", StreamOptions())
        except NotRunningError:
            break
        await asyncio.sleep(0.01)
    else:
        raise AssertionError("still there")


async def scenario_restarts_and_backs_off(lab) -> None:
    uid = lab.pod("crash", "sh", "-c", "echo run; exit 4")
    await lab.until(lambda: lab.state("crash").get("waiting", {}).get("reason") == "CrashLoopBackOff")
    entry = lab.status("crash")["containerStatuses"][0]
    assert entry["restartCount"] == 1
    assert entry["lastState"]["terminated"]["exitCode"] == 4
    assert "back-off 10s restarting failed container=crash" in entry["state"]["waiting"]["message"]
    assert lab.status("crash")["phase"] == "Running"
    assert not entry["ready"]
    assert await lab.logs(uid, "crash", previous=True) == "run\n"
    lab.pod("done", "true", policy="OnFailure")
    await lab.finished("done")
    assert lab.status("done")["phase"] == "Succeeded"


async def scenario_init_containers_come_first(lab) -> None:
    first = {"name": "first", "image": "alpine", "command": ["sh", "-c", "sleep 0.2; exit 0"]}
    lab.pod("app", "sleep", "100", spec={"initContainers": [first]})
    await lab.until(
        lambda: (lab.status("app").get("initContainerStatuses") or [{"state": {}}])[0]["state"].get("running")
    )
    assert lab.state("app") == {"waiting": {"reason": "PodInitializing"}}
    assert lab.status("app")["phase"] == "Pending"
    await lab.running("app")
    assert lab.status("app")["initContainerStatuses"][0]["ready"]
    ready = {entry["type"]: entry["status"] for entry in lab.status("app")["conditions"]}
    assert ready == dict.fromkeys(
        ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"), "True"
    )
    bad = {"name": "bad", "image": "alpine", "command": ["false"]}
    lab.pod("broken", "sleep", "100", policy="Never", spec={"initContainers": [bad]})
    await lab.finished("broken")
    assert lab.status("broken")["phase"] == "Failed"
    assert "Started" in lab.events.reasons("broken")
    assert lab.state("broken") == {"waiting": {"reason": "PodInitializing"}}


async def scenario_a_program_of_the_lab(lab) -> None:
    """The DNS server: a process as powerless as a container can be, in a root without programs, that ends on its own signal."""
    lines = []

    def attach():
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lines.append(ours)
        return theirs

    lab.feeds["dns"] = attach
    uid = lab.pod("dns", image="stockade.dev/coredns:1")
    await lab.running("dns")
    process = lab.runtime._workers[uid].containers[0].piped.process.pid
    told = dict(line.split(":\t", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    assert told["Uid"].split()[0] == "65532"
    assert int(told["CapEff"], 16) == int(told["CapBnd"], 16) == 0
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    root = Path(f"/proc/{process}/root")
    assert not any(path.stat().st_mode & 0o111 for path in root.glob("*bin/*"))
    kinds = [str(path.readlink()).partition(":")[0] for path in Path(f"/proc/{process}/fd").iterdir()]
    assert sorted(set(kinds)) == ["/dev/null", "pipe", "socket"], kinds  # no file, no directory of the lab
    with pytest.raises(NotRunningError, match="executable file not found"):
        await lab.runtime.exec(uid, "dns", ["sh"], StreamOptions())
    assert "UDP and TCP on port 53" in await lab.logs(uid, "dns")
    lines[0].close()
    await lab.until(lambda: lab.state("dns").get("terminated"))
    assert lab.state("dns")["terminated"]["exitCode"] == 1
    lab.registry.delete("default", "dns")
    await lab.until(lambda: not lab.registry.pods)


async def scenario_logs_follow_and_previous(lab) -> None:
    uid = lab.pod(
        "talk", "sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 0.1; printf end", policy="Never"
    )
    await lab.running("talk")
    pieces = [piece async for piece in lab.runtime.logs(uid, "talk", LogOptions(follow=True))]
    assert b"".join(pieces) == b"one\ntwo\nend"
    assert await lab.logs(uid, "talk", tail_lines=2) == "two\nend"
    with pytest.raises(NotRunningError, match="previous terminated container"):
        await lab.logs(uid, "talk", previous=True)


async def scenario_non_root_user(lab) -> None:
    uid = lab.pod("user", "sleep", "100", securityContext={"runAsUser": 1000, "runAsGroup": 1000})
    await lab.running("user")
    _, out, _ = await lab.sh(
        uid, "user", "id -u; id -g; echo $HOME; grep CapEff /proc/self/status > /dev/stdout"
    )
    assert out.split() == ["1000", "1000", "/", "CapEff:", "0000000000000000"]
    code, out, _ = await lab.sh(uid, "user", "echo x > /dev/null && wget --help 2>&1 | head -1")
    assert code == 0
    assert "wget" in out


async def scenario_address_is_not_reused_at_once(lab) -> None:
    lab.pod("a", "true", policy="Never")
    await lab.finished("a")
    lab.pod("b", "true", policy="Never")
    await lab.finished("b")
    assert [lab.status(name)["podIP"] for name in "ab"] == ["10.244.0.2", "10.244.0.3"]


async def scenario_says_what_it_leaves_out(lab) -> None:
    devices = [{"name": "data", "devicePath": "/dev/x"}]
    context = {"capabilities": {"add": ["SYS_PTRACE"]}}
    lab.pod("box", "sleep", "9", volumeDevices=devices, securityContext=context, spec={"hostPID": True})
    await lab.running("box")
    said = {reason: message for _, _, reason, message in lab.events.seen}
    assert said["Unsupported"] == "not acted upon in the lab: capability SYS_PTRACE, hostPID, volumeDevices"


async def scenario_readiness_and_liveness(lab) -> None:
    def probe(command: str) -> dict:
        return {"exec": {"command": ["sh", "-c", command]}, "periodSeconds": 0.05, "failureThreshold": 1}

    uid = lab.pod("box", "sleep", "1000", readinessProbe=probe("cat /tmp/ready"), livenessProbe=probe("! test -e /tmp/dead"),
                  spec={"terminationGracePeriodSeconds": 0})  # fmt: skip
    await lab.running("box")

    def entry() -> dict:
        return lab.status("box")["containerStatuses"][0]

    def ready() -> str:
        return next(c["status"] for c in lab.status("box")["conditions"] if c["type"] == "Ready")

    await lab.until(lambda: "Unhealthy" in lab.events.reasons("box"))
    assert (entry()["ready"], entry()["started"], ready()) == (False, True, "False")
    message = next(message for _, _, reason, message in lab.events.seen if reason == "Unhealthy")
    assert message == "Readiness probe failed: cat: can't open '/tmp/ready': No such file or directory"
    await lab.sh(uid, "box", "touch /tmp/ready")
    await lab.until(lambda: entry()["ready"] and ready() == "True")
    await lab.sh(uid, "box", "rm /tmp/ready")
    await lab.until(lambda: not entry()["ready"])
    await lab.sh(uid, "box", "touch /tmp/dead")
    await lab.until(lambda: entry()["restartCount"] == 1 and "running" in entry()["state"])
    assert entry()["lastState"]["terminated"]["exitCode"] == 137
    assert "Killing" in lab.events.reasons("box")


async def scenario_works_without_overlay(lab) -> None:
    # A comma in the path of the upper layer ends overlay's option: the kernel refuses, the tree is copied.
    parts = lab.kubelet._parts
    facts = msgspec.structs.replace(parts.facts, directory=lab.directory / "a,b")
    for name in ("rootfs", "volumes"):
        (facts.directory / name).mkdir(parents=True)
    lab.kubelet._parts = msgspec.structs.replace(parts, facts=facts)
    uid = lab.pod("box", "sleep", "100")
    await lab.running("box")
    code, out, _ = await lab.sh(
        uid, "box", "grep -c overlay /proc/mounts; touch /bin/x; cat /etc/hostname; mknod /x c 1 3"
    )
    assert out == "0\nbox\n"
    assert code != 0
    assert not list(lab.directory.rglob("bin/x"))


async def scenario_host_network(lab) -> None:
    lab.pod("node", "sh", "-c", "hostname; cat /etc/resolv.conf", policy="Never", spec={"hostNetwork": True})
    await lab.finished("node")
    assert lab.status("node")["podIP"] == "172.30.0.1"
    assert lab.gate.asked == []
    assert await lab.logs("uid-1", "node") == "node-1\n"


async def scenario_hundred_pods(lab) -> None:
    for number in range(100):
        lab.pod(f"p{number}", "sleep", "1000")
    began = time.monotonic()
    await lab.until(lambda: all("running" in lab.state(f"p{number}") for number in range(100)))
    print(f"100 pods: {time.monotonic() - began:.2f} s")
    began = time.monotonic()
    await lab.kubelet.stop()
    assert time.monotonic() - began < 10
    assert len([entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]) <= 3


def test_daemon_killed_ends_everything(tmp_path: Path) -> None:
    here = Path(__file__)
    command = [sys.executable, str(here.with_name("pid1.py")), str(here), "scenario_killed", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as lab:
        zygote = int(lab.stdout.readline().split()[1])
        assert lab.stdout.readline() == "up\n"
        inside = _descendants(zygote)
        names = [Path(f"/proc/{pid}/comm").read_text().strip() for pid in inside]
        assert names.count("sleep") == 2
        daemon = min(inside)
        os.kill(daemon, signal.SIGKILL)
        assert lab.wait(timeout=20) == 128 + signal.SIGKILL
        assert not [pid for pid in inside if Path(f"/proc/{pid}").exists()]


def _descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [below for child in children for below in _descendants(child)]


async def scenario_killed(lab) -> None:
    lab.pod("a", "sleep", "1000")
    lab.pod("b", "sleep", "1000")
    await lab.running("a")
    await lab.running("b")
    print("up", flush=True)
    await asyncio.sleep(50)
