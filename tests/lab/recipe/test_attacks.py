"""Root in a pod with NET_ADMIN against everything around it: the node in both address families, its neighbours, the kernel's other doors.

Beside ``test_security``: that file has the promises about files, mounts, credentials; this one has attempts to reach what is next door.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from stockade.lab.processes import of_lab

from .test_security import POD, Evil, api_port


@pytest.fixture(scope="module")
def evil(shared_lab) -> Evil:
    pods = (POD % ("evil", "NET_ADMIN"), POD % ("other", ""), POD % ("third", ""))
    shared_lab.apply("---".join(pods))
    names = ("pod/evil", "pod/other", "pod/third")
    shared_lab.kubectl("wait", "--for=condition=Ready", *names, "--timeout=20s")
    return Evil(shared_lab, "evil")


CONNECT = """
for place in sys.argv[1:]:
    address, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    def connect():
        with socket.socket(family) as s:
            s.settimeout(0.3)
            target = (address, int(port)) if family == socket.AF_INET else (address.partition("%")[0], int(port), 0,
                socket.if_nametoindex("eth0") if address.startswith("fe80") else 0)
            s.connect(target)
    try:
        connect()
        answers[place] = "connected"
    except OSError as error:
        answers[place] = "no"
"""


def test_no_address_of_the_node_leads_to_the_api(shared_lab, evil) -> None:
    """Every address that the node has in either family, and the gateways that pods see."""
    (node,) = shared_lab.get("nodes")["items"]
    own = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
    routes = evil.sh("ip -4 route; ip -6 route; ip -6 neigh")
    gateways = set(re.findall(r"via (\S+)", routes)) | set(re.findall(r"^(fe80::\S+)", routes, re.MULTILINE))
    assert any(":" in each for each in own), own
    assert gateways
    hosts = {
        *own,
        *gateways,
        "::1",
        "::ffff:127.0.0.1",
        "127.0.0.1",
        "127.0.0.2",
        "0.0.0.0",
        "::",
        "10.96.0.1",
    }
    places = [f"{host}:{port}" for host in sorted(hosts) for port in (api_port(shared_lab), 6443, 10250, 22)]
    answers = evil.attempt(CONNECT, *places)
    assert answers == dict.fromkeys(places, "no")
    # an address of the node taken as one's own, and the loopback routed to the node
    evil.sh("ip -6 address delete ::1/128 dev lo; ip -6 route add ::1/128 dev eth0 || true")
    try:
        routed = [f"::1:{api_port(shared_lab)}", "::1:6443"]
        assert evil.attempt(CONNECT, *routed) == dict.fromkeys(routed, "no")
    finally:
        evil.sh("ip -6 route delete ::1/128 dev eth0; ip -6 address add ::1/128 dev lo")


# Numbers of x86_64. Each attempt would do no harm if it were let through.
CLOSED = """
NEWUSER, NEWNET = 0x10000000, 0x40000000
call("clone newuser", 56, NEWUSER | 17, 0, 0, 0, 0)
class Clone(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in "flags pidfd child parent signal stack size tls".split()]
call("clone3 newnet", 435, ctypes.byref(Clone(NEWNET, 0, 0, 0, 17)), 64)
call("fsopen", 430, b"tmpfs", 0)
call("open_tree", 428, -100, b"/", 1)
call("move_mount", 429, -1, b"", -1, b"/mnt", 4)
call("mount_setattr", 442, -100, b"/usr/lib", 0, None, 0)
call("add_key", 248, b"user", b"stockade", b"x", 1, -3)
call("request_key", 249, b"user", b"stockade", None, 0)
call("pidfd_getfd", 438, -1, 0, 0)
call("kcmp", 312, 1, 1, 0, 0, 0)
call("userfaultfd", 323, 0)
call("io_uring_setup", 425, 1, None)
call("lookup_dcookie", 212, 0, None, 0)
call("quotactl", 179, 0, None, 0, None)
call("acct", 163, None)
call("kexec_load", 246, 0, 0, None, 0)
call("finit_module", 313, -1, b"", 0)
call("delete_module", 176, b"stockade", 0)
call("fanotify_init", 300, 0, 0)
call("settimeofday", 164, None, None)
call("adjtimex", 159, ctypes.create_string_buffer(b"\\1" + b"\\0" * 300, 400))
call("nfsservctl", 180, 0, None, None)
call("vhangup", 153)
call("swapoff", 168, b"/x")
"""
WRITES = """
import glob
paths = [*glob.glob("/sys/fs/cgroup/**/release_agent", recursive=True), *glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True),
    *glob.glob("/sys/fs/cgroup/**/devices.allow", recursive=True), *glob.glob("/sys/fs/cgroup/*"),
    "/sys/kernel/uevent_helper", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/core_pattern", "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/net/ipv4/conf/all/rp_filter", "/proc/sys/net/ipv6/conf/eth0/accept_ra", "/proc/sys/vm/drop_caches",
    "/proc/sys/kernel/ns_last_pid", "/proc/sysrq-trigger", "/sys/power/state", "/proc/bus/pci/00", "/sys/devices/system/cpu/online"]
