"""The smallest policy change that would allow a path, never wider than asked."""
