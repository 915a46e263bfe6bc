"""DNS messages: what a resolver sends, what it gets."""

import dns.edns
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import pytest

from stockade.lab.dns.records import Zone
from stockade.lab.dns.wire import Responder


@pytest.fixture
def responder():
    zone = Zone("cluster.local")
    zone.add("web.default.svc.cluster.local", "A", "10.96.0.5")
    for number in range(200):
        zone.add("many.default.svc.cluster.local", "A", f"10.244.1.{number}")
    return Responder(zone)


def ask(responder, query, **how):
    return dns.message.from_wire(responder.respond(query.to_wire(), **how))


def test_an_answer_repeats_the_question_as_it_was_written(responder):
    query = dns.message.make_query("WeB.default.svc.cluster.local", "A")
    response = ask(responder, query)
    assert query.is_response(response)
    assert response.flags & dns.flags.AA
    assert response.flags & dns.flags.RA
    assert response.answer[0].to_text() == "WeB.default.svc.cluster.local. 5 IN A 10.96.0.5"


def test_repeated_questions_get_their_own_id(responder):
    first = dns.message.make_query("web.default.svc.cluster.local", "A", id=1)
    second = dns.message.make_query("web.default.svc.cluster.local", "A", id=2)
    assert ask(responder, first).id == 1
    response = ask(responder, second)
    assert response.id == 2
    assert response.answer


def test_nxdomain_carries_the_soa(responder):
    response = ask(responder, dns.message.make_query("nosuch.default.svc.cluster.local", "A"))
    assert response.rcode() == dns.rcode.NXDOMAIN
    assert response.authority[0].to_text().startswith("cluster.local. 5 IN SOA ns.dns.cluster.local.")


@pytest.mark.parametrize(
    ("options", "limit"), [({}, 512), ({"use_edns": 0, "payload": 4096}, 1232), ({"use_edns": 0}, 1232)]
)
def test_what_does_not_fit_is_truncated(responder, options, limit):
    query = dns.message.make_query("many.default.svc.cluster.local", "A", **options)
    wire = responder.respond(query.to_wire())
    assert len(wire) <= limit
    response = dns.message.from_wire(wire)
    assert response.flags & dns.flags.TC
    assert not response.answer


def test_a_stream_carries_it_all(responder):
    query = dns.message.make_query("many.default.svc.cluster.local", "A")
    response = ask(responder, query, stream=True)
    assert not response.flags & dns.flags.TC
    assert len(response.answer[0]) == 200


def test_edns_is_answered_with_edns(responder):
    query = dns.message.make_query("web.default.svc.cluster.local", "A", use_edns=0)
    assert ask(responder, query).edns == 0


def test_other_operations_are_not_implemented(responder):
    query = dns.message.make_query("web.default.svc.cluster.local", "A")
    query.set_opcode(dns.opcode.STATUS)
    assert dns.message.from_wire(responder.respond(query.to_wire())).rcode() == dns.rcode.NOTIMP


def test_other_classes_are_refused(responder):
    query = dns.message.make_query("web.default.svc.cluster.local", "A", rdclass="CH")
    assert ask(responder, query).rcode() == dns.rcode.REFUSED


def test_responses_and_scraps_are_not_answered(responder):
    query = dns.message.make_query("web.default.svc.cluster.local", "A")
    response = responder.respond(query.to_wire())
    assert responder.respond(response) is None
    assert responder.respond(b"\0" * 5) is None


@pytest.mark.parametrize("cut", [13, 20, -1])
def test_a_broken_question_is_a_format_error(responder, cut):
    query = dns.message.make_query("web.default.svc.cluster.local", "A").to_wire()
    response = dns.message.from_wire(responder.respond(query[:cut]))
    assert response.rcode() == dns.rcode.FORMERR
    assert response.id == int.from_bytes(query[:2], "big")


def test_what_is_remembered_does_not_grow_with_padding(responder):
    """Pods choose what they send: 64 kB for each of thousands would be the daemon's memory."""
    wire = dns.message.make_query("web.default.svc.cluster.local", "A").to_wire()
    for number in range(50):
        assert responder.respond(wire + bytes([number]) * 60_000, stream=True) is not None
    assert len(responder._remembered) == 1


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_nobody_transfers_the_zone(responder, kind):
    assert ask(responder, dns.message.make_query("cluster.local", kind)).rcode() == dns.rcode.REFUSED


def test_an_unknown_version_of_edns_is_refused(responder):
    response = ask(responder, dns.message.make_query("web.default.svc.cluster.local", "A", use_edns=1))
    assert (response.rcode(), response.edns) == (dns.rcode.BADVERS, 0)
    assert not response.answer
