"""The world at one moment: immutable, indexed cluster state."""
