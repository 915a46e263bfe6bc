"""Scenarios on a real kernel, each run as ``python network_scenarios.py NAME`` in a network namespace of its own.

A process of their own, because a process cannot come back from unshare(2) without privileges over where it came from, and
so that the machine's own links, routes and rules are out of reach of a mistake here.
"""

import asyncio
import contextlib
import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

import dns.message
import dns.query
import dns.rcode

from stockade.dataplane.netlink import NetlinkError, NetlinkSocket
from stockade.lab.addresses import DNS_SERVICE_IP, EXAMPLE_IP, GATEWAY_6, GOOGLE_IP, GOOGLE_IP_6, NODE_IP
from stockade.lab.dns import replica
from stockade.lab.dns.feed import ClusterNames, Feed
from stockade.lab.internet import NODE_LINK, Internet
from stockade.lab.node import links, netns, syscalls
from stockade.lab.node.network import PodNetwork
from stockade.lab.proxy.proxy import SERVICES, SLICES, ServiceProxy
from stockade.lab.proxy.render import ANTI_SPOOFING, Outward
from stockade.lab.topology import plan
from stockade.testing.registry import MemoryRegistry

SOON = 1.0  # "at once", on a busy machine; a packet that is lost costs a full second or more
WEB = "10.96.0.5"
NODE_IP_6 = "fd00:172:30::1"
WEB_6 = "fd00:10:96::5"


