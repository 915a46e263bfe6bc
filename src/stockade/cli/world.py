"""Where ``check`` and ``explain`` get the state they judge: manifests (-f), or the cluster of the current kubeconfig context.

In: the options. Out: a ClusterState and the default namespace; notes and diagnostics on stderr. Ends the command with status 2 on bad input.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from stockade.cli.failure import NO_OBJECTS, Failure
from stockade.report.terminal import visible
from stockade.store.state import ClusterState

DEFAULT_NAMESPACE = "default"


def read_state(
    files: Sequence[str],
    *,
    context: str | None,
    kubeconfig: str | None,
    namespace: str | None,
    workloads: bool = False,
    validation: str = "strict",
) -> tuple[ClusterState, str]:
    """The state and the default namespace. Files win over the cluster: with ``-f`` nothing is asked of any server.

    ``workloads``: the question names one, so a cluster's ReplicaSets and Jobs are read, too."""
    if files:
        return _from_files(files, namespace or DEFAULT_NAMESPACE, validation), DEFAULT_NAMESPACE
    return _from_cluster(context, kubeconfig, workloads=workloads)


def _from_files(files: Sequence[str], namespace: str, validation: str) -> ClusterState:
    from stockade.manifests.load import load  # noqa: PLC0415 - only for files
    from stockade.manifests.ownership import views  # noqa: PLC0415
    from stockade.manifests.validation import FieldValidation  # noqa: PLC0415
    from stockade.model.diagnostic import Severity  # noqa: PLC0415

    loaded = load(files, sys.stdin, namespace=namespace, validation=FieldValidation(validation))
    for diagnostic in loaded.diagnostics:
        click.echo(visible(str(diagnostic)), err=True)
    if any(diagnostic.severity is Severity.ERROR for diagnostic in loaded.diagnostics):
        raise Failure("nothing was decided: the manifests have errors")
    if loaded.is_empty:
        raise Failure(NO_OBJECTS)
    return ClusterState.of(views(loaded))


def _from_cluster(
    context: str | None, kubeconfig: str | None, *, workloads: bool
) -> tuple[ClusterState, str]:
    from stockade.kube.config import load as load_access  # noqa: PLC0415 - imports the HTTP client
    from stockade.kube.errors import ConfigError, KubeError  # noqa: PLC0415
    from stockade.kube.snapshot import read_cluster  # noqa: PLC0415

    try:
        access = load_access(kubeconfig, context)
        snapshot = read_cluster(access, workloads=workloads)
    except (ConfigError, KubeError) as error:
        raise Failure(f"{error}; or name manifests with -f") from error
    for note in snapshot.notes:
        click.echo(visible(str(note)), err=True)
    return ClusterState.of(snapshot.objects), access.namespace or DEFAULT_NAMESPACE
