"""Fakes and hypothesis strategies for tests of Stockade and of policies."""
