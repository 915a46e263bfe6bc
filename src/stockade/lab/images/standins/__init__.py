"""Programs that the built-in stand-in images bring: run inside containers, by path, never imported by the lab."""
