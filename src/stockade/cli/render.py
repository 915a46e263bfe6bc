"""``stockade render``: the nft rules of a node, each with the policy and rule it comes from. Loads nothing, needs no privileges.

    state -> which node? -> placed (files only) -> compiled -> lowered -> excerpt? -> text or JSON

Exit status: 0, 2 when nothing could be rendered or for wrong use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click
import msgspec

from stockade.cli.agent import CidrType
from stockade.cli.failure import Failure
from stockade.cli.question import FORMATS, WHERE, echo_json, with_options
from stockade.cli.rule_options import RuleChoices, rule_options
from stockade.cli.world import read_state
from stockade.report.terminal import visible

if TYPE_CHECKING:
    from stockade.dataplane.ir import Ruleset
    from stockade.dataplane.settings import NodeView
    from stockade.model.meta import ObjectRef
    from stockade.net.cidr import Address, Block
    from stockade.policy.compiled import CompiledPolicies
    from stockade.store.state import ClusterState


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """What is printed. ``part`` names what an excerpt is about; empty: it is the whole table. ``notes`` are for people."""

    compiled: CompiledPolicies
    node: NodeView
    ruleset: Ruleset
    generation: int
    part: str = ""
    notes: tuple[str, ...] = ()


def _from_where(command: Callable[..., None]) -> Callable[..., None]:
    return with_options(command, WHERE)


@click.command(
    "render",
    epilog="Examples:  stockade render -f manifests/\n\n"
    "           stockade render --node worker-1 > worker-1.nft\n\n"
    "           stockade render deploy/shop -n prod\n\n"
    "           stockade render --policy prod/shop-egress -f manifests/\n\n"
    "           stockade render -f manifests/ --no-comments | unshare -rn nft -c -f -",
)
@click.argument("reference", metavar="[POD]", default="")
@_from_where
@click.option("--node", default="", help="Whose rules. Default: the node of POD, or the only one.")
@click.option(
    "--pod-cidr",
    "pod_cidrs",
    type=CidrType(),
    multiple=True,
    help="Addresses of this node's pods, fenced until programmed (repeatable). Default: the Node's podCIDRs.",
)
@click.option("--policy", default="", metavar="[NS/]NAME", help="Only the rules that this policy wrote.")
@click.option("-o", "--output", type=click.Choice(FORMATS), default=FORMATS[0], show_default=True)
@click.option("--comments/--no-comments", default=True, show_default=True, help="Where each rule comes from.")
@click.option(
    "--generation",
    default=1,
    type=click.IntRange(min=1),
    show_default=True,
    help="The number that known connections carry in their mark; agents count it up.",
)
@rule_options
def command(
    *,
    reference: str,
    files: tuple[str, ...],
    namespace: str | None,
    context: str | None,
    kubeconfig: str | None,
    validation: str,
    node: str,
    pod_cidrs: tuple[Block, ...],
    policy: str,
    output: str,
    comments: bool,
    generation: int,
    **choices: Any,
) -> None:
    """Print the nftables rules that the agent programs on a node, each with the policy and rule it comes from.

    The text is what nft -f - takes. With POD (pod/NAME, deploy/NAME, NS:pod/NAME, an address) or --policy only what concerns them is
    printed, to be read: that is no table and nft refuses it. Manifests that say neither where pods run nor their addresses
    get a node and stand-in addresses; stderr says so.
    """
    from stockade.analysis.workloads import names_workload  # noqa: PLC0415 - --help must not load all this

    options = msgspec.convert(choices, RuleChoices).options
    state, current = read_state(
        files,
        context=context,
        kubeconfig=kubeconfig,
        namespace=namespace,
        workloads=names_workload(reference),
        validation=validation,
    )
    home = namespace or current
    refs = _pods(state, reference, home) if reference else ()
    name = _node_of(state, refs, node, from_files=bool(files))
    placed, notes = _placed(state, name, pod_cidrs) if files else (state, ())
    rendered = _rendered(placed, name, pod_cidrs, options, generation)
    rendered = msgspec.structs.replace(rendered, notes=notes)
    if refs:
        rendered = _of_pods(rendered, refs, reference)
    if policy:
        rendered = _of_policy(rendered, state, policy, home)
    for note in notes:
        click.echo(f"note: {visible(note)}", err=True)
    _echo(rendered, output, comments=comments)


def _pods(state: ClusterState, reference: str, namespace: str) -> tuple[ObjectRef, ...]:
    from stockade.analysis.source import origins, parse_source  # noqa: PLC0415
    from stockade.analysis.target import TargetError  # noqa: PLC0415
    from stockade.model.meta import ObjectRef  # noqa: PLC0415
    from stockade.policy.compile import compile_state  # noqa: PLC0415
    from stockade.policy.evaluate import UnknownPodError  # noqa: PLC0415

    try:
        source = parse_source(reference, namespace)
        found = () if source.node else origins(compile_state(state), source)
    except (TargetError, UnknownPodError) as error:
        raise Failure(str(error)) from error
    if source.node:
        raise Failure(f"{reference} is no pod; for all rules of a node write --node {source.node}")
    refs = tuple(each for each in found if isinstance(each, ObjectRef))
    if not refs:
        raise Failure(f"{reference}: no pod has this address")
    host = next((ref for ref in refs if state.pods[ref].on_host_network), None)
    if host is not None:
        raise Failure(f"pod {host} is on the host network: no policy applies to it, and it has no rules")
    return refs


def _node_of(state: ClusterState, refs: tuple[ObjectRef, ...], chosen: str, *, from_files: bool) -> str:
    """``chosen`` if there is such a node; manifests that name none may call theirs as they like."""
    from stockade.analysis.placement import ONLY_NODE, node_names  # noqa: PLC0415

    known = node_names(state)
    if chosen and (chosen in known or (from_files and not known)):
        return chosen
    if chosen:
        raise Failure(f"node {chosen} is not known here (known: {', '.join(known) or 'none'})")
    wanted = sorted({state.pods[ref].spec.node_name for ref in refs} - {""}) or known
    if not wanted and from_files:
        return ONLY_NODE
    if not wanted:
        raise Failure("the cluster has no nodes: nothing to render")
    if len(wanted) > 1:
        raise Failure(f"whose rules? Choose with --node: {', '.join(wanted)}")
    return wanted[0]


def _placed(
    state: ClusterState, node: str, pod_cidrs: tuple[Block, ...]
) -> tuple[ClusterState, tuple[str, ...]]:
    from stockade.agent.programmed import node_view  # noqa: PLC0415
    from stockade.analysis.placement import placed  # noqa: PLC0415

    families = {block.family for block in node_view(state, node, pod_cidrs).pod_cidrs}
    found = placed(state, node, tuple(sorted(families)) or (4,))
    return found.state, found.notes


def _rendered(
    state: ClusterState, name: str, pod_cidrs: tuple[Block, ...], options: Any, generation: int
) -> Rendered:
    from stockade.agent.programmed import node_view  # noqa: PLC0415
    from stockade.dataplane.lower import lower  # noqa: PLC0415
    from stockade.policy.compile import compile_state  # noqa: PLC0415

    compiled = compile_state(state)
    node = node_view(state, name, pod_cidrs)
    ruleset = lower(compiled, node, options)
    if generation > ruleset.generations:
        raise Failure(f"--generation {generation}: the mark mask has room for 1 to {ruleset.generations}")
    return Rendered(compiled=compiled, node=node, ruleset=ruleset, generation=generation)


def _of_pods(whole: Rendered, refs: tuple[ObjectRef, ...], reference: str) -> Rendered:
    from stockade.dataplane.excerpt import memberships, of_pods  # noqa: PLC0415

    entries = [whole.compiled.pods[whole.compiled.by_ref[ref]] for ref in refs]
    addresses: list[Address] = [address for entry in entries for address in entry.addresses]
    if not addresses:
        raise Failure(f"{reference} has no address yet: there are no rules for it")
    away = [str(e.ref) for e in entries if e.pod.spec.node_name != whole.node.name]
    if away:
        raise Failure(f"not on node {whole.node.name}: {', '.join(away)}")
    member = tuple(f"in {each.name}: {each.note}" for each in memberships(whole.ruleset, addresses))
    return msgspec.structs.replace(
        whole, ruleset=of_pods(whole.ruleset, addresses), part=reference, notes=(*whole.notes, *member)
    )


def _of_policy(whole: Rendered, state: ClusterState, text: str, namespace: str) -> Rendered:
    from stockade.dataplane.excerpt import of_policy  # noqa: PLC0415
    from stockade.model.meta import ObjectRef  # noqa: PLC0415

    space, slash, name = text.rpartition("/")
    policy = ObjectRef(space if slash else namespace, name)
    if policy not in state.policies:
        raise Failure(f"NetworkPolicy {policy} does not exist here")
    cut = of_policy(whole.ruleset, policy, whole.compiled)
    notes = whole.notes if cut.chains else (*whole.notes, f"{policy} isolates none of these pods")
    part = f"policy {policy}" + (f" for {whole.part}" if whole.part else "")
    return msgspec.structs.replace(whole, ruleset=cut, part=part, notes=notes)


def _echo(rendered: Rendered, output: str, *, comments: bool) -> None:
    from stockade.dataplane.heading import heading, pod_lines  # noqa: PLC0415
    from stockade.dataplane.listing import listing  # noqa: PLC0415
    from stockade.dataplane.render import excerpt, render  # noqa: PLC0415

    about = rendered.compiled, rendered.node, rendered.ruleset
    if output == "json":
        echo_json({**listing(*about, rendered.generation), "notes": list(rendered.notes)})
        return
    if rendered.part:
        first = f"Of the rules of node {rendered.node.name}, what concerns {rendered.part}; to be read, not loaded."
        write, above = excerpt, [first, *rendered.notes, "", *pod_lines(*about)]
    else:
        write, above = render, heading(*about, rendered.generation, rendered.notes)
    click.echo(write(rendered.ruleset, rendered.generation, annotate=comments, above=above), nl=False)