async def load(text):
    process = await asyncio.create_subprocess_exec(
        "nft", "-f", "-", stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate(text.encode())
    if process.returncode:
        raise OSError(errno.EINVAL, errors.decode())


class World:
    """A node with pods a, b, c; c is prepared for DNS."""

    def __init__(self):
        self.network = PodNetwork()
        self.network.prepare_node(NODE_IP, NODE_IP_6)
        self.a = self.network.create("a", "10.244.0.2", "fd00:10:244::2")
        self.b = self.network.create("b", "10.244.0.3", "fd00:10:244::3")
        self.c = self.network.create("c", "10.244.0.4", "fd00:10:244::4")
        self.registry = MemoryRegistry()

    def service_6(self, name, ip, ports, endpoints, **spec):
        self.service(name, ip, ports, endpoints, family="IPv6", **spec)

    def service(self, name, ip, ports, endpoints, family="IPv4", **spec):
        wanted = {"clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec}
        self.registry.create(SERVICES, "default", {"metadata": {"name": name}, "spec": wanted})
        if endpoints is None:
            return
        slice_ports = [{**port, "port": port.get("targetPort", port["port"])} for port in ports]
        self.registry.create(
            SLICES,
            "default",
            {
                "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
                "addressType": family,
                "endpoints": [{"addresses": [pod.addresses[family == "IPv6"]]} for pod in endpoints],
                "ports": slice_ports,
            },
        )


@contextlib.asynccontextmanager
async def proxied(world):
    proxy = ServiceProxy(world.registry, load, [NODE_IP, NODE_IP_6])
    task = asyncio.create_task(proxy.run())
    await asyncio.wait_for(proxy.synced.wait(), 10)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def listen(pod, port=8080, address="0.0.0.0"):
    server = pod.socket(family_of(address))
    server.bind((address, port))
    server.listen()
    return server


def connect(opener, address, port, timeout=5.0):
    """(result, seconds): "open", or the errno's name."""
    family = family_of(address)
    client = opener.socket(family) if opener else socket.socket(family)
    client.settimeout(timeout)
    started = time.monotonic()
    try:
        client.connect((address, port))
        result = "open"
    except TimeoutError:
        result = "TIMEOUT"
    except OSError as error:
        result = errno.errorcode[error.errno]
    return result, time.monotonic() - started, client


def reach(opener, address, port, server):
    """Connect and say from which address the server saw it."""
    result, _, client = connect(opener, address, port)
    assert result == "open", result
    server.settimeout(5)
    accepted, peer = server.accept()
    accepted.sendall(b"hello")
    assert client.recv(5) == b"hello"
    return peer[0]


def ping(opener, address, timeout=2.0):
    raw = opener.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    body = struct.pack("!BBHHH", 8, 0, 0, 77, 1)
    checksum = ~sum(struct.unpack("!4H", body)) & 0xFFFF
    checksum = struct.pack("!BBHHH", 8, 0, checksum - 1 if checksum == 0 else checksum, 77, 1)
    raw.sendto(checksum, (address, 0))
    ready, _, _ = select.select([raw], [], [], timeout)
    return bool(ready) and raw.recv(200)[20:21] == b"\0"


async def pods():
    """Pods and the node reach each other with their own addresses; nothing is left after close."""
    world = World()
    server = listen(world.a)
    assert reach(world.b, "10.244.0.2", 8080, server) == "10.244.0.3"
    assert reach(None, "10.244.0.2", 8080, server) == NODE_IP
    node_server = socket.create_server((NODE_IP, 9000))
    assert reach(world.b, NODE_IP, 9000, node_server) == "10.244.0.3"
    assert ping(world.a, "10.244.0.4")
    assert reach(world.a, "127.0.0.1", 8080, server) == "127.0.0.1"
    inode = os.fstat(world.b.fd).st_ino
    assert netns.inside(world.b.fd, own_namespace) == inode
    assert own_namespace() != inode
    receiver = world.a.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("0.0.0.0", 7000))
    receiver.settimeout(0.3)
    lingering = world.b.socket(socket.AF_INET, socket.SOCK_DGRAM)  # keeps the namespace, as a process would
    world.b.close()
    world.b.close()
    again = world.network.create("b again", "10.244.0.3")
    lingering.sendto(b"from the grave", ("10.244.0.2", 7000))
    try:
        raise AssertionError(receiver.recv(20))
    except TimeoutError:
        pass
    assert reach(again, "10.244.0.2", 8080, server) == "10.244.0.3"


async def pods_6():
    """The same with IPv6; and a pod cannot send with another's address."""
    world = World()
    await load(ANTI_SPOOFING)
    server = listen(world.a, address="::")
    assert reach(world.b, "fd00:10:244::2", 8080, server) == "fd00:10:244::3"
    assert reach(None, "fd00:10:244::2", 8080, server) == NODE_IP_6
    node_server = socket.create_server((NODE_IP_6, 9000), family=socket.AF_INET6)
    assert reach(world.b, NODE_IP_6, 9000, node_server) == "fd00:10:244::3"
    assert reach(world.b, "10.244.0.2", 8080, server) == "::ffff:10.244.0.3"
    # No policy knows a link-local address: the node must not be reached with it.
    everywhere = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    everywhere.bind(("::", 9001))
    everywhere.settimeout(0.3)
    for source in (None, "fd00:10:244::3"):
        client = world.b.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        if source:
            client.bind((source, 0))
        client.sendto(str(source).encode(), (GATEWAY_6, 9001, 0, 100))
    assert everywhere.recv(20) == b"fd00:10:244::3"
    receiver = world.a.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    receiver.bind(("::", 7000))
    receiver.settimeout(0.3)
    with netns.inside(world.b.fd, NetlinkSocket) as inner:
        inner.execute(links.add_address(links.LOOPBACK, "fd00:10:244::4"))
    for source in ("fd00:10:244::4", "fd00:10:244::3"):
        sender = world.b.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sender.bind((source, 0))
        sender.sendto(source.encode(), ("fd00:10:244::2", 7000))
    assert receiver.recv(20) == b"fd00:10:244::3"  # the lie came first, and did not come through
    lingering = world.b.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    world.b.close()
    again = world.network.create("b again", "10.244.0.3", "fd00:10:244::3")
    lingering.sendto(b"from the grave", ("fd00:10:244::2", 7000))
    try:
        raise AssertionError(receiver.recv(20))
    except TimeoutError:
        pass
    assert reach(again, "fd00:10:244::2", 8080, server) == "fd00:10:244::3"


async def nodes():
    """Pods of two nodes reach each other, their nodes and the outside, in both families; a node port leads to a pod elsewhere."""
    first, second = plan("lab", 2).nodes
    world = World()
    network = netns.inside_new(PodNetwork)
    network.prepare_node(*second.addresses)
    far = network.create("far", "10.244.1.2", "fd00:10:244:1::2")
    internet = Internet()
    await internet.start()
    internet.connect(first, world.network.fd)
    internet.connect(second, network.fd)
    server, near = listen(far, address="::"), listen(world.b, address="::")
    assert reach(world.a, "fd00:10:244:1::2", 8080, server) == "fd00:10:244::2"
    assert reach(world.a, "10.244.1.2", 8080, server) == "::ffff:10.244.0.2"
    assert reach(far, "fd00:10:244::3", 8080, near) == "fd00:10:244:1::2"
    assert reach(None, "fd00:10:244:1::2", 8080, server) == NODE_IP_6
    assert reach(None, "10.244.1.2", 8080, server) == f"::ffff:{NODE_IP}"
    for opener in (world.a, far):
        page = await asyncio.to_thread(fetch, opener, GOOGLE_IP_6, "/")
        assert b"Search" in page
        page = await asyncio.to_thread(fetch, opener, EXAMPLE_IP, "/")
        assert b"Example Domain" in page
    unknown = await asyncio.to_thread(connect, far, "2001:db8::99", 80)
    assert unknown[0] == "ENETUNREACH", unknown[0]  # what an IPv6 router says without a route

    port = {"port": 80, "protocol": "TCP", "targetPort": 8080, "nodePort": 30080}
    world.service("far", WEB, [port], [far], type="NodePort")
    world.service_6("far6", WEB_6, [{**port, "nodePort": 30081}], [far], type="NodePort")
    outward = [
        Outward(NODE_LINK, NODE_IP, "10.244.0.0/24"),
        Outward(NODE_LINK, NODE_IP_6, "fd00:10:244::/64"),
    ]
    proxy = ServiceProxy(world.registry, load, first.addresses, outward=outward)
    task = asyncio.create_task(proxy.run())
    await asyncio.wait_for(proxy.synced.wait(), 10)
    assert reach(world.a, WEB, 80, server) == "::ffff:10.244.0.2"
    assert reach(world.a, WEB_6, 80, server) == "fd00:10:244::2"
    other = network.create("other", "10.244.1.3", "fd00:10:244:1::3")
    # A stranger to the first node: the answer has to come back through it.
    assert reach(other, NODE_IP, 30080, server) == f"::ffff:{NODE_IP}"
    assert reach(other, NODE_IP_6, 30081, server) == NODE_IP_6
    task.cancel()


async def services_6():
    """Services with IPv6 addresses: endpoints, hairpin, dead ends, and UDP flows that move on."""
    world = World()
    port = {"port": 80, "protocol": "TCP", "targetPort": 8080}
    world.service_6("web", WEB_6, [port], [world.a])
    world.service_6("both", "fd00:10:96::6", [port], [world.a, world.b])
    world.service_6("none", "fd00:10:96::7", [port], [])
    world.service_6("echo", "fd00:10:96::8", [{"port": 7, "protocol": "UDP", "targetPort": 7000}], [world.a])
    internet = Internet()
    await internet.start()
    internet.connect(
        plan("lab").nodes[0], world.network.fd
    )  # without any default route the node has no way to a Service
    first, second = listen(world.a, address="::"), listen(world.b, address="::")
    receivers = [pod.socket(socket.AF_INET6, socket.SOCK_DGRAM) for pod in (world.a, world.b)]
    for receiver in receivers:
        receiver.bind(("::", 7000))
        receiver.settimeout(2)
    async with proxied(world):
        assert reach(world.b, WEB_6, 80, first) == "fd00:10:244::3"
        assert reach(None, WEB_6, 80, first) == NODE_IP_6
        assert reach(world.a, WEB_6, 80, first) == NODE_IP_6  # hairpin: masqueraded
        clients = [connect(world.c, "fd00:10:96::6", 80) for _ in range(24)]
        assert {result for result, _, _ in clients} == {"open"}
        assert len(pending(first, second)) == 2
        for opener in (world.b, None):
            for address, number, expected in [
                ("fd00:10:96::7", 80, "ECONNREFUSED"),
                (WEB_6, 81, "ECONNREFUSED"),
                ("fd00:10:96::9999", 80, "EHOSTUNREACH" if opener else "ECONNREFUSED"),
            ]:
                result, seconds, _ = connect(opener, address, number)
                assert result == expected, (address, number, result)
                # Linux looks at an ICMPv6 error only when it sends its SYN once more.
                assert seconds < (SOON if expected == "ECONNREFUSED" else 3 * SOON), (
                    address,
                    number,
                    seconds,
                )
        client = world.c.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.connect(("fd00:10:96::8", 7))
        client.send(b"ping")
        assert receivers[0].recv(10) == b"ping"
        moving = {"addresses": [world.b.addresses[1]]}
        world.registry.mutate(SLICES, "default", "echo-1", lambda obj: obj["endpoints"][0].update(moving))
        receivers[1].settimeout(0.05)
        await until(lambda: moved(client, receivers[1]))


def own_namespace():
    return Path("/proc/thread-self/ns/net").stat().st_ino


async def spoofing():
    """A pod cannot send with another's address."""
    world = World()
    receiver = world.a.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("0.0.0.0", 7000))
    receiver.settimeout(0.3)
    with netns.inside(world.b.fd, NetlinkSocket) as inner:
        inner.execute(links.add_address(links.LOOPBACK, "10.244.0.4"))
    sender = world.b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.sendto(b"honest", ("10.244.0.2", 7000))
    assert receiver.recv(10) == b"honest"
    liar = world.b.socket(socket.AF_INET, socket.SOCK_DGRAM)
    liar.bind(("10.244.0.4", 0))
    liar.sendto(b"lie", ("10.244.0.2", 7000))
    try:
        received = receiver.recv(10)
    except TimeoutError:
        return
    raise AssertionError(received)


