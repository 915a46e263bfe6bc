"""Text of others made fit for a terminal: pure.

In: names, messages, reasons, as files, API servers and kernels have them. Out: the same text in which control characters, line breaks
and invisible or direction-changing characters (Unicode categories C and Z but the blank) are written as escapes, so that no Event can
move the cursor, forge a line or rename a window. Called by the commands for all text output; JSON is for programs.
"""

from __future__ import annotations


def visible(text: str, *, keep: str = "") -> str:
    """``keep`` names characters to leave as they are, such as a line break of our own."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in keep else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
