"""Where ``check`` and ``explain`` get the world they judge: manifests (-f), or the cluster of the current kubeconfig context.

In: the options. Out: a World and the default namespace; notes and diagnostics on stderr. Ends the command with status 2 on bad input.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import click

from stockade.analysis.path import World
from stockade.cli.failure import Failure
from stockade.policy.compile import compile_state
from stockade.store.state import ClusterState

DEFAULT_NAMESPACE = "default"


def read_world(
    files: Sequence[str],
    *,
    context: str | None,
    kubeconfig: str | None,
    namespace: str | None,
    names: Mapping[str, str],
) -> tuple[World, str]:
    """Files win over the cluster: with ``-f`` nothing is asked of any server."""
    if files:
        state, default = _from_files(files, namespace or DEFAULT_NAMESPACE), DEFAULT_NAMESPACE
    else:
        state, default = _from_cluster(context, kubeconfig)
    return World(state, compile_state(state), names), namespace or default


def _from_files(files: Sequence[str], namespace: str) -> ClusterState:
    from stockade.analysis.implied import with_cluster_dns  # noqa: PLC0415 - only for files
    from stockade.manifests.load import load  # noqa: PLC0415
    from stockade.model.diagnostic import Severity  # noqa: PLC0415

    loaded = load(files, sys.stdin, namespace=namespace)
    for diagnostic in loaded.diagnostics:
        click.echo(str(diagnostic), err=True)
    if any(diagnostic.severity is Severity.ERROR for diagnostic in loaded.diagnostics):
        raise Failure("nothing was decided: the manifests have errors")
    state, note = with_cluster_dns(
        ClusterState.of(item.view for item in loaded.objects if item.view is not None)
    )
    if note:
        click.echo(f"note: {note}", err=True)
    return state


def _from_cluster(context: str | None, kubeconfig: str | None) -> tuple[ClusterState, str]:
    from stockade.kube.config import load as load_access  # noqa: PLC0415 - imports the HTTP client
    from stockade.kube.errors import ConfigError, KubeError  # noqa: PLC0415
    from stockade.kube.snapshot import read_cluster  # noqa: PLC0415

    try:
        access = load_access(kubeconfig, context)
        snapshot = read_cluster(access)
    except (ConfigError, KubeError) as error:
        raise Failure(f"{error}; or name manifests with -f") from error
    for note in snapshot.notes:
        click.echo(str(note), err=True)
    return ClusterState.of(snapshot.objects), access.namespace or DEFAULT_NAMESPACE
