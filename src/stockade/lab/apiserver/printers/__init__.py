"""The columns of ``kubectl get``, by kind."""

from __future__ import annotations

from stockade.lab.apiserver.printers.columns import Printer
from stockade.lab.apiserver.printers.config import (
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    LEASE,
    NAMESPACE,
    NODE,
    SECRET,
    SERVICE_ACCOUNT,
)
from stockade.lab.apiserver.printers.events import EVENT
from stockade.lab.apiserver.printers.network import ENDPOINT_SLICE, ENDPOINTS, NETWORK_POLICY, SERVICE
from stockade.lab.apiserver.printers.pods import POD
from stockade.lab.apiserver.printers.workloads import (
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
)

PRINTERS: dict[str, Printer] = {
    "ConfigMap": CONFIG_MAP,
    "ControllerRevision": CONTROLLER_REVISION,
    "CustomResourceDefinition": CUSTOM_RESOURCE_DEFINITION,
    "DaemonSet": DAEMON_SET,
    "Deployment": DEPLOYMENT,
    "EndpointSlice": ENDPOINT_SLICE,
    "Endpoints": ENDPOINTS,
    "Event": EVENT,
    "Job": JOB,
    "Lease": LEASE,
    "Namespace": NAMESPACE,
    "NetworkPolicy": NETWORK_POLICY,
    "Node": NODE,
    "Pod": POD,
    "PodDisruptionBudget": POD_DISRUPTION_BUDGET,
    "ReplicaSet": REPLICA_SET,
    "ReplicationController": REPLICATION_CONTROLLER,
    "Secret": SECRET,
    "Service": SERVICE,
    "ServiceAccount": SERVICE_ACCOUNT,
    "StatefulSet": STATEFUL_SET,
}
