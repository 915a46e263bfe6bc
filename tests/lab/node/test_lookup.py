"""Names to addresses without the C library: resolv.conf's rules, and answers that make no sense."""

from __future__ import annotations

import _socket
import contextlib
from collections.abc import Callable

import dns.flags
import dns.message
import dns.rcode
import pytest

from stockade.lab.dns.records import Zone
from stockade.lab.dns.wire import Responder
from stockade.lab.node import lookup

FILES = {
    "/etc/hosts": "127.0.0.1\tlocalhost # the pod\n10.244.0.7 Named other\n",
    "/etc/resolv.conf": "search x.svc.cluster.local svc.cluster.local cluster.local\n"
    "nameserver 10.96.0.10\noptions ndots:5 timeout:1 attempts:2\n",
}
Ask = Callable[[str], tuple[int, str]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The questions, answered by the lab's own DNS with a Service and a name elsewhere."""
    zone = Zone("cluster.local")
    zone.add("s-x-a.x.svc.cluster.local", "A", "10.96.0.5")
    zone.add("six.x.svc.cluster.local", "AAAA", "fd00::5")
    responder, questions = Responder(zone), []

    def exchange(config: object, question: bytes) -> bytes:
        message = dns.message.from_wire(question)
        questions.append(message.question[0].to_text())
        if "elsewhere" in questions[-1] and "cluster" not in questions[-1]:
            answer = dns.message.make_response(message)
            answer.answer = dns.message.from_text(
                ";ANSWER\nelsewhere.example. 5 IN CNAME real.example.\nreal.example. 5 IN A 203.0.113.9\n"
            ).answer
            return answer.to_wire()
        return responder.respond(question)

    monkeypatch.setattr(lookup, "_lines", lambda path: FILES[path].splitlines())
    monkeypatch.setattr(lookup, "_exchange", exchange)
    return questions


def test_addresses_and_hosts_need_no_server(asked: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert lookup.resolve("192.0.2.4") == (_socket.AF_INET, "192.0.2.4")
    assert lookup.resolve("fd00::7") == (_socket.AF_INET6, "fd00::7")
    assert lookup.resolve("named") == (_socket.AF_INET, "10.244.0.7")
    assert asked == []


def test_the_search_list_comes_first_for_names_of_few_dots(asked: list[str]) -> None:
    assert lookup.resolve("s-x-a.x.svc.cluster.local") == (_socket.AF_INET, "10.96.0.5")
    assert asked == [
        "s-x-a.x.svc.cluster.local.x.svc.cluster.local. IN A",
        "s-x-a.x.svc.cluster.local.svc.cluster.local. IN A",
        "s-x-a.x.svc.cluster.local.cluster.local. IN A",
        "s-x-a.x.svc.cluster.local. IN A",
    ]
    asked.clear()
    assert lookup.resolve("s-x-a") == (_socket.AF_INET, "10.96.0.5")
    assert asked == ["s-x-a.x.svc.cluster.local. IN A"]


def test_a_name_with_a_dot_at_its_end_is_whole(asked: list[str]) -> None:
    with pytest.raises(_socket.gaierror, match="Name or service not known"):
        lookup.resolve("s-x-a.")
    assert asked == ["s-x-a. IN A"]


def test_ipv6_where_there_is_no_ipv4(asked: list[str]) -> None:
    assert lookup.resolve("six.x.svc.cluster.local.") == (_socket.AF_INET6, "fd00::5")
    assert asked == ["six.x.svc.cluster.local. IN A", "six.x.svc.cluster.local. IN AAAA"]


def test_an_alias_has_the_address_of_what_it_names(asked: list[str]) -> None:
    assert lookup.resolve("elsewhere.example.") == (_socket.AF_INET, "203.0.113.9")


@pytest.mark.parametrize("name", ["", ".", "a..b", "x" * 64, "a." * 3 + "b" * 70])
def test_what_is_no_name_is_not_asked(asked: list[str], name: str) -> None:
    with pytest.raises(_socket.gaierror):
        lookup.resolve(f"{name}.")
    assert asked == []


def test_no_answer_makes_it_fail_otherwise_than_with_a_gaierror(monkeypatch: pytest.MonkeyPatch) -> None:
    query = dns.message.make_query("a.example.", "A")
    answer = dns.message.make_response(query)
    answer.answer = dns.message.from_text(";ANSWER\na.example. 5 IN A 203.0.113.9\n").answer
    whole = answer.to_wire()
    monkeypatch.setattr(lookup, "_lines", lambda path: FILES[path].splitlines())
    for length in range(12, len(whole)):
        for spoiled in (whole[:length], whole[:length] + b"\xff" * (len(whole) - length)):
            monkeypatch.setattr(lookup, "_exchange", lambda *_, data=spoiled: data)
            with contextlib.suppress(_socket.gaierror):
                assert len(lookup.resolve("a.example.")) == 2
