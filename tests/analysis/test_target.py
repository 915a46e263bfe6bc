"""What people type as the ends of a path."""

from __future__ import annotations

import pytest

from stockade.analysis.target import ADDRESS, NAME, POD, SERVICE, TargetError, parse_pod, parse_target


@pytest.mark.parametrize(
    ("text", "kind", "namespace", "name", "port", "protocol"),
    [
        ("pod/foo", POD, "dev", "foo", None, "TCP"),
        ("po/foo:8080", POD, "dev", "foo", 8080, "TCP"),
        ("ns:pod/foo", POD, "ns", "foo", None, "TCP"),
        ("svc/web:80", SERVICE, "dev", "web", 80, "TCP"),
        ("kube-system:svc/kube-dns:53/udp", SERVICE, "kube-system", "kube-dns", 53, "UDP"),
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
    ["", "http://", "http:///x", "web:x", "web:0", "pod/foo:99999", "[::1", "http://web:0/", "http://[::1"],
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
