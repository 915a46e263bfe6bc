"""What docs/security.md promises, tried by root in a container with everything a pod may ask for.

Attempts run as Python inside the pod (the interpreter of the stand-ins) and answer with what the kernel said to each.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stockade.lab import credentials
from stockade.lab.processes import of_lab

PYTHON = "LD_LIBRARY_PATH=/opt/stockade/python/lib exec /opt/stockade/python/bin/python -ISE"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: c
    image: alpine
    command: [sleep, "1000000"]
    securityContext: {capabilities: {add: [%s]}}
"""
PRELUDE = """
import ctypes, errno, json, os, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
answers = {}
def call(name, number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    answers[name] = errno.errorcode[ctypes.get_errno()] if result < 0 else "done"
def attempt(name, work):
    try:
        work()
        answers[name] = "done"
    except OSError as error:
        answers[name] = errno.errorcode.get(error.errno, type(error).__name__)
"""


class Evil:
    """A pod and a way to run Python in it as root."""

    def __init__(self, lab, name: str) -> None:
        self.lab = lab
        self.name = name
        self.ip = lab.get("pod", name)["status"]["podIP"]

    def sh(self, command: str, stdin: str | None = None) -> str:
        interactive = ["-i"] if stdin is not None else []
        return self.lab.kubectl("exec", *interactive, self.name, "--", "sh", "-c", command, stdin=stdin)

    def attempt(self, script: str, *arguments: object) -> dict[str, str]:
        words = " ".join(map(str, arguments))
        code = f"{PRELUDE}\n{script}\nprint(json.dumps(answers))"
        return json.loads(self.sh(f"{PYTHON} - {words}", code))


@pytest.fixture(scope="module")
def evil(shared_lab) -> Evil:
    shared_lab.apply(POD % ("evil", "NET_ADMIN") + "---" + POD % ("other", ""))
    shared_lab.kubectl("wait", "--for=condition=Ready", "pod/evil", "pod/other", "--timeout=20s")
    return Evil(shared_lab, "evil")


def api_port(lab) -> int:
    return int(re.search(r"127\.0\.0\.1:(\d+)", lab.paths.kubeconfig.read_text())[1])


CONNECT = """
for place in sys.argv[1:]:
    address, port = place.split(":")
    def connect():
        with socket.socket() as s:
            s.settimeout(0.5)
            s.connect((address, int(port)))
    try:
        connect()
        answers[place] = "connected"
    except OSError as error:
        answers[place] = "no"
def abstract():
    with socket.socket(socket.AF_UNIX) as s:
        s.connect("\\0stockade-security-test")
attempt("abstract", abstract)
answers["fds"] = sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{n}"))
answers["first"] = sorted(map(int, os.listdir("/proc/1/fd")))
answers["unix"] = len(open("/proc/net/unix").readlines()) - 1
answers["sockets"] = [os.path.join(place, name) for place, _, names in os.walk("/") for name in names
    if not place.startswith(("/proc", "/sys", "/usr/lib", "/opt/stockade/python/")) and os.path.lexists(os.path.join(place, name))
    and os.lstat(os.path.join(place, name)).st_mode & 0o170000 == 0o140000]
"""


