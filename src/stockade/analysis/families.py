"""In which address family two ends meet: what a policy's blocks see depends on it.

In: the ends of a connection, and the families of the address that the application has. Out: the families in which it may
connect. Called by ``analysis.path``. Rules: an ipBlock is of one family (rule 20); a Service has an address for each of its
``ipFamilies``, and the proxy never translates from one family to the other.
"""

from __future__ import annotations

from collections.abc import Iterable

from stockade.analysis.backends import Backend
from stockade.model.objects import Service
from stockade.net.cidr import format_address, parse_address
from stockade.policy.compiled import CompiledPolicies
from stockade.policy.verdict import AddressEndpoint, Endpoint

Families = tuple[int, ...]  # in order of preference; empty: not known
_NAMES = {"IPv4": 4, "IPv6": 6}


def families_of(compiled: CompiledPolicies, endpoint: Endpoint) -> Families:
    """Empty for a pod that has not reported an address."""
    if isinstance(endpoint, AddressEndpoint):
        return (endpoint.family,)
    addresses = compiled.pods[compiled.by_ref[endpoint.ref]].addresses
    return tuple(dict.fromkeys(family for family, _ in addresses))


def common(source: Families, far: Families, wanted: Families = ()) -> Families:
    """Empty when they cannot meet. Where an end is not known, it is taken to have what is preferred, and only that."""
    known = [each for each in (wanted, far, source) if each]
    if not known:
        return (4,)
    shared = tuple(family for family in known[0] if all(family in each for each in known))
    return shared if source and far else shared[:1]


def family_of(address: str) -> Families:
    try:
        return (parse_address(address)[0],)
    except ValueError:  # a placeholder
        return ()


def is_loopback(address: str) -> bool:
    """Everybody has both."""
    return address == "::1" or address.startswith("127.")


def of_service(service: Service, compiled: CompiledPolicies, found: Iterable[Backend]) -> Families:
    """Of its addresses, else as its spec says, else (one family, the cluster's first) that of a pod behind it."""
    listed = tuple(family for ip in service.virtual_ips for family in family_of(ip))
    listed = listed or tuple(_NAMES[each] for each in service.spec.ip_families or [] if each in _NAMES)
    if listed:
        return listed
    found = tuple(found)
    sliced = tuple(dict.fromkeys(each.family for each in found if each.family is not None))
    if sliced or service.spec.ip_family_policy in {"PreferDualStack", "RequireDualStack"}:
        return sliced
    return next((own[:1] for each in found if (own := families_of(compiled, each.endpoint))), ())


def in_family(compiled: CompiledPolicies, found: Iterable[Backend], wanted: Families) -> tuple[Backend, ...]:
    """Those that the proxy has for these families; who has no address yet is taken to get one."""

    def fits(backend: Backend) -> bool:
        own = (backend.family,) if backend.family else families_of(compiled, backend.endpoint)
        return not own or not wanted or any(family in wanted for family in own)

    return tuple(each for each in found if fits(each))


def names(families: Iterable[int]) -> str:
    return " and ".join(f"IPv{family}" for family in families)


def of_node(compiled: CompiledPolicies, endpoint: AddressEndpoint) -> dict[int, AddressEndpoint]:
    """The first address of each family of the node that has ``endpoint``; just ``endpoint`` when no node has it."""
    found = {endpoint.family: endpoint}
    for name, own in compiled.node_addresses.items():
        if (endpoint.family, endpoint.address) in own:
            for family, value in own:
                text = f"node {name} ({format_address(family, value)})"
                found.setdefault(family, AddressEndpoint(family, value, text))
    return found
