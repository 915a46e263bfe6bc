"""Queries of strangers: read as a library reads them, or refused; never anything else."""

import random

import dns.exception
import dns.message
import pytest

from stockade.lab.dns.question import Question, read

NAME = (b"web", b"default", b"svc")


def query(*options, **more):
    return dns.message.make_query("web.default.svc", "A", *options, **more).to_wire()


def test_the_fields_of_a_query():
    assert read(query()) == Question(NAME, 1, 1, -1, 0, True)
    assert read(query(use_edns=0, payload=4096)) == Question(NAME, 1, 1, 4096, 0, True)
    assert read(dns.message.make_query(".", "NS", rdclass="CH").to_wire()) == Question((), 2, 3, -1, 0, True)


def test_labels_are_bytes_and_their_case_stays():
    made = dns.message.make_query("W\\000eB.x", "A").to_wire()
    assert read(made).labels == (b"W\0eB", b"x")


def test_a_compressed_question_is_malformed():
    wire = bytearray(query())
    wire[12:13] = b"\xc0"
    assert read(bytes(wire))[3] & 15 == 1


@pytest.mark.parametrize(("at", "value"), [(4, b"\0\2"), (4, b"\0\0"), (10, b"\xff\xff"), (6, b"\0\1")])
def test_counts_that_are_not_so(at, value):
    wire = bytearray(query())
    wire[at : at + 2] = value
    assert read(bytes(wire))[3] & 15 == 1


def test_two_records_of_edns_are_malformed():
    wire = bytearray(query(use_edns=0))
    wire[10:12] = b"\0\2"
    assert read(bytes(wire) + bytes(wire[-11:]))[3] & 15 == 1


def test_a_name_may_not_be_longer_than_names_are():
    label = b"\x3f" + b"a" * 63
    head = query()[:12]
    assert isinstance(read(head + label * 3 + b"\x3d" + b"a" * 61 + b"\0\0\1\0\1"), Question)
    assert read(head + label * 3 + b"\x3e" + b"a" * 62 + b"\0\0\1\0\1")[3] & 15 == 1


def test_random_bytes_never_raise_and_agree_with_the_library():
    chance = random.Random(5)
    agreed = 0
    for _ in range(3000):
        wire = bytearray(query(use_edns=chance.choice([-1, 0]), want_dnssec=chance.random() < 0.3))
        for _ in range(chance.randrange(4)):
            wire[chance.randrange(len(wire))] = chance.randrange(256)
        found = read(bytes(wire[: chance.randrange(len(wire)) if chance.random() < 0.2 else len(wire)]))
        if isinstance(found, Question):
            try:
                theirs = dns.message.from_wire(bytes(wire), ignore_trailing=True)
            except dns.exception.DNSException:
                continue
            if len(theirs.question) == 1 and theirs.edns >= 0:
                agreed += 1
                assert theirs.question[0].name.labels[:-1] == found.labels
                assert theirs.question[0].rdtype == found.type
                assert theirs.payload == found.payload
    assert agreed > 300