def test_no_socket_of_the_daemon_can_be_reached(shared_lab, evil) -> None:
    port = api_port(shared_lab)
    hosts = ("127.0.0.1", "172.30.0.1", "169.254.1.1", "192.0.2.1", "192.0.2.2", "10.96.0.1")
    places = [f"{host}:{each}" for host in hosts for each in (port, 6443)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("\0stockade-security-test")
        listener.listen()
        answers = evil.attempt(CONNECT, *places)
        assert answers.pop("abstract") == "ECONNREFUSED"
    assert answers.pop("fds") == [0, 1, 2]
    assert answers.pop("first") == [0, 1, 2]
    assert answers.pop("unix") == 0  # the abstract attempt's own socket is closed
    assert answers.pop("sockets") == []
    assert answers == dict.fromkeys(places, "no")
    # its own loopback given away, the node's asked for: a martian there
    evil.sh("ip address delete 127.0.0.1/8 dev lo; ip route add 127.0.0.0/8 via 169.254.1.1")
    try:
        routed = [f"127.0.0.1:{each}" for each in (port, 6443)]
        answers = evil.attempt(CONNECT, *routed)
        assert {place: answers[place] for place in routed} == dict.fromkeys(routed, "no")
    finally:
        evil.sh("ip route delete 127.0.0.0/8 via 169.254.1.1; ip address add 127.0.0.1/8 dev lo")


def test_the_api_listens_on_loopback_alone(shared_lab) -> None:
    port = api_port(shared_lab)
    tables = [
        Path("/proc/net", name).read_text() for name in ("tcp", "tcp6") if Path("/proc/net", name).exists()
    ]
    lines = [line.split() for table in tables for line in table.splitlines()]
    listening = {fields[1] for fields in lines if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}
    assert listening == {f"0100007F:{port:04X}"}


# Each attempt would do no harm if it were let through: nothing is written, and what is set is what is there.
HELD_BACK = """
import time
call("mount", 165, b"none", b"/mnt", b"tmpfs", 0, None)
call("remount", 165, b"none", b"/usr/lib", b"", 0x1020, None)
call("umount", 166, b"/proc/sys", 2)
call("unshare user", 272, 0x10000000)
call("unshare net", 272, 0x40000000)
call("unshare mnt", 272, 0x20000)
call("setns", 308, os.open("/proc/1/ns/net", os.O_RDONLY), 0)
call("pivot_root", 155, b"/", b"/tmp")
call("open_by_handle_at", 304, -100, None, 0)
call("init_module", 175, None, 0, b"")
call("bpf", 321, 0, None, 0)
call("keyctl", 250, 0, -3, 0)
call("perf_event_open", 298, None, 0, -1, -1, 0)
call("reboot", 169, 0xfee1dead, 672274793, 0, None)
call("clock_settime", 227, 0, (ctypes.c_long * 2)(int(time.time()), 0))
call("sethostname", 170, b"x", 1)
call("swapon", 167, b"/x", 0)
call("syslog", 103, 2, ctypes.create_string_buffer(16), 16)
call("iopl", 172, 3)
for path in ("/proc/sys/kernel/core_pattern", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger", "/proc/irq/0/smp_affinity",
             "/sys/kernel/mm/ksm/run", "/sys/class/net/eth0/mtu", "/bin/busybox"):
    attempt("write " + path, lambda: os.close(os.open(path, os.O_WRONLY)))
attempt("mknod disk", lambda: os.mknod("/tmp/disk", 0o60600, os.makedev(254, 0)))
attempt("mknod mem", lambda: os.mknod("/tmp/mem", 0o20600, os.makedev(1, 1)))
for name in ("null", "zero", "full", "random", "urandom", "tty"):
    attempt("chmod /dev/" + name, lambda: os.chmod("/dev/" + name, os.stat("/dev/" + name).st_mode & 0o7777))
    attempt("chown /dev/" + name, lambda: os.chown("/dev/" + name, 0, 0))
attempt("setuid file", lambda: os.chmod("/usr/lib", 0o755))
# classic ways out of a chroot end in the container's own root
os.makedirs("/tmp/jail", exist_ok=True)
outside = os.open("/", os.O_RDONLY)
os.chroot("/tmp/jail")
os.fchdir(outside)
for _ in range(50):
    os.chdir("..")
os.chroot(".")
answers["root"] = os.path.exists("/opt/stockade/python")
"""


def test_root_in_a_container_is_held_back(evil) -> None:
    answers = evil.attempt(HELD_BACK)
    assert answers.pop("root") is True
    assert {name for name, answer in answers.items() if answer == "done"} == set()
    assert {
        answers[f"{change} /dev/{name}"] for change in ("chmod", "chown") for name in ("null", "tty")
    } == {"EROFS"}


CHANGE_INTERPRETER = """
mode = os.stat("/proc/self/exe").st_mode & 0o7777
attempt("chmod", lambda: os.chmod("/proc/self/exe", mode))
attempt("chown", lambda: os.chown("/proc/self/exe", 0, 0))
attempt("write", lambda: os.close(os.open("/proc/self/exe", os.O_WRONLY)))
attempt("touch", lambda: os.utime("/proc/self/exe"))
"""


def test_the_interpreter_of_the_lab_cannot_be_changed(evil) -> None:
    """A script that names /proc/self/exe as its interpreter is run by whatever kubectl exec was a moment before: CVE-2019-5736."""
    before = Path(sys.executable).stat()
    evil.sh("cat > /tmp/change.py", f"{PRELUDE}{CHANGE_INTERPRETER}\nprint(json.dumps(answers))")
    evil.sh("printf '#!/proc/self/exe /tmp/change.py\\n' > /tmp/trap; chmod 755 /tmp/trap")
    answers = json.loads(evil.lab.kubectl("exec", evil.name, "--", "/tmp/trap"))
    assert answers.pop("write") in ("EROFS", "ETXTBSY")
    assert answers == dict.fromkeys(("chmod", "chown", "touch"), "EROFS")
    assert Path(sys.executable).stat() == before


def test_what_is_seen_of_the_host(evil) -> None:
    """Every mount that is not a memory file system of the container's own is read-only, without devices and setuid."""
    own = {"overlay", "proc", "sysfs", "tmpfs", "devpts"}
    seen = []
    for line in evil.sh("cat /proc/self/mountinfo").splitlines():
        left, right = line.split(" - ")
        place, options, kind = left.split()[4], left.split()[5].split(","), right.split()[0]
        if kind in own and not place.startswith("/dev/"):
            assert "nosuid" in options, line
            continue
        if place.startswith(("/dev/", "/proc/")):
            assert kind in ("devpts", "tmpfs") or "ro" in options, line
            assert "nosuid" in options, line
            continue
        assert {"ro", "nosuid", "nodev"} <= set(options), line
        seen.append(place)
    expected = r"/bin/busybox|/(usr/)?lib(32|64)?|/opt/stockade/python(/bin/python3?)?"
    assert [place for place in seen if not re.fullmatch(expected, place)] == []
    status = dict(
        line.split(":\t", 1) for line in evil.sh("cat /proc/self/status").splitlines() if ":\t" in line
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert evil.sh("ls /root /home /srv /mnt /run").split() == ["/home:", "/mnt:", "/root:", "/run:", "/srv:"]


SPOOF = """
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
def packet(source, target):
    udp = struct.pack("!HHHH", 5555, 9999, 8 + 16, 0) + source.encode().ljust(16)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0800)
raw.bind(("eth0", 0x0800))
(gateway,) = [line.split()[3] for line in open("/proc/net/arp") if line.startswith("169.254.1.1")]
frame = bytes.fromhex(gateway.replace(":", "")) + raw.getsockname()[4] + b"\\x08\\0"
for source in sys.argv[2:]:
    raw.send(frame + packet(source, sys.argv[1]))
"""
SINK = """
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(("0.0.0.0", 9999))
sink.settimeout(8)
answers["sources"] = []
while True:
    data, (address, _) = sink.recvfrom(100)
    answers["sources"].append(address)
    if data.startswith(b"end"):
        break
"""


def test_no_packet_leaves_with_a_foreign_source(shared_lab, evil) -> None:
    other = Evil(shared_lab, "other")
    foreign = ["10.244.0.2", "10.244.0.77", "172.30.0.1", "169.254.1.1", "127.0.0.1", "0.0.0.0", "8.8.8.8"]
    foreign += ["10.96.0.10", "192.0.2.2", "255.255.255.255", "224.0.0.1", other.ip]
    with ThreadPoolExecutor() as pool:
        sink = pool.submit(other.attempt, SINK)
        time.sleep(0.5)
        evil.sh(f"ping -c 1 -W 1 {other.ip} >/dev/null")
        evil.attempt(SPOOF, other.ip, evil.ip, *foreign)
        evil.attempt(
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'end', (sys.argv[1], 9999))", other.ip
        )
        sources = sink.result()["sources"]
    assert sources == [evil.ip, evil.ip]


LINKS = """
def links(target):
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0) + (struct.pack("=HHi", 8, 46, target) if target >= 0 else b"")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(body), 18, 0x301, 1, 0) + body)
        answer = netlink.recv(65536)
    kinds, at = [], 0
    while at + 16 <= len(answer):
        length, kind = struct.unpack_from("=IH", answer, at)
        kinds.append(kind)
        at += length + -length % 4
    return kinds.count(16)
answers["own"] = links(-1)
answers["others"] = sum(map(links, range(8)))
"""


def test_no_namespace_is_reached_by_its_id(shared_lab, evil) -> None:
    """IFLA_TARGET_NETNSID leads to the neighbours of a namespace, but wants NET_ADMIN, which no pod has unless it asks."""
    assert Evil(shared_lab, "other").attempt(LINKS) == {"own": 2, "others": 0}
    assert (
        evil.attempt(LINKS)["others"] > 0
    )  # the known limit of docs/security.md: strike it there when this fails


def test_other_users_of_a_container_can_work_in_it(shared_lab) -> None:
    """The lab's own umask is 077; a container's is not."""
    shared_lab.apply(POD.replace("securityContext: {", "securityContext: {runAsUser: 101, ") % ("user", ""))
    shared_lab.kubectl("wait", "--for=condition=Ready", "pod/user", "--timeout=20s")
    printed = Evil(shared_lab, "user").sh(
        "id -u; cat /etc/resolv.conf; wget -qO- -T 1 http://no.such.name 2>&1 | head -1"
    )
    assert printed.startswith("101\nsearch default.svc.cluster.local")
    assert printed.endswith("wget: bad address 'no.such.name'\n")


def test_credentials_stay_in_their_files(shared_lab) -> None:
    tokens = [
        re.search(r"token: (\S+)", path.read_text())[1]
        for path in (shared_lab.paths.kubeconfig, shared_lab.paths.agent_kubeconfig)
    ]
    assert len(set(tokens)) == 2
    paths = shared_lab.paths
    allowed = (paths.kubeconfig, paths.agent_kubeconfig, paths.pki / credentials.KEPT)
    context = ssl._create_unverified_context()
    with (
        socket.create_connection(("127.0.0.1", api_port(shared_lab))) as plain,
        context.wrap_socket(plain) as tls,
    ):
        tls.sendall(f"GET / HTTP/1.1\r\nAuthorization: Bearer {tokens[0]}\0\r\n\r\n".encode())
        assert tls.recv(100).startswith(b"HTTP/1.0 400")
    assert all(len(token) >= 43 for token in tokens)
    for process in of_lab(shared_lab.paths):
        assert not any(token in word for token in tokens for word in process.command)
        environment = Path(f"/proc/{process.pid}/environ").read_text(errors="replace")
        assert not any(token in environment for token in tokens)
    for place in (shared_lab.paths.root, *shared_lab.paths.directory.rglob("*")):
        if not place.is_symlink():
            assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0, place
        if place.is_file() and place not in allowed:
            content = place.read_bytes()
            assert not any(token.encode() in content for token in tokens), place


def hostile_root(place: Path, victim: Path) -> None:
    """A root file system that puts links to ``victim`` wherever the lab mounts or writes, and can still run busybox."""
    busybox = shutil.which("busybox")
    listed = subprocess.run(["ldd", busybox], capture_output=True, text=True, check=False).stdout
    for library in re.findall(r"(/\S+) \(", listed):
        target = place / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, target)
    (place / "bin").mkdir(exist_ok=True)
    shutil.copy(busybox, place / "bin/busybox")
    (place / "bin/sh").symlink_to("busybox")
    up = "../" * 20
    (place / "etc").symlink_to(f"{up}{victim}")
    for name in ("proc", "sys", "dev", "tmp"):
        (place / name).symlink_to(victim)


