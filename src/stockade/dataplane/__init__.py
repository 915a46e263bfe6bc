"""Compiled policies to nftables: IR, lowering, rendering, programming."""