async def refusals():
    """What the kernel refuses is an error in words, and leaves nothing behind."""
    network = PodNetwork()
    network.prepare_node(NODE_IP)
    network.create("first", "10.244.0.2")
    fds = open_descriptors()
    error = refusal(lambda: network.create("second", "10.244.0.2"))
    assert str(error).startswith("network of pod second: add route to 10.244.0.2/32: File exists"), error
    assert open_descriptors() == fds
    with NetlinkSocket() as node:
        assert [name for _, name in map(links.link_name, node.dump(links.list_links()))].count("lo") == 1
        for request, number in [
            (links.set_up(4000), errno.ENODEV),
            (links.delete_link(4000), errno.ENODEV),
            (links.add_route("198.51.100.0/24", links.LOOPBACK, via="203.0.113.1"), errno.ENETUNREACH),
        ]:
            error = refusal(lambda: node.execute(request, links.set_up(links.LOOPBACK)))  # noqa: B023
            assert error.errno == number, error
        node.execute(
            links.add_address(links.LOOPBACK, "fd00::1"),
            links.add_route("fd00:1::/64", links.LOOPBACK, source="fd00::1"),
        )
        client = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        client.connect(("fd00:1::7", 9))
        assert client.getsockname()[0] == "fd00::1"


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def refusal(work):
    try:
        work()
    except NetlinkError as error:
        return error
    raise AssertionError("not refused")


