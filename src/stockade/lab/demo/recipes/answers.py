"""What several recipes type and see: kubectl's and wget's lines. Data only; called by the recipes."""

from __future__ import annotations

from stockade.lab.demo.steps import Check, Leave, Lines, Run, Shell, Step, Type

WELCOME: Lines = ("<title>Welcome to nginx!</title>", "...")
TIMED_OUT: Lines = ("wget: download timed out",)
WEB = "wget -qO- --timeout=2 http://web"


def run_web(why: str = "a web server and a Service in front of it") -> Run:
    return Run(
        "kubectl run web --image=nginx --labels=app=web --expose --port=80",
        why,
        prints=("pod/web created", "service/web created"),
    )


def created(policy: str) -> Lines:
    return (f"networkpolicy.networking.k8s.io/{policy} created",)


def apply(policy: str, why: str) -> Run:
    return Run(f"kubectl apply -f {policy}.yaml", why, prints=created(policy))


def deleted(name: str) -> Lines:
    """Of a pod and its Service."""
    return (f'pod "{name}" deleted{{from}}', f'service "{name}" deleted{{from}}')


def policy_deleted(name: str) -> str:
    return f'networkpolicy.networking.k8s.io "{name}" deleted{{from}}'


def delete(name: str, *policies: str) -> tuple[Run, ...]:
    """A pod, its Service, and policies."""
    return (
        Run(f"kubectl delete pod,service {name}", "clean up", prints=deleted(name)),
        *delete_policies(*policies),
    )


def delete_policies(*policies: str) -> tuple[Run, ...]:
    if not policies:
        return ()
    why = "and the rules are gone"
    line = f"kubectl delete networkpolicy {' '.join(policies)}"
    return (Run(line, why, prints=tuple(policy_deleted(policy) for policy in policies)),)


def namespace(name: str, label: str = "") -> tuple[Run, ...]:
    made = Run(f"kubectl create namespace {name}", "another namespace", prints=(f"namespace/{name} created",))
    if not label:
        return (made,)
    line = f"kubectl label namespace {name} {label}"
    return made, Run(line, "which a policy can select by its label", prints=(f"namespace/{name} labeled",))


def delete_namespaces(*names: str) -> Run:
    lines = tuple(f'namespace "{name}" deleted' for name in names)
    return Run(f"kubectl delete namespace {' '.join(names)}", "with everything in it", prints=lines)


def visit(
    check: Check, why: str, *, flags: str = "", line: str = WEB, prints: Lines = ()
) -> tuple[Step, ...]:
    """A pod for one look: open its shell, type ``line``, leave."""
    opened = f"kubectl run test-$RANDOM {flags} --rm -i -t --image=alpine -- sh".replace("  ", " ")
    expected = prints or (WELCOME if check.allowed else TIMED_OUT)
    head = 4 if check.allowed and not prints else 0
    return Shell(opened, "a client"), Type(line, why, check, prints=expected, head=head), Leave()
