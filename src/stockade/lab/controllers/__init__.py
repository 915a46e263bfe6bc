"""The controllers of the lab."""
