"""What stands behind the # of a rule."""

from __future__ import annotations

from stockade.dataplane.wording import port_text, sources_text
from stockade.model.meta import ObjectRef
from stockade.model.netpol import EGRESS, INGRESS
from stockade.policy.compiled import NamedPort, PortRange, RuleRef


def ref(name: str, index: int = 0, direction: str = EGRESS) -> RuleRef:
    return RuleRef(ObjectRef("shop", name), direction, index)


def test_sources_are_told_by_policy() -> None:
    assert sources_text([]) == ""
    assert sources_text([ref("a", 2)]) == "shop/a egress[2]"
    assert sources_text([ref("b"), ref("a", 3), ref("a"), ref("a")]) == "shop/a egress[0,3], shop/b egress[0]"
    assert sources_text([ref("a"), ref("a", 0, INGRESS)]) == "shop/a egress[0], shop/a ingress[0]"


def test_of_many_some_are_told() -> None:
    text = sources_text([ref(f"p{n}", k) for n in range(9) for k in range(2)])
    assert text.count("shop/") == 6
    assert text.endswith("shop/p5 egress[0,1] and 3 more policies")


def test_ports() -> None:
    assert port_text(None) == "every port and protocol"
    assert port_text(NamedPort("UDP", "dns")) == "port dns/UDP"
    assert port_text(PortRange("TCP", 80, 80)) == "port 80/TCP"
    assert port_text(PortRange("SCTP", 1, 2)) == "port 1-2/SCTP"
    assert port_text(PortRange("UDP", 0, 65535)) == "every UDP port"
