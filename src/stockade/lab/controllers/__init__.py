"""The controllers of the lab: what a cluster's controller manager and scheduler do, against the Registry alone.

        Deployment ─► ReplicaSet ─► Pod ─► scheduler ─► (kubelet) ─► Ready ─► EndpointSlice, Endpoints
        StatefulSet, DaemonSet, Job, ReplicationController ─► Pod
        Service of type LoadBalancer ─► its address
        Node not Ready or cordoned ─► taints             PodDisruptionBudget ─► how many pods may be evicted
        Namespace ─► default ServiceAccount, kube-root-ca.crt         owners gone ─► garbage

Called by the lab's daemon: ``run_controllers`` beside the API server and the kubelet, in one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from stockade.lab.apiserver.registry import MANAGER, Registry
from stockade.lab.controllers import job
from stockade.lab.controllers.daemonset import DaemonSetController
from stockade.lab.controllers.definitions import DefinitionController
from stockade.lab.controllers.deployment import DeploymentController
from stockade.lab.controllers.disruption import DisruptionController
from stockade.lab.controllers.endpoints import EndpointsController
from stockade.lab.controllers.garbage import GarbageCollector
from stockade.lab.controllers.loadbalancer import LoadBalancerController
from stockade.lab.controllers.mirroring import MirroringController
from stockade.lab.controllers.namespace import NamespaceController
from stockade.lab.controllers.node import NodeController
from stockade.lab.controllers.replicaset import REPLICATION_CONTROLLER, ReplicaSetController
from stockade.lab.controllers.scheduler import Scheduler
from stockade.lab.controllers.statefulset import StatefulSetController

__all__ = ["run_controllers"]


async def run_controllers(
    registry: Registry,
    node_names: Collection[str] = (),
    *,
    ca_certificate: str = "",
    job_delay: float = job.FIRST_DELAY,
) -> None:
    """Never returns; cancel it to stop. ``node_names`` limits scheduling to these nodes (empty: all);
    ``ca_certificate`` (PEM) is published in each namespace; ``job_delay``: seconds before a failed job's next pod."""
    MANAGER.set("kube-controller-manager")
    controllers = (
        NamespaceController(registry, ca_certificate),
        NodeController(registry),
        Scheduler(registry, node_names),
        DeploymentController(registry),
        ReplicaSetController(registry),
        ReplicaSetController(registry, REPLICATION_CONTROLLER),
        StatefulSetController(registry),
        DaemonSetController(registry),
        job.JobController(registry, job_delay),
        DisruptionController(registry),
        EndpointsController(registry),
        MirroringController(registry),
        LoadBalancerController(registry),
        GarbageCollector(registry),
        DefinitionController(registry),
    )
    async with asyncio.TaskGroup() as group:
        for controller in controllers:
            group.create_task(controller.run())
