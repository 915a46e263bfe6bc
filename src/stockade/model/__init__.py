"""Frozen views of the Kubernetes objects that policy decisions read."""
