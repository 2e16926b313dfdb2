"""What can go wrong in the store: one class per thing that a caller answers differently.

Each carries the `status` byte that a phone is told.
"""

from hushbear import wire

ENOSPC = 28  # not in MicroPython's errno


class StoreError(Exception):
    """The flash did not do what it was asked; nothing that was confirmed is touched."""

    status = wire.FAILED


class StoreFull(StoreError):
    """No room, and nothing stored that may go."""

    status = wire.FULL


class Busy(StoreError):
    """The message is open, or another one is being received or recorded."""

    status = wire.BUSY


class NotFound(StoreError):
    """No such message."""

    status = wire.NOT_FOUND


class OutOfRange(StoreError):
    """The bytes do not continue where the last ones ended, or run past the end."""

    status = wire.RANGE


class Malformed(StoreError):
    """No message can have this size or header."""

    status = wire.MALFORMED


class Damaged(StoreError):
    """What was received is not what was announced."""

    status = wire.DAMAGED


def from_os(error):
    """Return the StoreError for an OSError of the file system."""
    if error.errno == ENOSPC:
        return StoreFull()
    return StoreError("flash error %s" % error.errno)
