"""nf_tables over our own netlink: encode operations, read the table back, watch for others. ``backend`` is the door."""