async def services():
    """A Service's address leads to its endpoints, from pods and from the node; a pod reaches itself through it."""
    world = World()
    port = {"port": 80, "protocol": "TCP", "targetPort": 8080}
    world.service("web", WEB, [port], [world.a])
    world.service("both", "10.96.0.6", [port], [world.a, world.b])
    world.service("sticky", "10.96.0.7", [port], [world.a, world.b], sessionAffinity="ClientIP")
    world.service("node", "10.96.0.8", [{**port, "nodePort": 30080}], [world.a], type="NodePort")
    first, second = listen(world.a), listen(world.b)
    async with proxied(world):
        assert reach(world.b, WEB, 80, first) == "10.244.0.3"
        assert reach(None, WEB, 80, first) == NODE_IP
        assert reach(world.a, WEB, 80, first) == NODE_IP  # hairpin: masqueraded
        assert reach(world.c, NODE_IP, 30080, first) == "10.244.0.4"
        for address, expected in (("10.96.0.6", 2), ("10.96.0.7", 1)):
            clients = [connect(world.c, address, 80) for _ in range(24)]
            assert {result for result, _, _ in clients} == {"open"}
            assert len(pending(first, second)) == expected
        world.registry.delete(SERVICES, "default", "web")
        await until(lambda: connect(world.b, WEB, 80)[0] == "EHOSTUNREACH")


