"""What the layouts are called in tables, plots and options."""

NONE, CONNTRACK, OURS = "no rules", "conntrack accept", "stockade"
LINEAR, KUBE_ROUTER, KUBE_ROUTER_NFT = "linear", "kube-router", "kube-router, iptables-nft"
USERSPACE = "user space"
