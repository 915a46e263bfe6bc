"""Views of core/v1 and discovery.k8s.io/v1 objects: Pod, Namespace, Node, Service, EndpointSlice."""

from __future__ import annotations

import msgspec

from stockade.model.meta import ObjectMeta, ObjectRef, View

NAMESPACE_NAME_LABEL = "kubernetes.io/metadata.name"
SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class ContainerPort(View, frozen=True, kw_only=True):
    """spec.containers[].ports[]: informational for numeric rules (rule 28), the source of named ports."""

    container_port: int = 0
    name: str = ""
    protocol: str = "TCP"


class Container(View, frozen=True, kw_only=True):
    """spec.containers[] and spec.initContainers[] (a sidecar has ``restart_policy`` Always)."""

    name: str = ""
    image: str = ""
    ports: list[ContainerPort] | None = None
    restart_policy: str | None = None


class PodSpec(View, frozen=True, kw_only=True):
    node_name: str = ""
    host_network: bool | None = None
    dns_policy: str = "ClusterFirst"
    containers: list[Container] | None = None
    init_containers: list[Container] | None = None


class PodIP(View, frozen=True, kw_only=True):
    ip: str = ""


class PodStatus(View, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: list[PodIP] | None = msgspec.field(name="podIPs", default=None)
    host_ip: str = msgspec.field(name="hostIP", default="")


class Pod(View, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ref(self) -> ObjectRef:
        return self.metadata.ref

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.labels or {}

    @property
    def ips(self) -> tuple[str, ...]:
        """All addresses of both families, primary first; empty before the network is set up (rule 49)."""
        listed = tuple(entry.ip for entry in self.status.pod_ips or [] if entry.ip)
        return listed or ((self.status.pod_ip,) if self.status.pod_ip else ())

    @property
    def is_finished(self) -> bool:
        """Succeeded or Failed: its address may belong to another pod already (rule 48)."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def on_host_network(self) -> bool:
        return bool(self.spec.host_network)

    def named_ports(self) -> list[ContainerPort]:
        """Ports with a name, of containers and of sidecar init containers (rule 27)."""
        sidecars = [c for c in self.spec.init_containers or [] if c.restart_policy == "Always"]
        containers = (self.spec.containers or []) + sidecars
        return [port for container in containers for port in container.ports or [] if port.name]


class Namespace(View, frozen=True, kw_only=True):
    metadata: ObjectMeta

    @property
    def labels(self) -> dict[str, str]:
        """With ``kubernetes.io/metadata.name``, which the server always sets (rule 17)."""
        return {**(self.metadata.labels or {}), NAMESPACE_NAME_LABEL: self.metadata.name}


class NodeAddress(View, frozen=True, kw_only=True):
    type: str = ""
    address: str = ""


class NodeStatus(View, frozen=True, kw_only=True):
    addresses: list[NodeAddress] | None = None


class NodeSpec(View, frozen=True, kw_only=True):
    pod_cidr: str = msgspec.field(name="podCIDR", default="")
    pod_cidrs: list[str] | None = msgspec.field(name="podCIDRs", default=None)


class Node(View, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def pod_cidrs(self) -> tuple[str, ...]:
        return tuple(self.spec.pod_cidrs or ([self.spec.pod_cidr] if self.spec.pod_cidr else []))

    @property
    def ips(self) -> tuple[str, ...]:
        """InternalIP and ExternalIP addresses."""
        wanted = {"InternalIP", "ExternalIP"}
        return tuple(a.address for a in self.status.addresses or [] if a.type in wanted)


class ServicePort(View, frozen=True, kw_only=True):
    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: int | str | None = None
    node_port: int | None = None


class ServiceSpec(View, frozen=True, kw_only=True):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: list[str] | None = msgspec.field(name="clusterIPs", default=None)
    ip_families: list[str] | None = None
    ip_family_policy: str = ""
    selector: dict[str, str] | None = None
    ports: list[ServicePort] | None = None
    external_name: str = ""
    external_ips: list[str] | None = msgspec.field(name="externalIPs", default=None)
    external_traffic_policy: str = ""


class LoadBalancerIngress(View, frozen=True, kw_only=True):
    ip: str = ""


class LoadBalancerStatus(View, frozen=True, kw_only=True):
    ingress: list[LoadBalancerIngress] | None = None


class ServiceStatus(View, frozen=True, kw_only=True):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class Service(View, frozen=True, kw_only=True):
    metadata: ObjectMeta
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()

    @property
    def ref(self) -> ObjectRef:
        return self.metadata.ref

    @property
    def virtual_ips(self) -> tuple[str, ...]:
        """ClusterIPs; empty when headless, not yet allocated or ExternalName."""
        listed = self.spec.cluster_ips or ([self.spec.cluster_ip] if self.spec.cluster_ip else [])
        return tuple(ip for ip in listed if ip and ip != "None")

    @property
    def outside_ips(self) -> tuple[str, ...]:
        """externalIPs and the load balancer's addresses: for hosts outside, translated on the nodes like a ClusterIP."""
        balancer = (each.ip for each in self.status.load_balancer.ingress or [] if each.ip)
        return (*(self.spec.external_ips or ()), *balancer)

    @property
    def is_headless(self) -> bool:
        return self.spec.cluster_ip == "None"


class EndpointConditions(View, frozen=True, kw_only=True):
    ready: bool | None = None


class TargetRef(View, frozen=True, kw_only=True):
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SliceEndpoint(View, frozen=True, kw_only=True):
    addresses: list[str] = msgspec.field(default_factory=list)
    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetRef | None = None
    node_name: str | None = None


class EndpointPort(View, frozen=True, kw_only=True):
    name: str | None = None
    protocol: str = "TCP"
    port: int | None = None


class EndpointSlice(View, frozen=True, kw_only=True):
    metadata: ObjectMeta
    address_type: str = "IPv4"
    endpoints: list[SliceEndpoint] | None = None
    ports: list[EndpointPort] | None = None

    @property
    def service(self) -> ObjectRef:
        return ObjectRef(self.metadata.namespace, (self.metadata.labels or {}).get(SERVICE_NAME_LABEL, ""))
