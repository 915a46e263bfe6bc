"""The lab's node: pods as process trees in namespaces."""
