"""Two layouts of others, as text for ``ipset restore`` and ``iptables-restore``. Called by ``layouts``.

``linear``: all rules of all policies in one chain, after conntrack: what translating policies one by one gives.
``kube_router``: FORWARD jumps to the chain of each pod of the node, one rule for each direction; the pod's chain accepts what is
established, goes through the chains of its policies, which mark what they allow, and denies what has no mark; each rule has a set of the
pods it is for and one of its peers. Left out in the favour of that layout: comments, rules for bridged frames, INPUT and OUTPUT.
Loaded by the restore programs, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from cluster import Policy, World
from stockade.net.cidr import format_address
from triples import Namespace

_SECONDS = 120.0  # to load one
_ALLOWED, _DONE = "0x10000/0x10000", "0x20000/0x20000"


def linear(namespace: Namespace, made: World) -> None:
    _sets(namespace, made)
    rules = ["-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]
    for number, policy in enumerate(made.policies):
        rules += [f"-A FORWARD {match} -j ACCEPT" for match in _matches(number, policy)]
    rules.append("-A FORWARD -m set --match-set pods src -j DROP")
    _restore(namespace, "iptables-legacy-restore", [], rules)


def kube_router(program: str) -> Callable[[Namespace, World], None]:
    def load(namespace: Namespace, made: World) -> None:
        _sets(namespace, made)
        chains, rules = _pods_and_policies(made)
        _restore(namespace, program, chains, rules)

    return load


def _pods_and_policies(made: World) -> tuple[list[str], list[str]]:
    chains, rules = ["ROUTER-FORWARD", "COMMON"], ["-A FORWARD -j ROUTER-FORWARD"]
    for number, address in enumerate(made.pods):
        text = format_address(4, address)
        chains.append(f"POD-{number}")
        rules += [f"-A ROUTER-FORWARD {way} {text} -j POD-{number}" for way in ("-d", "-s")]
        rules += _pod_chain(number, text, made.policies_of[number])
    rules.append(f"-A ROUTER-FORWARD -m mark --mark {_DONE} -j ACCEPT")
    rules += [
        "-A COMMON -m conntrack --ctstate INVALID -j DROP",
        "-A COMMON -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-A COMMON -p icmp --icmp-type echo-request -j ACCEPT",
        "-A COMMON -p icmp --icmp-type destination-unreachable -j ACCEPT",
        "-A COMMON -p icmp --icmp-type time-exceeded -j ACCEPT",
    ]
    for number, policy in enumerate(made.policies):
        chains.append(f"POLICY-{number}")
        for match in _matches(number, policy):
            rules.append(f"-A POLICY-{number} {match} -j MARK --set-xmark {_ALLOWED}")
            rules.append(f"-A POLICY-{number} {match} -m mark --mark {_ALLOWED} -j RETURN")
    return chains, rules


def _pod_chain(number: int, address: str, policies: tuple[int, ...]) -> Iterator[str]:
    pod = f"-A POD-{number}"
    yield f"{pod} -j COMMON"
    yield f"{pod} -d {address} -m addrtype --src-type LOCAL -j ACCEPT"
    for policy in policies:
        yield f"{pod} -s {address} -j POLICY-{policy}"
    yield f"{pod} -d {address} -j MARK --set-xmark {_ALLOWED}"  # nobody isolates it for ingress
    yield f"{pod} -m mark ! --mark {_ALLOWED} -m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100"
    yield f"{pod} -m mark ! --mark {_ALLOWED} -j REJECT"
    yield f"{pod} -j MARK --set-xmark 0x0/0x10000"
    yield f"{pod} -j MARK --set-xmark {_DONE}"


def _matches(number: int, policy: Policy) -> Iterator[str]:
    """Of each rule, for each protocol."""
    for index, rule in enumerate(policy.rules):
        ports = f"{rule.low}:{rule.high}" if rule.high > rule.low else str(rule.low)
        ends = f"-m set --match-set src-{number} src -m set --match-set dst-{number}-{index} dst"
        for protocol in ("tcp", "udp"):
            yield f"{ends} -p {protocol} --dport {ports}"


def _sets(namespace: Namespace, made: World) -> None:
    lines = _set("pods", made.pods)
    for number, policy in enumerate(made.policies):
        lines += _set(f"src-{number}", [made.pods[pod] for pod in policy.pods])
        for index, rule in enumerate(policy.rules):
            lines += _set(f"dst-{number}-{index}", list(made.addresses(rule.selector)))
    namespace.run("ipset", "restore", text="\n".join(lines) + "\n", timeout=_SECONDS)


def _set(name: str, addresses: list[int] | tuple[int, ...]) -> list[str]:
    size = max(64, len(addresses))
    create = f"create {name} hash:ip family inet hashsize {size} maxelem 65536"
    return [create, *(f"add {name} {format_address(4, address)}" for address in addresses)]


def _restore(namespace: Namespace, program: str, chains: list[str], rules: list[str]) -> None:
    own = [f":{chain} - [0:0]" for chain in chains]
    text = "\n".join(["*filter", ":FORWARD ACCEPT [0:0]", *own, *rules, "COMMIT", ""])
    namespace.run(program, text=text, timeout=_SECONDS)
