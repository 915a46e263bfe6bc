"""Address families of a Service: ipFamilyPolicy and ipFamilies, from what the client wrote and what the cluster has.

Called by ``services`` before addresses are handed out, on an object that may be edited. Rules: KEP-563 and kube-apiserver's Service
allocator: a new Service is SingleStack unless it says otherwise, one without selector and address has both families; an update keeps the
policy of before; nobody loses or gets an address without asking by the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

from stockade.lab.apiserver.failures import Cause
from stockade.lab.apiserver.registry import JsonObject

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
HEADLESS = "None"
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}
_POLICY = "spec.ipFamilyPolicy"


def settle(spec: JsonObject, old: JsonObject, cluster: Sequence[str]) -> list[Cause]:
    """Fill both fields of ``spec``; ``old`` is the stored spec or empty, ``cluster`` the families it has, the default first."""
    if _is_settled(spec, old):
        return []
    bare = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = old.get("ipFamilyPolicy") or (REQUIRE if bare else SINGLE)
    spec["ipFamilies"] = list(spec.get("ipFamilies") or [])
    spec["clusterIPs"] = list(spec.get("clusterIPs") or [])
    causes = _loose(spec) or _after_update(spec, old) + _policy_fits(spec) + _infer(spec, cluster)
    if causes:
        return causes
    if bare:
        # Whoever writes the endpoints decides: both families, whatever the cluster has.
        _complete(spec, cluster, ("IPv4", "IPv6"))
        return []
    causes = _not_here(spec, cluster)
    if not causes:
        _complete(spec, cluster, cluster)
    return causes


def _is_settled(spec: JsonObject, old: JsonObject) -> bool:
    """A PreferDualStack Service that did not change does not follow the cluster."""
    fields = ("ipFamilyPolicy", "ipFamilies", "clusterIPs")
    return old.get("ipFamilyPolicy") == PREFER and all(spec.get(name) == old.get(name) for name in fields)


def _loose(spec: JsonObject) -> list[Cause]:
    """Each field for itself, and the two lists against each other."""
    causes = []
    if spec["ipFamilyPolicy"] not in (SINGLE, PREFER, REQUIRE):
        known = f'"{PREFER}", "{REQUIRE}", "{SINGLE}"'
        text = f'Unsupported value: "{spec["ipFamilyPolicy"]}": supported values: {known}'
        causes.append(Cause("FieldValueNotSupported", text, _POLICY))
    return causes + _families_alone(spec["ipFamilies"]) + _addresses(spec["clusterIPs"], spec["ipFamilies"])


def _families_alone(families: Sequence[str]) -> list[Cause]:
    causes = []
    for index, family in enumerate(families):
        field = f"spec.ipFamilies[{index}]"
        if family not in _OTHER:
            text = f'Unsupported value: "{family}": supported values: "IPv4", "IPv6"'
            causes.append(Cause("FieldValueNotSupported", text, field))
        elif family in families[:index]:
            causes.append(Cause("FieldValueDuplicate", f'Duplicate value: "{family}"', field))
    return causes


def _addresses(addresses: Sequence[str], families: Sequence[str]) -> list[Cause]:
    causes = []
    for index, address in enumerate(addresses):
        field = f"spec.clusterIPs[{index}]"
        if address == HEADLESS:
            continue
        if not _is_address(address):
            why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            causes.append(_invalid(field, address, why))
        elif index < len(families) and families[index] in _OTHER and _family(address) != families[index]:
            why = f"expected an {families[index]} value as indicated by `ipFamilies[{index}]`"
            causes.append(_invalid(field, address, why))
    if len(addresses) > 2:
        causes.append(_invalid("spec.clusterIPs", addresses, "may only hold up to 2 values"))
    elif len(addresses) == 2 and HEADLESS not in addresses and _family(addresses[0]) == _family(addresses[1]):
        why = "may specify no more than one IP for each IP family"
        causes.append(_invalid("spec.clusterIPs", addresses, why))
    return causes


def _after_update(spec: JsonObject, old: JsonObject) -> list[Cause]:
    """SingleStack alone is a clear wish to let the second address go; any other policy keeps it."""
    causes = []
    for field, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        before = list(old.get(field) or [])
        if spec["ipFamilyPolicy"] == SINGLE:
            if len(before) > 1 and spec[field] == before:
                spec[field] = before[:1]
        elif len(before) > len(spec[field]) == 1:
            why = f"must be 'SingleStack' to release the secondary {what}"
            causes.append(_invalid(_POLICY, spec["ipFamilyPolicy"], why))
    if old.get("ipFamilies") and spec["ipFamilies"] and spec["ipFamilies"][0] != old["ipFamilies"][0]:
        causes.append(_invalid("spec.ipFamilies[0]", spec["ipFamilies"][0], "may not change once set"))
    return causes


def _policy_fits(spec: JsonObject) -> list[Cause]:
    if spec["ipFamilyPolicy"] != SINGLE:
        return []
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    found = (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
    return [_invalid(_POLICY, SINGLE, text.format(what)) for field, what in found if len(spec[field]) == 2]


def _infer(spec: JsonObject, cluster: Sequence[str]) -> list[Cause]:
    """Addresses that were asked for say their families."""
    causes = []
    for index, address in enumerate(spec["clusterIPs"]):
        if address == HEADLESS:
            break
        family = _family(address)
        if index < len(spec["ipFamilies"]):
            continue
        if family in cluster:
            spec["ipFamilies"].append(family)
        else:
            why = f"{family} is not configured on this cluster"
            causes.append(_invalid(f"spec.clusterIPs[{index}]", spec["clusterIPs"], why))
    return causes


def _not_here(spec: JsonObject, cluster: Sequence[str]) -> list[Cause]:
    causes = []
    if spec["ipFamilyPolicy"] == REQUIRE and len(cluster) < 2:
        why = "this cluster is not configured for dual-stack services"
        causes.append(_invalid(_POLICY, REQUIRE, why))
    for index, family in enumerate(spec["ipFamilies"]):
        if family not in cluster:
            causes.append(_invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
    return causes


def _complete(spec: JsonObject, cluster: Sequence[str], available: Sequence[str]) -> None:
    families = spec["ipFamilies"] = spec["ipFamilies"] or [cluster[0]]
    if spec["ipFamilyPolicy"] != SINGLE and len(families) == 1 and len(available) == 2:
        families.append(_OTHER[families[0]])


def _family(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _invalid(field: str, value: str | Sequence[str], why: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else "[" + ",".join(f'"{each}"' for each in value) + "]"
    return Cause("FieldValueInvalid", f"Invalid value: {shown}: {why}", field)
