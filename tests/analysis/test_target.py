"""What people type as the ends of a path."""

from __future__ import annotations

import pytest

from stockade.analysis.target import (
    ADDRESS,
    NAME,
    NODE,
    POD,
    SERVICE,
    WORKLOAD,
    TargetError,
    at_port,
    parse_pod,
    parse_target,
    with_ports,
)


@pytest.mark.parametrize(
    ("text", "kind", "namespace", "name", "port", "protocol"),
    [
        ("pod/foo", POD, "dev", "foo", None, "TCP"),
        ("po/foo:8080", POD, "dev", "foo", 8080, "TCP"),
        ("ns:pod/foo", POD, "ns", "foo", None, "TCP"),
        ("svc/web:80", SERVICE, "dev", "web", 80, "TCP"),
        ("kube-system:svc/kube-dns:53/udp", SERVICE, "kube-system", "kube-dns", 53, "UDP"),
        ("deploy/web:80", WORKLOAD, "dev", "web", 80, "TCP"),
        ("ns:statefulsets.apps/db", WORKLOAD, "ns", "db", None, "TCP"),
        ("node/node-1:22", NODE, "", "node-1", 22, "TCP"),
        ("web:80", NAME, "", "web", 80, "TCP"),
        ("Web.Example.COM:443", NAME, "", "web.example.com", 443, "TCP"),
        ("www.example.com", NAME, "", "www.example.com", None, "TCP"),
        ("10.0.0.1:443", ADDRESS, "", "10.0.0.1", 443, "TCP"),
        ("8.8.8.8:53/udp", ADDRESS, "", "8.8.8.8", 53, "UDP"),
        ("fd00::1", ADDRESS, "", "fd00::1", None, "TCP"),
        ("[fd00::1]:80", ADDRESS, "", "fd00::1", 80, "TCP"),
        ("http://web/", NAME, "", "web", 80, "TCP"),
        ("https://web/x?y", NAME, "", "web", 443, "TCP"),
        ("http://[fd00::1]:8080/", ADDRESS, "", "fd00::1", 8080, "TCP"),
        ("http://user@web:81/", NAME, "", "web", 81, "TCP"),
        ("icmp://google.com", NAME, "", "google.com", None, "ICMP"),
    ],
)
def test_targets(text, kind, namespace, name, port, protocol):
    target = parse_target(text, "dev")
    assert (target.kind, target.namespace, target.name) == (kind, namespace, name)
    assert (target.port, target.protocol) == (port, protocol)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("http://web:80/", "web:80"),
        ("http://web", "web"),
        ("web:80", "web:80"),
        ("http://user@Web:81/", "Web:81"),
    ],
)
def test_the_host_is_kept_as_written(text, written):
    assert parse_target(text).as_written == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "http:///x",
        "web:x",
        "web:0",
        "pod/foo:99999",
        "[::1",
        "http://web:0/",
        "http://[::1",
        "pod/a:9-8",
        "pod/a:1-70000",
    ],
)
def test_what_is_no_target(text):
    with pytest.raises(TargetError):
        parse_target(text)


@pytest.mark.parametrize(
    ("text", "ref"),
    [("foo", "dev/foo"), ("pod/foo", "dev/foo"), ("ns:pod/foo", "ns/foo"), ("ns:foo", "ns/foo")],
)
def test_pods(text, ref):
    assert str(parse_pod(text, "dev")) == ref


@pytest.mark.parametrize("text", ["svc/web", "pod/web:80", "", "pod/", "a b"])
def test_what_is_no_pod(text):
    with pytest.raises(TargetError, match="is not a pod; write pod/NAME or NS:pod/NAME"):
        parse_pod(text)


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("pod/a:8000-8100", (8000, 8100)),
        ("svc/a:8000-8100/udp", (8000, 8100)),
        ("10.0.0.1:1-65535", (1, 65535)),
        ("[fd00::1]:80-81", (80, 81)),
        ("web:80-80", (80, None)),
    ],
)
def test_ranges(text, ports):
    target = parse_target(text)
    assert (target.port, target.last_port) == ports


def test_one_port_of_a_range_is_written_as_an_application_would():
    assert at_port(parse_target("web:80-90"), 85).as_written == "web:85"
    assert at_port(parse_target("web:80-90"), 85).last_port is None


def test_what_the_options_add():
    target = with_ports(parse_target("web"), "80-81", "udp")
    assert (target.port, target.last_port, target.protocol, target.as_written) == (80, 81, "UDP", "web:80")
    assert with_ports(parse_target("web"), "53/udp").protocol == "UDP"
    assert with_ports(parse_target("web:80"), "", "icmp").port is None


@pytest.mark.parametrize(("port", "protocol"), [("http", ""), ("0", ""), ("80", "gre"), ("80-", "")])
def test_options_that_say_nothing(port, protocol):
    with pytest.raises(TargetError):
        with_ports(parse_target("web"), port, protocol)
