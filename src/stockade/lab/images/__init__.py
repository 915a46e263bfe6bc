"""Root file systems for the lab's pods."""