def test_a_hostile_root_file_system_stays_inside(shared_lab, tmp_path) -> None:
    victim, root = tmp_path / "victim", tmp_path / "root"
    victim.mkdir()
    hostile_root(root, victim)
    loaded = shared_lab.stockade("image", "load", "hostile", str(root))
    assert loaded.returncode == 0, loaded.stderr
    command = [
        "sh",
        "-c",
        "busybox cat /etc/hostname; busybox ls -d /proc/1 /dev/null /sys/class; busybox sleep 1000",
    ]
    shared_lab.run_pod("hostile", image="hostile", command=tuple(command))
    printed = shared_lab.kubectl("logs", "hostile").split()
    assert printed == ["hostile", "/dev/null", "/proc/1", "/sys/class"]
    assert list(victim.iterdir()) == []
    shared_lab.kubectl("delete", "pod", "hostile", "--now")


def test_floods_of_output_and_of_execs(shared_lab, evil) -> None:
    """Bounded on disk, and the API goes on answering."""
    shared_lab.run_pod("flood", command=("sh", "-c", "yes x | head -c 30000000; sleep 1000"))
    with ThreadPoolExecutor(12) as pool:
        ended = list(pool.map(lambda number: evil.sh(f"echo {number}"), range(36)))
    assert ended == [f"{number}\n" for number in range(36)]
    deadline = time.monotonic() + 10
    sizes = []
    while time.monotonic() < deadline and (len(sizes) < 2 or sizes[-1] != sizes[-2]):
        sizes.append(sum(file.stat().st_size for file in shared_lab.paths.pods.rglob("*flood*/*")))
        time.sleep(0.3)
    assert 1_000_000 < sizes[-1] <= 2 * 5_000_000 + 4_000_000
    assert shared_lab.get("pod", "flood")["status"]["phase"] == "Running"
    shared_lab.kubectl("delete", "pod", "flood", "--now")
