"""What the kernel remembers of an address is forgotten, both ways, and nothing else."""

from __future__ import annotations

import socket
import subprocess

import pytest

from stockade.dataplane import conntrack
from stockade.net.cidr import parse_address

pytestmark = pytest.mark.kernel

A, B, C = "10.244.0.5", "10.244.0.6", "10.244.0.7"
A6, B6, C6 = "fd00::5", "fd00::6", "fd00::7"
VIP = "10.96.0.10"
TRACK = f"""
table inet track {{
  chain forward {{ type filter hook forward priority 0; ct state new accept; }}
  chain nat {{ type nat hook prerouting priority -100; ip daddr {VIP} dnat ip to {B}; }}
}}
"""


@pytest.fixture
def pods(network):
    for name, address, address6 in (("a", A, A6), ("b", B, B6), ("c", C, C6)):
        network.add_pod(name, address, address6)
    subprocess.run(["nft", "-f", "-"], input=TRACK, text=True, check=True)
    for name in "abc":
        network.listen(name, 5353, socket.SOCK_DGRAM)
    return network


def send(network, where, to, port=5353):
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    network.open(where, family=family).sendto(b"x", (to, port))


def known():
    """(opener, who answers) of every entry, read by the reader under test over the whole table."""
    table = conntrack.Conntrack()
    try:
        return sorted(
            (entry.opener, entry.answerer)
            for request in conntrack._whole(frozenset({(4, 0), (6, 0)}))
            for message in table._socket.dump(request)
            if (entry := conntrack._entry(message))
        )
    finally:
        table.close()


def pair(one, other):
    return parse_address(one), parse_address(other)


@pytest.mark.parametrize("few", [0, 4])
def test_both_directions_and_families_and_behind_a_service(pods, monkeypatch, few):
    """Once the kernel filters, once it sends everything."""
    monkeypatch.setattr(conntrack, "_FEW", few)
    send(pods, "a", B)
    send(pods, "b", A)
    send(pods, "a", VIP)
    send(pods, "c", VIP)
    send(pods, "a", C)
    send(pods, "a", B6)
    send(pods, "c", A6)
    assert len(known()) == 7
    assert conntrack.forget([parse_address(B)]) == 4
    assert known() == sorted([pair(A, C), pair(A6, B6), pair(C6, A6)])
    assert conntrack.forget([parse_address(B6), parse_address(A6)]) == 2
    assert known() == [pair(A, C)]
    assert conntrack.forget([parse_address(B)]) == 0


def test_many_entries_of_one_address(pods):
    out, back = pods.open("a"), pods.open("c")
    for port in range(3000):
        sender, to = (out, B) if port % 3 else (back, A)
        sender.sendto(b"x", (to, 10000 + port))
    send(pods, "c", B)
    assert conntrack.forget([parse_address(A)]) == 3000
    assert known() == [pair(C, B)]


def test_the_kernel_itself_filters(pods):
    send(pods, "a", B)
    send(pods, "c", A)
    table = conntrack.Conntrack()
    try:
        answers = [table._socket.dump(each) for each in conntrack._filtered(frozenset({parse_address(A)}))]
    finally:
        table.close()
    assert [len(answer) for answer in answers] == [1, 1]
