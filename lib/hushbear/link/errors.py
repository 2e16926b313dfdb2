"""How a session ends, and how a request is refused."""

import struct

from hushbear import wire


class SessionOver(Exception):
    """The phone left, or sent what no paired phone would send."""


class Refused(Exception):
    """A request was refused; `status` is the wire status to answer."""

    def __init__(self, status):
        super().__init__(status)
        self.status = status


def fields(layout, body):
    """Unpack a body that has to be exactly as long as `layout`, else raise Refused."""
    if len(body) != struct.calcsize(layout):
        raise Refused(wire.MALFORMED)
    return struct.unpack(layout, body)
