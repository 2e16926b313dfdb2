"""How a session ends."""


class SessionOver(Exception):
    """The phone left, or sent what no paired phone would send."""
