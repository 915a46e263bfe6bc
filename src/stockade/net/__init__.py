"""Numbers and sets: integer intervals for IPv4, IPv6 and ports. Knows nothing of Kubernetes."""