def pending(*servers):
    """Those of ``servers`` that have connections waiting; takes them."""
    found = set()
    for server in servers:
        server.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            while True:
                server.accept()
                found.add(server)
    return found


async def until(condition):
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(condition):  # noqa: ASYNC110  # the kernel sets no event
            await asyncio.sleep(0.02)


async def dead_ends():
    """What leads nowhere says so at once."""
    world = World()
    world.service("none", WEB, [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}], None)
    world.service("some", "10.96.0.6", [{"port": 80, "protocol": "TCP", "targetPort": 8080}], [world.a])
    listen(world.a)
    async with proxied(world):
        for opener in (world.b, None):
            for address, port, expected in [
                (WEB, 80, "ECONNREFUSED"),
                (WEB, 81, "ECONNREFUSED"),
                ("10.96.0.6", 81, "ECONNREFUSED"),
                ("10.111.1.1", 80, "EHOSTUNREACH" if opener else "ECONNREFUSED"),
            ]:
                result, seconds, _ = connect(opener, address, port)
                assert result == expected, (address, port, result)
                assert seconds < SOON, (address, port, seconds)
        client = world.b.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(SOON)
        client.connect((WEB, 53))
        client.send(b"anybody?")
        try:
            client.recv(10)
        except ConnectionRefusedError:
            return
        raise AssertionError("an answer from nobody")


