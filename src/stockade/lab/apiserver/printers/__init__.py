"""The columns of ``kubectl get``, by kind."""

from __future__ import annotations

from stockade.lab.apiserver.printers.columns import Printer
from stockade.lab.apiserver.printers.config import CONFIG_MAP, LEASE, NAMESPACE, NODE, SECRET, SERVICE_ACCOUNT
from stockade.lab.apiserver.printers.events import EVENT
from stockade.lab.apiserver.printers.network import ENDPOINT_SLICE, ENDPOINTS, NETWORK_POLICY, SERVICE
from stockade.lab.apiserver.printers.pods import POD
from stockade.lab.apiserver.printers.workloads import DEPLOYMENT, REPLICA_SET

PRINTERS: dict[str, Printer] = {
    "ConfigMap": CONFIG_MAP,
    "Deployment": DEPLOYMENT,
    "EndpointSlice": ENDPOINT_SLICE,
    "Endpoints": ENDPOINTS,
    "Event": EVENT,
    "Lease": LEASE,
    "Namespace": NAMESPACE,
    "NetworkPolicy": NETWORK_POLICY,
    "Node": NODE,
    "Pod": POD,
    "ReplicaSet": REPLICA_SET,
    "Secret": SECRET,
    "Service": SERVICE,
    "ServiceAccount": SERVICE_ACCOUNT,
}
