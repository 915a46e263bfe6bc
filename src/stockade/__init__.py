"""Stockade: decide, enforce, try and prove Kubernetes NetworkPolicy."""

__version__ = "0.1.0"
