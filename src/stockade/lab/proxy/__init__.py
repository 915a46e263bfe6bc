"""The lab's Service translation (nftables DNAT)."""