async def datagrams():
    """A UDP client that keeps its port moves to another endpoint when its own is gone; others are not disturbed."""
    world = World()
    world.service("echo", WEB, [{"port": 7, "protocol": "UDP", "targetPort": 7000}], [world.a])
    world.service("other", "10.96.0.6", [{"port": 7, "protocol": "UDP", "targetPort": 7000}], [world.a])
    servers = [pod.socket(socket.AF_INET, socket.SOCK_DGRAM) for pod in (world.a, world.b)]
    for server in servers:
        server.bind(("0.0.0.0", 7000))
        server.settimeout(2)
    clients = [world.c.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    clients[0].connect((WEB, 7))
    clients[1].connect(("10.96.0.6", 7))

    def received_by(client, server):
        client.send(b"ping")
        data, peer = server.recvfrom(10)
        assert data == b"ping"
        return peer

    async with proxied(world):
        first = received_by(clients[0], servers[0])
        second = received_by(clients[1], servers[0])
        world.registry.mutate(
            SLICES, "default", "echo-1", lambda obj: obj["endpoints"][0].update(addresses=[world.b.address])
        )
        servers[1].settimeout(0.05)
        await until(lambda: moved(clients[0], servers[1]))
        servers[1].settimeout(2)
        assert received_by(clients[0], servers[1]) == first
        drain(servers[0])
        assert received_by(clients[1], servers[0]) == second


def moved(client, server):
    client.send(b"ping")
    try:
        return server.recv(10) == b"ping"
    except TimeoutError:
        return False


def drain(server):
    server.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while True:
            server.recv(10)
    server.settimeout(2)


def ask(opener, name, kind, where=DNS_SERVICE_IP, tcp=False):
    query = dns.message.make_query(name, kind)
    client = opener.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    client.settimeout(5)
    client.connect((where, 53))
    if tcp:
        dns.query.send_tcp(client, query)
        response, _ = dns.query.receive_tcp(client, time.time() + 5)
    else:
        client.send(query.to_wire())
        response = dns.message.from_wire(client.recv(4096))
    assert query.is_response(response)
    values = [rdata.to_text() for rrset in response.answer for rdata in rrset]
    return dns.rcode.to_text(response.rcode()), values


def dns_process(pod, feed):
    """As ``node.launch`` starts one, without a container round it."""
    line = feed.attach()
    sockets = netns.inside(pod.fd, replica.opened)
    child = os.fork()
    if child == 0:
        with Path(os.devnull).open("w") as sys.stdout:
            os._exit(replica.run(line, sockets))
    for each in (line, sockets.datagrams, *sockets.listeners.values()):
        each.close()
    return child


async def names():
    """DNS over UDP and TCP through its Service; names follow the registry."""
    world = World()
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    world.service("kube-dns", DNS_SERVICE_IP, ports, [world.c])
    world.service("web", WEB, [{"port": 80, "protocol": "TCP"}], [world.a])
    known = ClusterNames(world.registry)
    following = asyncio.create_task(known.run())
    server = dns_process(world.c, Feed(known.now))
    full = "web.default.svc.cluster.local"
    async with proxied(world):
        for tcp in (False, True):
            assert await asyncio.to_thread(ask, world.a, full, "A", tcp=tcp) == ("NOERROR", [WEB])
            assert await asyncio.to_thread(ask, world.a, full, "AAAA", tcp=tcp) == ("NOERROR", [])
            assert await asyncio.to_thread(ask, world.a, "www.example.com", "A", tcp=tcp) == (
                "NOERROR",
                [EXAMPLE_IP],
            )
            started = time.monotonic()
            assert await asyncio.to_thread(ask, world.a, "nosuch", "A", tcp=tcp) == ("NXDOMAIN", [])
            assert time.monotonic() - started < SOON
        world.registry.delete(SERVICES, "default", "web")
        await asyncio.sleep(0)
        await until(lambda: ask(world.a, full, "A") == ("NXDOMAIN", []))
        _, _, idle = await asyncio.to_thread(connect, world.a, DNS_SERVICE_IP, 53)
        await asyncio.sleep(0.1)
        os.kill(server, signal.SIGTERM)
        assert await asyncio.to_thread(ask, world.a, "www.example.com", "A") == ("NOERROR", [EXAMPLE_IP])
        assert await asyncio.to_thread(os.waitpid, server, 0) == (server, 0)
        following.cancel()
        assert await asyncio.to_thread(idle.recv, 1) == b""
        refused = await asyncio.to_thread(connect, world.a, DNS_SERVICE_IP, 53)
        assert refused[0] == "ECONNREFUSED", refused


async def outside():
    """Pods reach the simulated Internet with their own addresses; what does not exist there is unreachable at once."""
    world = World()
    internet = Internet()
    await internet.start()
    internet.connect(plan("lab").nodes[0], world.network.fd)
    for address, title in ((EXAMPLE_IP, b"Example Domain"), (GOOGLE_IP, b"Search")):
        for opener in (world.a, None):
            page = await asyncio.to_thread(fetch, opener, address, "/")
            assert page.startswith(b"HTTP/1.1 200 OK\r\n"), page
            assert title in page
            assert b"Content-Length: %d\r\n" % len(page.partition(b"\r\n\r\n")[2]) in page
    assert (await asyncio.to_thread(fetch, world.a, EXAMPLE_IP, "/x")).startswith(b"HTTP/1.1 404 ")
    assert await asyncio.to_thread(ping, world.a, GOOGLE_IP)
    resolved = await asyncio.to_thread(ask, world.a, "www.example.com", "A", GOOGLE_IP)
    assert resolved == ("NOERROR", [EXAMPLE_IP])
    resolved = await asyncio.to_thread(ask, world.a, "www.example.com", "A", GOOGLE_IP, tcp=True)
    assert resolved == ("NOERROR", [EXAMPLE_IP])
    assert (await asyncio.to_thread(connect, world.a, EXAMPLE_IP, 53))[0] == "ECONNREFUSED"
    result, seconds, _ = await asyncio.to_thread(connect, world.a, "8.8.8.8", 53)
    assert result == "EHOSTUNREACH", result
    assert seconds < SOON
    server = listen(world.b)
    peer = await asyncio.to_thread(reach, internet, "10.244.0.3", 8080, server)
    assert peer == "192.0.2.2", peer
    await internet.stop()
    await internet.stop()
    assert (await asyncio.to_thread(connect, world.a, EXAMPLE_IP, 80))[0] == "ENETUNREACH"


def fetch(opener, address, path):
    client = opener.socket(family_of(address)) if opener else socket.socket()
    client.settimeout(5)
    client.connect((address, 80))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    page = b""
    while more := client.recv(4096):
        page += more
    return page


if __name__ == "__main__":
    syscalls.unshare(syscalls.CLONE_NEWNET)
    asyncio.run(globals()[sys.argv[1]]())