answers["opened"] = []
for path in paths:
    if os.path.isdir(path):
        continue
    try:
        os.close(os.open(path, os.O_WRONLY))
        answers["opened"].append(path)
    except OSError:
        pass
def read(path):
    try:
        with open(path, "rb") as file:
            return len(file.read(64))
    except OSError:
        return 0
answers["read"] = [path for path in ("/proc/kcore", "/proc/kmem", "/dev/mem", "/dev/kmsg", "/dev/port", "/proc/keys", "/proc/timer_list",
    "/proc/sched_debug", "/sys/firmware/dmi/tables/DMI", "/proc/acpi/wakeup", "/proc/scsi/scsi", "/proc/kpagecount", "/proc/key-users")
    if read(path)]
answers["devices"] = sorted(name for name in os.listdir("/dev") if not os.path.isdir("/dev/" + name) and not os.path.islink("/dev/" + name))
answers["processes"] = sorted({open(f"/proc/{pid}/comm").read().strip() for pid in os.listdir("/proc") if pid.isdigit()})
answers["core"] = [line.split()[4:6] for line in open("/proc/self/limits") if line.startswith("Max core")]
answers["environment"] = open("/proc/1/environ", "rb").read().decode(errors="replace")
answers["cgroup"] = open("/proc/self/cgroup").read()
"""


def test_the_kernels_other_doors_are_closed(evil) -> None:
    answers = evil.attempt(CLOSED)
    assert {name for name, answer in answers.items() if answer == "done"} == set()
    assert {
        answers[name] for name in ("fsopen", "open_tree", "add_key", "request_key", "io_uring_setup")
    } <= {
        "EPERM",
        "ENOSYS",
    }


def test_nothing_of_the_machine_is_written_or_read(shared_lab, evil) -> None:
    answers = evil.attempt(WRITES)
    assert answers["opened"] == []
    assert answers["read"] == []
    assert set(answers["devices"]) <= {
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "tty",
        "console",
        "termination-log",
    }
    assert not {"stockade", "nft", "agent", "zygote"} & set(answers["processes"]), answers["processes"]
    assert answers["core"] == [["1", "1"]]
    token = re.search(r"token: (\S+)", shared_lab.paths.kubeconfig.read_text())[1]
    assert token not in answers["environment"]
    assert "stockade" not in answers["environment"].lower()


def test_no_process_of_the_lab_leaves_a_core(shared_lab) -> None:
    for process in of_lab(shared_lab.paths):
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        assert re.search(r"^Max core file size +1 +1 ", limits, re.MULTILINE), process


SPOOF_6 = """
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
def packet(source, target):
    payload = source.encode().ljust(40)
    pseudo = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
    length = 8 + len(payload)
    head = struct.pack("!HHHH", 5555, 9999, length, 0)
    total = checksum(pseudo + struct.pack("!IHBB", length, 0, 0, 17) + head + payload) or 0xFFFF
    return struct.pack("!IHBB", 6 << 28, length, 17, 64) + pseudo + head[:6] + struct.pack("!H", total) + payload
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x86dd)
raw.bind(("eth0", 0x86dd))
gateway = sys.argv[1]
frame = bytes.fromhex(gateway.replace(":", "")) + raw.getsockname()[4] + b"\\x86\\xdd"
for source in sys.argv[3:]:
    raw.send(frame + packet(source, sys.argv[2]))
"""
SINK_6 = """
sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
sink.bind(("::", 9999))
sink.settimeout(8)
answers["sources"] = []
while True:
    data, address = sink.recvfrom(100)
    answers["sources"].append(address[0])
    if data.startswith(b"end"):
        break
