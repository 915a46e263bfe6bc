"""The lab's cluster DNS."""
