"""What can go wrong with an expression."""


class CelError(Exception):
    """The expression cannot be read, uses what is not supported, or has no value for these objects; the text says which."""
