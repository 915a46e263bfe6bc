"""Host ports of pods become doors of their node."""

import pytest

from stockade.lab.proxy.hostports import host_ports
from stockade.lab.proxy.targets import IPV4, IPV6

NODE = ("172.30.0.1", "fd00:172:30::1")


def pod(*ports, phase="Running", node="node-1", **spec):
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": list(ports)}], **spec},
        "status": {"phase": phase, "podIPs": [{"ip": "10.244.0.2"}, {"ip": "fd00:10:244::2"}]},
    }


PORT = {"containerPort": 8080, "hostPort": 80}


def test_each_family_has_its_door():
    (four,) = host_ports([pod(PORT)], "node-1", NODE, IPV4)
    (six,) = host_ports([pod({**PORT, "protocol": "UDP"})], "node-1", NODE, IPV6)
    assert (four.protocol, four.doors, four.endpoints) == (
        "tcp",
        (("172.30.0.1", 80),),
        (("10.244.0.2", 8080),),
    )
    assert (six.protocol, six.doors) == ("udp", (("fd00:172:30::1", 80),))
    assert six.endpoints == (("fd00:10:244::2", 8080),)


@pytest.mark.parametrize(
    "other",
    [
        pod({"containerPort": 8080}),
        pod(PORT, node="node-2"),
        pod(PORT, phase="Succeeded"),
        pod(PORT, hostNetwork=True),
        pod({**PORT, "hostIP": "127.0.0.1"}),
        pod({**PORT, "hostIP": "172.30.0.2"}),
        pod({**PORT, "protocol": "QUIC"}),
        {**pod(PORT), "status": {}},
    ],
)
def test_what_opens_nothing(other):
    assert host_ports([other], "node-1", NODE, IPV4) == []


@pytest.mark.parametrize(
    ("ip", "families"), [("", 2), ("0.0.0.0", 2), ("172.30.0.1", 1), ("FD00:172:30::1", 1)]
)
def test_a_host_ip_narrows(ip, families):
    found = [host_ports([pod({**PORT, "hostIP": ip})], "node-1", NODE, family) for family in (IPV4, IPV6)]
    assert sum(map(len, found)) == families