"""
END_6 = "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b'end', (sys.argv[1], 9999))"


def ipv6_of(lab, name: str) -> str:
    return next(each["ip"] for each in lab.get("pod", name)["status"]["podIPs"] if ":" in each["ip"])


def test_no_packet_leaves_with_a_foreign_ipv6_source(shared_lab, evil) -> None:
    other, own = Evil(shared_lab, "other"), ipv6_of(shared_lab, "evil")
    target = ipv6_of(shared_lab, "other")
    foreign = [
        ipv6_of(shared_lab, "third"),
        target,
        "::1",
        "2001:db8::1",
        "fd00:10:244::77",
        "ff02::1",
        "::ffff:10.244.0.2",
        "fe80::1",
    ]
    with ThreadPoolExecutor() as pool:
        sink = pool.submit(other.attempt, SINK_6)
        time.sleep(0.5)
        evil.sh(f"ping -6 -c 1 -W 1 {target} >/dev/null")
        (gateway,) = set(re.findall(r"lladdr (\S+)", evil.sh("ip -6 neigh show dev eth0 | grep -v FAILED")))
        evil.attempt(SPOOF_6, gateway, target, own, *foreign)
        evil.attempt(END_6, target)
        sources = sink.result()["sources"]
    assert sources == [own, own]


CLAIM = """
mac = open("/sys/class/net/eth0/address").read().strip().replace(":", "")
mac = bytes.fromhex(mac)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0003)
raw.bind(("eth0", 0x0806))
everybody = b"\\xff" * 6
for address in sys.argv[1].split(","):
    ip = socket.inet_aton(address)
    for operation in (1, 2):
        raw.send(everybody + mac + b"\\x08\\x06" + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + ip + everybody + ip)
for address in sys.argv[2].split(","):
    ip, group = socket.inet_pton(socket.AF_INET6, address), socket.inet_pton(socket.AF_INET6, "ff02::1")
    body = struct.pack("!BBHI", 136, 0, 0, 0x20000000) + ip + b"\\x02\\x01" + mac
    pseudo = ip + group + struct.pack("!IHBB", len(body), 0, 0, 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    raw.send(b"\\x33\\x33\\0\\0\\0\\1" + mac + b"\\x86\\xdd" + struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + ip + group + body)
"""
SINK_4 = """
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(("0.0.0.0", 9998))
sink.settimeout(float(sys.argv[1]))
answers["got"] = []
try:
    while len(answers["got"]) < 2:
        answers["got"].append(sink.recvfrom(100)[0].decode())
except TimeoutError:
    pass
"""
SEND_BOTH = """
for address in sys.argv[1:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    socket.socket(family, socket.SOCK_DGRAM).sendto(b"for other", (address, 9998))
"""


def test_nobody_else_gets_a_neighbours_packets(shared_lab, evil) -> None:
    """It takes the neighbour's addresses, and says so to everybody by ARP and neighbour advertisements: the node's routes decide."""
    other, third = Evil(shared_lab, "other"), Evil(shared_lab, "third")
    address = ipv6_of(shared_lab, "other")
    evil.sh(f"ip address add {other.ip}/32 dev eth0; ip -6 address add {address}/128 dev eth0")
    sink = SINK_4.replace("socket.AF_INET,", "socket.AF_INET6,").replace("0.0.0.0", "::")
    try:
        with ThreadPoolExecutor() as pool:
            right, wrong = pool.submit(other.attempt, sink, 6), pool.submit(evil.attempt, sink, 2.5)
            time.sleep(0.7)
            evil.attempt(CLAIM, f"{other.ip},169.254.1.1", f"{address},fe80::1")
            third.attempt(SEND_BOTH, other.ip, address)
            assert wrong.result()["got"] == []
            assert right.result()["got"] == ["for other", "for other"]
    finally:
        evil.sh(f"ip address delete {other.ip}/32 dev eth0; ip -6 address delete {address}/128 dev eth0")


def test_no_token_lies_in_a_pod(shared_lab, evil) -> None:
    """The tokens of the lab's users are nowhere in what root in a pod can read."""
    tokens = [
        re.search(r"token: (\S+)", path.read_text())[1]
        for path in (shared_lab.paths.kubeconfig, shared_lab.paths.agent_kubeconfig)
    ]
    found = evil.sh(
        "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'; grep -rhE '[A-Za-z0-9_-]{43}' /etc /run /var /tmp 2>/dev/null; true"
    )
    assert not any(token in found for token in tokens)
