"""CustomResourceDefinitions: kinds that users add."""
