"""A pod's hostname, /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

import pytest

from stockade.lab.node import names


def pod(**spec) -> dict:
    meta = {"name": "web", "namespace": "prod", "uid": "u1"}
    status = {"podIP": "10.244.0.2", "podIPs": [{"ip": "10.244.0.2"}], "hostIP": "172.30.0.1"}
    return {"metadata": meta, "spec": {"nodeName": "n1", **spec}, "status": status}


def resolv(**spec) -> str:
    return names.files(pod(**spec), "web", "10.96.0.10", "nameserver 192.0.2.1\n")["/etc/resolv.conf"]


def test_resolv_conf() -> None:
    cluster = (
        "search prod.svc.cluster.local svc.cluster.local cluster.local\n"
        "nameserver 10.96.0.10\noptions ndots:5 timeout:1 attempts:2\n"
    )
    assert resolv() == cluster
    assert resolv(dnsPolicy="ClusterFirst", hostNetwork=True) == "nameserver 192.0.2.1\n"
    assert resolv(dnsPolicy="ClusterFirstWithHostNet", hostNetwork=True) == cluster
    assert resolv(dnsPolicy="Default") == "nameserver 192.0.2.1\n"
    own = {
        "nameservers": ["192.0.2.9"],
        "searches": ["a.example"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}],
    }
    assert (
        resolv(dnsPolicy="None", dnsConfig=own)
        == "search a.example\nnameserver 192.0.2.9\noptions ndots:2 rotate\n"
    )
    merged = resolv(dnsConfig=own)
    assert "nameserver 10.96.0.10\nnameserver 192.0.2.9\n" in merged
    assert "options ndots:2 timeout:1 attempts:2 rotate\n" in merged


def test_hostname_and_hosts() -> None:
    assert names.hostname(pod(), "n1") == "web"
    assert names.hostname(pod(hostname="db"), "n1") == "db"
    assert names.hostname(pod(hostNetwork=True), "n1") == "n1"
    aliases = [{"ip": "192.0.2.5", "hostnames": ["a", "b"]}]
    hosts = names.files(pod(subdomain="sub", hostAliases=aliases), "web", "x", "")["/etc/hosts"]
    assert "10.244.0.2\tweb.sub.prod.svc.cluster.local\tweb\n" in hosts
    assert hosts.endswith("192.0.2.5\ta\tb\n")


def test_default_policy_with_additions() -> None:
    more = {"nameservers": ["192.0.2.9"], "options": [{"name": "rotate"}]}
    expected = "nameserver 192.0.2.1\nnameserver 192.0.2.9\noptions rotate\n"
    assert resolv(dnsPolicy="Default", dnsConfig=more) == expected


def test_full_name_as_hostname() -> None:
    assert names.kernel_hostname(pod(subdomain="sub"), "web") == "web"
    asked = pod(subdomain="sub", setHostnameAsFQDN=True)
    assert names.kernel_hostname(asked, "web") == "web.sub.prod.svc.cluster.local"
    with pytest.raises(names.HostnameError, match="longer than 64"):
        names.kernel_hostname(pod(subdomain="s" * 40, setHostnameAsFQDN=True), "web")
